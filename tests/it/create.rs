//! CreateOrder, whole: sent as given, and never twice blindly.

use std::time::Duration;

use order_gateway::pb::Effect;
use serde_json::json;
use tonic::Code;

use crate::support::app::{Setup, TestApp};
use crate::support::bodies;

#[tokio::test]
async fn the_sample_reaches_walmart_as_it_stands_and_makes_an_order() {
    let app = TestApp::start().await;
    let answer = app.client().await.create(&bodies::create()).await.unwrap();
    assert_eq!((answer.status.as_str(), answer.request_id.as_str(), answer.replayed), ("ACCEPTED", "SO123", false));
    assert!(!answer.payload.unwrap().request_id.is_empty());
    let requests = app.requests("create").await;
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0]["body"], bodies::create());
    assert_eq!(requests[0]["correlation_id"], answer.correlation_id);
    assert_eq!(app.orders("SO123").await, 1);
    app.finish().await;
}

#[tokio::test]
async fn the_header_is_filled_from_the_account_where_it_was_left_out() {
    let settings = r#"
        [[accounts]]
        id = "demo"
        partner_id = "1"
        client_id = "demo"
        client_secret = "demo-secret"
        mart_id = "303"
        bu_id = "9"
    "#;
    let app = Setup::new().settings(settings).start().await;
    let client = app.client().await;
    let mut body = bodies::create_as("NO-HEADER");
    body.as_object_mut().unwrap().remove("header");
    client.create(&body).await.unwrap();
    let mut body = bodies::create_as("HALF");
    body["header"] = json!({"headerAttributes": {"martId": "202"}});
    client.create(&body).await.unwrap();
    let headers: Vec<_> =
        app.requests("create").await.iter().map(|request| request["body"]["header"].clone()).collect();
    assert_eq!(
        headers,
        [
            json!({"headerAttributes": {"martId": "303", "buId": "9"}}),
            json!({"headerAttributes": {"martId": "202", "buId": "9"}})
        ]
    );
    app.finish().await;
}

#[tokio::test]
async fn every_fault_of_a_request_is_told_at_once() {
    let app = TestApp::start().await;
    let mut body = bodies::create();
    let payload = body["payload"].as_object_mut().unwrap();
    payload["customerOrderNo"] = json!("ANOTHER");
    payload.remove("orderChannelId");
    let line = &mut payload["orderItems"][0];
    line["qty"]["measurementValue"] = json!(0);
    line["chargeDetails"][0]["chargePerUnit"]["currencyAmount"] = json!("NaN");
    line["shippingTo"]["address"].as_object_mut().unwrap().remove("zip");
    let line = line.clone();
    payload["orderItems"].as_array_mut().unwrap().push(line);
    body["requestId"] = json!("with space");
    let problem = app.client().await.create(&body).await.unwrap_err();
    problem.is(Code::InvalidArgument, "INVALID_REQUEST");
    for field in [
        "request_id",
        "payload.order_channel_id",
        "payload.customer_order_no",
        "payload.order_items[0].qty.measurement_value",
        "payload.order_items[0].shipping_to.address.zip",
        "payload.order_items[0].charge_details[0].charge_per_unit.currency_amount",
        "payload.order_items[1].seller_line_id",
    ] {
        assert!(problem.fields.iter().any(|found| found == field), "{field} in {:#?}", problem.fields);
    }
    assert!(!problem.text.contains("ANOTHER"), "values are not repeated");
    assert!(app.requests("create").await.is_empty());
    app.finish().await;
}

/// What Walmart answers, what the caller is told, and how often the order was sent.
#[tokio::test]
async fn every_answer_of_walmarts_has_its_code() {
    const REJECTED: (Code, &str, Effect) = (Code::InvalidArgument, "UPSTREAM_REJECTED", Effect::None);
    const PENDING: (Code, &str, Effect) = (Code::Unavailable, "OUTCOME_PENDING", Effect::Unknown);
    for (number, http_status, (code, reason, effect)) in [
        ("MAGIC-400-1", 400, REJECTED),
        ("MAGIC-FAIL-1", 200, REJECTED),
        ("MAGIC-403-1", 403, (Code::Unavailable, "UPSTREAM_CREDENTIALS_REFUSED", Effect::None)),
        ("MAGIC-DUPLICATE-1", 409, (Code::AlreadyExists, "ORDER_NUMBER_USED", Effect::None)),
        ("MAGIC-500-1", 500, PENDING),
        ("MAGIC-503-1", 503, PENDING),
        ("MAGIC-520-1", 520, PENDING),
        ("MAGIC-HTML-1", 502, PENDING),
        ("MAGIC-OUTAGE-1", 400, PENDING),
        ("MAGIC-DROP-BEFORE-1", 0, PENDING),
    ] {
        let app = TestApp::start().await;
        // Less than it takes to find out that Walmart does not have it.
        let client = app.client().await.with("grpc-timeout", "1S");
        let problem = client.create(&bodies::create_as(number)).await.unwrap_err();
        problem.is(code, reason);
        let walmart = problem.walmart();
        assert_eq!((walmart.http_status, walmart.effect()), (http_status, effect), "{number}");
        assert_eq!(problem.metadata["account"], "demo", "{number}");
        assert_eq!(problem.retry_after.is_some(), reason == "OUTCOME_PENDING", "{number}");
        let requests = app.requests("create").await;
        assert_eq!(requests.len(), 1, "{number} must not be sent again");
        assert_eq!(requests[0]["correlation_id"], walmart.correlation_id);
        app.finish().await;
    }
}

#[tokio::test]
async fn what_certainly_had_no_effect_is_tried_again_under_the_same_correlation_id() {
    for (number, tokens) in [("MAGIC-429-1", 1), ("MAGIC-TOKEN-EXPIRED-1", 2)] {
        let app = TestApp::start().await;
        let answer = app.client().await.create(&bodies::create_as(number)).await.unwrap();
        let requests = app.requests("create").await;
        assert_eq!(requests.len(), 2, "{number}");
        assert!(requests.iter().all(|request| request["correlation_id"] == answer.correlation_id), "{number}");
        assert_eq!(app.requests("token").await.len(), tokens, "{number}");
        assert_eq!(app.orders(number).await, 1);
        app.finish().await;
    }
}

/// The answer never comes, but the order is there: the gateway finds it while the caller waits.
#[tokio::test]
async fn an_order_whose_answer_was_lost_is_found_not_sent_again() {
    for number in ["MAGIC-DROP-AFTER-7", "MAGIC-500-AFTER-7", "MAGIC-UNREADABLE-7"] {
        let app = TestApp::start().await;
        let client = app.client().await;
        let body = bodies::create_as(number);
        let found = client.create(&body).await.unwrap();
        assert_eq!((found.status.as_str(), found.replayed), ("ACCEPTED", false), "{number}");
        assert_eq!(app.requests("create").await[0]["correlation_id"], found.correlation_id);
        let again = client.create(&body).await.unwrap();
        assert_eq!(order_gateway::pb::CreateOrderResponse { replayed: true, ..found }, again);
        assert_eq!((app.requests("create").await.len(), app.orders(number).await), (1, 1));
        app.finish().await;
    }
}

#[tokio::test]
async fn an_order_that_never_arrived_is_sent_again_only_when_it_would_have_shown() {
    let app = TestApp::start().await;
    let hurried = app.client().await.with("grpc-timeout", "1S");
    let body = bodies::create_as("MAGIC-DROP-BEFORE-7");
    for _ in 0..2 {
        hurried.create(&body).await.unwrap_err().is(Code::Unavailable, "OUTCOME_PENDING");
    }
    assert_eq!(app.requests("create").await.len(), 1);
    let patient = app.client().await.with("grpc-timeout", "60S");
    let created = async {
        // Past the look-ups of the settings, one after the other.
        for seconds in [5, 15, 20, 30, 60] {
            app.advance(Duration::from_secs(seconds)).await;
            let look_ups = app.requests("status").await.len();
            tokio::time::timeout(Duration::from_secs(5), async {
                while app.requests("status").await.len() == look_ups && app.orders("MAGIC-DROP-BEFORE-7").await == 0 {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            })
            .await
            .unwrap_or_default();
        }
        patient.create(&body).await
    };
    let created = created.await.unwrap();
    assert!(created.replayed);
    assert_eq!((app.requests("create").await.len(), app.orders("MAGIC-DROP-BEFORE-7").await), (2, 1));
    app.finish().await;
}

#[tokio::test]
async fn an_order_is_answered_once_and_for_all() {
    let app = TestApp::start().await;
    let client = app.client().await;
    let first = client.create(&bodies::create()).await.unwrap();
    let again = client.create(&bodies::create()).await.unwrap();
    assert_eq!(order_gateway::pb::CreateOrderResponse { replayed: true, ..first }, again);
    let mut other = bodies::create();
    other["payload"]["orderPlacedTime"] = json!("2026-10-30T14:05:00Z");
    client.create(&other).await.unwrap_err().is(Code::AlreadyExists, "ORDER_NUMBER_USED");
    assert_eq!((app.requests("create").await.len(), app.orders("SO123").await), (1, 1));
    app.finish().await;
}

#[tokio::test]
async fn a_request_id_stands_for_one_request_and_its_one_answer() {
    let app = TestApp::start().await;
    let client = app.client().await;
    let mut body = bodies::create_as("MAGIC-400-9");
    body["requestId"] = json!("mine");
    let problem = client.create(&body).await.unwrap_err();
    problem.is(Code::InvalidArgument, "UPSTREAM_REJECTED");
    let again = client.create(&body).await.unwrap_err();
    again.is(Code::InvalidArgument, "UPSTREAM_REJECTED");
    assert_eq!((again.walmart(), app.requests("create").await.len()), (problem.walmart(), 1));
    let mut other = bodies::create();
    other["requestId"] = json!("mine");
    client.create(&other).await.unwrap_err().is(Code::InvalidArgument, "IDEMPOTENCY_KEY_REUSED");
    // A refusal frees the order number: without the id it is a new call.
    body.as_object_mut().unwrap().remove("requestId");
    client.create(&body).await.unwrap_err().is(Code::InvalidArgument, "UPSTREAM_REJECTED");
    assert_eq!(app.requests("create").await.len(), 2);
    app.finish().await;
}

#[tokio::test]
async fn the_same_call_twice_at_a_time_is_one_order() {
    let app = Setup::new().faults("[[fault]]\noperation = \"create\"\ndelay = \"200ms\"").start().await;
    let client = app.client().await;
    let body = bodies::create();
    let (one, other) = tokio::join!(client.create(&body), client.create(&body));
    let (one, other) = (one.unwrap(), other.unwrap());
    assert_eq!(one.correlation_id, other.correlation_id);
    assert!(one.replayed != other.replayed);
    assert_eq!((app.requests("create").await.len(), app.orders("SO123").await), (1, 1));
    app.finish().await;
}

#[tokio::test]
async fn a_customers_data_in_walmarts_text_is_taken_out() {
    let body = r#"{"status":"FAIL","errors":[{"code":"INVALID_MCS_REQUEST","field":"customer","description":"[email protected] of 100 Main St, San Francisco is not served"}]}"#;
    let fault = format!("[[fault]]\noperation = \"create\"\nstatus = 400\nbody = '{body}'");
    let app = Setup::new().faults(&fault).start().await;
    let problem = app.client().await.create(&bodies::create()).await.unwrap_err();
    let told = &problem.walmart().errors[0].description;
    assert_eq!(told, "[redacted] of [redacted], [redacted] is not served");
    assert!(!problem.text.contains("Main St") && !problem.text.contains("email"), "{}", problem.text);
    app.finish().await;
}

#[tokio::test]
async fn a_long_list_of_walmarts_is_cut_and_counted() {
    let errors: Vec<_> = (0..200)
        .map(|i| json!({"code": "INVALID_MCS_REQUEST", "field": format!("field{i}"), "description": "x".repeat(100)}))
        .collect();
    let body = json!({"status": "FAIL", "errors": errors});
    let fault = format!("[[fault]]\noperation = \"create\"\nstatus = 400\nbody = '{body}'");
    let app = Setup::new().faults(&fault).start().await;
    let problem = app.client().await.create(&bodies::create()).await.unwrap_err();
    let omitted: usize = problem.metadata["omitted"].parse().unwrap();
    assert_eq!(problem.walmart().errors.len() + omitted, 200);
    app.finish().await;
}
