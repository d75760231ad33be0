//! CancelOrder, whole: any number of lines, each batch's outcome told.

use order_gateway::pb::{BatchStatus, Effect};
use serde_json::{Value, json};
use tonic::Code;

use crate::support::app::{Setup, TestApp};
use crate::support::bodies;

/// The sample order with `lines` lines of one unit each: `line-0`, ...
fn long_order(number: &str, lines: usize) -> Value {
    let mut body = bodies::create_as(number);
    let line = body["payload"]["orderItems"][0].clone();
    let items = (0..lines).map(|i| {
        let mut line = line.clone();
        line["sellerLineId"] = json!(format!("line-{i}"));
        line
    });
    body["payload"]["orderItems"] = items.collect();
    body
}

fn line_ids(request: &Value) -> Vec<String> {
    let items = request["body"]["payload"]["orderItems"].as_array().unwrap();
    items.iter().map(|item| item["sellerLineId"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn both_samples_reach_walmart_as_they_stand() {
    let app = TestApp::start().await;
    let client = app.client().await;
    client.create(&bodies::create()).await.unwrap();
    for body in [bodies::cancel(), bodies::cancel_in_production()] {
        let answer = client.cancel(&body).await.unwrap();
        assert_eq!(answer.status, "ACCEPTED");
        assert_eq!(answer.batches.len(), 1);
        assert_eq!(answer.batches[0].status(), BatchStatus::Accepted);
        assert_eq!(answer.batches[0].upstream_request_id, answer.payload.unwrap().request_id);
        assert!(!answer.request_id.is_empty(), "the gateway makes an id");
        let requests = app.requests("cancel").await;
        let last = requests.last().unwrap();
        assert_eq!(last["body"], body);
        assert_eq!(last["correlation_id"], answer.correlation_id);
    }
    app.finish().await;
}

#[tokio::test]
async fn many_lines_go_in_batches_and_a_refused_one_does_not_stop_the_rest() {
    let app = TestApp::start().await;
    let client = app.client().await;
    client.create(&long_order("LONG", 250)).await.unwrap();
    // The second batch names a line that the order does not have.
    let lines: Vec<String> = (0..250).map(|i| if i == 150 { "unknown".into() } else { format!("line-{i}") }).collect();
    let mut body = bodies::cancel_lines("LONG", lines.clone());
    body["requestId"] = json!("mine");
    let answer = client.cancel(&body).await.unwrap();
    assert_eq!((answer.status.as_str(), answer.request_id.as_str()), ("PARTIAL", "mine"));
    let statuses: Vec<_> = answer.batches.iter().map(|batch| batch.status()).collect();
    assert_eq!(statuses, [BatchStatus::Accepted, BatchStatus::Failed, BatchStatus::Accepted]);
    for (batch, expected) in answer.batches.iter().zip(lines.chunks(100)) {
        assert_eq!(batch.line_ids, expected);
    }
    assert_eq!(answer.batches[0].upstream_request_id, answer.payload.unwrap().request_id);
    let error = answer.batches[1].error.as_ref().unwrap();
    assert_eq!(error.code, Code::InvalidArgument as i32);
    assert!(answer.batches[0].error.is_none() && !error.details.is_empty());
    let sent: Vec<_> = app.requests("cancel").await.iter().map(line_ids).collect();
    assert_eq!(sent, lines.chunks(100).collect::<Vec<_>>());
    app.finish().await;
}

#[tokio::test]
async fn an_unknown_order_is_not_found() {
    let app = TestApp::start().await;
    let problem = app.client().await.cancel(&bodies::cancel()).await.unwrap_err();
    problem.is(Code::NotFound, "UPSTREAM_NOT_FOUND");
    assert_eq!(problem.walmart().errors[0].code, "404.WSAAS.100");
    assert_eq!((problem.walmart().http_status, problem.walmart().effect()), (404, Effect::None));
    assert!(!problem.metadata["requestId"].is_empty(), "also a failure tells the id that was made");
    app.finish().await;
}

#[tokio::test]
async fn lines_in_the_wrong_state_are_a_failed_precondition() {
    let app = TestApp::start().await;
    let client = app.client().await;
    client.create(&bodies::create()).await.unwrap();
    app.control("POST", "orders/SO123/lines/1/ship", "").await;
    let shipped = client.cancel(&bodies::cancel()).await.unwrap_err();
    shipped.is(Code::FailedPrecondition, "UPSTREAM_REJECTED");
    app.control("POST", "clock/advance", r#"{"by":"61m"}"#).await;
    let late = client.cancel(&bodies::cancel_in_production()).await.unwrap_err();
    late.is(Code::FailedPrecondition, "UPSTREAM_REJECTED");
    app.finish().await;
}

#[tokio::test]
async fn a_cancellation_whose_answer_was_lost_is_found_by_its_lines() {
    let app = TestApp::start().await;
    let client = app.client().await;
    let number = "MAGIC-CANCEL-DROP-AFTER-1";
    client.create(&bodies::create_as(number)).await.unwrap();
    let mut body = bodies::cancel_lines(number, ["1".to_owned()]);
    body["requestId"] = json!("once");
    let found = client.cancel(&body).await.unwrap();
    assert_eq!((found.status.as_str(), found.replayed, found.request_id.as_str()), ("ACCEPTED", false, "once"));
    let again = client.cancel(&body).await.unwrap();
    assert!(again.replayed && again.correlation_id == found.correlation_id);
    assert_eq!(app.requests("cancel").await.len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn a_cancellation_that_never_arrived_is_pending_and_not_sent_again() {
    let app = TestApp::start().await;
    let client = app.client().await;
    let number = "MAGIC-CANCEL-DROP-BEFORE-1";
    client.create(&bodies::create_as(number)).await.unwrap();
    let mut body = bodies::cancel_lines(number, ["1".to_owned()]);
    body["requestId"] = json!("once");
    let hurried = app.client().await.with("grpc-timeout", "1S");
    for _ in 0..2 {
        let problem = hurried.cancel(&body).await.unwrap_err();
        problem.is(Code::Unavailable, "OUTCOME_PENDING");
        assert!(problem.retry_after.is_some() && problem.metadata["requestId"] == "once");
    }
    assert_eq!(app.requests("cancel").await.len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn an_unknown_outcome_goes_before_a_refusal() {
    let app = TestApp::start().await;
    let client = app.client().await;
    // Once lost, then refused: the second batch names a line that is not there.
    let number = "MAGIC-CANCEL-DROP-BEFORE-2";
    client.create(&long_order(number, 100)).await.unwrap();
    let lines = (0..101).map(|i| format!("line-{i}"));
    let hurried = app.client().await.with("grpc-timeout", "1S");
    hurried.cancel(&bodies::cancel_lines(number, lines)).await.unwrap_err().is(Code::Unavailable, "OUTCOME_PENDING");
    assert_eq!(app.requests("cancel").await.len(), 2);
    app.finish().await;
}

#[tokio::test]
async fn an_order_that_walmart_does_not_show_yet_can_be_cancelled() {
    let fault = "[[fault]]\noperation = \"cancel\"\ncount = 1\nstatus = 404\nbody = '{\"status\":\"FAIL\",\"errors\":[{\"code\":\"404.WSAAS.100\"}]}'";
    let app = Setup::new().faults(fault).start().await;
    let client = app.client().await;
    client.create(&bodies::create()).await.unwrap();
    let answer = client.cancel(&bodies::cancel()).await.unwrap();
    assert_eq!((answer.status.as_str(), app.requests("cancel").await.len()), ("ACCEPTED", 2));
    app.finish().await;
}

#[tokio::test]
async fn a_bad_cancellation_is_told_whole() {
    let app = TestApp::start().await;
    let mut body = bodies::cancel_lines("", ["1".to_owned(), "1".to_owned()]);
    body["payload"]["orderItems"][0]["qty"]["measurementValue"] = json!(-1);
    let problem = app.client().await.cancel(&body).await.unwrap_err();
    problem.is(Code::InvalidArgument, "INVALID_REQUEST");
    assert_eq!(problem.fields.len(), 3, "{:#?}", problem.fields);
    assert!(app.requests("cancel").await.is_empty());
    app.finish().await;
}
