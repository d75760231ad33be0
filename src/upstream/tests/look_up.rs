//! Look-ups of the ledger: which answers come back as they are, and which are errors.

use crate::domain::reads::FindOrder;
use crate::ports::upstream::ErrorKind;
use crate::testing::upstream::{Step, World, answer, throttled};
use crate::upstream::codec::{AnswerError, OperationCodec as _};
use crate::upstream::transport::HttpError;

const NOT_FOUND: &str = r#"{"status":"FAIL","errors":[{"code":"OS_NOT_FOUND_ERROR"}]}"#;

#[tokio::test(start_paused = true)]
async fn every_answer_about_the_order_comes_back_as_it_came() {
    for (status, body) in [
        (200, r#"{"status":"OK","payload":[]}"#),
        (200, r#"{"status":"FAIL","errors":[{"code":"SYSTEM_ERROR"}]}"#),
        (200, "not JSON"),
        (202, "{}"),
        (204, ""),
        (206, r#"{"status":"OK","payload":[]}"#),
        (301, ""),
        (400, NOT_FOUND),
        (400, r#"{"errors":[{"code":"INVALID_REQUEST.GMP_ORDER_API","info":"Request invalid."}]}"#),
        (404, NOT_FOUND),
        (404, "<html></html>"),
        (405, ""),
        (409, ""),
        (422, "{}"),
    ] {
        let world = World::new();
        world.walmart.calls([answer(status, body)]);
        let reply = world.look_up().await.unwrap();
        assert_eq!((reply.answer.http_status, &*reply.answer.body), (status, body.as_bytes()), "{status} {body}");
        assert_eq!(world.walmart.seen().len(), 1, "{status} {body}");
        let sent = world.walmart.seen()[0].header("wm_qos.correlation_id").to_owned();
        assert_eq!(reply.correlation_id.to_string(), sent);
    }
}

#[tokio::test(start_paused = true)]
async fn answers_about_the_call_are_errors() {
    let code = |code: &str| format!(r#"{{"errors":[{{"code":"{code}"}}]}}"#);
    for (kind, status, body) in [
        (Some(ErrorKind::CredentialsRefused), 401, String::new()),
        (Some(ErrorKind::CredentialsRefused), 403, NOT_FOUND.into()),
        (Some(ErrorKind::CredentialsRefused), 400, code("INVALID_TOKEN.GMP_GATEWAY_API")),
        (Some(ErrorKind::RateLimited), 429, NOT_FOUND.into()),
        (Some(ErrorKind::Unavailable), 408, NOT_FOUND.into()),
        (Some(ErrorKind::Unavailable), 423, NOT_FOUND.into()),
        (Some(ErrorKind::Unavailable), 500, NOT_FOUND.into()),
        (Some(ErrorKind::Unavailable), 503, NOT_FOUND.into()),
        (None, 200, code("REQUEST_THRESHOLD_VIOLATED.GMP_GATEWAY_API")),
        (None, 400, code("REQUEST_THRESHOLD_VIOLATED.GMP_GATEWAY_API")),
    ] {
        let world = World::new();
        world.walmart.calls((0..3).map(|_| answer(status, body.clone())));
        let error = world.look_up().await.unwrap_err();
        assert!(kind.is_none_or(|kind| kind == error.kind), "{status} {body} {:?}", error.kind);
    }
}

#[tokio::test(start_paused = true)]
async fn a_look_up_without_an_answer_is_tried_again() {
    let world = World::new();
    world.walmart.calls([Step::Fail(HttpError::Interrupted), answer(503, ""), answer(404, NOT_FOUND)]);
    assert_eq!(world.look_up().await.unwrap().answer.http_status, 404);
    world.walmart.calls((0..3).map(|_| Step::Fail(HttpError::BadBody(200))));
    assert_eq!(world.look_up().await.unwrap_err().kind, ErrorKind::Unavailable);
    assert_eq!(world.walmart.seen().len(), 6);
}

#[tokio::test(start_paused = true)]
async fn look_ups_share_the_bucket_of_status_calls() {
    let world = World::limited(10);
    world.look_up().await.unwrap();
    world.status().await.unwrap();
    assert_eq!(world.available(), 8.0);
    world.walmart.calls([throttled("30")]);
    assert_eq!(world.look_up().await.unwrap_err().kind, ErrorKind::RateLimited);
    assert_eq!(world.status().await.unwrap_err().kind, ErrorKind::RateLimited);
    assert_eq!(world.walmart.seen().len(), 3);
}

/// A search by number succeeds with an order or with the proof that there is none; any other answer is an outage.
#[test]
fn a_callers_search_by_number_is_judged_as_a_look_up_is() {
    let read = |status, body: &str| FindOrder::read(status, body.as_bytes()).map(|answer| answer.payload.len());
    for (orders, status, body) in [
        (1, 200, r#"{"status":"OK","payload":[{"sellerOrderId":"N1"}]}"#),
        (1, 200, r#"{"status":"OK","payload":{"orderNumber":"N1"}}"#),
        (1, 206, r#"{"status":"PARTIAL_SUCCESS","payload":[{"sellerOrderId":"N1"}],"errors":[{"code":"X"}]}"#),
        (0, 200, r#"{"status":"OK","payload":[]}"#),
        (0, 200, r#"{"status":"OK","payload":{},"errors":[{"code":"OS_NOT_FOUND_ERROR"}]}"#),
    ] {
        assert_eq!(read(status, body), Ok(orders), "{status} {body}");
    }
    for (status, body) in [
        (200, r#"{"status":"OK"}"#),
        (200, r#"{"status":"OK","payload":null,"errors":[]}"#),
        (200, r#"{"status":"OK","payload":"temporarily unavailable"}"#),
        (200, r#"{"status":"OK","payload":{}}"#),
        (200, r#"{"status":"OK","payload":{"message":"no orders found"}}"#),
        (200, r#"{"status":"OK","payload":[],"errors":[{"code":"X"}]}"#),
        (200, r#"{"status":"PARTIAL_SUCCESS","payload":[{"error":{"code":"SYSTEM_ERROR"}}]}"#),
        (200, r#"{"status":"OK","header":{"headerAttributes":{"totalCount":1}},"payload":[]}"#),
        (206, r#"{"status":"OK","payload":[]}"#),
    ] {
        assert_eq!(read(status, body), Err(AnswerError::Unreadable), "{status} {body}");
    }
}

#[tokio::test(start_paused = true)]
async fn searches_other_than_by_number_may_be_empty() {
    let world = World::new();
    let empty = r#"{"status":"OK","header":{"headerAttributes":{"totalCount":1}},"payload":[]}"#;
    world.walmart.calls([answer(200, empty)]);
    assert!(world.search().await.unwrap().answer.payload.is_empty());
    world.walmart.calls((0..3).map(|_| answer(200, empty)));
    assert_eq!(world.status().await.unwrap_err().kind, ErrorKind::Unavailable);
}
