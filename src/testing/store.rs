//! Entries, deliveries and settings for tests of the stores.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::domain::account::{AccountId, SellerId};
use crate::domain::feed::notification::{DeliveryContent, WebhookDelivery};
use crate::domain::feed::subscription::{OrderingMode, SubscriptionConfig};
use crate::domain::feed::{AccountScope, FeedName, FoundIntent};
use crate::domain::ledger::{Entry, EntryState, Fingerprint, MutationKind, NewEntry};
use crate::domain::moment::{BootId, Moment, SteadyTime};
use crate::domain::timestamp::Timestamp;
use crate::pb;
use crate::ports::clock::Clock;
use crate::ports::event_log::StoredEvent;
use crate::ports::ledger::BeginOutcome;
use crate::ports::subscriptions::NewSubscription;
use crate::store::StoreSettings;
use crate::telemetry::metrics::Metrics;

pub(crate) fn settings() -> StoreSettings {
    StoreSettings {
        clock: Clock::system(),
        metrics: Metrics::new([]).store.clone(),
        accounts: Vec::new(),
        on_fatal: Arc::new(|why| panic!("{why}")),
    }
}

pub(crate) fn acme() -> AccountId {
    AccountId::new("acme").unwrap()
}

pub(crate) fn other_account() -> AccountId {
    AccountId::new("other").unwrap()
}

/// Seconds after some day.
pub(crate) fn time(seconds: u64) -> Timestamp {
    Timestamp(1_800_000_000_000 + seconds * 1000)
}

/// The same instant by both clocks.
pub(crate) fn moment(seconds: u64) -> Moment {
    Moment { wall: time(seconds), steady: SteadyTime(60_000 + seconds * 1000) }
}

/// A creation that is sent next.
pub(crate) fn create(order_number: &str, request_id: Option<&str>) -> NewEntry {
    NewEntry {
        account: acme(),
        kind: MutationKind::Create,
        order_number: order_number.into(),
        request_id: request_id.map(Arc::from),
        batch: 0,
        batches: 1,
        fingerprint: Fingerprint([1; 33]),
        state: EntryState::Sending,
        created: time(0),
        not_after: moment(900),
        boot: Some(BootId([1; 16])),
        correlation_id: Uuid::from_u128(1),
        body: Bytes::from_static(b"body"),
        snapshot: Vec::new(),
    }
}

/// A cancellation of so many requests: the first is sent next, the others wait.
pub(crate) fn cancel(order_number: &str, request_id: &str, batches: u32) -> Vec<NewEntry> {
    let one = |batch| NewEntry {
        kind: MutationKind::Cancel,
        batch,
        batches,
        fingerprint: Fingerprint([2; 33]),
        state: if batch == 0 { EntryState::Sending } else { EntryState::Recorded },
        correlation_id: Uuid::from_u128(100 + u128::from(batch)),
        snapshot: b"before".to_vec(),
        ..create(order_number, Some(request_id))
    };
    (0..batches).map(one).collect()
}

/// What was made.
pub(crate) fn made(begun: BeginOutcome) -> Vec<Entry> {
    match begun {
        BeginOutcome::New(entries) => entries,
        other => panic!("{other:?}"),
    }
}

/// A delivery of this body.
pub(crate) fn arrival(body: &str, content: DeliveryContent, received: Timestamp) -> WebhookDelivery {
    let raw = Bytes::from(body.to_owned());
    WebhookDelivery { account: acme(), received, body_hash: Sha256::digest(&raw).into(), raw, content }
}

/// An intent to cancel, whose message and body tell its id.
pub(crate) fn intent(event_id: &str, received: Timestamp) -> WebhookDelivery {
    event_of(FeedName::CancelIntents, event_id, received)
}

/// An order update, whose message and body tell its id.
pub(crate) fn update(event_id: &str, received: Timestamp) -> WebhookDelivery {
    event_of(FeedName::OrderUpdates, event_id, received)
}

/// An event of this feed, whose message and body tell its id.
pub(crate) fn event_of(feed: FeedName, event_id: &str, received: Timestamp) -> WebhookDelivery {
    let event_type = match feed {
        FeedName::CancelIntents => "INTENT_TO_CANCEL",
        FeedName::OrderUpdates => "PO_LINE_AUTOCANCELLED",
    };
    let content = DeliveryContent::Event {
        feed,
        event_id: event_id.into(),
        event_type: event_type.into(),
        sub_event_type: String::new(),
        message: Bytes::from(format!("message {event_id}")),
    };
    arrival(&format!("body {event_id}"), content, received)
}

/// What could not be read.
pub(crate) fn unreadable(body: &str, received: Timestamp) -> WebhookDelivery {
    arrival(body, DeliveryContent::Unreadable { reason: "is no JSON".into() }, received)
}

fn intent_about(purchase_order: &str, lines: &[&str]) -> pb::CancelIntent {
    let line = |number: &&str| pb::CancelIntentLine { line_number: (*number).into(), ..Default::default() };
    pb::CancelIntent {
        purchase_order_id: purchase_order.into(),
        order_lines: lines.iter().map(line).collect(),
        ..Default::default()
    }
}

/// An intent found in an order of `acme`.
pub(crate) fn found(purchase_order: &str, lines: &[&str], seconds: u64) -> FoundIntent {
    let intent = intent_about(purchase_order, lines);
    FoundIntent { account: acme(), seller: SellerId::new("10"), found: time(seconds), intent }
}

/// Id and origin of a stored intent, whose body tells the same id.
pub(crate) fn told_by(stored: &StoredEvent) -> (String, String) {
    let event = pb::Event::decode(&stored.message[..]).unwrap();
    let body = String::from_utf8(stored.raw.to_vec()).unwrap();
    assert!(body.contains(&format!("\"{}\"", event.event_id)), "{body}");
    let origin = event.origin().as_str_name().to_owned();
    (event.event_id, origin)
}

/// The same intent as Walmart posts it.
pub(crate) fn posted(event_id: &str, purchase_order: &str, lines: &[&str], seconds: u64) -> WebhookDelivery {
    let event = pb::Event {
        event_id: event_id.into(),
        account: "acme".into(),
        intent: Some(intent_about(purchase_order, lines)),
        ..Default::default()
    };
    let content = DeliveryContent::Event {
        feed: FeedName::CancelIntents,
        event_id: event_id.into(),
        event_type: "INTENT_TO_CANCEL".into(),
        sub_event_type: String::new(),
        message: event.encode_to_vec().into(),
    };
    arrival(&format!("body {event_id}"), content, time(seconds))
}

/// A subscription of every account that starts after this position.
pub(crate) fn new_subscription(name: &str, config: SubscriptionConfig, at: u64, now: Timestamp) -> NewSubscription {
    NewSubscription { name: name.to_owned(), config, scope: AccountScope::All, most_of_client: u64::MAX, at, now }
}

/// All events, a key at a time.
pub(crate) fn subscription_config(hold_retention: bool) -> SubscriptionConfig {
    SubscriptionConfig {
        feed: FeedName::CancelIntents,
        filter: Default::default(),
        mode: OrderingMode::KeyOrdered,
        lease_duration: Duration::from_secs(30),
        max_attempts: 20,
        backoff_min: Duration::from_secs(1),
        backoff_max: Duration::from_secs(300),
        hold_retention,
        paused: false,
        client: "oms".into(),
    }
}
