//! The feed from the webhook to the client and back.

use std::time::Duration;

use order_gateway::pb;
use order_gateway::pb::position::At;
use order_gateway::pb::watch_cancel_intents_response::Frame;
use order_gateway::shutdown::DrainOutcome;
use serde_json::{Value, json};
use tonic::Code;
use tonic::codec::CompressionEncoding;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::support::app::{Setup, TestApp};
use crate::support::feed::{ack, answer, client, finish, open_streams, opened, post, subscribe, watch};
use crate::support::webhooks::{SETTINGS, Sender, intent};

async fn app() -> TestApp {
    Setup::new().settings(SETTINGS).start().await
}

fn seqs(events: &[pb::Event]) -> Vec<u64> {
    events.iter().map(|event| event.seq).collect()
}

fn earliest() -> Value {
    json!({"start": {"earliest": true}})
}

#[tokio::test]
async fn what_walmart_posts_is_watched_resumed_subscribed_and_settled() {
    let app = app().await;
    let oms = app.client().await;
    let mut stream = watch(&oms, &earliest()).await.unwrap();
    let beginning = stream.opened().await;
    assert_eq!((beginning.head, beginning.first_available), (0, 1));
    post(&app, 1, 3).await;
    let events = stream.events(3).await;
    assert_eq!(seqs(&events), [1, 2, 3]);
    let event = &events[1];
    assert_eq!((event.event_id.as_str(), event.ordering_key.as_str(), event.account.as_str()), ("e-2", "PO-2", "demo"));
    assert_eq!((event.event_type.as_str(), event.sub_event_type.as_str()), ("INTENT_TO_CANCEL", ""));
    assert_eq!((event.body_sha256.len(), event.raw_body.len(), event.id_synthesized), (64, 0, false));
    let intent_of_it = event.intent.as_ref().unwrap();
    assert_eq!((intent_of_it.purchase_order_id.as_str(), intent_of_it.order_lines[0].sku.as_str()), ("PO-2", "SKU-1"));
    assert!(event.received_at.is_some() && event.event_time.is_some());
    drop(stream);
    post(&app, 4, 2).await;
    // After the break, on another connection.
    let other = app.client().await;
    let resume = json!({"start": {"afterCursor": event.cursor}, "includeRaw": true, "limit": 3});
    let mut stream = watch(&other, &resume).await.unwrap();
    assert_eq!(stream.opened().await.position, event.cursor);
    let events = stream.events(3).await;
    assert_eq!(seqs(&events), [3, 4, 5]);
    assert_eq!(events[0].raw_body, intent("e-3", "PO-3").to_string().into_bytes());
    assert!(stream.next().await.unwrap().is_none(), "the limit is a good end");

    let asked = json!({"subscription": "oms", "consumerId": "me", "createIfMissing": {"start": {"earliest": true}}});
    let mut loans = subscribe(&oms, &asked).await.unwrap();
    assert_eq!(loans.opened().await.generation, 1);
    let got = loans.deliveries(5).await;
    assert_eq!(got[4].lease, "g1.s5.a1");
    let leases: Vec<_> = got.into_iter().map(|one| one.lease).collect();
    let settled = ack(&oms, "oms", &leases[..4]).await.unwrap();
    assert!(settled.results.iter().all(|one| one.outcome() == pb::SettleOutcome::Applied));
    assert_eq!((settled.floor.split('.').nth(1), settled.backlog), (Some("4"), 1));
    drop(loans);
    let mut loans = subscribe(&other, &asked).await.unwrap();
    assert_eq!(loans.opened().await.held_leases, ["g1.s5.a1"]);
    post(&app, 6, 1).await;
    assert_eq!(loans.deliveries(1).await[0].lease, "g1.s6.a1");
    assert_eq!(ack(&other, "oms", &["g1.s5.a1".into(), "g1.s6.a1".into()]).await.unwrap().backlog, 0);
    let status = oms.gateway("").await.unwrap().feed.unwrap();
    assert_eq!((status.head, status.first_available, status.open_streams), (6, 1, 1));
    assert_eq!((status.subscriptions.len(), status.subscriptions[0].name.as_str()), (1, "oms"));
    drop(loans);
    finish(app).await;
}

#[tokio::test]
async fn only_intents_appear_in_the_feed() {
    let app = app().await;
    let oms = app.client().await;
    let mut walmart = Sender::connect(app.http).await;
    let update = |sub: &str, id: &str| {
        json!({"source": {"eventType": "ORDER_UPDATES", "eventId": id}, "payload": {"subEventType": sub,
            "order": {"purchaseOrderId": "PO-7"}}})
    };
    for body in [
        json!({"source": {"eventType": "PO_CREATED", "eventId": "a"}, "payload": {"purchaseOrderId": "PO-1"}}),
        intent("b", "PO-7"),
        update("ORDER_SHIPPED", "c"),
        update("INTENT_TO_CANCEL", "d"),
        intent("b", "PO-7"),
    ] {
        assert_eq!(walmart.deliver(body.to_string().as_bytes()).await.0, 200, "{body}");
    }
    assert_eq!(walmart.deliver(b"{\"source\":").await.0, 200);
    let listed = answer(client(&oms).list_cancel_intents(pb::ListCancelIntentsRequest::default()).await).unwrap();
    let told: Vec<_> = listed
        .events
        .iter()
        .map(|one| (one.event_id.as_str(), one.event_type.as_str(), one.sub_event_type.as_str()))
        .collect();
    assert_eq!(told, [("b", "INTENT_TO_CANCEL", ""), ("d", "ORDER_UPDATES", "INTENT_TO_CANCEL")]);
    assert_eq!(listed.next_page_token, "");
    let request = pb::ListQuarantinedWebhooksRequest { include_raw: true, ..Default::default() };
    let apart = answer(client(&oms).list_quarantined_webhooks(request).await).unwrap().webhooks;
    assert_eq!((apart.len(), apart[0].raw_body.as_slice()), (1, &b"{\"source\":"[..]));
    drop(walmart);
    finish(app).await;
}

#[tokio::test]
async fn packed_requests_are_taken_and_their_callers_can_read_the_answer() {
    let app = app().await;
    let oms = app.client().await;
    post(&app, 1, 2).await;
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        let mut packed = client(&oms).send_compressed(encoding).accept_compressed(encoding);
        let start = Some(pb::Position { at: Some(At::Earliest(true)) });
        let request = pb::WatchCancelIntentsRequest { start, limit: 2, ..Default::default() };
        let mut stream = opened(packed.watch_cancel_intents(request).await).unwrap();
        stream.opened().await;
        assert_eq!(seqs(&stream.events(2).await), [1, 2]);
        assert!(stream.next().await.unwrap().is_none());
        let request = pb::SubscribeCancelIntentsRequest {
            subscription: "oms".into(),
            consumer_id: format!("{encoding:?}"),
            create_if_missing: Some(pb::Subscription::default()),
            release_on_disconnect: true,
            ..Default::default()
        };
        let mut loans = opened(packed.subscribe_cancel_intents(request).await).unwrap();
        loans.opened().await;
        assert_eq!(loans.deliveries(2).await.len(), 2);
    }
    finish(app).await;
}

#[tokio::test]
async fn open_streams_end_at_shutdown_with_their_place() {
    let mut app = app().await;
    let oms = app.client().await;
    post(&app, 1, 3).await;
    let mut watching = watch(&oms, &earliest()).await.unwrap();
    watching.opened().await;
    let last = watching.events(2).await.pop().unwrap();
    let mut quiet = watch(&oms, &json!({"start": {"latest": true}})).await.unwrap();
    quiet.opened().await;
    let asked = json!({"subscription": "oms", "consumerId": "me", "createIfMissing": {}});
    let mut loans = subscribe(&oms, &asked).await.unwrap();
    loans.opened().await;
    loans.deliveries(3).await;
    assert_eq!(open_streams(&app, "cancel_intents").await, 3.0);
    let stopping = app.stop();
    for (ended, place) in [(watching.end().await, "3"), (quiet.end().await, "3"), (loans.end().await, "0")] {
        ended.is(Code::Unavailable, "SHUTTING_DOWN");
        assert!(ended.retry_after.is_some());
        let cursor = &ended.metadata["lastCursor"];
        assert_eq!(cursor.split_once('.').unwrap(), (last.cursor.split_once('.').unwrap().0, place));
    }
    assert_eq!(stopping.await.unwrap(), DrainOutcome::Clean);
}

#[tokio::test]
async fn silence_is_short_and_a_deadline_of_the_clients_holds() {
    let app = app().await;
    let oms = app.client().await;
    let asked = json!({"start": {"latest": true}, "heartbeatInterval": "1s"});
    let mut stream = watch(&oms, &asked).await.unwrap();
    stream.opened().await;
    app.advance(Duration::from_secs(1)).await;
    let Frame::Heartbeat(beat) = stream.frame().await else { panic!("no heartbeat") };
    assert_eq!((beat.head, beat.state()), (0, pb::FeedState::Live));
    let hurried = oms.clone().with("grpc-timeout", "1S");
    let mut short = watch(&hurried, &asked).await.unwrap();
    short.opened().await;
    app.advance(Duration::from_millis(1_500)).await;
    short.end().await.is(Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
    drop(stream);
    finish(app).await;
}

#[tokio::test]
async fn health_knows_the_service() {
    let app = app().await;
    let oms = app.client().await;
    let service = "ordergateway.v1.CancelIntentService".to_owned();
    let answer = HealthClient::new(oms.service()).check(HealthCheckRequest { service }).await.unwrap();
    assert_eq!(answer.into_inner().status, 1);
    finish(app).await;
}
