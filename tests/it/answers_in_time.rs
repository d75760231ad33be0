//! Every answer leaves so early that a client with a deadline of its own hears it: the real grpcio client, whose timer is not
//! ours.

use std::time::Duration;

use order_gateway::pb;
use prost::Message as _;
use serde_json::Value;
use tonic::Code;

use crate::support::app::Setup;
use crate::support::bodies;
use crate::support::client::{Problem, message};
use crate::support::frames::CREATE;
use crate::support::grpcio::{self, Call, Ended};

const CANCEL: &str = "/ordergateway.v1.FulfillmentService/CancelOrder";
const PROMISE: &str = "/ordergateway.v1.FulfillmentService/FetchDeliveryPromise";

/// Walmart says nothing in time, and nothing can be found out.
const SILENT: &str = "[[fault]]\noperation = \"status\"\nstatus = 503\n\
    [[fault]]\noperation = \"promise\"\ndelay = \"10m\"\n\
    [[fault]]\noperation = \"create\"\ndelay = \"10m\"\n\
    [[fault]]\noperation = \"cancel\"\ndelay = \"10m\"";

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

fn create(number: &str, timeout: Duration) -> Call {
    let request: pb::CreateOrderRequest = message("CreateOrderRequest", &bodies::create_as(number).to_string());
    Call { path: CREATE, timeout, body: request.encode_to_vec() }
}

fn cancel(number: &str, timeout: Duration) -> Call {
    let body = bodies::cancel_lines(number, ["1".to_owned()]);
    let request: pb::CancelOrderRequest = message("CancelOrderRequest", &body.to_string());
    Call { path: CANCEL, timeout, body: request.encode_to_vec() }
}

fn promise(sku: &str, timeout: Duration) -> Call {
    let request: pb::FetchDeliveryPromiseRequest =
        message("FetchDeliveryPromiseRequest", &bodies::promise_of(sku).to_string());
    Call { path: PROMISE, timeout, body: request.encode_to_vec() }
}

/// The gateway's own words, heard before the deadline less the margin, give or take what a busy machine takes.
fn heard(call: &Call, ended: &Ended) -> Problem {
    let answer_time = call.timeout - Duration::from_millis(100) - call.timeout * 3 / 100;
    let what = format!("{} with {:?}: {ended:?}", call.path, call.timeout);
    assert!(!ended.status.details().is_empty(), "{what}");
    assert!(ended.took < call.timeout && ended.took > answer_time - Duration::from_millis(100), "{what}");
    Problem::of(&ended.status)
}

#[tokio::test]
async fn a_walmart_that_never_answers_is_told_before_any_deadline() {
    let app = Setup::new().faults(SILENT).start().await;
    let mut calls = Vec::new();
    for (i, timeout) in [1.5, 5.0, 14.0, 30.0, 58.0].map(seconds).into_iter().enumerate() {
        // Each twice: the second joins the first.
        for _ in 0..2 {
            calls.push(create(&format!("C{i}"), timeout));
            calls.push(cancel(&format!("X{i}"), timeout));
        }
    }
    // A joined call whose flight has more time than it has itself.
    calls.push(create("C4", seconds(2.0)));
    calls.push(cancel("X4", seconds(2.0)));
    for timeout in [1.5, 5.0].map(seconds) {
        calls.extend((0..2).map(|_| promise(&format!("SKU-{}", timeout.as_secs()), timeout)));
    }
    let ends = grpcio::calls(app.grpc, &calls).await;
    for (call, ended) in calls.iter().zip(&ends) {
        let problem = heard(call, ended);
        if call.path == PROMISE {
            problem.is(Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
        } else {
            problem.is(Code::Unavailable, "OUTCOME_PENDING");
            assert!(problem.retry_after.is_some(), "{problem:?}");
            assert!(!problem.walmart().correlation_id.is_empty(), "{problem:?}");
        }
    }
    app.finish().await;
}

#[tokio::test]
async fn a_short_call_that_joins_a_long_one_is_told_that_it_is_under_way() {
    let app = Setup::new().faults("[[fault]]\noperation = \"create\"\ndelay = \"6s\"").start().await;
    let calls = [create("SO123", seconds(10.0)), create("SO123", seconds(1.5))];
    let ends = grpcio::calls(app.grpc, &calls).await;
    assert_eq!(ends[0].status.code(), Code::Ok, "{ends:?}");
    let problem = heard(&calls[1], &ends[1]);
    problem.is(Code::Unavailable, "OUTCOME_PENDING");
    assert!(problem.retry_after.is_some());
    let sent: Vec<Value> = app.requests("create").await;
    assert_eq!(sent[0]["correlation_id"], problem.walmart().correlation_id);
    assert_eq!((sent.len(), app.orders("SO123").await), (1, 1));
    app.finish().await;
}
