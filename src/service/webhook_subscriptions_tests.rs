//! One subscription of a type and URL, whatever becomes of the answer.

use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::DropGuard;

use super::*;
use crate::domain::effect::Effect;
use crate::domain::ledger::{AlertKind, EntryState, OperationId};
use crate::domain::operation::Operation::{WebhookCreate, WebhookDelete, Webhooks};
use crate::ports::upstream::UpstreamError;
use crate::store::memory::MemoryLedger;
use crate::testing::walmart::{Answer, Said, Walmart, call, error, lost, over, refused, resolving, sample};

const VERY_LONG: Duration = Duration::from_secs(2000);
const URL: &str = "http://127.0.0.1:8080/webhooks/walmart/demo";

fn request() -> pb::CreateWebhookSubscriptionRequest {
    let body = include_str!("../../examples/webhook-subscription.json");
    let sample = sample("CreateWebhookSubscriptionRequest", body);
    pb::CreateWebhookSubscriptionRequest { account: "acme".into(), ..sample }
}

/// Lists of these subscriptions, in turn in two of Walmart's forms.
fn lists(lists: &[&[&str]]) -> Vec<Answer> {
    let row = |id: &&str| {
        json!({"subscriptionId": id, "eventType": "ORDER_UPDATES", "eventVersion": "V1", "resourceName": "ORDER",
            "eventUrl": URL, "status": "ACTIVE"})
    };
    let list = |(at, ids): (usize, &&[&str])| {
        let rows: Vec<Value> = ids.iter().map(row).collect();
        let body = if at % 2 == 0 { json!({ "events": rows }) } else { json!(rows) };
        Ok(Said { body: Some(body), ..Said::default() })
    };
    lists.iter().enumerate().map(list).collect()
}

type Service = WebhookSubscriptions<Walmart, MemoryLedger>;

fn service(walmart: &Walmart) -> (Service, MemoryLedger, DropGuard) {
    let ledger = MemoryLedger::new();
    let mutations = over(walmart, ledger.clone(), 20);
    let guard = resolving(&mutations);
    (WebhookSubscriptions::new(walmart.clone(), mutations, TaskTracker::new(), WebhookChecks::default()), ledger, guard)
}

fn sent(walmart: &Walmart) -> usize {
    walmart.asked().into_iter().filter(|operation| *operation == WebhookCreate).count()
}

async fn state(ledger: &MemoryLedger) -> EntryState {
    let entry = ledger.get(OperationId(1)).await.unwrap().unwrap();
    assert!(entry.body.is_empty(), "the request has secrets");
    entry.state
}

#[tokio::test(start_paused = true)]
async fn two_new_subscriptions_after_a_lost_answer_are_an_alert() {
    let walmart = Walmart::default()
        .answering(Webhooks, lists(&[&[], &["a", "b"]]))
        .answering(WebhookCreate, [lost(WebhookCreate)]);
    let (service, ledger, _resolving) = service(&walmart);
    let made = service.create(request(), &call(VERY_LONG)).await.unwrap();
    assert_eq!((made.replayed, made.events[0].event_type(), sent(&walmart)), (false, "ORDER_UPDATES", 1));
    assert_eq!(made.events[0].auth_details, None);
    assert_eq!(state(&ledger).await, EntryState::Succeeded);
    let alerts = ledger.alerts(OperationId(1)).await.unwrap();
    assert_eq!(alerts.into_iter().map(|(kind, _)| kind).collect::<Vec<_>>(), [AlertKind::Duplicate]);
}

#[tokio::test(start_paused = true)]
async fn absence_ends_a_lost_creation_without_another_attempt() {
    let walmart = Walmart::default()
        .answering(Webhooks, lists(&[&[] as &[&str]; 9]))
        .answering(WebhookCreate, [lost(WebhookCreate)]);
    let (service, ledger, _resolving) = service(&walmart);
    let expired = service.create(request(), &call(VERY_LONG)).await.unwrap_err();
    assert!(matches!(expired.error, ServiceError::Expired { .. }), "{expired:?}");
    assert_eq!((state(&ledger).await, sent(&walmart)), (EntryState::Expired, 1));
}

#[tokio::test(start_paused = true)]
async fn lists_that_prove_nothing_leave_it_to_an_operator() {
    let nothing = || Ok(Said { body: Some(json!({"status": "OK", "payload": []})), ..Said::default() });
    let answers = lists(&[&[]]).into_iter().chain((0..30).map(|_| nothing()));
    let walmart = Walmart::default().answering(Webhooks, answers).answering(WebhookCreate, [lost(WebhookCreate)]);
    let (service, ledger, _resolving) = service(&walmart);
    let pending = service.create(request(), &call(VERY_LONG)).await.unwrap_err();
    assert!(matches!(pending.error, ServiceError::OutcomePending { .. }), "{pending:?}");
    assert_eq!((state(&ledger).await, sent(&walmart)), (EntryState::NeedsOperator, 1));
}

#[tokio::test(start_paused = true)]
async fn a_creation_that_was_not_sent_is_never_sent_later() {
    let walmart = Walmart::default()
        .answering(Webhooks, lists(&[&[]]))
        .answering(WebhookCreate, [Err(error(WebhookCreate, ErrorKind::Unavailable, Effect::None))]);
    // The caller has gone when the attempt ends.
    let walmart = walmart.deaf();
    let (service, ledger, _resolving) = service(&walmart);
    let early = service.create(request(), &call(Duration::from_millis(1500))).await;
    assert!(early.is_err());
    tokio::time::sleep(VERY_LONG).await;
    assert_eq!((state(&ledger).await, sent(&walmart)), (EntryState::NotSent, 1));
}

#[tokio::test(start_paused = true)]
async fn a_subscription_is_gone_by_our_own_hand_or_was_never_there() {
    let gone = |after_lost_attempt| {
        let Err(refusal) = refused(WebhookDelete, ErrorKind::NotFound, "CONTENT_NOT_FOUND.GMP_NOTIFICATION_API", "")
        else {
            panic!("a refusal")
        };
        Err(UpstreamError { after_lost_attempt, ..refusal })
    };
    let walmart = Walmart::default().answering(WebhookDelete, [gone(true), gone(false)]);
    let (service, _, _resolving) = service(&walmart);
    let request = || pb::DeleteWebhookSubscriptionRequest { account: "acme".into(), subscription_id: "s-1".into() };
    let deleted = service.delete(request(), &call(VERY_LONG)).await.unwrap();
    assert_eq!((deleted.subscription_id.as_str(), deleted.correlation_id.is_empty()), ("s-1", false));
    let unknown = service.delete(request(), &call(VERY_LONG)).await.unwrap_err();
    assert!(matches!(unknown, ServiceError::Upstream(error) if error.kind == ErrorKind::NotFound));
}
