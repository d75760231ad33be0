//! GetOrderStatus, whole.

use serde_json::json;
use tonic::Code;

use crate::support::app::{Setup, TestApp};
use crate::support::bodies;

#[tokio::test]
async fn an_order_is_found_in_both_profiles() {
    for (profile, sandbox) in [("production", false), ("sandbox", true)] {
        let app = Setup::new().settings(&format!("walmart.profile = \"{profile}\"")).start().await;
        let client = app.client().await;
        client.create(&bodies::create()).await.unwrap();
        let answer = client.status(&json!({"orderNumber": "SO123"})).await.unwrap();
        assert_eq!(answer.payload.len(), 1, "{profile}");
        let order = &answer.payload[0];
        let number = if sandbox { &order.order_number } else { &order.seller_order_id };
        assert_eq!(number, "SO123", "{profile}");
        let requests = app.requests("status").await;
        assert_eq!(requests[0]["correlation_id"], answer.correlation_id);
        app.finish().await;
    }
}

#[tokio::test]
async fn filters_travel_in_the_query() {
    let app = TestApp::start().await;
    let search = json!({"orderChannelId": "A&B=C", "fromOrderDate": "2026-11-01", "sortOrder": "asc", "limit": 5});
    app.client().await.status(&search).await.unwrap();
    let requests = app.requests("status").await;
    let path = requests[0]["path"].as_str().unwrap();
    let query = path.split_once('?').unwrap().1;
    assert_eq!(query, "orderChannelId=A%26B%3DC&fromOrderDate=2026-11-01&sortOrder=asc&limit=5");
    app.finish().await;
}

#[tokio::test]
async fn an_unknown_number_is_not_found_and_other_searches_may_be_empty() {
    let app = TestApp::start().await;
    let client = app.client().await;
    let problem = client.status(&json!({"orderNumber": "NOBODY"})).await.unwrap_err();
    problem.is(Code::NotFound, "UPSTREAM_NOT_FOUND");
    let empty = client.status(&json!({"trackingNumber": "NOTHING"})).await.unwrap();
    assert!(empty.payload.is_empty());
    app.finish().await;
}

#[tokio::test]
async fn a_search_without_a_filter_is_refused_here() {
    let app = TestApp::start().await;
    let problem = app.client().await.status(&json!({"limit": 51})).await.unwrap_err();
    problem.is(Code::InvalidArgument, "INVALID_REQUEST");
    assert_eq!(problem.fields, ["order_number", "limit"]);
    assert!(app.requests("status").await.is_empty());
    app.finish().await;
}

#[tokio::test]
async fn identical_calls_in_flight_share_one_and_nothing_is_kept() {
    let app = Setup::new().faults("[[fault]]\noperation = \"status\"\ndelay = \"200ms\"").start().await;
    let client = app.client().await;
    let search = json!({"orderNumber": "sellername001ABC123"});
    let (one, other) = tokio::join!(client.status(&search), client.status(&search));
    assert_eq!(one.unwrap().correlation_id, other.unwrap().correlation_id);
    assert_eq!(app.requests("status").await.len(), 1);
    client.status(&search).await.unwrap();
    assert_eq!(app.requests("status").await.len(), 2);
    app.finish().await;
}
