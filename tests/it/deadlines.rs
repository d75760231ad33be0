//! Deadlines, seen in the frames: tonic's client would answer an expired one by itself.

use std::time::Duration;

use order_gateway::pb;
use serde_json::json;
use tokio::time::Instant;
use tonic::Code;

use crate::support::app::{Setup, TestApp};
use crate::support::bodies;
use crate::support::client::Problem;
use crate::support::frames::{self, CREATE, Frames, STATUS, end};

const SLOW: &str = "[[fault]]\ndelay = \"40s\"\noperation = ";

async fn slow(operation: &str) -> TestApp {
    Setup::new().faults(&format!("{SLOW}\"{operation}\"")).start().await
}

fn search() -> bytes::Bytes {
    frames::request::<pb::GetOrderStatusRequest>("GetOrderStatusRequest", &json!({"orderNumber": "SO123"}))
}

fn create() -> bytes::Bytes {
    frames::request::<pb::CreateOrderRequest>("CreateOrderRequest", &bodies::create())
}

async fn arrived(app: &TestApp, operation: &str) {
    while app.requests(operation).await.is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_read_ends_at_its_deadline_by_the_servers_own_word() {
    let app = slow("status").await;
    let connection = Frames::connect(app.grpc).await;
    let began = Instant::now();
    let ended = connection.call(STATUS, &[("grpc-timeout", "600m")], search()).await;
    assert!(ended.told);
    Problem::of(&ended.status).is(Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(400) && took < Duration::from_millis(900), "{took:?}");
    app.finish().await;
}

#[tokio::test]
async fn a_mutation_that_has_begun_is_pending_at_its_deadline_and_goes_on() {
    let app = Setup::new().faults("[[fault]]\noperation = \"create\"\ncount = 1\ndelay = \"700ms\"").start().await;
    let connection = Frames::connect(app.grpc).await;
    let ended = connection.call(CREATE, &[("grpc-timeout", "600m")], create()).await;
    let problem = Problem::of(&ended.status);
    problem.is(Code::Unavailable, "OUTCOME_PENDING");
    assert!(problem.retry_after.is_some());
    assert_eq!(app.orders("SO123").await, 1);
    let again = app.client().await.create(&bodies::create()).await.unwrap();
    assert!(again.replayed);
    assert_eq!(app.requests("create").await.len(), 1);
    app.finish().await;
}

/// Searches for other parcels each, so that no two calls are one.
async fn ask(connection: &Frames, number: usize, timeout: &'static str) -> Problem {
    let search = json!({"trackingNumber": format!("T{number}")});
    let body = frames::request::<pb::GetOrderStatusRequest>("GetOrderStatusRequest", &search);
    Problem::of(&connection.call(STATUS, &[("grpc-timeout", timeout)], body).await.status)
}

#[tokio::test]
async fn a_walmart_that_keeps_silent_is_left_alone_after_a_while() {
    let settings = "[walmart]\nattempt_timeout = \"300ms\"\n[walmart.retry]\nmax_attempts = 1";
    let silent = "[[fault]]\noperation = \"status\"\ndelay = \"10m\"";
    let app = Setup::new().settings(settings).faults(silent).start().await;
    let connection = Frames::connect(app.grpc).await;
    for problem in futures_util::future::join_all((0..5).map(|number| ask(&connection, number, "5S"))).await {
        problem.is(Code::Unavailable, "UPSTREAM_UNAVAILABLE");
    }
    let problem = ask(&connection, 5, "5S").await;
    problem.is(Code::Unavailable, "UPSTREAM_UNAVAILABLE");
    assert!(problem.retry_after.is_some());
    assert_eq!(app.requests("status").await.len(), 5);
    app.finish().await;
}

#[tokio::test]
async fn impatient_callers_shut_nobody_out() {
    let app = slow("status").await;
    let connection = Frames::connect(app.grpc).await;
    for round in 0..2 {
        let calls = (0..6).map(|number| ask(&connection, 6 * round + number, "500m"));
        for problem in futures_util::future::join_all(calls).await {
            problem.is(Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
        }
    }
    assert_eq!(app.requests("status").await.len(), 12);
    app.finish().await;
}

#[tokio::test]
async fn without_a_deadline_a_call_has_ten_seconds() {
    let app = slow("status").await;
    let connection = Frames::connect(app.grpc).await;
    let call = tokio::spawn(end(connection.begin(STATUS, &[], search()).await));
    arrived(&app, "status").await;
    app.advance(Duration::from_millis(9_500)).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert!(!call.is_finished());
    app.advance(Duration::from_millis(600)).await;
    let ended = call.await.unwrap();
    Problem::of(&ended.status).is(Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
    app.finish().await;
}

#[tokio::test]
async fn a_deadline_that_cannot_be_read_is_ignored() {
    let app = TestApp::start().await;
    let connection = Frames::connect(app.grpc).await;
    for odd in ["", "5", "5x", "-1S", "123456789S", "1 S", "S"] {
        let found = json!({"orderNumber": "sellername001ABC123"});
        let body = frames::request::<pb::GetOrderStatusRequest>("GetOrderStatusRequest", &found);
        let ended = connection.call(STATUS, &[("grpc-timeout", odd)], body).await;
        assert_eq!(ended.status.code(), Code::Ok, "{odd:?}: {:?}", ended.status);
    }
    app.finish().await;
}

#[tokio::test]
async fn a_deadline_too_short_for_an_attempt_sends_nothing() {
    let app = TestApp::start().await;
    let connection = Frames::connect(app.grpc).await;
    for timeout in ["0m", "50m"] {
        let ended = connection.call(CREATE, &[("grpc-timeout", timeout)], create()).await;
        Problem::of(&ended.status).is(Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
    }
    assert!(app.requests("create").await.is_empty());
    app.finish().await;
}
