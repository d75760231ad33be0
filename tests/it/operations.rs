//! The operator's view of the ledger: look, list, decide.

use std::time::{Duration, SystemTime};

use order_gateway::pb::{
    Effect, Operation, OperationAlertKind, OperationKind, OperationState as State, ResolveOutcome as Outcome,
};
use serde_json::{Value, json};
use tonic::Code;

use crate::accounts;
use crate::support::app::{Setup, TestApp};
use crate::support::bodies;
use crate::support::client::Client;

/// Walmart takes the first create of it, and nobody hears of that; nor is there an order.
const LOST: &str = "MAGIC-DROP-BEFORE-1";

/// Nobody can be asked about an order.
const BLIND: &str = "[[fault]]\noperation = \"status\"\nstatus = 503";

/// Leaves a create behind whose outcome is not known; gives its name.
async fn in_doubt(app: &TestApp, body: &Value) -> String {
    let hurried = app.client().await.with("grpc-timeout", "600m");
    hurried.create(body).await.unwrap_err().is(Code::Unavailable, "OUTCOME_PENDING");
    let open = json!({"states": ["OPERATION_STATE_UNKNOWN", "OPERATION_STATE_NEEDS_OPERATOR"]});
    let open = app.client().await.operations(&open).await.unwrap();
    open.operations.last().unwrap().name.clone()
}

/// Asks for an operation until it is as wanted.
async fn until(client: &Client, name: &str, wanted: impl Fn(&Operation) -> bool) -> Operation {
    let asked = async {
        loop {
            let operation = client.operation(name).await.unwrap();
            if wanted(&operation) {
                return operation;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), asked).await.unwrap_or_else(|_| panic!("{name} never came so far"))
}

fn names(operations: &[Operation]) -> Vec<&str> {
    operations.iter().map(|operation| operation.name.as_str()).collect()
}

#[tokio::test]
async fn an_operation_tells_what_became_of_a_mutation() {
    let app = TestApp::start().await;
    let client = app.client().await;
    let created = client.create(&bodies::create()).await.unwrap();
    let operation = client.operation("operations/1").await.unwrap();
    assert_eq!((operation.kind(), operation.state()), (OperationKind::Create, State::Succeeded));
    assert_eq!((operation.effect(), operation.attempts), (Effect::Applied, 1));
    assert_eq!((operation.account.as_str(), operation.order_number.as_str()), ("demo", "SO123"));
    assert_eq!(operation.correlation_id, created.correlation_id);
    assert_eq!((operation.request_id.as_str(), operation.last_error.as_str()), ("", ""));
    assert_eq!((operation.batch, operation.batch_count, operation.next_lookup_time), (0, 1, None));
    let times = [operation.create_time, operation.update_time].map(|time| SystemTime::try_from(time.unwrap()).unwrap());
    assert!(times.is_sorted(), "{times:?}");

    client.create(&bodies::create_as("MAGIC-400-1")).await.unwrap_err();
    let refused = client.operation("operations/2").await.unwrap();
    assert_eq!((refused.state(), refused.effect()), (State::Rejected, Effect::None));
    assert_eq!(refused.last_error, "Rejected: HTTP 400 INVALID_MCS_REQUEST");

    let lines = (0..101).map(|line| format!("line-{line}"));
    client.cancel(&bodies::cancel_lines("SO123", lines)).await.unwrap_err();
    let batches = client.operations(&json!({"pageToken": "operations/2"})).await.unwrap().operations;
    assert_eq!(names(&batches), ["operations/3", "operations/4"]);
    assert!(batches.iter().all(|batch| batch.kind() == OperationKind::Cancel && batch.batch_count == 2));
    assert_eq!(batches.iter().map(|batch| batch.batch).collect::<Vec<_>>(), [0, 1]);
    assert!(!batches[0].request_id.is_empty() && batches[0].request_id == batches[1].request_id);
    app.finish().await;
}

#[tokio::test]
async fn operations_are_listed_by_state_and_age_in_pages() {
    let app = TestApp::start().await;
    let client = app.client().await;
    client.create(&bodies::create()).await.unwrap();
    client.create(&bodies::create_as("MAGIC-400-1")).await.unwrap_err();
    let unknown = in_doubt(&app, &bodies::create_as(LOST)).await;
    app.advance(Duration::from_secs(10)).await;
    client.create(&bodies::create_as("SO124")).await.unwrap();

    let listed = async |body: Value| client.operations(&body).await.unwrap();
    let all = listed(json!({})).await;
    assert_eq!(names(&all.operations), ["operations/1", "operations/2", "operations/3", "operations/4"]);
    assert_eq!((unknown.as_str(), all.next_page_token.as_str()), ("operations/3", ""));
    let open = listed(json!({"states": ["OPERATION_STATE_UNKNOWN", "OPERATION_STATE_NEEDS_OPERATOR"]})).await;
    assert_eq!(names(&open.operations), [&unknown]);
    assert_eq!(open.operations[0].effect(), Effect::Unknown);
    assert!(open.operations[0].next_lookup_time.is_some());
    let old = listed(json!({"minAge": "5s"})).await;
    assert_eq!(names(&old.operations), ["operations/1", "operations/2", "operations/3"]);
    let old = listed(json!({"account": "demo", "minAge": "5s", "states": ["OPERATION_STATE_SUCCEEDED"]})).await;
    assert_eq!(names(&old.operations), ["operations/1"]);

    let first = listed(json!({"pageSize": 3})).await;
    assert_eq!(names(&first.operations), names(&all.operations[..3]));
    let second = listed(json!({"pageSize": 3, "pageToken": first.next_page_token})).await;
    assert_eq!((names(&second.operations), second.next_page_token.as_str()), (vec!["operations/4"], ""));
    let exact = listed(json!({"pageSize": 4})).await;
    assert_eq!((exact.operations.len(), exact.next_page_token.as_str()), (4, ""));
    app.finish().await;
}

#[tokio::test]
async fn what_cannot_be_asked_is_told_by_its_field() {
    let app = TestApp::start().await;
    let client = app.client().await;
    client.create(&bodies::create()).await.unwrap();
    for (body, field) in [
        (json!({"states": [1, 99]}), "states[1]"),
        (json!({"states": [0]}), "states[0]"),
        (json!({"minAge": "-1s"}), "min_age"),
        (json!({"pageSize": -1}), "page_size"),
        (json!({"pageSize": 1001}), "page_size"),
        (json!({"pageToken": "next"}), "page_token"),
    ] {
        let problem = client.operations(&body).await.unwrap_err();
        problem.is(Code::InvalidArgument, "INVALID_REQUEST");
        assert_eq!(problem.fields, [field], "{body}");
    }
    client.operations(&json!({"account": "nobody"})).await.unwrap_err().is(Code::NotFound, "ACCOUNT_NOT_FOUND");
    for name in ["", "1", "operations/", "operations/01", "operations/-1", "orders/1"] {
        let problem = client.operation(name).await.unwrap_err();
        problem.is(Code::InvalidArgument, "INVALID_REQUEST");
        assert_eq!(problem.fields, ["name"], "{name}");
    }
    client.operation("operations/2").await.unwrap_err().is(Code::NotFound, "OPERATION_NOT_FOUND");
    for reason in ["", " ", "x".repeat(501).as_str()] {
        let problem = client.resolve("operations/1", Outcome::Unspecified, reason).await.unwrap_err();
        problem.is(Code::InvalidArgument, "INVALID_REQUEST");
        assert_eq!(problem.fields, ["outcome", "reason"]);
    }
    app.finish().await;
}

#[tokio::test]
async fn operations_of_other_callers_accounts_do_not_exist() {
    let app = Setup::new().settings(accounts::SETTINGS).start().await;
    let (oms, admin) = (app.client_with(accounts::OMS).await, app.client_with(accounts::ADMIN).await);
    for account in ["bolt", "acme"] {
        let mut body = bodies::create();
        body["account"] = json!(account);
        admin.create(&body).await.unwrap();
    }
    assert_eq!(admin.operation("operations/1").await.unwrap().account, "bolt");
    assert_eq!(oms.operation("operations/2").await.unwrap().account, "acme");
    let nobodys = oms.operation("operations/3").await.unwrap_err();
    let others = oms.operation("operations/1").await.unwrap_err();
    others.is(Code::NotFound, "OPERATION_NOT_FOUND");
    assert_eq!(others.text, nobodys.text, "there or not is not told");
    let decided = oms.resolve("operations/1", Outcome::Rejected, "mine").await.unwrap_err();
    decided.is(Code::NotFound, "OPERATION_NOT_FOUND");
    assert_eq!(names(&oms.operations(&json!({})).await.unwrap().operations), ["operations/2"]);
    assert_eq!(names(&admin.operations(&json!({})).await.unwrap().operations), ["operations/1", "operations/2"]);
    assert_eq!(names(&admin.operations(&json!({"account": "bolt"})).await.unwrap().operations), ["operations/1"]);
    let forbidden = oms.operations(&json!({"account": "bolt"})).await.unwrap_err();
    forbidden.is(Code::PermissionDenied, "ACCOUNT_NOT_ALLOWED");
    let counted = oms.gateway("").await.unwrap().accounts;
    assert_eq!((counted.len(), counted[0].ledger.len(), counted[0].ledger[0].count), (1, 1, 1));
    app.finish().await;
}

#[tokio::test]
async fn whoever_waits_is_answered_when_an_operator_says_that_it_was_carried_out() {
    let app = TestApp::start().await;
    let client = app.client().await;
    let body = bodies::create_as(LOST);
    let name = in_doubt(&app, &body).await;
    let waiting = tokio::spawn({
        let (client, body) = (client.clone(), body.clone());
        async move { client.create(&body).await }
    });
    while app.metric("order_gateway_calls_in_flight").await < 1.0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let resolved = client.resolve(&name, Outcome::Succeeded, "seen in Seller Center").await.unwrap();
    assert_eq!((resolved.state(), resolved.effect()), (State::Succeeded, Effect::Applied));
    assert_eq!((resolved.resolution.as_str(), resolved.next_lookup_time), ("seen in Seller Center", None));
    let answer = waiting.await.unwrap().unwrap();
    assert!(answer.status == "ACCEPTED" && answer.replayed, "{answer:?}");
    assert_eq!(answer.correlation_id, resolved.correlation_id);
    assert_eq!(client.operation(&name).await.unwrap(), resolved);
    assert_eq!(app.requests("create").await.len(), 1);
    for outcome in [Outcome::Succeeded, Outcome::Rejected, Outcome::Resend] {
        let problem = client.resolve(&name, outcome, "again").await.unwrap_err();
        problem.is(Code::FailedPrecondition, "OPERATION_CLOSED");
    }
    assert_eq!(client.operation(&name).await.unwrap(), resolved, "what is final stays");
    app.finish().await;
}

#[tokio::test]
async fn what_an_operator_rejects_is_answered_so_and_frees_the_order_number() {
    let app = TestApp::start().await;
    let client = app.client().await;
    let mut body = bodies::create_as(LOST);
    body["requestId"] = json!("mine");
    let name = in_doubt(&app, &body).await;
    let resolved = client.resolve(&name, Outcome::Rejected, "the customer has called it off").await.unwrap();
    assert_eq!((resolved.state(), resolved.effect()), (State::Rejected, Effect::None));
    let problem = client.create(&body).await.unwrap_err();
    problem.is(Code::InvalidArgument, "UPSTREAM_REJECTED");
    assert_eq!(problem.walmart().effect(), Effect::None);
    assert_eq!(app.requests("create").await.len(), 1);
    body["requestId"] = json!("another");
    assert!(!client.create(&body).await.unwrap().replayed);
    assert_eq!((app.requests("create").await.len(), app.orders(LOST).await), (2, 1));
    app.finish().await;
}

#[tokio::test]
async fn what_an_operator_has_sent_again_is_sent_at_once_and_once() {
    let app = TestApp::start().await;
    let client = app.client().await;
    let body = bodies::create_as(LOST);
    let name = in_doubt(&app, &body).await;
    let resolved = client.resolve(&name, Outcome::Resend, "Walmart never had it").await.unwrap();
    assert_eq!((resolved.name.as_str(), resolved.resolution.as_str()), (name.as_str(), "Walmart never had it"));
    let answer = client.create(&body).await.unwrap();
    assert!(answer.status == "ACCEPTED" && answer.replayed, "{answer:?}");
    let sent = app.requests("create").await;
    assert_eq!((sent.len(), app.orders(LOST).await), (2, 1));
    assert!(sent.iter().all(|request| request["correlation_id"] == answer.correlation_id));
    let operation = client.operation(&name).await.unwrap();
    assert_eq!((operation.state(), operation.attempts), (State::Succeeded, 2));
    assert_eq!(operation.resolution, "Walmart never had it");
    app.finish().await;
}

#[tokio::test]
async fn nobody_decides_about_what_is_being_sent() {
    let app = Setup::new().faults("[[fault]]\noperation = \"create\"\ndelay = \"300ms\"").start().await;
    let client = app.client().await;
    let begun = tokio::spawn({
        let client = client.clone();
        async move { client.create(&bodies::create()).await }
    });
    while app.requests("create").await.is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(client.operation("operations/1").await.unwrap().state(), State::Sending);
    let problem = client.resolve("operations/1", Outcome::Rejected, "too slow").await.unwrap_err();
    problem.is(Code::Unavailable, "OUTCOME_PENDING");
    assert!(problem.retry_after.is_some());
    begun.await.unwrap().unwrap();
    assert_eq!(client.operation("operations/1").await.unwrap().state(), State::Succeeded);
    app.finish().await;
}

#[tokio::test]
async fn the_overview_counts_by_state() {
    let app = TestApp::start().await;
    let client = app.client().await;
    assert!(client.gateway("").await.unwrap().accounts[0].ledger.is_empty());
    client.create(&bodies::create()).await.unwrap();
    client.cancel(&bodies::cancel()).await.unwrap();
    client.create(&bodies::create_as("MAGIC-400-1")).await.unwrap_err();
    let name = in_doubt(&app, &bodies::create_as(LOST)).await;
    let counts = client.gateway("").await.unwrap().accounts[0].ledger.clone();
    let counted = |state: State| counts.iter().find(|count| count.state() == state).map(|count| count.count);
    assert_eq!(counts.len(), 3, "{counts:?}");
    assert_eq!([State::Unknown, State::Succeeded, State::Rejected].map(counted), [Some(1), Some(2), Some(1)]);
    let created = client.operation(&name).await.unwrap().create_time;
    for count in counts {
        let oldest = if count.state() == State::Unknown { created } else { None };
        assert_eq!(count.oldest_create_time, oldest, "{count:?}");
    }
    app.finish().await;
}

/// Walmart has it, nobody can ask, and the operator has it sent again all the same: what follows is seen afterwards.
#[tokio::test]
async fn a_doubt_that_nobody_could_settle_needs_an_operator_whose_mistake_is_found() {
    const NUMBER: &str = "MAGIC-DROP-AFTER-1";
    let app = Setup::new().ledger_times(400, &[100, 300]).faults(BLIND).start().await;
    let client = app.client().await;
    let body = bodies::create_as(NUMBER);
    let name = in_doubt(&app, &body).await;
    until(&client, &name, |operation| operation.state() == State::NeedsOperator).await;
    let problem = client.clone().with("grpc-timeout", "300m").create(&body).await.unwrap_err();
    problem.is(Code::Unavailable, "OUTCOME_PENDING");
    assert_eq!(problem.retry_after, Some(Duration::from_secs(300)));

    client.resolve(&name, Outcome::Resend, "surely not there").await.unwrap();
    assert_eq!(client.create(&body).await.unwrap().status, "ACCEPTED");
    assert_eq!(app.orders(NUMBER).await, 2);
    assert!(client.operation(&name).await.unwrap().alerts.is_empty());
    app.set_faults("").await;
    app.advance(Duration::from_secs(5 * 60)).await;
    let operation = until(&client, &name, |operation| !operation.alerts.is_empty()).await;
    assert_eq!(operation.alerts.len(), 1);
    assert_eq!((operation.state(), operation.alerts[0].kind()), (State::Succeeded, OperationAlertKind::Duplicate));
    let found: SystemTime = operation.alerts[0].time.unwrap().try_into().unwrap();
    assert!(found >= SystemTime::try_from(operation.update_time.unwrap()).unwrap() + Duration::from_secs(299));
    assert_eq!(app.metric("order_gateway_operation_alerts_total{kind=\"duplicate\"}").await, 1.0);
    app.finish().await;
}
