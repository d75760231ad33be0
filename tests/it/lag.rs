//! How far subscriptions are behind, as `/metrics` tells it.

use std::time::Duration;

use order_gateway::pb;
use serde_json::json;

use crate::support::app::{Setup, TestApp};
use crate::support::client::message;
use crate::support::feed::{client, finish, post};
use crate::support::webhooks::SETTINGS;

const LAG: &str = "order_gateway_feed_subscription_lag_events{subscription=\"oms\"}";
const PARKED: &str = "order_gateway_feed_subscription_parked_events{subscription=\"oms\"}";
const AGE: &str = "order_gateway_feed_subscription_oldest_pending_age_seconds{subscription=\"oms\"}";

/// Lets the next look happen, and waits until it has.
async fn looked(app: &TestApp, holds: impl Fn(&str) -> bool) {
    app.advance(Duration::from_secs(10)).await;
    let waiting = async {
        while !holds(&app.get("/metrics").await.1) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(5), waiting).await;
    assert!(waited.is_ok(), "{}", app.get("/metrics").await.1);
}

#[tokio::test]
async fn what_nobody_reads_is_told_until_the_subscription_is_deleted() {
    let app = Setup::new().settings(SETTINGS).start().await;
    let oms = app.client().await;
    let asked = json!({"subscription": {"name": "oms", "start": {"earliest": true}}}).to_string();
    let request: pb::CreateSubscriptionRequest = message("CreateSubscriptionRequest", &asked);
    client(&oms).create_subscription(request).await.unwrap();
    post(&app, 1, 3).await;
    looked(&app, |text| text.contains(&format!("{LAG} 3"))).await;
    assert_eq!(app.metric(PARKED).await, 0.0);
    let age = app.metric(AGE).await;
    assert!((9.0..=30.0).contains(&age), "{age}");

    let request = pb::DeleteSubscriptionRequest { name: "oms".into(), ..Default::default() };
    client(&oms).delete_subscription(request).await.unwrap();
    looked(&app, |text| !text.contains("subscription=\"oms\"")).await;
    finish(app).await;
}
