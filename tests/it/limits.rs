//! Walmart's limits: kept to, told, and failing fast.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use tonic::Code;

use crate::support::app::{Setup, TestApp};
use crate::support::bodies;

fn search(number: usize) -> Value {
    json!({"trackingNumber": format!("TRACK-{number}")})
}

#[tokio::test]
async fn an_empty_bucket_fails_at_once_when_waiting_would_pass_the_deadline() {
    let app = TestApp::start().await;
    // As a header of the call only: tonic's client would also count for itself.
    let client = app.client().await.with("grpc-timeout", "1S");
    for number in 0..20 {
        client.status(&search(number)).await.unwrap();
    }
    let asked = Instant::now();
    let problem = client.status(&search(20)).await.unwrap_err();
    assert!(asked.elapsed() < Duration::from_millis(500), "{:?}", asked.elapsed());
    problem.is(Code::ResourceExhausted, "UPSTREAM_RATE_LIMITED");
    assert_eq!(problem.quota.as_deref(), Some("account:demo/operation:status"));
    let wait = problem.retry_after.unwrap();
    assert!(wait > Duration::from_secs(2) && wait <= Duration::from_secs(3), "{wait:?}");
    assert_eq!(app.requests("status").await.len(), 20, "nothing was sent");
    let others = app.client().await.promise(&bodies::promise()).await;
    assert!(others.is_ok(), "each operation has its own bucket");
    app.advance(wait).await;
    client.status(&search(21)).await.unwrap();
    app.finish().await;
}

#[tokio::test]
async fn a_bucket_that_fills_in_time_is_waited_for() {
    // 600 a minute: a token every 100 ms.
    let settings = "walmart.limits.status = 600";
    let app = Setup::new().settings(settings).emulator(|options| options.limit_scale = 30.0).start().await;
    let client = app.client().await;
    app.set_faults("").await;
    for number in 0..600 {
        client.status(&search(number)).await.unwrap();
    }
    client.status(&search(600)).await.unwrap();
    app.finish().await;
}

#[tokio::test]
async fn walmarts_count_corrects_ours() {
    let app = Setup::new().emulator(|options| options.limit_scale = 0.1).start().await;
    let client = app.client().await.with("grpc-timeout", "1S");
    // Walmart allows 2 a minute, not 20, and says so in the headers of each answer.
    client.status(&search(0)).await.unwrap();
    client.status(&search(1)).await.unwrap();
    client.status(&search(2)).await.unwrap_err().is(Code::ResourceExhausted, "UPSTREAM_RATE_LIMITED");
    assert_eq!(app.requests("status").await.len(), 2, "the third was not even sent");
    app.finish().await;
}

#[tokio::test]
async fn a_429_is_waited_out_or_told_with_its_hint() {
    let app = TestApp::start().await;
    let hurried = app.client().await.with("grpc-timeout", "900m");
    let problem = hurried.create(&bodies::create_as("MAGIC-429-2")).await.unwrap_err();
    problem.is(Code::ResourceExhausted, "UPSTREAM_RATE_LIMITED");
    assert_eq!(problem.walmart().http_status, 429);
    assert_eq!(problem.quota.as_deref(), Some("account:demo/operation:create"));
    let wait = problem.retry_after.unwrap();
    assert!(wait > Duration::from_millis(500) && wait < Duration::from_millis(1100), "{wait:?}");
    assert_eq!(app.orders("MAGIC-429-2").await, 0);
    app.finish().await;
}

#[tokio::test]
async fn an_operation_that_keeps_failing_is_left_alone_and_tried_again() {
    let app = TestApp::start().await;
    let client = app.client().await;
    let hurried = app.client().await.with("grpc-timeout", "600m");
    let failing: Vec<_> = (0..5).map(|number| bodies::create_as(&format!("MAGIC-503-{number}"))).collect();
    for problem in futures_util::future::join_all(failing.iter().map(|body| hurried.create(body))).await {
        problem.unwrap_err().is(Code::Unavailable, "OUTCOME_PENDING");
    }
    let problem = client.create(&bodies::create()).await.unwrap_err();
    problem.is(Code::Unavailable, "UPSTREAM_UNAVAILABLE");
    assert!(problem.retry_after.is_some_and(|wait| wait <= Duration::from_secs(1)), "{problem:#?}");
    assert_eq!(app.requests("create").await.len(), 5, "nothing was sent");
    client.promise(&bodies::promise()).await.unwrap();
    app.advance(Duration::from_secs(2)).await;
    client.create(&bodies::create()).await.unwrap();
    client.create(&bodies::create_as("SO124")).await.unwrap();
    app.finish().await;
}
