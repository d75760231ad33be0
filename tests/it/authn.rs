//! Who may call, and how much.

use std::time::Duration;

use serde_json::json;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::support::app::{Setup, TestApp};
use crate::support::bodies;

const SETTINGS: &str = r#"
[[clients]]
name = "reader"
token = "token-of-reader-0123456789abcdef"
accounts = ["demo"]
services = ["GatewayService"]

[[clients]]
name = "slow"
token = "token-of-slow-0123456789abcdef"
accounts = ["demo"]
per_second = 2

[[clients]]
name = "one"
token = "token-of-one-0123456789abcdef"
accounts = ["demo"]
max_concurrent = 1
"#;

async fn start() -> TestApp {
    Setup::new().settings(SETTINGS).start().await
}

#[tokio::test]
async fn without_good_credentials_nothing_is_told_but_health() {
    let app = start().await;
    let nobody = app.client().await;
    for client in [
        nobody.clone(),
        app.client_with("guessed").await,
        nobody.clone().with("authorization", "Basic dXNlcjpwYXNz"),
        nobody.clone().with("authorization", "token-of-reader-0123456789abcdef"),
    ] {
        client.create(&bodies::create()).await.unwrap_err().is(Code::Unauthenticated, "CALLER_UNAUTHENTICATED");
        client.gateway("").await.unwrap_err().is(Code::Unauthenticated, "CALLER_UNAUTHENTICATED");
    }
    HealthClient::new(nobody.service()).check(HealthCheckRequest::default()).await.unwrap();
    assert!(app.requests("create").await.is_empty());
    app.finish().await;
}

#[tokio::test]
async fn a_service_can_be_closed_to_a_caller() {
    let app = start().await;
    let reader = app.client_with("token-of-reader-0123456789abcdef").await;
    let problem = reader.create(&bodies::create()).await.unwrap_err();
    problem.is(Code::PermissionDenied, "SERVICE_NOT_ALLOWED");
    assert_eq!(problem.metadata["service"], "FulfillmentService");
    reader.gateway("").await.unwrap();
    app.finish().await;
}

#[tokio::test]
async fn calls_a_second_are_limited_and_come_back() {
    let app = start().await;
    let slow = app.client_with("token-of-slow-0123456789abcdef").await;
    slow.gateway("").await.unwrap();
    slow.gateway("").await.unwrap();
    let problem = slow.gateway("").await.unwrap_err();
    problem.is(Code::ResourceExhausted, "CALLER_RATE_LIMITED");
    let wait = problem.retry_after.unwrap();
    assert!(wait > Duration::ZERO && wait <= Duration::from_millis(500), "{wait:?}");
    app.advance(wait).await;
    slow.gateway("").await.unwrap();
    app.finish().await;
}

#[tokio::test]
async fn calls_at_a_time_are_limited_and_come_back() {
    let app = Setup::new()
        .settings(SETTINGS)
        .faults("[[fault]]\noperation = \"status\"\ncount = 1\ndelay = \"300ms\"")
        .start()
        .await;
    let one = app.client_with("token-of-one-0123456789abcdef").await;
    let search = json!({"orderNumber": "sellername001ABC123"});
    let begun = tokio::spawn({
        let (one, search) = (one.clone(), search.clone());
        async move { one.status(&search).await }
    });
    while app.requests("status").await.is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let problem = one.gateway("").await.unwrap_err();
    problem.is(Code::ResourceExhausted, "CALLER_RATE_LIMITED");
    assert!(problem.retry_after.is_some());
    begun.await.unwrap().unwrap();
    one.gateway("").await.unwrap();
    app.finish().await;
}
