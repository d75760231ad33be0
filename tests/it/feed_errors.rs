//! Every error of the feed over the wire, with what its metadata says.

use order_gateway::pb;
use serde_json::{Value, json};
use tonic::Code;

use crate::support::app::{Setup, TestApp};
use crate::support::client::{Client, message};
use crate::support::feed::{ack, answer, client, finish, post, subscribe, watch};
use crate::support::webhooks::SETTINGS;

async fn app() -> TestApp {
    Setup::new().settings(SETTINGS).start().await
}

async fn create(of: &Client, body: Value) -> Result<pb::Subscription, Box<crate::support::client::Problem>> {
    let request: pb::CreateSubscriptionRequest = message("CreateSubscriptionRequest", &body.to_string());
    answer(client(of).create_subscription(request).await).map(|made| made.subscription.unwrap())
}

#[tokio::test]
async fn places_that_do_not_fit() {
    let app = app().await;
    let oms = app.client().await;
    post(&app, 1, 3).await;
    let refused = async |start: Value| watch(&oms, &json!({"start": start})).await.err().unwrap();
    let problem = watch(&oms, &json!({})).await.err().unwrap();
    problem.is(Code::InvalidArgument, "INVALID_REQUEST");
    assert_eq!(problem.fields, ["start"]);
    let problem = refused(json!({"afterCursor": "3"})).await;
    problem.is(Code::InvalidArgument, "BAD_CURSOR");
    assert_eq!(
        (problem.metadata["field"].as_str(), &problem.fields),
        ("start.after_cursor", &vec!["start.after_cursor".to_owned()])
    );
    let problem = refused(json!({"afterCursor": "0badcafe.3"})).await;
    problem.is(Code::FailedPrecondition, "LOG_CHANGED");
    let cursor = oms.gateway("").await.unwrap().feed.unwrap().log_id[..8].to_owned() + ".9";
    let problem = refused(json!({"afterCursor": cursor})).await;
    problem.is(Code::OutOfRange, "CURSOR_IN_FUTURE");
    assert_eq!(problem.metadata["head"], "3");
    let problem = watch(&oms, &json!({"start": {"latest": true}, "filter": {"skus": [""]}})).await.err().unwrap();
    problem.is(Code::InvalidArgument, "BAD_FILTER");
    assert_eq!(problem.metadata["field"], "filter.skus[0]");
    let problem = watch(&oms, &json!({"start": {"latest": true}, "heartbeatInterval": "61s"})).await.err().unwrap();
    problem.is(Code::InvalidArgument, "OUT_OF_BOUNDS");
    assert_eq!(problem.metadata["field"], "heartbeat_interval");
    let problem = watch(&oms, &json!({"start": {"latest": true}, "account": "nobody"})).await.err().unwrap();
    problem.is(Code::NotFound, "ACCOUNT_NOT_FOUND");
    let request =
        pb::GetCancelIntentRequest { key: Some(pb::get_cancel_intent_request::Key::Seq(7)), ..Default::default() };
    answer(client(&oms).get_cancel_intent(request).await).unwrap_err().is(Code::NotFound, "EVENT_NOT_FOUND");
    finish(app).await;
}

#[tokio::test]
async fn a_span_that_is_none_is_a_fault_and_no_bug() {
    let app = app().await;
    let oms = app.client().await;
    let start = Some(pb::Position { at: Some(pb::position::At::Latest(true)) });
    let heartbeat_interval = Some(prost_types::Duration { seconds: i64::MIN, nanos: i32::MIN });
    let request = pb::WatchCancelIntentsRequest { start, heartbeat_interval, ..Default::default() };
    let problem = answer(client(&oms).watch_cancel_intents(request).await).err().unwrap();
    problem.is(Code::InvalidArgument, "OUT_OF_BOUNDS");
    finish(app).await;
}

#[tokio::test]
async fn subscriptions_that_do_not_fit() {
    let app = app().await;
    let oms = app.client().await;
    post(&app, 1, 3).await;
    let asked = json!({"subscription": "oms", "consumerId": "me"});
    let problem = subscribe(&oms, &asked).await.err().unwrap();
    problem.is(Code::NotFound, "SUBSCRIPTION_NOT_FOUND");
    assert_eq!(problem.metadata["name"], "oms");
    let made = create(&oms, json!({"subscription": {"name": "oms"}})).await.unwrap();
    let problem = create(&oms, json!({"subscription": {"name": "oms", "maxAttempts": 1}})).await.unwrap_err();
    problem.is(Code::AlreadyExists, "SUBSCRIPTION_DIFFERS");
    assert_eq!(problem.metadata["etag"], made.etag);
    let problem = ack(&oms, "oms", &["lease".into()]).await.unwrap_err();
    problem.is(Code::InvalidArgument, "BAD_LEASE_FORMAT");
    assert_eq!(
        (problem.metadata["field"].as_str(), problem.fields[0].as_str()),
        ("verdicts[0].lease", "verdicts[0].lease")
    );

    let open = async |consumer: &str| {
        let mut stream = subscribe(&oms, &json!({"subscription": "oms", "consumerId": consumer})).await.unwrap();
        stream.opened().await;
        stream
    };
    let first = open("me").await;
    let second = open("me").await;
    let ended = first.end().await;
    ended.is(Code::Aborted, "CONSUMER_REPLACED");
    assert_eq!((ended.metadata["generation"].as_str(), ended.metadata.contains_key("lastCursor")), ("1", true));
    let update = json!({"subscription": {"name": "oms", "paused": true}});
    let update: pb::UpdateSubscriptionRequest = message("UpdateSubscriptionRequest", &update.to_string());
    answer(client(&oms).update_subscription(update).await).unwrap();
    second.end().await.is(Code::Aborted, "SUBSCRIPTION_UPDATED");
    let third = open("me").await;
    let seek = json!({"name": "oms", "position": {"latest": true}});
    let seek: pb::SeekSubscriptionRequest = message("SeekSubscriptionRequest", &seek.to_string());
    answer(client(&oms).seek_subscription(seek).await).unwrap();
    let ended = third.end().await;
    ended.is(Code::Aborted, "SUBSCRIPTION_SEEKED");
    assert_eq!(ended.metadata["generation"], "2");
    let fourth = open("me").await;
    let delete = pb::DeleteSubscriptionRequest { name: "oms".into(), ..Default::default() };
    answer(client(&oms).delete_subscription(delete).await).unwrap();
    fourth.end().await.is(Code::NotFound, "SUBSCRIPTION_NOT_FOUND");
    finish(app).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_let_go_and_others_are_not_held_up() {
    let app = app().await;
    let (frozen, awake) = (app.client().await, app.client().await);
    let raw = json!({"start": {"earliest": true}, "includeRaw": true});
    let mut stuck = watch(&frozen, &raw).await.unwrap();
    let mut reading = watch(&awake, &raw).await.unwrap();
    stuck.opened().await;
    reading.opened().await;
    // More than the windows of a connection hold.
    let mut walmart = crate::support::webhooks::Sender::connect(app.http).await;
    for number in 0..40 {
        let mut body = crate::support::webhooks::intent(&format!("e-{number}"), "PO");
        body["payload"]["padding"] = json!("x".repeat(200_000));
        assert_eq!(walmart.deliver(body.to_string().as_bytes()).await.0, 200);
        assert_eq!(reading.events(1).await[0].seq, number + 1);
    }
    app.advance(std::time::Duration::from_secs(61)).await;
    let mut got = 0;
    let ended = loop {
        match stuck.next().await {
            Ok(Some(_)) => got += 1,
            Ok(None) => panic!("it ended well"),
            Err(problem) => break problem,
        }
    };
    ended.is(Code::ResourceExhausted, "SLOW_CONSUMER");
    assert!(ended.retry_after.is_some());
    let place: usize = ended.metadata["lastCursor"].split_once('.').unwrap().1.parse().unwrap();
    assert_eq!(place, got, "all up to there was received");
    assert!(got < 40);
    drop((reading, walmart));
    finish(app).await;
}
