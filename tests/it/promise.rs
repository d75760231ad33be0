//! FetchDeliveryPromise, whole.

use order_gateway::pb::PromiseCache;
use serde_json::json;
use std::time::Duration;
use tonic::Code;

use crate::support::app::{Setup, TestApp};
use crate::support::bodies;

const SLOW: &str = "[[fault]]\noperation = \"promise\"\ndelay = \"200ms\"";

#[tokio::test]
async fn the_sample_reaches_walmart_as_it_stands_and_is_answered_typed() {
    let app = TestApp::start().await;
    let answer = app.client().await.promise(&bodies::promise()).await.unwrap();
    assert_eq!((answer.status.as_str(), answer.cache()), ("SUCCESS", PromiseCache::Miss));
    let payload = answer.payload.unwrap();
    assert_eq!(payload.offers[0].sku.as_deref(), Some("SKU-1"));
    let module = &payload.fulfillment_plans[0].fulfillment_modules[0];
    assert!(!module.fulfillment_groups[0].fulfillment_options[0].fulfillments[0].fulfillment_id.is_empty());
    let requests = app.requests("promise").await;
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0]["body"], bodies::promise());
    assert_eq!(requests[0]["correlation_id"], answer.correlation_id);
    app.finish().await;
}

#[tokio::test]
async fn answers_are_kept_for_their_time() {
    let app = TestApp::start().await;
    let client = app.client().await;
    let first = client.promise(&bodies::promise()).await.unwrap();
    let again = client.promise(&bodies::promise()).await.unwrap();
    assert_eq!((again.cache(), &again.correlation_id), (PromiseCache::Hit, &first.correlation_id));
    assert_eq!(client.promise(&bodies::promise_of("SKU-ONLY-ONE")).await.unwrap().cache(), PromiseCache::Miss);
    app.advance(Duration::from_secs(31)).await;
    assert_eq!(client.promise(&bodies::promise()).await.unwrap().cache(), PromiseCache::Miss);
    assert_eq!(app.requests("promise").await.len(), 3);
    app.finish().await;
}

#[tokio::test]
async fn identical_calls_in_flight_share_one_and_nothing_is_kept_when_the_cache_is_off() {
    let app = Setup::new().settings("walmart.promise_cache.ttl = \"0s\"").faults(SLOW).start().await;
    let client = app.client().await;
    let body = bodies::promise();
    let (one, other) = tokio::join!(client.promise(&body), client.promise(&body));
    let mut caches = [one.unwrap().cache(), other.unwrap().cache()];
    caches.sort();
    assert_eq!(caches, [PromiseCache::Miss, PromiseCache::Coalesced]);
    assert_eq!(app.requests("promise").await.len(), 1);
    assert_eq!(client.promise(&body).await.unwrap().cache(), PromiseCache::Miss);
    app.finish().await;
}

#[tokio::test]
async fn what_is_out_of_stock_is_a_normal_answer() {
    let app = TestApp::start().await;
    let answer = app.client().await.promise(&bodies::promise_of("SKU-OUT-OF-STOCK")).await.unwrap();
    assert_eq!(answer.status, "PARTIAL_SUCCESS");
    let plans = answer.payload.unwrap().fulfillment_plans;
    assert!(plans[0].fulfillment_modules.iter().any(|module| module.name == "ERROR"), "{plans:?}");
    app.finish().await;
}

#[tokio::test]
async fn faults_of_a_request_are_told_at_once_and_cost_no_upstream_call() {
    let app = TestApp::start().await;
    let mut body = bodies::promise();
    let offer = &mut body["payload"]["offerSelections"][0]["offers"][0];
    offer["requestedQuantity"]["measurementValue"] = json!(1.5);
    offer.as_object_mut().unwrap().remove("sku");
    body["payload"]["destinations"] = json!([]);
    let problem = app.client().await.promise(&body).await.unwrap_err();
    problem.is(Code::InvalidArgument, "INVALID_REQUEST");
    let offer = "payload.offer_selections[0].offers[0]";
    assert_eq!(
        problem.fields,
        [
            format!("{offer}.sku"),
            format!("{offer}.requested_quantity.measurement_value"),
            "payload.destinations".to_owned()
        ]
    );
    assert!(app.requests("promise").await.is_empty() && app.requests("token").await.is_empty());
    app.finish().await;
}
