//! The scans, over orders that a test makes up, on a paused clock.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::UNIX_EPOCH;

use prost::Message as _;
use tokio_util::sync::DropGuard;
use uuid::Uuid;

use super::*;
use crate::domain::account::SellerId;
use crate::domain::effect::Effect;
use crate::domain::feed::{FeedName, LogId, intent_key};
use crate::domain::operation::Operation;
use crate::pb::{self, ListOrdersRequest, ListOrdersResponse};
use crate::ports::call::{CallContext, CallPurpose};
use crate::ports::upstream::{ErrorKind, Reply, UpstreamError};
use crate::store::memory_feed::MemoryFeed;
use crate::telemetry::metrics::{Metrics, TextFormat};
use crate::testing::logs::LogLines;
use crate::testing::walmart::error;

const INTERVAL: Duration = Duration::from_secs(600);
const DAY: Duration = Duration::from_hours(24);
/// The start of the tests' time: 2027-01-15T08:00:00Z.
const START: u64 = 1_800_000_000;

type Answer = Result<ListOrdersResponse, UpstreamError>;
type Responder = dyn Fn(&ListOrdersRequest) -> Answer + Send + Sync;

/// A Walmart with orders.
#[derive(Clone)]
struct Orders {
    respond: Arc<Mutex<Arc<Responder>>>,
    asked: Arc<Mutex<Vec<(AccountIndex, ListOrdersRequest)>>>,
}

impl Orders {
    fn new(respond: impl Fn(&ListOrdersRequest) -> Answer + Send + Sync + 'static) -> Self {
        Self { respond: Arc::new(Mutex::new(Arc::new(respond))), asked: Arc::default() }
    }

    /// From now on Walmart answers so.
    fn now(&self, respond: impl Fn(&ListOrdersRequest) -> Answer + Send + Sync + 'static) {
        *self.respond.lock().unwrap() = Arc::new(respond);
    }

    /// What was asked since the last look.
    fn asked(&self) -> Vec<(AccountIndex, ListOrdersRequest)> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

impl Upstream<ListSellerOrders> for Orders {
    async fn call(
        &self,
        account: AccountIndex,
        request: &ListOrdersRequest,
        _: Option<Uuid>,
        call: &CallContext,
    ) -> Result<Reply<ListOrdersResponse>, UpstreamError> {
        assert_eq!(call.purpose, CallPurpose::Background);
        self.asked.lock().unwrap().push((account, request.clone()));
        let respond = self.respond.lock().unwrap().clone();
        respond(request).map(|answer| Reply { answer, correlation_id: Uuid::from_u128(7) })
    }
}

/// An order with a line for each flag.
fn order(number: &str, flags: &[&str]) -> pb::SellerOrder {
    let line = |(at, flag): (usize, &&str)| pb::SellerOrderLine {
        line_number: (at + 1).to_string(),
        intent_to_cancel: (*flag).into(),
        ..Default::default()
    };
    pb::SellerOrder {
        purchase_order_id: number.into(),
        customer_email_id: "ana@example.org".into(),
        order_lines: Some(pb::SellerOrderLines { order_line: flags.iter().enumerate().map(line).collect() }),
        ..Default::default()
    }
}

fn page(orders: Vec<pb::SellerOrder>, total: i32, next_cursor: &str) -> Answer {
    let meta = pb::ListMeta { total_count: Some(total), next_cursor: next_cursor.into(), ..Default::default() };
    let elements = Some(pb::OrderElements { order: orders });
    let list = pb::OrderList { meta: Some(meta), elements, ..Default::default() };
    Ok(ListOrdersResponse { list: Some(list), ..Default::default() })
}

/// All orders on one page, if they are in this state.
fn all_in(status: &'static str, orders: Vec<pb::SellerOrder>) -> impl Fn(&ListOrdersRequest) -> Answer {
    move |request| if request.status == status { page(orders.clone(), 1, "") } else { nothing() }
}

fn nothing() -> Answer {
    Err(error(Operation::Orders, ErrorKind::NotFound, Effect::None))
}

struct Stand {
    orders: Orders,
    store: MemoryFeed,
    directory: AccountDirectory,
    state: BackfillState,
    metrics: Metrics,
    _end: DropGuard,
}

fn accounts(ids: &[&str]) -> Vec<(SellerId, AccountId)> {
    ids.iter().map(|id| (SellerId::new(&format!("seller of {id}")), AccountId::new(*id).unwrap())).collect()
}

fn stand(ids: &[&str], orders: Orders) -> Stand {
    let (store, directory) = (MemoryFeed::new(LogId(1)), AccountDirectory::new(accounts(ids)));
    let (state, metrics, stopping) = (BackfillState::default(), Metrics::new([]), CancellationToken::new());
    let backfill = Backfill::new(BackfillParts {
        upstream: orders.clone(),
        store: store.clone(),
        directory: directory.clone(),
        settings: BackfillSettings {
            interval: INTERVAL,
            window: 45 * DAY,
            ship_node_types: vec!["SellerFulfilled".into()],
        },
        clock: Clock::following(UNIX_EPOCH + Duration::from_secs(START)),
        tracer: Tracer::off(),
        metrics: metrics.backfill.clone(),
        state: state.clone(),
    });
    tokio::spawn(backfill.run(stopping.clone()));
    Stand { orders, store, directory, state, metrics, _end: stopping.drop_guard() }
}

impl Stand {
    async fn after(&self, time: Duration) -> &Self {
        tokio::time::sleep(time).await;
        self
    }

    async fn events(&self) -> Vec<pb::Event> {
        let stored = self.store.read(FeedName::CancelIntents, 0, 100, usize::MAX, true).await.unwrap();
        let event = |one: &crate::ports::event_log::StoredEvent| pb::Event {
            raw_body: one.raw.to_vec(),
            ..pb::Event::decode(&one.message[..]).unwrap()
        };
        stored.iter().map(event).collect()
    }

    async fn ids(&self) -> Vec<String> {
        self.events().await.into_iter().map(|event| event.event_id).collect()
    }

    fn view(&self, account: usize) -> BackfillView {
        self.state.of(AccountIndex(account)).unwrap()
    }

    fn metric(&self, series: &str) -> Option<f64> {
        let text = self.metrics.encode(TextFormat::OpenMetrics).unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ').map(str::to_owned));
        value.map(|value| value.parse().unwrap())
    }
}

fn unavailable() -> Answer {
    let body = pb::WalmartError { description: "of Ana Roe".into(), ..Default::default() };
    let error = error(Operation::Orders, ErrorKind::Unavailable, Effect::None);
    Err(UpstreamError { http_status: 503, errors: vec![body], ..error })
}

#[tokio::test(start_paused = true)]
async fn a_flagged_line_becomes_an_event_at_the_start_and_once() {
    let orders = vec![order("17", &["TRUE", "", "true"]), order("18", &["false"])];
    let stand = stand(&["acme"], Orders::new(all_in("Created", orders)));
    stand.after(Duration::from_secs(1)).await;
    let events = stand.events().await;
    let [event] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((event.event_id.as_str(), event.account.as_str()), ("backfill:17:1,3", "acme"));
    assert_eq!((event.origin(), event.event_time), (pb::EventOrigin::Backfill, None));
    let seller = SellerId::new("seller of acme");
    assert_eq!(event.intent_key, intent_key(&seller, event.intent.as_ref().unwrap()));
    let body = String::from_utf8(event.raw_body.clone()).unwrap();
    assert!(body.contains("backfill:17:1,3") && !body.contains("example.org"), "{body}");
    let asked = stand.orders.asked();
    let told: Vec<_> =
        asked.iter().map(|(_, asked)| (asked.status.as_str(), asked.created_start_date.as_str())).collect();
    // 45 days before the start.
    assert_eq!(told, [("Created", "2026-12-01T08:00:00Z"), ("Acknowledged", "2026-12-01T08:00:00Z")]);
    for (_, request) in &asked {
        assert_eq!((request.limit, request.ship_node_type.as_str()), (200, "SellerFulfilled"));
        assert_eq!(request.created_end_date, "");
    }
    assert_eq!(
        stand.view(0),
        BackfillView { last_backfill_time: Some(Timestamp(START * 1000)), backfilled: 1, error: String::new() }
    );
    // Not before the interval, and then without a second event.
    stand.after(INTERVAL - Duration::from_secs(3)).await;
    assert_eq!(stand.orders.asked(), []);
    stand.after(Duration::from_secs(4)).await;
    assert_eq!((stand.orders.asked().len(), stand.ids().await.len()), (2, 1));
    assert_eq!(stand.metric("order_gateway_backfill_intents_total{account=\"acme\"}"), Some(1.0));
    assert_eq!(stand.metric("order_gateway_backfill_scans_total{account=\"acme\",outcome=\"complete\"}"), Some(2.0));
    assert_eq!(stand.metric("order_gateway_backfill_interval_seconds"), Some(600.0));
}

#[tokio::test(start_paused = true)]
async fn a_line_flagged_later_is_an_event_of_its_own() {
    let stand = stand(&["acme"], Orders::new(all_in("Acknowledged", vec![order("17", &["TRUE", ""])])));
    stand.after(Duration::from_secs(1)).await;
    stand.orders.now(all_in("Created", vec![order("17", &["TRUE", "Y"])]));
    stand.after(INTERVAL).await;
    assert_eq!(stand.ids().await, ["backfill:17:1", "backfill:17:2"]);
}

#[tokio::test(start_paused = true)]
async fn pages_are_read_one_after_the_other_to_their_end() {
    let stand = stand(
        &["acme"],
        Orders::new(|request| match (request.status.as_str(), request.next_cursor.as_str()) {
            ("Created", "") => page(vec![order("1", &["TRUE"])], 3, "?soIndex=1"),
            ("", "?soIndex=1") => page(vec![order("2", &["TRUE"])], 3, "?soIndex=2"),
            // The same cursor again, as in Walmart's sandbox.
            ("", "?soIndex=2") => page(vec![order("3", &["TRUE"])], 3, "?soIndex=2"),
            _ => nothing(),
        }),
    );
    stand.after(Duration::from_secs(1)).await;
    assert_eq!(stand.ids().await, ["backfill:1:1", "backfill:2:1", "backfill:3:1"]);
    let asked = stand.orders.asked();
    // Nothing stands beside a cursor.
    let beside = ListOrdersRequest { next_cursor: "?soIndex=1".into(), ..Default::default() };
    assert_eq!((asked.len(), &asked[1].1), (4, &beside));
}

#[tokio::test(start_paused = true)]
async fn a_search_with_too_many_hits_is_made_in_halves() {
    // More than 20,000 orders were made in the first days of the window; Walmart says so in one of two ways.
    let respond = |request: &ListOrdersRequest| {
        if request.status != "Created" {
            return nothing();
        }
        let time = |text: &str| text.parse::<jiff::Timestamp>().map_or(i64::MAX, |time| time.as_second());
        let (from, until) = (time(&request.created_start_date), time(&request.created_end_date));
        let length = until.min(START.cast_signed()) - from;
        let quarter = 45 * 86_400 / 4;
        if length > 2 * quarter {
            let text = pb::WalmartError { description: "more than 20,000 orders".into(), ..Default::default() };
            let error = error(Operation::Orders, ErrorKind::Rejected, Effect::None);
            Err(UpstreamError { errors: vec![text], ..error })
        } else if length > quarter {
            page(vec![order("of half a page", &["TRUE"])], 20_000, "?more")
        } else {
            page(vec![order(&request.created_start_date[..10], &["TRUE"])], 19_999, "")
        }
    };
    let stand = stand(&["acme"], Orders::new(respond));
    stand.after(Duration::from_secs(1)).await;
    let mut found = stand.ids().await;
    found.sort_unstable();
    let days = ["2026-12-01", "2026-12-12", "2026-12-23", "2027-01-04"];
    assert_eq!(found, days.map(|day| format!("backfill:{day}:1")));
    let asked = stand.orders.asked();
    let searches = asked.iter().filter(|(_, request)| request.status == "Created");
    let mut windows: Vec<_> = searches.map(|(_, it)| (&it.created_start_date[..], &it.created_end_date[..])).collect();
    windows.sort_unstable();
    // The whole, two halves, four quarters.
    let [start, first, middle, last] =
        ["2026-12-01T08:00:00Z", "2026-12-12T14:00:00Z", "2026-12-23T20:00:00Z", "2027-01-04T02:00:00Z"];
    let whole = [(start, ""), (start, middle), (middle, "")];
    let mut expected = [whole.as_slice(), &[(start, first), (first, middle), (middle, last), (last, "")]].concat();
    expected.sort_unstable();
    assert_eq!(windows, expected);
    assert_eq!(stand.view(0).error, "");
}

#[tokio::test(start_paused = true)]
async fn a_failed_scan_is_shown_and_made_again() {
    let lines = LogLines::default();
    let _logging = tracing::dispatcher::set_default(&lines.json());
    let stand = stand(&["acme"], Orders::new(|_| unavailable()));
    stand.after(Duration::from_secs(1)).await;
    let view = stand.view(0);
    assert_eq!((view.last_backfill_time, view.backfilled), (None, 0));
    let correlation_id = Uuid::from_u128(99);
    assert_eq!(
        view.error,
        format!("ListOrders failed (Unavailable, HTTP status 503, correlation id {correlation_id})")
    );
    // Again after a tenth of the interval.
    stand.after(Duration::from_secs(55)).await;
    assert_eq!(stand.orders.asked().len(), 1);
    stand.after(Duration::from_secs(6)).await;
    assert_eq!(stand.orders.asked().len(), 1);
    assert_eq!(stand.metric("order_gateway_backfill_last_scan_timestamp_seconds{account=\"acme\"}"), Some(1.8e9));
    stand.orders.now(all_in("Created", vec![order("17", &["TRUE"])]));
    stand.after(Duration::from_secs(62)).await;
    let log = lines.text();
    assert_eq!(stand.ids().await, ["backfill:17:1"]);
    let view = stand.view(0);
    assert!(view.error.is_empty() && view.last_backfill_time.is_some());
    let last = stand.metric("order_gateway_backfill_last_scan_timestamp_seconds{account=\"acme\"}");
    assert!(last.is_some_and(|last| last > 1.8e9 + 100.0), "{last:?}");
    assert_eq!(stand.metric("order_gateway_backfill_scans_total{account=\"acme\",outcome=\"failed\"}"), Some(2.0));
    assert_eq!(log.matches("cannot be scanned").count(), 1, "{log}");
    assert_eq!(log.matches("are scanned for missed intents again").count(), 1, "{log}");
    assert!(!log.contains("Ana Roe"), "{log}");
}

#[tokio::test(start_paused = true)]
async fn orders_beside_errors_are_taken_and_the_scan_is_not_complete() {
    let with_errors = |request: &ListOrdersRequest| {
        let mut answer = all_in("Created", vec![order("17", &["TRUE"])])(request)?;
        answer.list.as_mut().unwrap().errors.push(pb::WalmartError::default());
        Ok(answer)
    };
    let stand = stand(&["acme"], Orders::new(with_errors));
    stand.after(Duration::from_secs(1)).await;
    assert_eq!(stand.ids().await, ["backfill:17:1"]);
    assert!(stand.view(0).error.contains("errors beside its orders"), "{:?}", stand.view(0));
    assert_eq!((stand.view(0).backfilled, stand.view(0).last_backfill_time), (1, None));
}

#[tokio::test(start_paused = true)]
async fn cursors_that_go_round_end_the_scan() {
    let turns = Mutex::new(VecDeque::from(["?a", "?b"]));
    let round = move |_: &ListOrdersRequest| {
        let mut turns = turns.lock().unwrap();
        turns.rotate_left(1);
        page(vec![order("17", &[""])], 10, turns[0])
    };
    let stand = stand(&["acme"], Orders::new(round));
    stand.after(Duration::from_secs(1)).await;
    assert!(stand.view(0).error.contains("did not end"), "{:?}", stand.view(0));
    assert_eq!(stand.orders.asked().len(), 1_000);
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_flag_is_counted_and_told_once() {
    let lines = LogLines::default();
    let _logging = tracing::dispatcher::set_default(&lines.json());
    let orders = vec![order("17", &["perhaps", "TRUE"]), order("18", &["soon", "2"])];
    let stand = stand(&["acme"], Orders::new(all_in("Created", orders)));
    stand.after(INTERVAL + Duration::from_secs(2)).await;
    let log = lines.text();
    assert_eq!(stand.metric("order_gateway_backfill_unreadable_flags_total{account=\"acme\"}"), Some(6.0));
    assert_eq!(stand.ids().await, ["backfill:17:2"]);
    assert_eq!(log.matches("says neither yes nor no").count(), 1, "{log}");
    assert!(!log.contains("perhaps"), "{log}");
}

#[tokio::test(start_paused = true)]
async fn accounts_come_and_go_with_the_settings() {
    let stand = stand(&["acme"], Orders::new(|_| nothing()));
    stand.after(Duration::from_secs(1)).await;
    stand.directory.replace(&accounts(&["acme", "beta"]));
    stand.after(Duration::from_secs(2)).await;
    let asked: Vec<_> = stand.orders.asked().into_iter().map(|(account, _)| account.0).collect();
    assert_eq!(asked, [0, 0, 1, 1]);
    assert!(stand.view(1).last_backfill_time.is_some());
    stand.directory.replace(&accounts(&["beta"]));
    stand.after(2 * INTERVAL).await;
    assert!(stand.orders.asked().iter().all(|(account, _)| account.0 == 1));
    assert_eq!(stand.state.of(AccountIndex(0)), None);
    let age = |account: &str| {
        stand.metric(&format!("order_gateway_backfill_last_scan_timestamp_seconds{{account=\"{account}\"}}"))
    };
    assert!(age("acme").is_none() && age("beta").is_some());
    stand.directory.replace(&accounts(&["acme", "beta"]));
    stand.after(Duration::from_secs(2)).await;
    assert!(stand.orders.asked().iter().any(|(account, _)| account.0 == 0));
}

#[tokio::test(start_paused = true)]
async fn an_account_that_is_removed_ends_its_scan() {
    let stand = stand(&["acme", "beta"], Orders::new(|_| nothing()));
    let (directory, count) = (stand.directory.clone(), Mutex::new(0));
    stand.orders.now(move |request| {
        let mut count = count.lock().unwrap();
        *count += 1;
        if *count == 5 {
            directory.replace(&accounts(&["beta"]));
        }
        page(vec![order("17", &[""])], 10, if request.next_cursor == "?a" { "?b" } else { "?a" })
    });
    stand.after(Duration::from_secs(1)).await;
    let asked = stand.orders.asked();
    assert!(asked.iter().filter(|(account, _)| account.0 == 0).count() <= 5, "{}", asked.len());
    assert_eq!(stand.state.of(AccountIndex(0)), None);
}
