//! Walmart's refusals as callers and the ledger get them, each with the number of requests that Walmart may see.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::effect::Effect;
use crate::ports::upstream::{ErrorKind, UpstreamError};
use crate::testing::upstream::{NOW, Step, World, answer};
use crate::upstream::transport::HttpError;

const DUPLICATE: &str = r#"{"status": "FAIL", "errors": [{"code": "INVALID_MCS_REQUEST", "description": "duplicate order", "info": "order SO1 already exists", "severity": "ERROR", "category": "REQUEST", "field": "customerOrderNo"}]}"#;
const CONFLICT: &str = r#"{"status": "FAIL", "errors": [{"code": "INVALID_MCS_REQUEST", "description": "conflict", "info": "", "severity": "ERROR", "category": "REQUEST"}]}"#;
const DUPLICATE_SKU: &str = r#"{"status": "FAIL", "errors": [{"code": "INVALID_MCS_REQUEST", "description": "Duplicate SKU in order items", "info": "lines 1 and 2", "severity": "ERROR", "category": "REQUEST", "field": "orderItems"}]}"#;
const IN_A_200: &str = r#"{"errors": {"error": [{"code": "INVALID_REQUEST_CONTENT.GMP_ORDER_API", "description": "orderChannelId is unknown", "severity": "ERROR"}]}}"#;
const CUT: &str = "{\"status\": \"FAIL\", \"errors\": [{\"code\": \"INV";
const OUTAGE: &str = r#"{"status": "FAIL", "errors": [{"code": "INVALID_REQUEST.GMP_ORDER_API", "description": "Request invalid.", "severity": "ERROR", "category": "REQUEST"}]}"#;
const NOT_UNIQUE: &str = r#"{"status": "FAIL", "errors": [{"code": "INVALID_MCS_REQUEST", "description": "order number is not unique", "info": "", "severity": "ERROR", "category": "REQUEST"}]}"#;
const USED_BEFORE: &str = r#"{"status": "FAIL", "errors": [{"code": "INVALID_MCS_REQUEST", "description": "this number has been used before", "info": "", "severity": "ERROR", "category": "REQUEST"}]}"#;
const NO_ROUTE: &str = r#"{"error": [{"code": "CONTENT_NOT_FOUND.GMP_GATEWAY_API", "field": "CONTENT_NOT_FOUND", "description": "nothing is served here", "info": "no route", "severity": "INFO", "category": "APPLICATION", "causes": [], "errorIdentifiers": {}}]}"#;
const UNKNOWN_SKU: &str = r#"{"errors": [{"code": "SOME_CONTENT_NOT_FOUND", "description": "sku unknown", "severity": "INFO", "category": "APPLICATION"}]}"#;

/// What becomes of a create that Walmart answers so once, and would accept the next time. It is sent once.
async fn create(step: Step) -> UpstreamError {
    let world = World::new();
    world.walmart.calls([step]);
    let error = world.create().await.unwrap_err();
    assert_eq!(world.walmart.seen().len(), 1, "{error:?}");
    error
}

#[tokio::test(start_paused = true)]
async fn a_readable_refusal_of_a_create_is_final() {
    for (status, body, kind, exists) in [
        (400, DUPLICATE, ErrorKind::Duplicate, true),
        (409, CONFLICT, ErrorKind::Duplicate, true),
        (400, DUPLICATE_SKU, ErrorKind::Rejected, false),
        (200, IN_A_200, ErrorKind::Rejected, false),
        (202, IN_A_200, ErrorKind::Rejected, false),
        (400, NOT_UNIQUE, ErrorKind::Duplicate, true),
        (422, USED_BEFORE, ErrorKind::Duplicate, true),
    ] {
        let error = create(answer(status, body)).await;
        assert_eq!((error.kind, error.effect, error.http_status), (kind, Effect::None, status), "{body}");
        assert_eq!(error.says_order_exists, exists, "{body}");
        assert!(!error.errors[0].code.is_empty(), "Walmart's words reach the caller");
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_leaves_a_create_open() {
    for step in [
        answer(400, CUT),
        answer(400, OUTAGE),
        answer(499, ""),
        answer(400, ""),
        answer(422, "<html><h1>Unprocessable</h1></html>"),
        answer(408, CONFLICT),
        answer(409, "<html>"),
        answer(418, "teapot"),
        Step::Fail(HttpError::BadBody(400)),
        Step::Fail(HttpError::BadBody(202)),
    ] {
        let error = create(step.clone()).await;
        assert_eq!((error.kind, error.effect), (ErrorKind::Unavailable, Effect::Unknown), "{step:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_edge_refuses_was_not_carried_out() {
    for (status, kind) in [
        (401, ErrorKind::CredentialsRefused),
        (403, ErrorKind::CredentialsRefused),
        (404, ErrorKind::Unavailable),
        (405, ErrorKind::Unavailable),
        (413, ErrorKind::Rejected),
        (415, ErrorKind::Rejected),
        (431, ErrorKind::Rejected),
    ] {
        for body in ["", "<html>", NO_ROUTE] {
            let world = World::new();
            world.walmart.calls(vec![answer(status, body); 2]);
            let error = world.create().await.unwrap_err();
            assert_eq!((error.kind, error.effect), (kind, Effect::None), "{status} {body}");
            let sent = if status == 401 { 2 } else { 1 };
            assert_eq!(world.walmart.seen().len(), sent, "{status}: only a token is replaced");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_path_that_is_not_served_is_no_unknown_order() {
    for body in [NO_ROUTE, "", "<html>", r#"{"error":[{"code":"404.PROXY.1"}]}"#] {
        let world = World::new();
        world.walmart.calls([answer(404, body)]);
        assert_eq!(world.status().await.unwrap_err().kind, ErrorKind::Unavailable, "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_partial_promise_is_asked_for_once_and_tells_its_errors() {
    let world = World::new();
    world.walmart.calls([answer(206, UNKNOWN_SKU)]);
    let promise = world.promise().await.unwrap().answer;
    assert_eq!((promise.errors[0].description.as_str(), promise.payload), ("sku unknown", None));
    assert_eq!(world.walmart.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_acceptance_keeps_the_errors_beside_it() {
    let world = World::new();
    let body = r#"{"status":"ACCEPTED","payload":{"requestId":"R1"},"errors":[{"code":"C","description":"d"}]}"#;
    world.walmart.calls([answer(202, body)]);
    let accepted = world.create().await.unwrap().answer;
    assert_eq!((accepted.acceptance.request_id.as_str(), accepted.errors[0].code.as_str()), ("R1", "C"));
}

fn told(status: u16, name: &'static str, value: &str) -> Step {
    Step::Answer(status, vec![(name, value.to_owned())], String::new())
}

#[tokio::test(start_paused = true)]
async fn a_wait_on_503_is_obeyed_or_told() {
    let replenished = ((NOW + 2) * 1000).to_string();
    for step in [told(503, "retry-after", "2"), told(503, "x-next-replenishment-time", &replenished)] {
        let world = World::new();
        world.walmart.calls([step.clone()]);
        let began = Instant::now();
        world.status().await.unwrap();
        let waited = began.elapsed();
        assert!((Duration::from_secs(2)..Duration::from_millis(2_500)).contains(&waited), "{step:?}: {waited:?}");

        let world = World::new();
        world.walmart.calls([step]);
        let error = world.status_within(Duration::from_millis(1_500)).await.unwrap_err();
        assert_eq!((error.kind, error.retry_after), (ErrorKind::Unavailable, Some(Duration::from_secs(2))));
        // Nor does any other call come before.
        let other = world.status_within(Duration::from_millis(1_500)).await.unwrap_err();
        assert_eq!(other.kind, ErrorKind::RateLimited);
        assert_eq!(world.walmart.seen().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_replenishment_time_that_is_past_never_means_at_once() {
    let world = World::new();
    let past = ((NOW - 60) * 1000).to_string();
    world.walmart.calls([told(429, "x-next-replenishment-time", &past)]);
    let error = world.status_within(Duration::from_millis(900)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::RateLimited);
    assert!(error.retry_after.unwrap() >= Duration::from_secs(1), "{:?}", error.retry_after);
}

#[tokio::test(start_paused = true)]
async fn a_replenishment_time_of_tomorrow_holds_nobody_after_an_answer_for_more_than_a_minute() {
    let world = World::limited(20);
    let tomorrow = ((NOW + 86_400) * 1000).to_string();
    let headers = vec![("x-current-token-count", "0".to_owned()), ("x-next-replenishment-time", tomorrow)];
    let body = r#"{"status":"OK","payload":[]}"#.to_owned();
    world.walmart.calls([Step::Answer(200, headers, body)]);
    world.status().await.unwrap();
    let began = Instant::now();
    world.status_within(Duration::from_secs(62)).await.unwrap();
    assert!(began.elapsed() <= Duration::from_secs(61), "{:?}", began.elapsed());
}
