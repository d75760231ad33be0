//! A feed in memory, and what tests ask of it.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use prost::Message as _;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use super::feed_store::FaultyFeed;
use crate::domain::account::{AccountId, AccountIndex};
use crate::domain::feed::notification::{DeliveryContent, WebhookDelivery};
use crate::domain::feed::{FeedName, LogId, WebhookNotification};
use crate::domain::moment::{BootId, SteadyTime};
use crate::domain::timestamp::Timestamp;
use crate::pb;
use crate::pb::position::At;
use crate::ports::call::{CallContext, CallRecord, Caller, VisibleAccounts};
use crate::ports::clock::{Clock, WallSteps};
use crate::ports::event_log::{AppendOutcome, EventLog, StoredEvent, TrimTimes};
use crate::ports::random::Random;
use crate::service::feed::{
    ConsumerFrame, ConsumerStream, Feed, FeedParts, FeedSettings, FeedStore, SettleReply, StreamEnd, UnreadableBody,
    WatchFrame, WatchStream,
};
use crate::service::{AccountDirectory, ClientAccounts, ClockWatch, ServiceError};
use crate::store::memory_feed::MemoryFeed;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trace::TraceContext;

pub(crate) const LOG: LogId = LogId(0xc0ff_ee00 << 96);
/// When the clock begins, in milliseconds since 1970.
pub(crate) const START: u64 = 1_800_000_000_000;
/// Longer than any stream is silent.
pub(crate) const LONG: Duration = Duration::from_secs(600);

thread_local! {
    /// Events encoded in this test: each has a thread of its own.
    static ENCODED: Cell<usize> = const { Cell::new(0) };
}

/// Events encoded in this test so far.
pub(crate) fn encoded() -> usize {
    ENCODED.get()
}

/// A feed, and what ends it.
pub(crate) struct TestFeed {
    pub(crate) feed: Feed<FaultyFeed>,
    pub(crate) store: FaultyFeed,
    /// Set its wall clock.
    pub(crate) steps: WallSteps,
    pub(crate) clock_watch: ClockWatch,
    pub(crate) clients: ClientAccounts,
    pub(crate) stopping: CancellationToken,
    pub(crate) tasks: TaskTracker,
    _end: DropGuard,
}

/// Of accounts `acme` and `other`, on a clock that follows tokio's. Events are sent as their messages, each after its
/// length.
pub(crate) fn feed() -> TestFeed {
    let store = FaultyFeed::over(MemoryFeed::new(LOG));
    let (stopping, tasks) = (CancellationToken::new(), TaskTracker::new());
    let day = Duration::from_hours(24);
    let accounts = ["acme", "other"].map(|id| AccountId::new(id).unwrap());
    let start = UNIX_EPOCH + Duration::from_millis(START);
    let (clock, steps) = Clock::stepping(start, BootId([1; 16]), SteadyTime(3_600_000));
    let metrics = Metrics::new([]);
    let clock_watch = ClockWatch::new(clock, 30 * day, metrics.clock.clone());
    clock_watch.begin(None);
    let clients = ClientAccounts::new(HashMap::new());
    let feed = Feed::start(FeedParts {
        clients: clients.clone(),
        store: store.clone(),
        directory: AccountDirectory::of_ids(accounts.clone()),
        settings: FeedSettings {
            heartbeat_interval: Duration::from_secs(10),
            retention: 30 * day,
            max_retention: 90 * day,
            max_subscriptions_per_client: 20,
        },
        encode,
        read: read_body,
        clock,
        clock_watch: clock_watch.clone(),
        random: Random::from_seed(7),
        metrics: metrics.feed,
        stopping: stopping.clone(),
        tasks: tasks.clone(),
    });
    TestFeed { feed, store, steps, clock_watch, clients, _end: stopping.clone().drop_guard(), stopping, tasks }
}

/// A body is an intent of the purchase order that it names after "intent ", or an order update after "update "; its
/// event id is the whole of it. Others cannot be read.
fn read_body(body: Bytes) -> (Bytes, Result<WebhookNotification, UnreadableBody>) {
    let text = String::from_utf8_lossy(&body).into_owned();
    let notification =
        |intent| WebhookNotification { event_id: text.clone(), event_type: "X".into(), intent, ..Default::default() };
    let read = match text.split_once(' ') {
        Some(("intent", order)) => {
            let intent = pb::CancelIntent { purchase_order_id: order.into(), ..Default::default() };
            Ok(notification(Some(intent)))
        }
        Some(("update", _)) => Ok(notification(None)),
        _ => Err(UnreadableBody::new("is of no form of the tests")),
    };
    (body, read)
}

fn encode(out: &mut Vec<u8>, log: LogId, stored: &StoredEvent) {
    ENCODED.set(ENCODED.get() + 1);
    let mut event = pb::Event::decode(stored.message.clone()).unwrap();
    event.seq = stored.seq;
    event.cursor = log.cursor(stored.seq).to_string();
    event.raw_body = stored.raw.to_vec();
    event.encode_length_delimited(out).unwrap();
}

/// A caller who may see everything.
pub(crate) fn anyone() -> CallContext {
    caller(Caller::anonymous())
}

/// A caller who may see these accounts, by their number.
pub(crate) fn limited(accounts: &[usize]) -> CallContext {
    let accounts = VisibleAccounts::Only(accounts.iter().map(|index| AccountIndex(*index)).collect());
    caller(Arc::new(Caller { name: "limited".into(), accounts, services: None }))
}

fn caller(caller: Arc<Caller>) -> CallContext {
    let trace = TraceContext { trace_id: 1, span_id: 1, sampled: false, state: None };
    let deadline = CallContext::no_deadline(tokio::time::Instant::now());
    CallContext { deadline, trace, facts: CallRecord::of(caller), purpose: Default::default() }
}

pub(crate) fn earliest() -> Option<pb::Position> {
    Some(pb::Position { at: Some(At::Earliest(true)) })
}

pub(crate) fn latest() -> Option<pb::Position> {
    Some(pb::Position { at: Some(At::Latest(true)) })
}

pub(crate) fn after(seq: u64) -> Option<pb::Position> {
    Some(pb::Position { at: Some(At::AfterCursor(LOG.cursor(seq).to_string())) })
}

/// A span as requests have it.
pub(crate) fn span(span: Duration) -> Option<prost_types::Duration> {
    span.try_into().ok()
}

/// The intent of a purchase order, as an account received it with the n-th delivery.
pub(crate) fn arrival(account: &str, purchase_order: &str, number: u64) -> WebhookDelivery {
    let event_id = format!("e-{number}");
    let intent = pb::CancelIntent { purchase_order_id: purchase_order.into(), ..Default::default() };
    let event = pb::Event {
        account: account.into(),
        event_id: event_id.clone(),
        event_type: "INTENT_TO_CANCEL".into(),
        ordering_key: purchase_order.into(),
        intent: Some(intent),
        ..Default::default()
    };
    let mut body_hash = [0; 32];
    body_hash[..8].copy_from_slice(&number.to_be_bytes());
    WebhookDelivery {
        account: AccountId::new(account).unwrap(),
        received: Timestamp(START + number - 1),
        raw: Bytes::from(format!("{{\"purchaseOrderId\":\"{purchase_order}\"}}")),
        body_hash,
        content: DeliveryContent::Event {
            feed: FeedName::CancelIntents,
            event_id,
            event_type: event.event_type.clone(),
            sub_event_type: String::new(),
            message: event.encode_to_vec().into(),
        },
    }
}

/// An order update of a purchase order, as an account received it with the n-th delivery of its feed.
pub(crate) fn update_arrival(account: &str, purchase_order: &str, number: u64) -> WebhookDelivery {
    let order = pb::SellerOrderUpdate { purchase_order_id: purchase_order.into(), ..Default::default() };
    let update = pb::OrderUpdate {
        account: account.into(),
        event_id: format!("u-{number}"),
        event_type: "PO_CREATED".into(),
        ordering_key: purchase_order.into(),
        update: Some(pb::order_update::Update::SellerOrder(order)),
        ..Default::default()
    };
    let mut body_hash = [1; 32];
    body_hash[..8].copy_from_slice(&number.to_be_bytes());
    let content = DeliveryContent::Event {
        feed: FeedName::OrderUpdates,
        event_id: update.event_id.clone(),
        event_type: update.event_type.clone(),
        sub_event_type: String::new(),
        message: update.encode_to_vec().into(),
    };
    WebhookDelivery { body_hash, content, ..arrival(account, purchase_order, number) }
}

impl TestFeed {
    /// Stores an order update about a purchase order. Gives its position.
    pub(crate) async fn post_update(&self, account: &str, purchase_order: &str) -> u64 {
        let number = *self.store.head(FeedName::OrderUpdates).borrow() + 1;
        self.append(update_arrival(account, purchase_order, number)).await
    }

    /// Stores an intent about a purchase order, received a millisecond after the one before. Gives its position.
    pub(crate) async fn post(&self, account: &str, purchase_order: &str) -> u64 {
        let number = *self.store.head(FeedName::CancelIntents).borrow() + 1;
        self.append(arrival(account, purchase_order, number)).await
    }

    /// The same with a body of so many bytes, and a message not shorter.
    pub(crate) async fn post_large(&self, account: &str, purchase_order: &str, bytes: usize) -> u64 {
        let number = *self.store.head(FeedName::CancelIntents).borrow() + 1;
        let mut arrival = arrival(account, purchase_order, number);
        arrival.raw = vec![b'x'; bytes].into();
        if let DeliveryContent::Event { message, .. } = &mut arrival.content {
            let mut event = pb::Event::decode(message.clone()).unwrap();
            event.event_version = "x".repeat(bytes);
            *message = event.encode_to_vec().into();
        }
        self.append(arrival).await
    }

    /// The same with a body of so many bytes, and a short message.
    pub(crate) async fn post_with_body(&self, account: &str, purchase_order: &str, bytes: usize) -> u64 {
        let number = *self.store.head(FeedName::CancelIntents).borrow() + 1;
        let arrival = arrival(account, purchase_order, number);
        self.append(WebhookDelivery { raw: vec![b'x'; bytes].into(), ..arrival }).await
    }

    /// Stores so many of `acme`, each of a purchase order of its own.
    pub(crate) async fn post_many(&self, count: u64) {
        for _ in 0..count {
            let number = *self.store.head(FeedName::CancelIntents).borrow() + 1;
            self.post("acme", &format!("PO-{number}")).await;
        }
    }

    async fn append(&self, arrival: WebhookDelivery) -> u64 {
        match self.store.append(arrival).await.unwrap() {
            AppendOutcome::Stored { seq: Some(seq) } => seq,
            other => panic!("{other:?}"),
        }
    }

    /// Drops all events before this position from the log, whoever needs them.
    pub(crate) async fn trim_to(&self, first: u64) {
        let held = Timestamp(START + first - 1);
        let times = TrimTimes { free: held, held, ids: Timestamp(0) };
        self.store.trim_log(times, usize::MAX).await.unwrap();
        assert_eq!(self.store.bounds(FeedName::CancelIntents).await.unwrap().first, first);
    }

    pub(crate) async fn watch(&self, start: Option<pb::Position>) -> WatchStream<FaultyFeed> {
        self.watching(pb::WatchCancelIntentsRequest { start, ..Default::default() }).await
    }

    pub(crate) async fn watching(&self, request: pb::WatchCancelIntentsRequest) -> WatchStream<FaultyFeed> {
        let mut watch = self.feed.watch(&request, &anyone()).await.unwrap();
        assert!(matches!(watch.next().await, Some(Ok(WatchFrame::Opened(_)))));
        watch
    }

    /// A subscription of all events from the first.
    pub(crate) async fn create(&self, subscription: pb::Subscription) -> pb::Subscription {
        self.feed.create(Some(&subscription), &anyone()).await.unwrap()
    }

    /// The stream of a consumer with the defaults.
    pub(crate) async fn consumer(&self, subscription: &str, consumer: &str) -> ConsumerStream<FaultyFeed> {
        self.subscribing(asking(subscription, consumer)).await.0
    }

    pub(crate) async fn subscribing(
        &self,
        request: pb::SubscribeCancelIntentsRequest,
    ) -> (ConsumerStream<FaultyFeed>, pb::Opened) {
        let mut deliveries = self.feed.subscribe(&request, &anyone()).await.unwrap();
        let Some(Ok(ConsumerFrame::Opened(opened))) = deliveries.next().await else { panic!("not opened") };
        (deliveries, opened)
    }

    /// Carries out one verdict.
    pub(crate) async fn settle(
        &self,
        subscription: &str,
        lease: &str,
        said: pb::verdict::Verdict,
    ) -> pb::SettleOutcome {
        self.settled(subscription, [(lease, said)]).await.results[0].outcome()
    }

    pub(crate) async fn settled<'a>(
        &self,
        subscription: &str,
        verdicts: impl IntoIterator<Item = (&'a str, pb::verdict::Verdict)>,
    ) -> SettleReply {
        let verdict = |(lease, said): (&str, _)| pb::Verdict { lease: lease.into(), verdict: Some(said) };
        let verdicts = verdicts.into_iter().map(verdict).collect();
        let request = pb::SettleCancelIntentsRequest { subscription: subscription.into(), verdicts };
        self.feed.settle(&request, &anyone()).await.unwrap()
    }

    pub(crate) async fn shown(&self, name: &str) -> pb::Subscription {
        self.feed.show(name, &anyone()).await.unwrap()
    }
}

/// A subscription of this name, with the defaults.
pub(crate) fn plain(name: &str) -> pb::Subscription {
    pb::Subscription { name: name.into(), ..Default::default() }
}

/// A consumer of a subscription, with the defaults.
pub(crate) fn asking(subscription: &str, consumer: &str) -> pb::SubscribeCancelIntentsRequest {
    pb::SubscribeCancelIntentsRequest {
        subscription: subscription.into(),
        consumer_id: consumer.into(),
        ..Default::default()
    }
}

pub(crate) fn ack() -> pb::verdict::Verdict {
    pb::verdict::Verdict::Ack(pb::Ack {})
}

/// What a frame of a watch holds.
pub(crate) fn read(frame: &WatchFrame) -> Vec<pb::Event> {
    let WatchFrame::Events(bytes) = frame else { return Vec::new() };
    let mut bytes = bytes.clone();
    let mut events = Vec::new();
    while !bytes.is_empty() {
        events.push(pb::Event::decode_length_delimited(&mut bytes).unwrap());
    }
    events
}

/// Positions of the next events of a watch, until so many were sent or a heartbeat comes.
pub(crate) async fn take<F: FeedStore>(watch: &mut WatchStream<F>, count: usize) -> Vec<u64> {
    let mut seqs = Vec::new();
    while seqs.len() < count {
        match watch.next().await {
            Some(Ok(frame @ WatchFrame::Events(_))) => seqs.extend(read(&frame).iter().map(|event| event.seq)),
            Some(Ok(WatchFrame::Heartbeat(_))) => break,
            other => panic!("{other:?} after {seqs:?}"),
        }
    }
    seqs
}

/// The next frame of a watch, which is a heartbeat.
pub(crate) async fn beat<F: FeedStore>(watch: &mut WatchStream<F>) -> pb::Heartbeat {
    match tokio::time::timeout(LONG, watch.next()).await.expect("silence") {
        Some(Ok(WatchFrame::Heartbeat(beat))) => beat,
        other => panic!("{other:?}"),
    }
}

/// Deliveries until so many have come; heartbeats in between are passed by, for a while.
pub(crate) async fn deliveries<F: FeedStore>(stream: &mut ConsumerStream<F>, count: usize) -> Vec<pb::Delivery> {
    let mut got = Vec::new();
    let until = tokio::time::Instant::now() + LONG;
    while got.len() < count {
        match tokio::time::timeout_at(until, stream.next()).await {
            Ok(Some(Ok(ConsumerFrame::Delivery(delivery)))) => got.push(delivery.into()),
            Ok(Some(Ok(ConsumerFrame::Heartbeat(_)))) => {}
            other => panic!("{other:?} after {}", got.len()),
        }
    }
    got
}

/// The next delivery.
pub(crate) async fn delivery<F: FeedStore>(stream: &mut ConsumerStream<F>) -> pb::Delivery {
    deliveries(stream, 1).await.remove(0)
}

/// The next frame of a consumer's stream, which is a heartbeat.
pub(crate) async fn idle<F: FeedStore>(stream: &mut ConsumerStream<F>) -> pb::Heartbeat {
    match stream.next().await {
        Some(Ok(ConsumerFrame::Heartbeat(beat))) => beat,
        other => panic!("{other:?}"),
    }
}

/// How a consumer's stream ends; what comes before is passed by.
pub(crate) async fn end<F: FeedStore>(stream: &mut ConsumerStream<F>) -> StreamEnd {
    let until = tokio::time::Instant::now() + LONG;
    loop {
        if let Err(ended) = tokio::time::timeout_at(until, stream.next()).await.expect("no end").unwrap() {
            assert!(stream.next().await.is_none(), "nothing comes after the end");
            return ended;
        }
    }
}

pub(crate) fn seqs(deliveries: &[pb::Delivery]) -> Vec<u64> {
    deliveries.iter().map(|delivery| delivery.event.as_ref().unwrap().seq).collect()
}

/// Fields that a request was refused for, after the sort of the fault: `Invalid`, `Cursor`, `Filter`, `Lease`, `Bounds`.
pub(crate) fn faults<T>(result: Result<T, ServiceError>) -> (String, Vec<String>) {
    use crate::service::feed::FeedError;
    let fields = |faults: crate::domain::rules::FieldFaults| faults.kept.into_iter().map(|fault| fault.field).collect();
    match result.err().expect("not refused") {
        ServiceError::Invalid(faults) => ("Invalid".into(), fields(faults)),
        ServiceError::Feed(FeedError::Faulty(kind, faults)) => (format!("{kind:?}"), fields(faults)),
        other => panic!("{other:?}"),
    }
}
