//! Whatever is posted: each authentic body ends in exactly one place that a call shows.

use std::collections::BTreeSet;
use std::time::SystemTime;

use axum::body::Body;
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::app::{SETTINGS, post};
use super::read::tests::any::any_json;
use super::*;
use crate::config::Config;
use crate::domain::account::AccountId;
use crate::domain::feed::{FeedName, LogId};
use crate::store::memory_feed::MemoryFeed;

/// Bodies of few ids and few kinds, so that they meet, and others.
fn any_body() -> impl Strategy<Value = String> {
    let event_type =
        prop::sample::select(vec![json!("INTENT_TO_CANCEL"), json!("ORDER_UPDATES"), json!("X"), json!(null)]);
    let sub_event_type =
        prop::sample::select(vec![json!("INTENT_TO_CANCEL"), json!("PO_CREATED"), json!("Y"), json!(null)]);
    let event_id = prop::sample::select(vec![json!("a"), json!("b"), json!(null)]);
    let event = (event_type, sub_event_type, event_id, any_json()).prop_map(|(event_type, kind, id, order)| {
        json!({"source": {"eventType": event_type, "eventId": id}, "payload": {"subEventType": kind, "order": order}})
    });
    prop_oneof![
        8 => event.prop_map(|event| event.to_string()),
        1 => any_json().prop_map(|value| value.to_string()),
        1 => ".{0,20}",
    ]
}

/// All bodies that the log has, in both feeds and in quarantine.
async fn places(log: &MemoryFeed, account: &AccountId) -> Vec<Bytes> {
    let mut all = Vec::new();
    for feed in FeedName::ALL {
        all.extend(log.read(feed, 0, usize::MAX, usize::MAX, true).await.unwrap().into_iter().map(|event| event.raw));
    }
    let kept = log.quarantined(std::slice::from_ref(account), 0, usize::MAX, true).await.unwrap();
    all.extend(kept.into_iter().map(|one| one.raw));
    all
}

async fn ends_in_one_place(bodies: &[String]) -> Result<(), TestCaseError> {
    let (log, account) = (MemoryFeed::new(LogId(1)), AccountId::new("open").unwrap());
    let clock = Clock::following(SystemTime::UNIX_EPOCH + Duration::from_secs(1));
    let config = Config::load(SETTINGS, []).unwrap();
    let metrics = Arc::new(Metrics::new([]));
    let router = WebhookReceiver::new(&config.accounts, log.clone(), clock, metrics, Tracer::off()).router();
    // Each comes again, as Walmart's do.
    for body in bodies.iter().chain(bodies) {
        let answer = router.clone().oneshot(post("open", Body::from(body.clone()))).await.unwrap();
        prop_assert_eq!(answer.status(), 200, "{}", body);
    }
    let mut shown = places(&log, &account).await;
    shown.sort();
    let posted: BTreeSet<&[u8]> = bodies.iter().map(String::as_bytes).collect();
    prop_assert_eq!(shown.iter().map(|body| &body[..]).collect::<Vec<_>>(), posted.into_iter().collect::<Vec<_>>());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_authentic_body_ends_in_exactly_one_place(bodies in prop::collection::vec(any_body(), 1..20)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(ends_in_one_place(&bodies))?;
    }
}

/// One event id, told in every way: each way has its place.
#[tokio::test]
async fn one_id_in_two_kinds_and_two_bodies_has_four_places() {
    let body = |kind: &str, order: &str| -> Value {
        json!({"source": {"eventType": "ORDER_UPDATES", "eventId": "a"},
            "payload": {"subEventType": kind, "order": {"purchaseOrderId": order}}})
    };
    let kinds = [("INTENT_TO_CANCEL", "1"), ("INTENT_TO_CANCEL", "2"), ("PO_CREATED", "1"), ("PO_CREATED", "2")];
    ends_in_one_place(&kinds.map(|(kind, order)| body(kind, order).to_string())).await.unwrap();
}
