//! SIGTERM with everything open: nothing is lost, everybody is told, and the end is bounded.

use std::collections::HashMap;
use std::time::Duration;

use order_gateway::pb;
use order_gateway::pb::subscribe_cancel_intents_response::Frame as Loan;
use order_gateway::pb::watch_cancel_intents_response::Frame;
use serde_json::{Value, json};
use tokio::time::Instant;
use tonic::{Code, Streaming};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::serve::{Pair, SANDBOX};
use crate::support::app::get;
use crate::support::bodies;
use crate::support::client::{Client, Problem};
use crate::support::feed::{subscribe, watch};
use crate::support::process::{Process, gateway};

/// The account of `Pair` receives webhooks.
const WEBHOOKS: [(&str, &str); 3] = [
    ("ORDER_GATEWAY__ACCOUNTS__ACME__WEBHOOK__AUTH", "hmac"),
    ("ORDER_GATEWAY__ACCOUNTS__ACME__WEBHOOK__HEADER", "X-Walmart-Auth"),
    ("ORDER_GATEWAY__ACCOUNTS__ACME__WEBHOOK__SECRET", "acme-secret"),
];

async fn arrived(pair: &Pair, operation: &str) {
    loop {
        let path = format!("/_emulator/v1/requests?operation={operation}");
        let journal: Value = serde_json::from_str(&get(pair.emulator_address, &path).await.1).unwrap();
        if !journal["requests"].as_array().unwrap().is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Has Walmart post an intent, as a process of its own. Whether it was taken.
async fn post(pair: &Pair) -> bool {
    let url = format!("http://{}", pair.http);
    let mut trigger =
        gateway(["trigger", "cancel-intent", "--url", &url, "--account", "acme", "--secret", "acme-secret"]);
    tokio::task::spawn_blocking(move || trigger.output().unwrap().status.success()).await.unwrap()
}

async fn health(client: &Client, service: &str) -> Streaming<HealthCheckResponse> {
    let request = HealthCheckRequest { service: service.to_owned() };
    HealthClient::new(client.service()).watch(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn everything_that_is_open_ends_well() {
    let faults =
        "[[fault]]\noperation = \"create\"\ndelay = \"2s\"\n[[fault]]\noperation = \"promise\"\ndelay = \"2s\"";
    let pair = Pair::start("", faults, &WEBHOOKS);
    let client = Client::connect(pair.grpc).await;
    assert!(post(&pair).await);
    let mut watched = watch(&client, &json!({"start": {"earliest": true}})).await.unwrap();
    let Frame::Opened(_) = watched.frame().await else { panic!("no opening") };
    let Frame::Event(event) = watched.frame().await else { panic!("no event") };
    let body = json!({"subscription": "oms", "consumerId": "me", "createIfMissing": {"start": {"earliest": true}}});
    let mut lent = subscribe(&client, &body).await.unwrap();
    let Loan::Opened(_) = lent.frame().await else { panic!("no opening") };
    let mut healths = HashMap::new();
    for service in ["", "ordergateway.v1.FulfillmentService", "ordergateway.v1.CancelIntentService"] {
        let mut health = health(&client, service).await;
        assert_eq!(health.message().await.unwrap().unwrap().status, 1, "{service}: SERVING");
        healths.insert(service, health);
    }
    let other = client.clone();
    let create = tokio::spawn(async move { other.create(&bodies::create()).await });
    let other = client.clone();
    let promise = tokio::spawn(async move { other.promise(&bodies::promise()).await });
    arrived(&pair, "create").await;
    arrived(&pair, "promise").await;

    pair.gateway.terminate();
    let asked = Instant::now();
    for (service, mut health) in healths {
        assert_eq!(health.message().await.unwrap().unwrap().status, 2, "{service}: NOT_SERVING");
        Problem::of(&health.message().await.unwrap_err()).is(Code::Unavailable, "SHUTTING_DOWN");
    }
    assert_eq!(get(pair.http, "/readyz").await.0, 503);
    let ended = watched.end().await;
    ended.is(Code::Unavailable, "SHUTTING_DOWN");
    assert_eq!(ended.metadata["lastCursor"], event.cursor);
    let lent = lent.end().await;
    lent.is(Code::Unavailable, "SHUTTING_DOWN");
    assert!(ended.retry_after.is_some() && lent.retry_after.is_some(), "{ended:#?}");
    assert!(asked.elapsed() < Duration::from_secs(2), "told at once");
    // Walmart may post as long as there is somebody to take it.
    assert!(post(&pair).await);
    assert!(!create.is_finished() && !promise.is_finished());
    assert_eq!(create.await.unwrap().unwrap().status, "ACCEPTED");
    promise.await.unwrap().unwrap();

    let mut again = pair.again();
    again.envs(WEBHOOKS);
    let (status, lines) = pair.gateway.wait_for_end();
    assert_eq!(status.code(), Some(0), "{lines:#?}");
    assert!(lines.iter().any(|line| line.contains("drained, bye")), "{lines:#?}");
    let mut again = Process::start(again);
    again.wait_for_line("serving");
    let client = Client::connect(pair.grpc).await;
    let mut watched = watch(&client, &json!({"start": {"earliest": true}})).await.unwrap();
    watched.opened().await;
    assert_eq!(watched.events(2).await[0].event_id, event.event_id);
}

#[tokio::test]
async fn a_call_beyond_the_grace_is_told_and_its_order_is_found_by_the_next_process() {
    let faults = "[[fault]]\noperation = \"create\"\ncount = 1\ndelay = \"6s\"\n[[fault]]\noperation = \"promise\"\ndelay = \"6s\"";
    let settings =
        "[shutdown]\ngrace = \"1s\"\n[ledger]\nsettle_window = \"2s\"\nlookup_delays = [\"50ms\", \"500ms\"]";
    let pair = Pair::start(settings, faults, &[SANDBOX]);
    let client = Client::connect(pair.grpc).await;
    let other = client.clone();
    let create = tokio::spawn(async move { other.create(&bodies::create()).await });
    let other = client.clone();
    let promise = tokio::spawn(async move { other.promise(&bodies::promise()).await });
    arrived(&pair, "create").await;
    arrived(&pair, "promise").await;
    pair.gateway.terminate();
    let asked = Instant::now();
    let told = create.await.unwrap().unwrap_err();
    told.is(Code::Unavailable, "OUTCOME_PENDING");
    assert!(told.retry_after.is_some(), "{told:#?}");
    let sent: Value =
        serde_json::from_str(&get(pair.emulator_address, "/_emulator/v1/requests?operation=create").await.1).unwrap();
    let sent = sent["requests"][0]["headers"]["wm_qos.correlation_id"].as_str().unwrap().to_owned();
    assert_eq!(told.metadata["correlationId"], sent, "the call that was sent");
    let upstream = told.walmart();
    assert_eq!((upstream.effect(), &upstream.correlation_id), (pb::Effect::Unknown, &sent));
    // A read has nothing to be found out later.
    promise.await.unwrap().unwrap_err().is(Code::Unavailable, "SHUTTING_DOWN");
    let again = pair.again();
    let (status, lines) = pair.gateway.wait_for_end();
    assert_eq!(status.code(), Some(0), "{lines:#?}");
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    assert!(lines.iter().any(|line| line.contains("the grace is over")), "{lines:#?}");

    let mut again = Process::start(again);
    again.wait_for_line("serving");
    let client = Client::connect(pair.grpc).await;
    let answer = loop {
        match client.create(&bodies::create()).await {
            Ok(answer) => break answer,
            Err(pending) => pending.is(Code::Unavailable, "OUTCOME_PENDING"),
        };
    };
    assert_eq!(answer.status, "ACCEPTED");
    let orders: Value = serde_json::from_str(&get(pair.emulator_address, "/_emulator/v1/orders").await.1).unwrap();
    let of_it = |order: &&Value| order["order_number"] == "SO123";
    assert_eq!(orders["orders"].as_array().unwrap().iter().filter(of_it).count(), 1);
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let pair = Pair::start("", "[[fault]]\noperation = \"create\"\ndelay = \"9s\"", &[]);
    let client = Client::connect(pair.grpc).await;
    let create = tokio::spawn(async move { client.create(&bodies::create()).await });
    arrived(&pair, "create").await;
    pair.gateway.terminate();
    let asked = Instant::now();
    while get(pair.http, "/readyz").await.0 == 200 {
        assert!(asked.elapsed() < Duration::from_secs(2), "still ready after SIGTERM");
    }
    pair.gateway.terminate();
    let (status, lines) = pair.gateway.wait_for_end();
    assert_eq!(status.code(), Some(1), "{lines:#?}");
    assert!(asked.elapsed() < Duration::from_secs(5));
    create.abort();
}
