use std::time::{Duration, SystemTime};

use super::*;
use crate::domain::feed::notification::UpdateContent;
use crate::domain::feed::{FeedName, LogId};
use crate::store::memory_feed::MemoryFeed;

const BODY: &str = "{}";
/// Of [`BODY`].
const HASH: &str = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
const NOW: u64 = 1_760_000_000_123;

fn log() -> MemoryFeed {
    MemoryFeed::new(LogId(1))
}

fn intake(log: &MemoryFeed) -> WebhookIntake<MemoryFeed> {
    WebhookIntake::new(log.clone(), Clock::following(SystemTime::UNIX_EPOCH + Duration::from_millis(NOW)))
}

fn acme() -> AccountId {
    AccountId::new("acme").unwrap()
}

fn notification(event_id: &str) -> WebhookNotification {
    let intent = pb::CancelIntent { purchase_order_id: "PO-1".into(), ..Default::default() };
    WebhookNotification {
        event_id: event_id.into(),
        event_type: "ORDER_UPDATES".into(),
        sub_event_type: "INTENT_TO_CANCEL".into(),
        event_version: "V1".into(),
        event_time: Some(Timestamp(1_759_999_999_007)),
        intent: Some(intent),
        ..WebhookNotification::default()
    }
}

async fn take(
    log: &MemoryFeed,
    body: &'static str,
    read: Result<WebhookNotification, UnreadableBody>,
) -> AppendOutcome {
    let recipient = DeliveryRecipient { account: acme(), seller: SellerId::new("10") };
    intake(log).take(&recipient, Bytes::from_static(body.as_bytes()), read).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_intent_becomes_an_event_of_the_log() {
    let log = log();
    assert_eq!(take(&log, BODY, Ok(notification("e-1"))).await, AppendOutcome::Stored { seq: Some(1) });
    let events = log.read(FeedName::CancelIntents, 0, 10, usize::MAX, true).await.unwrap();
    let [stored] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((stored.seq, stored.received, &stored.raw[..]), (1, Timestamp(NOW), BODY.as_bytes()));
    let expected_intent = &pb::CancelIntent { purchase_order_id: "PO-1".into(), ..Default::default() };
    let expected = pb::Event {
        event_id: "e-1".into(),
        event_type: "ORDER_UPDATES".into(),
        event_version: "V1".into(),
        event_time: Some(prost_types::Timestamp { seconds: 1_759_999_999, nanos: 7_000_000 }),
        received_at: Some(prost_types::Timestamp { seconds: 1_760_000_000, nanos: 123_000_000 }),
        ordering_key: "PO-1".into(),
        intent: Some(pb::CancelIntent { purchase_order_id: "PO-1".into(), ..Default::default() }),
        body_sha256: HASH.into(),
        account: "acme".into(),
        sub_event_type: "INTENT_TO_CANCEL".into(),
        intent_key: intent_key(&SellerId::new("10"), expected_intent),
        origin: pb::EventOrigin::Webhook.into(),
        ..Default::default()
    };
    assert_eq!(pb::Event::decode(&stored.message[..]).unwrap(), expected);
}

#[tokio::test]
async fn an_event_without_an_id_gets_one_of_its_body() {
    let log = log();
    take(&log, BODY, Ok(notification(""))).await;
    assert_eq!(take(&log, BODY, Ok(notification(""))).await, AppendOutcome::Duplicate);
    assert_eq!(take(&log, "{ }", Ok(notification(""))).await, AppendOutcome::Stored { seq: Some(2) });
    let stored = log.find(FeedName::CancelIntents, &acme(), &format!("sha256:{HASH}"), false).await.unwrap().unwrap();
    let event = pb::Event::decode(&stored.message[..]).unwrap();
    assert!(event.id_synthesized);
    assert_eq!(event.event_id, format!("sha256:{HASH}"));
}

#[tokio::test]
async fn an_id_and_a_kind_are_one_event_whatever_else_comes_with_them() {
    let log = log();
    take(&log, BODY, Ok(notification("e-1"))).await;
    assert_eq!(take(&log, BODY, Ok(notification("e-1"))).await, AppendOutcome::Duplicate);
    assert_eq!(take(&log, "{ }", Ok(notification("e-1"))).await, AppendOutcome::Conflict);
    // Another kind is another event, even under the same id.
    let other = WebhookNotification { intent: None, sub_event_type: "PO_CREATED".into(), ..notification("e-1") };
    assert_eq!(take(&log, BODY, Ok(other)).await, AppendOutcome::Stored { seq: Some(1) });
    assert_eq!(*log.head(FeedName::CancelIntents).borrow(), 1);
}

#[tokio::test]
async fn another_event_goes_into_the_log_of_order_updates() {
    let log = log();
    let content = pb::order_update::Update::Shipment(pb::McsShipment::default());
    let update =
        UpdateContent { content: Some(content.clone()), ordering_key: "PO-1".into(), partner_id: "another".into() };
    let other = || {
        let update = update.clone();
        Ok(WebhookNotification { intent: None, sub_event_type: "PO_CREATED".into(), update, ..notification("e-1") })
    };
    assert_eq!(take(&log, BODY, other()).await, AppendOutcome::Stored { seq: Some(1) });
    assert_eq!(take(&log, BODY, other()).await, AppendOutcome::Duplicate);
    assert_eq!(*log.head(FeedName::CancelIntents).borrow(), 0);
    let events = log.read(FeedName::OrderUpdates, 0, 10, usize::MAX, true).await.unwrap();
    let [stored] = events.as_slice() else { panic!("{events:?}") };
    let expected = pb::OrderUpdate {
        origin: pb::EventOrigin::Webhook.into(),
        partner_mismatch: true,
        ordering_key: "PO-1".into(),
        update: Some(content),
        event_id: "e-1".into(),
        event_type: "ORDER_UPDATES".into(),
        event_version: "V1".into(),
        event_time: Some(prost_types::Timestamp { seconds: 1_759_999_999, nanos: 7_000_000 }),
        received_at: Some(prost_types::Timestamp { seconds: 1_760_000_000, nanos: 123_000_000 }),
        body_sha256: HASH.into(),
        account: "acme".into(),
        sub_event_type: "PO_CREATED".into(),
        ..Default::default()
    };
    assert_eq!(pb::OrderUpdate::decode(&stored.message[..]).unwrap(), expected);
    assert_eq!(&stored.raw[..], BODY.as_bytes());
}

#[tokio::test]
async fn what_cannot_be_read_is_in_quarantine_once_with_its_reason() {
    let log = log();
    let unreadable = || Err(UnreadableBody::new("no event type"));
    assert_eq!(take(&log, BODY, unreadable()).await, AppendOutcome::Stored { seq: None });
    assert_eq!(take(&log, BODY, unreadable()).await, AppendOutcome::Duplicate);
    let kept = log.quarantined(&[acme()], 0, 10, true).await.unwrap();
    let [kept] = kept.as_slice() else { panic!("{kept:?}") };
    assert_eq!((kept.reason.as_str(), &kept.raw[..], kept.size), ("no event type", BODY.as_bytes(), 2));
    assert_eq!(hex::lower(&kept.body_hash), HASH);
}

#[tokio::test]
async fn both_envelopes_of_an_intent_have_one_key() {
    let log = log();
    let line = |sku: &str| pb::CancelIntentLine { line_number: "1".into(), sku: sku.into(), ..Default::default() };
    let intent = |partner: &str, sku: &str| pb::CancelIntent {
        partner_id: partner.into(),
        purchase_order_id: "PO-1".into(),
        order_lines: vec![line(sku)],
        ..Default::default()
    };
    let envelope = |event_id: &str, event_type: &str, intent| WebhookNotification {
        event_type: event_type.into(),
        intent: Some(intent),
        ..notification(event_id)
    };
    take(&log, "[1]", Ok(envelope("e-1", "INTENT_TO_CANCEL", intent("10", "MUG")))).await;
    take(&log, "[2]", Ok(envelope("e-2", "ORDER_UPDATES", intent("", "")))).await;
    // Another seller is named: the key is that of the account's seller.
    take(&log, "[3]", Ok(envelope("e-3", "ORDER_UPDATES", intent("11", "MUG")))).await;
    let stored = log.read(FeedName::CancelIntents, 0, 10, usize::MAX, false).await.unwrap();
    let events: Vec<_> = stored.iter().map(|stored| pb::Event::decode(&stored.message[..]).unwrap()).collect();
    assert!(events.iter().all(|event| event.intent_key.len() == 64 && event.intent_key == events[0].intent_key));
    assert!(events.iter().all(|event| event.origin() == pb::EventOrigin::Webhook));
    assert_eq!(Vec::from_iter(events.iter().map(|event| event.partner_mismatch)), [false, false, true]);
}
