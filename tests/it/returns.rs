//! ReturnService, whole.

use std::time::Duration;

use order_gateway::pb::{Effect, OperationKind, OperationState as State, ResolveOutcome as Outcome};
use serde_json::{Value, json};
use tonic::Code;

use crate::support::app::{Setup, TestApp};

const RETURN: &str = "100000000000000001";

fn refund() -> Value {
    serde_json::from_str(include_str!("../../examples/refund-return.json")).unwrap()
}

/// The same body for another return, without an id of the request.
fn refund_of(number: &str) -> Value {
    let mut body = refund();
    body["returnOrderId"] = json!(number);
    body.as_object_mut().unwrap().remove("requestId");
    body
}

fn mcs_return() -> Value {
    serde_json::from_str(include_str!("../../examples/mcs-return.json")).unwrap()
}

fn mcs_return_as(id: &str) -> Value {
    let mut body = mcs_return();
    body["payload"]["sellerReturnOrderId"] = json!(id);
    body
}

#[tokio::test]
async fn a_return_is_simulated_found_refunded_and_refunded_only_once() {
    let app = TestApp::start().await;
    let client = app.client().await;
    let made = app.simulate("returns", &json!({"purchaseOrderId": "1700000000003", "lineNumber": "1", "qty": 2})).await;
    let (id, customer) = (made["returnOrderId"].as_str().unwrap(), made["customerOrderId"].as_str().unwrap());
    let found = client.list_returns(&json!({ "customerOrderId": customer })).await.unwrap();
    assert_eq!(found.return_orders.len(), 1);
    let order = &found.return_orders[0];
    assert_eq!((order.return_order_id.as_str(), order.customer_name.as_ref().unwrap().first_name()), (id, "Ana"));
    let line = &order.return_order_lines[0];
    assert_eq!((line.return_order_line_number, line.refunded_qty), (Some(1), Some(0.0)));
    assert_eq!(line.charges[0].references[0].value, "false");
    let mut body = refund_of(id);
    body["customerOrderId"] = json!(customer);
    let first = client.refund_return(&body).await.unwrap();
    assert_eq!(
        (first.return_order_id.as_str(), first.customer_order_id.as_str(), first.replayed),
        (id, customer, false)
    );
    assert_eq!(
        app.requests("return_refund").await[0]["body"],
        json!({"customerOrderId": customer, "refundLines": body["refundLines"]})
    );
    let again = client.refund_return(&body).await.unwrap();
    assert!(again.replayed);
    assert_eq!((again.request_id, again.refund_lines), (first.request_id, first.refund_lines));
    let found = client.list_returns(&json!({ "returnOrderId": id })).await.unwrap();
    assert_eq!(found.return_orders[0].return_order_lines[0].refunded_qty, Some(1.0));
    assert_eq!(app.requests("return_refund").await.len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn refusals_keep_walmarts_words_and_say_which_are_of_the_state() {
    let app = TestApp::start().await;
    let client = app.client().await;
    client.refund_return(&refund()).await.unwrap();
    let mut body = refund_of(RETURN);
    body["refundLines"][0]["quantity"]["measurementValue"] = json!(2);
    client.refund_return(&body).await.unwrap_err().is(Code::FailedPrecondition, "UPSTREAM_REJECTED");
    let unknown = client.refund_return(&refund_of("1")).await.unwrap_err();
    unknown.is(Code::NotFound, "UPSTREAM_NOT_FOUND");
    client.refund_return(&json!({})).await.unwrap_err().is(Code::InvalidArgument, "INVALID_REQUEST");
    assert_eq!(app.requests("return_refund").await.len(), 2);
    app.finish().await;
}

#[tokio::test]
async fn pages_of_returns_go_by_cursors_byte_for_byte_and_nothing_is_an_empty_list() {
    let app = TestApp::start().await;
    let client = app.client().await;
    for _ in 0..4 {
        app.simulate("returns", &json!({"purchaseOrderId": "1700000000003"})).await;
    }
    let mut page = client.list_returns(&json!({"limit": 2})).await.unwrap();
    let mut seen = Vec::new();
    loop {
        seen.extend(page.return_orders.iter().map(|order| order.return_order_id.clone()));
        let next = page.meta.as_ref().map(|meta| meta.next_cursor.clone()).unwrap_or_default();
        if next.is_empty() {
            break;
        }
        page = client.list_returns(&json!({ "nextCursor": next })).await.unwrap();
        let sent = app.requests("returns").await.pop().unwrap();
        assert!(sent["path"].as_str().unwrap().ends_with(&format!("/v3/returns{next}")), "{sent}");
    }
    seen.dedup();
    assert_eq!(seen.len(), 5);
    let empty = client.list_returns(&json!({"status": "COMPLETED", "isWfsEnabled": true})).await.unwrap();
    assert!(empty.return_orders.is_empty() && empty.meta.is_none());
    let sent = app.requests("returns").await.pop().unwrap();
    assert!(sent["path"].as_str().unwrap().ends_with("?status=COMPLETED&isWFSEnabled=Y"), "{sent}");
    app.set_faults("[[fault]]\noperation = \"returns\"\nlie = \"gateway-404\"").await;
    client.list_returns(&json!({})).await.unwrap_err().is(Code::Unavailable, "UPSTREAM_UNAVAILABLE");
    app.finish().await;
}

#[tokio::test]
async fn a_refund_is_found_after_a_lost_answer_or_left_to_an_operator() {
    let app = Setup::new().ledger_times(300, &[50, 150, 300]).start().await;
    let client = app.client().await;
    let found = client.refund_return(&refund_of("MAGIC-RETURN-REFUND-DROP-AFTER-1")).await.unwrap();
    assert!(!found.replayed);
    let hurried = app.client().await.with("grpc-timeout", "3S");
    let body = refund_of("MAGIC-RETURN-REFUND-DROP-BEFORE-1");
    let pending = hurried.refund_return(&body).await.unwrap_err();
    pending.is(Code::Unavailable, "OUTCOME_PENDING");
    assert_eq!(pending.walmart().effect(), Effect::Unknown);
    let mut operation = client.operation("operations/2").await.unwrap();
    for _ in 0..1000 {
        if operation.state() == State::NeedsOperator {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        operation = client.operation("operations/2").await.unwrap();
    }
    assert_eq!((operation.kind(), operation.state()), (OperationKind::ReturnRefund, State::NeedsOperator));
    assert_eq!(operation.snapshot, ["line 1: 0 units refunded, no refund has begun"]);
    app.advance(Duration::from_secs(3600)).await;
    assert_eq!(app.requests("return_refund").await.len(), 2, "one each");
    client.resolve("operations/2", Outcome::Rejected, "refunded by hand").await.unwrap();
    client.refund_return(&body).await.unwrap();
    assert_eq!(app.requests("return_refund").await.len(), 3, "a rejected one frees its content");
    app.finish().await;
}

#[tokio::test]
async fn without_a_look_at_the_return_no_refund_is_sent() {
    let app = TestApp::start().await;
    let client = app.client().await;
    app.set_faults("[[fault]]\noperation = \"returns\"\nstatus = 503").await;
    client.refund_return(&refund()).await.unwrap_err().is(Code::Unavailable, "UPSTREAM_UNAVAILABLE");
    app.set_faults("[[fault]]\noperation = \"returns\"\nstatus = 429").await;
    let hurried = app.client().await.with("grpc-timeout", "1S");
    hurried.refund_return(&refund()).await.unwrap_err().is(Code::ResourceExhausted, "UPSTREAM_RATE_LIMITED");
    assert!(app.requests("return_refund").await.is_empty());
    app.finish().await;
}

#[tokio::test]
async fn a_multichannel_return_is_opened_once_listed_and_taken_back() {
    let app = TestApp::start().await;
    let client = app.client().await;
    let opened = client.create_mcs_return(&mcs_return()).await.unwrap();
    assert_eq!((opened.status.as_str(), opened.replayed), ("OK", false));
    let order = opened.payload.clone().unwrap();
    let group = &order.return_line_groups[0];
    assert!(group.ship_from.is_some() && group.label_image_url.starts_with("https://"));
    let sent = app.requests("mcs_return_create").await[0]["body"].clone();
    assert_eq!(sent, mcs_return());
    let again = client.create_mcs_return(&mcs_return()).await.unwrap();
    assert!(again.replayed);
    let kept = again.payload.unwrap();
    assert_eq!(
        (kept.return_order_id.as_str(), kept.seller_return_order_id.as_str()),
        (order.return_order_id.as_str(), "acme-ret-0001")
    );
    assert_eq!(kept.return_line_groups[0].label_image_url, group.label_image_url);
    assert!(kept.return_line_groups[0].ship_from.is_none() && kept.return_line_groups[0].ship_to.is_none());
    let mut other = mcs_return();
    other["payload"]["orderItems"][0]["qty"]["measurementValue"] = json!(2);
    client.create_mcs_return(&other).await.unwrap_err().is(Code::AlreadyExists, "RETURN_ID_USED");
    let listed = client.list_mcs_returns(&json!({"sellerOrderId": "acme000123"})).await.unwrap();
    assert_eq!(listed.payload.len(), 1);
    client.list_mcs_returns(&json!({"returnOrderId": "1"})).await.unwrap_err().is(Code::NotFound, "UPSTREAM_NOT_FOUND");
    let cancelled = client.cancel_mcs_return(&json!({ "returnOrderId": order.return_order_id })).await.unwrap();
    assert_eq!(cancelled.payload.unwrap().status, "RETURN_CANCELLED");
    let sent = app.requests("mcs_return_cancel").await[0]["body"].clone();
    assert_eq!(sent, json!({"header": {"headerAttributes": {"martId": "202", "buId": "0"}}, "payload": {}}));
    let late = client.cancel_mcs_return(&json!({ "returnOrderId": order.return_order_id })).await.unwrap_err();
    late.is(Code::FailedPrecondition, "UPSTREAM_REJECTED");
    assert_eq!(app.requests("mcs_return_create").await.len(), 1);
    app.finish().await;
}

#[tokio::test]
async fn what_walmart_does_not_take_back_is_refused_with_a_reason() {
    let app = TestApp::start().await;
    let client = app.client().await;
    let mut body = mcs_return_as("r-1");
    body["payload"]["sellerOrderId"] = json!("1700000000001");
    let unknown = client.create_mcs_return(&body).await.unwrap_err();
    unknown.is(Code::NotFound, "UPSTREAM_NOT_FOUND");
    assert!(unknown.text.contains("opened by the customer"), "{}", unknown.text);
    let mut body = mcs_return_as("r-2");
    body["payload"]["orderItems"][0]["itemDetail"]["sku"] = json!("NOT-IN-IT");
    client.create_mcs_return(&body).await.unwrap_err().is(Code::InvalidArgument, "UPSTREAM_REJECTED");
    let mut body = mcs_return_as("r-3");
    body["payload"]["orderItems"][0]["qty"]["measurementValue"] = json!(9);
    client.create_mcs_return(&body).await.unwrap_err().is(Code::InvalidArgument, "UPSTREAM_REJECTED");
    let mut body = mcs_return_as("r-4");
    body["payload"]["sellerOrderId"] = json!("sellername001ABC123");
    body["payload"]["orderItems"][0]["itemDetail"]["sku"] = json!("SKU-1");
    client.create_mcs_return(&body).await.unwrap_err().is(Code::FailedPrecondition, "UPSTREAM_REJECTED");
    app.finish().await;
}

#[tokio::test]
async fn a_lost_opening_and_a_lost_cancellation_are_found_or_sent_again() {
    let app = Setup::new().ledger_times(300, &[50, 150, 300]).start().await;
    let client = app.client().await;
    for name in ["DROP-AFTER", "DROP-BEFORE"] {
        let id = format!("MAGIC-MCS-RETURN-CREATE-{name}-1");
        let opened = client.create_mcs_return(&mcs_return_as(&id)).await.unwrap();
        assert_eq!(opened.payload.unwrap().seller_return_order_id, id);
    }
    let listed = client.list_mcs_returns(&json!({"sellerOrderId": "acme000123"})).await.unwrap();
    assert_eq!(listed.payload.len(), 2, "one each");
    assert_eq!(app.requests("mcs_return_create").await.len(), 3);
    for (order, drop) in listed.payload.iter().zip(["before", "after"]) {
        let fault = format!("[[fault]]\noperation = \"mcs_return_cancel\"\ncount = 1\ndrop = \"{drop}\"");
        app.set_faults(&fault).await;
        client.cancel_mcs_return(&json!({ "returnOrderId": order.return_order_id })).await.unwrap();
    }
    let listed = client.list_mcs_returns(&json!({"sellerOrderId": "acme000123"})).await.unwrap();
    assert!(listed.payload.iter().all(|order| order.status == "RETURN_CANCELLED"));
    assert_eq!(app.requests("mcs_return_cancel").await.len(), 3);
    app.finish().await;
}
