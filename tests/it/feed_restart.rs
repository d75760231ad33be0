//! The feed over restarts, and over another store.

use order_gateway::pb;
use serde_json::json;
use tonic::Code;

use crate::support::app::{Setup, TestApp};
use crate::support::feed::{ack, answer, client, finish, post, subscribe, watch};
use crate::support::webhooks::SETTINGS;

async fn app(file: &std::path::Path) -> TestApp {
    let store = format!("[store]\nurl = \"sqlite://{}\"\n", file.display());
    Setup::new().settings(SETTINGS).settings(&store).start().await
}

#[tokio::test]
async fn log_cursors_subscriptions_and_leases_outlive_the_process() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("feed.db");
    let first = app(&file).await;
    let oms = first.client().await;
    post(&first, 1, 5).await;
    let asked = json!({"subscription": "oms", "consumerId": "me", "createIfMissing": {"maxAttempts": 3}});
    let mut loans = subscribe(&oms, &asked).await.unwrap();
    let log_id = loans.opened().await.log_id;
    let got = loans.deliveries(5).await;
    ack(&oms, "oms", &[got[0].lease.clone(), got[3].lease.clone()]).await.unwrap();
    let before = get(&oms).await;
    let cursor = got[2].event.as_ref().unwrap().cursor.clone();
    drop(loans);
    finish(first).await;

    let second = app(&file).await;
    let oms = second.client().await;
    assert_eq!(get(&oms).await, before);
    let mut loans = subscribe(&oms, &asked).await.unwrap();
    let opened = loans.opened().await;
    assert_eq!((opened.log_id, opened.head), (log_id, 5));
    assert_eq!(opened.held_leases, ["g1.s2.a1", "g1.s3.a1", "g1.s5.a1"]);
    let settled = ack(&oms, "oms", &[vec!["g1.s1.a1".into()], opened.held_leases].concat()).await.unwrap();
    let outcomes: Vec<_> = settled.results.iter().map(pb::SettleResult::outcome).collect();
    use pb::SettleOutcome::{AlreadyApplied, Applied};
    assert_eq!(outcomes, [AlreadyApplied, Applied, Applied, Applied]);
    let mut stream = watch(&oms, &json!({"start": {"afterCursor": cursor}})).await.unwrap();
    stream.opened().await;
    post(&second, 6, 1).await;
    let seqs: Vec<_> = stream.events(3).await.iter().map(|event| event.seq).collect();
    assert_eq!(seqs, [4, 5, 6], "no gap and no repeat");
    assert_eq!(loans.deliveries(1).await[0].lease, "g1.s6.a1");
    // Walmart says it again: it is known.
    post(&second, 3, 2).await;
    assert_eq!(oms.gateway("").await.unwrap().feed.unwrap().head, 6);
    drop((loans, stream));
    finish(second).await;

    // Another store is another log: the cursor does not fit, and that is said.
    let third = app(&folder.path().join("other.db")).await;
    let oms = third.client().await;
    post(&third, 1, 4).await;
    let refused = watch(&oms, &json!({"start": {"afterCursor": cursor}})).await.err().unwrap();
    refused.is(Code::FailedPrecondition, "LOG_CHANGED");
    let ours = oms.gateway("").await.unwrap().feed.unwrap().log_id;
    assert_eq!(refused.metadata["logIds"], format!("{ours},{}", cursor.split('.').next().unwrap()));
    assert_eq!((refused.metadata["first"].as_str(), refused.metadata["head"].as_str()), ("1", "4"));
    finish(third).await;
}

async fn get(oms: &crate::support::client::Client) -> pb::Subscription {
    let request = pb::GetSubscriptionRequest { name: "oms".into() };
    answer(client(oms).get_subscription(request).await).unwrap().subscription.unwrap()
}

#[tokio::test]
async fn odd_numbers_are_no_trouble_of_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let app = app(&folder.path().join("feed.db")).await;
    let oms = app.client().await;
    post(&app, 1, 2).await;
    let last = u64::MAX.to_string();
    let page = pb::ListQuarantinedWebhooksRequest { page_token: last.clone(), ..Default::default() };
    assert!(answer(client(&oms).list_quarantined_webhooks(page).await).unwrap().webhooks.is_empty());
    let made = pb::CreateSubscriptionRequest {
        subscription: Some(pb::Subscription { name: "oms".into(), ..Default::default() }),
    };
    answer(client(&oms).create_subscription(made).await).unwrap();
    let page =
        pb::ListParkedCancelIntentsRequest { subscription: "oms".into(), page_token: last, ..Default::default() };
    assert!(answer(client(&oms).list_parked_cancel_intents(page).await).unwrap().parked.is_empty());
    let seqs = vec![0, u64::MAX];
    let redrive = pb::RedriveCancelIntentsRequest { subscription: "oms".into(), seqs, all: false };
    assert_eq!(answer(client(&oms).redrive_cancel_intents(redrive).await).unwrap().redriven, 0);
    let missing = pb::get_cancel_intent_request::Key::Seq(u64::MAX);
    let get = pb::GetCancelIntentRequest { key: Some(missing), ..Default::default() };
    answer(client(&oms).get_cancel_intent(get).await).unwrap_err().is(Code::NotFound, "EVENT_NOT_FOUND");
    let late = prost_types::Timestamp { seconds: i64::MAX, nanos: i32::MAX };
    let start = Some(pb::Position { at: Some(pb::position::At::ReceivedAt(late)) });
    let list = pb::ListCancelIntentsRequest { start, ..Default::default() };
    assert!(answer(client(&oms).list_cancel_intents(list).await).unwrap().events.is_empty());
    let lease = format!("g{}.s{}.a{}", u64::MAX, u64::MAX, u32::MAX);
    let settled = ack(&oms, "oms", &[lease, format!("g1.s{}.a1", u64::MAX)]).await.unwrap();
    assert!(settled.results.iter().all(|one| one.outcome() == pb::SettleOutcome::UnknownLease));
    let names = pb::ListSubscriptionsRequest { page_token: "\u{10ffff}'\"--".into(), ..Default::default() };
    assert!(answer(client(&oms).list_subscriptions(names).await).unwrap().subscriptions.is_empty());
    finish(app).await;
}
