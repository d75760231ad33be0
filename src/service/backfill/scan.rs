//! One scan of an account's orders: every state and ship node of the settings, window by window, page by page.

use std::fmt;
use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::{Backfill, BackfillParts, ScanEnd};
use crate::domain::account::{AccountId, AccountIndex, SellerId};
use crate::domain::feed::{FoundIntent, OrderFlags};
use crate::domain::reads::{ListSellerOrders, ReadCall as _};
use crate::domain::timestamp::Timestamp;
use crate::pb::{ListOrdersRequest, ListOrdersResponse, SellerOrder};
use crate::planted_bug::{PlantedBug, is_planted};
use crate::ports::call::CallContext;
use crate::ports::event_log::EventLog;
use crate::ports::store_error::StoreError;
use crate::ports::upstream::{ErrorKind, Upstream, UpstreamError};
use crate::telemetry::semconv;
use crate::telemetry::trace::TraceContext;

/// The states of orders that can still be cancelled.
const STATES: [&str; 2] = ["Created", "Acknowledged"];
/// Orders of a page: Walmart's most.
const PAGE: i32 = 200;
/// Most hits of a search at Walmart. A search with so many may leave some out.
const MOST_HITS: i32 = 20_000;
/// Pages after which a search is given up: more than any search has, so the cursors go round.
const MOST_PAGES: usize = 1_000;
/// Windows are not split below this.
const SHORTEST_WINDOW: Duration = Duration::from_secs(2);
/// Time limit of a page.
const PAGE_TIME: Duration = Duration::from_secs(30);
/// Deliveries whose lines are noted in one transaction.
const NOTED_AT_ONCE: usize = 1_000;

/// The reason why a scan did not come to its end.
#[derive(Debug)]
pub(super) enum ScanFailure {
    /// A page could not be read.
    Upstream { kind: ErrorKind, http_status: u16, correlation_id: Uuid },
    /// A page has errors beside its orders.
    Incomplete { correlation_id: Uuid },
    /// The pages have no end.
    Endless,
    /// The store cannot be read or written.
    Store,
    /// The account was removed from the settings.
    Removed,
}

impl fmt::Display for ScanFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upstream { kind, http_status, correlation_id } => {
                write!(f, "ListOrders failed ({kind:?}, HTTP status {http_status}, correlation id {correlation_id})")
            }
            Self::Incomplete { correlation_id } => {
                write!(f, "a page of ListOrders has errors beside its orders (correlation id {correlation_id})")
            }
            Self::Endless => write!(f, "the pages of ListOrders did not end after {MOST_PAGES}"),
            Self::Store => f.write_str("the store cannot be read or written"),
            Self::Removed => f.write_str("the account was removed"),
        }
    }
}

impl From<StoreError> for ScanFailure {
    /// The store has counted and logged the error.
    fn from(_: StoreError) -> Self {
        Self::Store
    }
}

impl From<UpstreamError> for ScanFailure {
    /// Leaves Walmart's texts behind, which may have personal data.
    fn from(error: UpstreamError) -> Self {
        let UpstreamError { kind, http_status, correlation_id, .. } = error;
        Self::Upstream { kind, http_status, correlation_id }
    }
}

/// A search of the orders that were made in a window.
#[derive(Clone, Copy, Debug)]
struct Window {
    from: Timestamp,
    /// End of the window. `None`: no end; orders made during the scan are found, too.
    until: Option<Timestamp>,
}

/// How a search ended.
#[derive(PartialEq)]
enum SearchEnd {
    Complete,
    /// There are more orders than Walmart shows for one search.
    TooMany,
}

/// The account that is scanned.
struct Subject<'a> {
    account: AccountIndex,
    id: &'a AccountId,
    seller: SellerId,
    trace: TraceContext,
}

impl<U: Upstream<ListSellerOrders>, F: EventLog> Backfill<U, F> {
    /// Scans the orders of an account.
    pub(super) async fn scan(&self, account: AccountIndex, id: &AccountId) -> ScanEnd {
        let mut end = ScanEnd { result: Err(ScanFailure::Removed), found: 0, unreadable: 0, example: None };
        let Some(seller) = self.0.directory.seller(id) else { return end };
        let mut span = self.0.tracer.background_span("backfill");
        span.set(semconv::ACCOUNT, || id.to_string().into());
        let subject = Subject { account, id, seller, trace: span.context().clone() };
        end.result = self.search_all(&subject, &mut end).await;
        if end.result.is_err() {
            span.failed("incomplete");
        }
        end
    }

    async fn search_all(&self, subject: &Subject<'_>, end: &mut ScanEnd) -> Result<(), ScanFailure> {
        let BackfillParts { store, settings, clock, .. } = &self.0;
        while store.note_intent_lines(NOTED_AT_ONCE).await? {}
        let now: Timestamp = clock.now().into();
        for ship_node_type in &settings.ship_node_types {
            for status in STATES {
                let mut windows = vec![Window { from: now.minus(settings.window), until: None }];
                while let Some(window) = windows.pop() {
                    let request = window.request(status, ship_node_type);
                    let can_split = window.length(now) > SHORTEST_WINDOW;
                    if self.search(subject, request, can_split, end).await? == SearchEnd::TooMany {
                        windows.extend(window.halves(now));
                    }
                }
            }
        }
        Ok(())
    }

    /// Reads the pages of one search.
    async fn search(
        &self,
        subject: &Subject<'_>,
        mut request: ListOrdersRequest,
        can_split: bool,
        end: &mut ScanEnd,
    ) -> Result<SearchEnd, ScanFailure> {
        for page in 0..MOST_PAGES {
            if self.0.directory.position(subject.id) != Some(subject.account) {
                return Err(ScanFailure::Removed);
            }
            let (answer, correlation_id) = match self.page(subject, &request).await {
                Ok(answer) => answer,
                Err(error) if page == 0 && can_split && says_too_many(&error) => return Ok(SearchEnd::TooMany),
                Err(error) => return Err(error.into()),
            };
            let list = answer.list.unwrap_or_default();
            let meta = list.meta.unwrap_or_default();
            if page == 0 && can_split && meta.total_count.is_some_and(|total| total >= MOST_HITS) {
                return Ok(SearchEnd::TooMany);
            }
            for order in list.elements.unwrap_or_default().order {
                self.take(subject, &order, end).await?;
            }
            if !list.errors.is_empty() {
                return Err(ScanFailure::Incomplete { correlation_id });
            }
            if meta.next_cursor.is_empty() {
                return Ok(SearchEnd::Complete);
            }
            request = ListOrdersRequest { next_cursor: meta.next_cursor, ..ListOrdersRequest::default() };
        }
        Err(ScanFailure::Endless)
    }

    /// Reads a page; no order is an empty one.
    async fn page(
        &self,
        subject: &Subject<'_>,
        request: &ListOrdersRequest,
    ) -> Result<(ListOrdersResponse, Uuid), UpstreamError> {
        let call = CallContext::background(Instant::now() + PAGE_TIME, subject.trace.clone());
        match self.0.upstream.call(subject.account, request, None, &call).await {
            Ok(reply) => {
                Ok((ListSellerOrders::completed(request, reply.answer).unwrap_or_default(), reply.correlation_id))
            }
            Err(error) if error.kind == ErrorKind::NotFound => {
                Ok((ListOrdersResponse::default(), error.correlation_id))
            }
            Err(error) => Err(error),
        }
    }

    /// Stores the intent of an order, where it has one about lines that the feed does not know.
    async fn take(&self, subject: &Subject<'_>, order: &SellerOrder, end: &mut ScanEnd) -> Result<(), ScanFailure> {
        let OrderFlags { intent, unreadable } = OrderFlags::of(order, &subject.seller);
        if unreadable > 0 {
            end.unreadable += unreadable as u64;
            end.example.get_or_insert_with(|| order.purchase_order_id.as_str().into());
        }
        let Some(mut intent) = intent else { return Ok(()) };
        if is_planted(PlantedBug::BackfilledOrderStored) {
            intent.order_date = format!("{order:?}");
        }
        let (account, seller) = (subject.id.clone(), subject.seller.clone());
        let found = FoundIntent { account, seller, found: self.0.clock.now().into(), intent };
        if let Some(seq) = self.0.store.append_found(found).await? {
            end.found += 1;
            tracing::info!(
                account = %subject.id,
                purchase_order = order.purchase_order_id,
                seq,
                "an intent to cancel was found in the orders, and in no webhook"
            );
        }
        Ok(())
    }
}

impl Window {
    fn request(self, status: &str, ship_node_type: &str) -> ListOrdersRequest {
        ListOrdersRequest {
            status: status.to_owned(),
            created_start_date: date(self.from),
            created_end_date: self.until.map(date).unwrap_or_default(),
            limit: PAGE,
            ship_node_type: ship_node_type.to_owned(),
            ..ListOrdersRequest::default()
        }
    }

    fn length(self, now: Timestamp) -> Duration {
        self.until.unwrap_or(now).since(self.from)
    }

    /// Both halves; the second in the middle is in both.
    fn halves(self, now: Timestamp) -> [Self; 2] {
        let middle = self.from.plus(self.length(now) / 2);
        [Self { from: self.from, until: Some(middle) }, Self { from: middle, until: self.until }]
    }
}

/// Whether Walmart refuses a search because it has too many hits. The wording is not documented.
fn says_too_many(error: &UpstreamError) -> bool {
    let says = |text: &str| text.contains("20000") || text.contains("20,000");
    error.kind == ErrorKind::Rejected && error.errors.iter().any(|one| says(&one.description) || says(&one.info))
}

/// A time as Walmart's filters take it: to the second.
fn date(time: Timestamp) -> String {
    let time = i64::try_from(time.0).ok().and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
    time.unwrap_or(jiff::Timestamp::MAX).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
