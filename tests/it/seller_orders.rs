//! SellerOrderService, whole.

use std::collections::BTreeSet;
use std::time::Duration;

use order_gateway::pb::{self, BatchStatus, Effect, OperationKind, OperationState as State, ResolveOutcome as Outcome};
use serde_json::{Value, json};
use tonic::Code;

use crate::support::app::{Setup, TestApp};
use crate::support::client::Client;

const ORDER: &str = "1700000000001";

/// The sample bodies of Walmart's pages, with the order of the initial state.
fn sample(name: &str) -> Value {
    let text = match name {
        "cancel" => include_str!("../../examples/cancel-lines.json"),
        "ship" => include_str!("../../examples/ship.json"),
        _ => include_str!("../../examples/refund.json"),
    };
    serde_json::from_str(text).unwrap()
}

/// The same body for another order.
fn of(name: &str, purchase_order: &str) -> Value {
    let mut body = sample(name);
    body["purchaseOrderId"] = json!(purchase_order);
    body.as_object_mut().unwrap().remove("requestId");
    body
}

fn numbers(page: &pb::ListOrdersResponse) -> Vec<String> {
    let elements = page.list.as_ref().unwrap().elements.as_ref();
    elements.map(|all| all.order.iter().map(|order| order.purchase_order_id.clone()).collect()).unwrap_or_default()
}

fn cursor(page: &pb::ListOrdersResponse) -> String {
    page.list.as_ref().unwrap().meta.as_ref().map(|meta| meta.next_cursor.clone()).unwrap_or_default()
}

/// Units of a line by state.
fn units(order: &pb::SellerOrder, line: usize, state: &str) -> f64 {
    let line = &order.order_lines.as_ref().unwrap().order_line[line];
    let statuses = &line.order_line_statuses.as_ref().unwrap().order_line_status;
    let of_state = statuses.iter().filter(|status| status.status() == state);
    of_state.map(|status| status.status_quantity.as_ref().unwrap().amount().parse::<f64>().unwrap()).sum()
}

async fn order(client: &Client, number: &str) -> pb::SellerOrder {
    client.get_order(number).await.unwrap().order.unwrap()
}

#[tokio::test]
async fn ten_thousand_orders_are_listed_by_cursors_that_go_back_byte_for_byte() {
    let app = TestApp::start().await;
    let client = app.client().await;
    app.simulate("orders", &json!({"count": 10_000, "purchaseOrderId": "1900000000000"})).await;
    let mut page = client.list_orders(&json!({"limit": 200, "status": "Created", "sku": "MUG-RED-12"})).await.unwrap();
    assert_eq!(page.list.as_ref().unwrap().meta.as_ref().unwrap().total_count, Some(10_001));
    let (mut seen, mut pages) = (Vec::new(), 1);
    loop {
        seen.extend(numbers(&page));
        let next = cursor(&page);
        if next.is_empty() {
            break;
        }
        page = client.list_orders(&json!({ "nextCursor": next })).await.unwrap();
        let sent = app.requests("orders").await.pop().unwrap();
        assert!(sent["path"].as_str().unwrap().ends_with(&format!("/v3/orders{next}")), "{sent}");
        assert!(next.contains(":00Z") && next.contains('+'), "{next}");
        pages += 1;
    }
    let unique: BTreeSet<&String> = seen.iter().collect();
    assert_eq!((seen.len(), unique.len(), pages), (10_001, 10_001, 51));
    app.finish().await;
}

#[tokio::test]
async fn the_sandbox_repeats_its_first_page_and_the_cursor_is_left_out() {
    let app = Setup::new().settings("walmart.profile = \"sandbox\"").start().await;
    let client = app.client().await;
    let first = client.list_orders(&json!({"limit": 2})).await.unwrap();
    let next = cursor(&first);
    assert!(!next.is_empty());
    let again = client.list_orders(&json!({ "nextCursor": next })).await.unwrap();
    assert_eq!(numbers(&again), numbers(&first));
    assert_eq!(cursor(&again), "");
    app.finish().await;
}

#[tokio::test]
async fn nothing_found_is_an_empty_list_only_in_the_services_own_words() {
    let app = TestApp::start().await;
    let client = app.client().await;
    let empty = client.list_orders(&json!({"sku": "NOTHING"})).await.unwrap();
    assert_eq!(empty.list, Some(pb::OrderList::default()));
    assert!(!empty.correlation_id.is_empty());
    let last_week = client.list_orders(&json!({"createdEndDate": "2026-11-01T00:00:00Z"})).await.unwrap();
    assert_eq!(numbers(&last_week), [""; 0]);
    for lie in ["gateway-404", "proxy-404", "html-404", "bare-404"] {
        app.set_faults(&format!("[[fault]]\noperation = \"orders\"\nlie = \"{lie}\"")).await;
        let problem = client.list_orders(&json!({"sku": "NOTHING"})).await.unwrap_err();
        problem.is(Code::Unavailable, "UPSTREAM_UNAVAILABLE");
        app.set_faults(&format!("[[fault]]\noperation = \"order\"\nlie = \"{lie}\"")).await;
        client.get_order(ORDER).await.unwrap_err().is(Code::Unavailable, "UPSTREAM_UNAVAILABLE");
    }
    app.finish().await;
}

#[tokio::test]
async fn an_order_is_shown_as_walmart_sends_it() {
    let app = TestApp::start().await;
    let client = app.client().await;
    let shown = order(&client, ORDER).await;
    assert_eq!((units(&shown, 0, "Acknowledged"), units(&shown, 1, "Acknowledged")), (3.0, 3.0));
    let shipping = shown.shipping_info.unwrap();
    assert_eq!(shipping.postal_address.unwrap().name, "Ana Roe");
    assert_eq!(shipping.estimated_ship_date.len(), 13);
    assert_eq!(shown.ship_node.unwrap().r#type, "SellerFulfilled");
    let intended = order(&client, "1700000000002").await;
    assert_eq!(intended.order_lines.unwrap().order_line[0].intent_to_cancel, "TRUE");
    client.get_order("1").await.unwrap_err().is(Code::NotFound, "UPSTREAM_NOT_FOUND");
    client.get_order("a/b").await.unwrap_err().is(Code::NotFound, "UPSTREAM_NOT_FOUND");
    let paths: Vec<_> = app.requests("order").await.iter().map(|sent| sent["path"].clone()).collect();
    assert!(paths.last().unwrap().as_str().unwrap().ends_with("/v3/orders/a%2Fb"), "{paths:?}");
    client.get_order("..").await.unwrap_err().is(Code::InvalidArgument, "INVALID_REQUEST");
    app.finish().await;
}

#[tokio::test]
async fn an_acknowledgement_may_be_repeated_until_units_are_past_it() {
    let app = TestApp::start().await;
    let client = app.client().await;
    for _ in 0..2 {
        let done = client.acknowledge("1700000000002").await.unwrap();
        assert_eq!(units(&done.order.unwrap(), 0, "Acknowledged"), 1.0);
        assert!(!done.already_acknowledged);
    }
    let sent = &app.requests("acknowledge").await[0];
    assert_eq!(
        (&sent["headers"]["content-type"], &sent["headers"]["content-length"]),
        (&json!("application/json"), &json!("0"))
    );
    let shipped = client.acknowledge("1700000000003").await.unwrap();
    assert!(shipped.already_acknowledged);
    assert_eq!(units(&shipped.order.unwrap(), 0, "Shipped"), 2.0);
    client.acknowledge("1").await.unwrap_err().is(Code::NotFound, "UPSTREAM_NOT_FOUND");
    // A lost answer is asked for again, as that of a read.
    client.acknowledge("MAGIC-ACKNOWLEDGE-DROP-AFTER-1").await.unwrap();
    assert_eq!(app.requests("acknowledge").await.len(), 6);
    app.finish().await;
}

fn cancel_many(lines: impl IntoIterator<Item = u32>) -> Vec<Value> {
    let one = |number: u32| {
        json!({"lineNumber": number.to_string(), "orderLineStatuses": {"orderLineStatus": [{
            "cancellationReason": "CUSTOMER_REQUESTED_SELLER_TO_CANCEL", "statusQuantity": {"amount": "1"}}]}})
    };
    lines.into_iter().map(one).collect()
}

#[tokio::test]
async fn two_hundred_and_fifty_lines_are_cancelled_around_a_bad_one() {
    let app = TestApp::start().await;
    let client = app.client().await;
    app.simulate("orders", &json!({"purchaseOrderId": "190", "lines": 249, "status": "Acknowledged"})).await;
    let lines = cancel_many((1..=249).chain([999]));
    let mut lines: Vec<Value> = lines.into_iter().collect();
    // Line 999 is not in the order, and stands in the middle: its whole request is refused.
    let bad = lines.pop().unwrap();
    lines.insert(150, bad);
    let body = json!({"purchaseOrderId": "190", "requestId": "desk-1", "orderCancellation": {"orderLines": {"orderLine": lines}}});
    let answer = client.cancel_order_lines(&body).await.unwrap();
    let statuses: Vec<_> = answer.batches.iter().map(|batch| (batch.status(), batch.line_ids.len())).collect();
    assert_eq!(statuses, [(BatchStatus::Accepted, 100), (BatchStatus::Failed, 100), (BatchStatus::Accepted, 50)]);
    assert_eq!((answer.status.as_str(), answer.request_id.as_str(), answer.replayed), ("PARTIAL", "desk-1", false));
    let error = answer.batches[1].error.as_ref().unwrap();
    assert_eq!(error.code, Code::InvalidArgument as i32);
    let order = answer.order.unwrap();
    assert_eq!((units(&order, 0, "Cancelled"), units(&order, 120, "Cancelled")), (1.0, 0.0));
    let sent = &app.requests("cancel_lines").await[0]["body"]["orderCancellation"]["orderLines"]["orderLine"];
    assert_eq!(
        sent[0]["orderLineStatuses"]["orderLineStatus"][0],
        json!({"status": "Cancelled",
        "cancellationReason": "CUSTOMER_REQUESTED_SELLER_TO_CANCEL",
        "statusQuantity": {"unitOfMeasurement": "EACH", "amount": "1"}})
    );
    let again = client.cancel_order_lines(&body).await.unwrap();
    assert!(again.replayed);
    assert_eq!(again.order.unwrap(), pb::SellerOrder { purchase_order_id: "190".into(), ..Default::default() });
    assert_eq!(again.batches.len(), 3);
    assert_eq!(app.requests("cancel_lines").await.len(), 3);
    app.finish().await;
}

#[tokio::test]
async fn samples_reach_walmart_key_by_key_and_are_answered_with_the_order() {
    let app = TestApp::start().await;
    let client = app.client().await;
    let cancelled = client.cancel_order_lines(&sample("cancel")).await.unwrap();
    assert_eq!((cancelled.status.as_str(), units(&cancelled.order.unwrap(), 1, "Cancelled")), ("ACCEPTED", 1.0));
    let shipped = client.ship(&sample("ship")).await.unwrap();
    assert_eq!(units(&shipped.order.unwrap(), 0, "Shipped"), 1.0);
    let refunded = client.refund(&sample("refund")).await.unwrap();
    let order = refunded.order.unwrap();
    let refund = order.order_lines.unwrap().order_line[0].refund.clone().unwrap();
    assert_eq!(refund.refund_comments(), "chipped rim");
    for (operation, name, envelope) in [
        ("cancel_lines", "cancel", "orderCancellation"),
        ("ship", "ship", "orderShipment"),
        ("refund", "refund", "orderRefund"),
    ] {
        let sent = app.requests(operation).await[0]["body"].clone();
        let mut wanted = json!({ envelope: sample(name)[envelope] });
        if name == "refund" {
            wanted[envelope]["purchaseOrderId"] = json!(ORDER);
        }
        assert_eq!(sent, wanted, "{name}");
    }
    app.finish().await;
}

#[tokio::test]
async fn a_refusal_says_whether_the_state_is_wrong_and_keeps_walmarts_words() {
    let app = TestApp::start().await;
    let client = app.client().await;
    let shipped = client.cancel_order_lines(&of("cancel", "1700000000003")).await.unwrap_err();
    shipped.is(Code::InvalidArgument, "UPSTREAM_REJECTED");
    let mut body = of("cancel", "1700000000003");
    body["orderCancellation"]["orderLines"]["orderLine"][0]["lineNumber"] = json!("1");
    let shipped = client.cancel_order_lines(&body).await.unwrap_err();
    shipped.is(Code::FailedPrecondition, "UPSTREAM_REJECTED");
    assert!(shipped.walmart().errors[0].description.contains("Line: 1 of PO: 1700000000003 is in SHIPPED status"));
    let over = client.ship(&of("ship", "1700000000003")).await.unwrap_err();
    over.is(Code::FailedPrecondition, "UPSTREAM_REJECTED");
    client.acknowledge("1700000000002").await.unwrap();
    let intended = client.ship(&of("ship", "1700000000002")).await.unwrap_err();
    intended.is(Code::FailedPrecondition, "UPSTREAM_REJECTED");
    let mut body = of("ship", "1700000000002");
    body["orderShipment"]["orderLines"]["orderLine"][0]["intentToCancelOverride"] = json!(true);
    client.ship(&body).await.unwrap();
    client.ship(&of("ship", "1")).await.unwrap_err().is(Code::NotFound, "UPSTREAM_NOT_FOUND");
    let mut body = of("refund", "1700000000004");
    body["orderRefund"]["orderLines"]["orderLine"][0]["refunds"]["refund"][0]["refundCharges"]["refundCharge"][0]["charge"]
        ["chargeAmount"]["amount"] = json!(-1000);
    client.refund(&body).await.unwrap_err().is(Code::InvalidArgument, "UPSTREAM_REJECTED");
    client.refund(&of("refund", ORDER)).await.unwrap_err().is(Code::FailedPrecondition, "UPSTREAM_REJECTED");
    app.finish().await;
}

#[tokio::test]
async fn a_shipment_is_known_by_its_tracking_numbers() {
    let app = TestApp::start().await;
    let client = app.client().await;
    let first = client.ship(&sample("ship")).await.unwrap();
    assert!(first.request_id.starts_with("content-"), "{}", first.request_id);
    let again = client.ship(&sample("ship")).await.unwrap();
    assert!(again.replayed);
    assert_eq!((again.request_id, again.correlation_id), (first.request_id, first.correlation_id));
    let mut other = sample("ship");
    let status = "/orderShipment/orderLines/orderLine/0/orderLineStatuses/orderLineStatus/0";
    other.pointer_mut(&format!("{status}/statusQuantity/amount")).map(|amount| *amount = json!("2")).unwrap();
    client.ship(&other).await.unwrap_err().is(Code::InvalidArgument, "IDEMPOTENCY_KEY_REUSED");
    let mut next = sample("ship");
    next.pointer_mut(&format!("{status}/trackingInfo/trackingNumber")).map(|number| *number = json!("1Z-2")).unwrap();
    assert!(!client.ship(&next).await.unwrap().replayed);
    assert_eq!(units(&order(&client, ORDER).await, 0, "Shipped"), 2.0);
    assert_eq!(app.requests("ship").await.len(), 2);
    // What Walmart refused is no shipment; the same call asks again.
    let unknown = of("ship", "1");
    for _ in 0..2 {
        client.ship(&unknown).await.unwrap_err().is(Code::NotFound, "UPSTREAM_NOT_FOUND");
    }
    assert_eq!(app.requests("ship").await.len(), 4);
    app.finish().await;
}

#[tokio::test]
async fn a_correction_of_a_tracking_number_may_be_repeated() {
    let app = TestApp::start().await;
    let client = app.client().await;
    client.ship(&sample("ship")).await.unwrap();
    let mut body = sample("ship");
    body["orderShipment"]["processMode"] = json!("PARTIAL_UPDATE");
    let status = body.pointer_mut("/orderShipment/orderLines/orderLine/0/orderLineStatuses/orderLineStatus/0").unwrap();
    status["currentTrackingInfo"] = json!({"trackingNumber": "1ZEXAMPLE0001"});
    status["trackingInfo"]["trackingNumber"] = json!("1ZRIGHT");
    let corrected = client.ship(&body).await.unwrap();
    assert_eq!(corrected.request_id, "");
    let shown = format!("{:?}", order(&client, ORDER).await);
    assert!(shown.contains("1ZRIGHT") && !shown.contains("1ZEXAMPLE0001"));
    let all = client.operations(&json!({})).await.unwrap().operations;
    assert_eq!(all.len(), 1, "a correction has no entry");
    app.finish().await;
}

#[tokio::test]
async fn a_lost_answer_is_found_in_the_order_and_nothing_is_done_twice() {
    let app = Setup::new().ledger_times(300, &[50, 150, 300]).start().await;
    let client = app.client().await;
    for (operation, name, state) in [("CANCEL-LINES", "cancel", "Cancelled"), ("SHIP", "ship", "Shipped")] {
        // Carried out, and the answer is lost.
        let number = format!("MAGIC-{operation}-DROP-AFTER-1");
        let body = of(name, &number);
        let replayed = match name {
            "cancel" => client.cancel_order_lines(&body).await.unwrap().replayed,
            _ => client.ship(&body).await.unwrap().replayed,
        };
        assert!(!replayed);
        let line = usize::from(name == "cancel");
        assert_eq!(units(&order(&client, &number).await, line, state), 1.0, "{operation}");
        // Lost before anything was done: after a while of absence it is sent again, once.
        let number = format!("MAGIC-{operation}-DROP-BEFORE-1");
        let body = of(name, &number);
        match name {
            "cancel" => drop(client.cancel_order_lines(&body).await.unwrap()),
            _ => drop(client.ship(&body).await.unwrap()),
        }
        assert_eq!(units(&order(&client, &number).await, line, state), 1.0, "{operation}");
    }
    assert_eq!((app.requests("cancel_lines").await.len(), app.requests("ship").await.len()), (3, 3));
    app.finish().await;
}

#[tokio::test]
async fn what_one_of_two_equal_calls_did_is_no_evidence_for_the_other() {
    let app = Setup::new().ledger_times(3000, &[50, 150, 300, 1200, 1500, 2000]).start().await;
    let client = app.client().await;
    let lag = "[[fault]]\nlie = \"change-lag\"\nlag = \"1s\"\n";
    let named = |id: &str| {
        let mut body = of("cancel", ORDER);
        body["requestId"] = json!(id);
        body
    };
    app.set_faults(lag).await;
    client.cancel_order_lines(&named("first")).await.unwrap();
    // The order is read before the second call, and does not show the first yet. The second is lost before it arrives.
    app.set_faults(&format!("{lag}[[fault]]\noperation = \"cancel_lines\"\ndrop = \"before\"")).await;
    let hurried = app.client().await.with("grpc-timeout", "2S");
    let pending = hurried.cancel_order_lines(&named("second")).await.unwrap_err();
    pending.is(Code::Unavailable, "OUTCOME_PENDING");
    let nothing = "another call may have made the change that the look-up shows";
    let mut operation = client.operation("operations/2").await.unwrap();
    for _ in 0..1000 {
        if operation.last_error == nothing || operation.state() == State::Succeeded {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        operation = client.operation("operations/2").await.unwrap();
    }
    assert_eq!((operation.last_error.as_str(), operation.attempts), (nothing, 1));
    assert_eq!(units(&order(&client, ORDER).await, 1, "Cancelled"), 1.0);
    app.set_faults("").await;
    client.resolve("operations/2", Outcome::Resend, "one unit is cancelled, by the first").await.unwrap();
    assert!(client.cancel_order_lines(&named("second")).await.unwrap().replayed);
    assert_eq!(units(&order(&client, ORDER).await, 1, "Cancelled"), 2.0);
    app.finish().await;
}

#[tokio::test]
async fn a_refund_is_found_after_a_lost_answer_and_answered_again_without_paying() {
    let app = Setup::new().ledger_times(300, &[50, 150, 300]).start().await;
    let client = app.client().await;
    let number = "MAGIC-REFUND-DROP-AFTER-1";
    client.ship(&of("ship", number)).await.unwrap();
    let first = client.refund(&of("refund", number)).await.unwrap();
    assert_eq!(first.order.unwrap().purchase_order_id, number);
    let again = client.refund(&of("refund", number)).await.unwrap();
    assert!(again.replayed);
    let mut reworded = of("refund", number);
    *reworded.pointer_mut("/orderRefund/orderLines/orderLine/0/refunds/refund/0/refundComments").unwrap() = json!("x");
    assert!(client.refund(&reworded).await.unwrap().replayed, "comments are no other refund");
    assert_eq!(app.requests("refund").await.len(), 1);
    let mut on_purpose = of("refund", number);
    on_purpose["requestId"] = json!("a-second-one");
    assert!(!client.refund(&on_purpose).await.unwrap().replayed);
    let order = order(&client, number).await;
    assert_eq!(order.order_lines.unwrap().order_line[0].refunds.clone().unwrap().refund.len(), 2);
    app.finish().await;
}

#[tokio::test]
async fn a_refund_that_does_not_show_is_left_to_an_operator_and_never_sent_again() {
    let app = Setup::new().ledger_times(300, &[50, 150, 300]).start().await;
    let client = app.client().await;
    let number = "MAGIC-REFUND-DROP-BEFORE-1";
    client.ship(&of("ship", number)).await.unwrap();
    let hurried = app.client().await.with("grpc-timeout", "3S");
    let pending = hurried.refund(&of("refund", number)).await.unwrap_err();
    pending.is(Code::Unavailable, "OUTCOME_PENDING");
    assert_eq!(pending.walmart().effect(), Effect::Unknown);
    assert!(pending.metadata["requestId"].starts_with("content-"));
    let mut operation = client.operation("operations/2").await.unwrap();
    for _ in 0..1000 {
        if operation.state() == State::NeedsOperator {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        operation = client.operation("operations/2").await.unwrap();
    }
    assert_eq!((operation.kind(), operation.state()), (OperationKind::Refund, State::NeedsOperator));
    assert_eq!(operation.snapshot, ["line 1: 0.00 refunded"]);
    assert_eq!(operation.last_evidence.unwrap().detail, "nothing of the lines was refunded since");
    app.advance(Duration::from_secs(3600)).await;
    assert_eq!(app.requests("refund").await.len(), 1, "never sent again by itself");
    let client = app.client().await;
    client.resolve("operations/2", Outcome::Resend, "the order shows nothing").await.unwrap();
    let done = client.refund(&of("refund", number)).await.unwrap();
    assert!(done.replayed);
    assert_eq!(app.requests("refund").await.len(), 2);
    let order = order(&client, number).await;
    assert!(order.order_lines.unwrap().order_line[0].refund.is_some());
    app.finish().await;
}

#[tokio::test]
async fn without_a_look_at_the_order_no_refund_is_sent() {
    let app = TestApp::start().await;
    let client = app.client().await;
    app.set_faults("[[fault]]\noperation = \"order\"\nstatus = 503").await;
    let problem = client.refund(&of("refund", "1700000000004")).await.unwrap_err();
    problem.is(Code::Unavailable, "UPSTREAM_UNAVAILABLE");
    assert_eq!(problem.walmart().effect(), Effect::None);
    app.set_faults("[[fault]]\noperation = \"order\"\nlie = \"empty-object\"").await;
    client.refund(&of("refund", "1700000000004")).await.unwrap_err().is(Code::Unavailable, "UPSTREAM_UNAVAILABLE");
    app.set_faults("").await;
    client.refund(&of("refund", "1")).await.unwrap_err().is(Code::NotFound, "UPSTREAM_NOT_FOUND");
    assert!(app.requests("refund").await.is_empty());
    assert!(client.operations(&json!({})).await.unwrap().operations.is_empty());
    app.finish().await;
}

#[tokio::test]
async fn what_walmart_repeats_of_the_customer_is_taken_out() {
    let app = TestApp::start().await;
    let client = app.client().await;
    let body = r#"{"errors":{"error":[{"code":"INVALID_REQUEST_CONTENT.GMP_ORDER_API","description":"Ana Roe, 12 Oak Ave, 555-123-0000: Line 2 cannot be cancelled"}]}}"#;
    app.set_faults(&format!("[[fault]]\noperation = \"cancel_lines\"\nstatus = 400\nbody = '{body}'")).await;
    let problem = client.cancel_order_lines(&sample("cancel")).await.unwrap_err();
    problem.is(Code::FailedPrecondition, "UPSTREAM_REJECTED");
    for personal in ["Ana", "Roe", "Oak", "555"] {
        assert!(!problem.text.contains(personal), "{personal}: {}", problem.text);
    }
    assert!(problem.walmart().errors[0].description.ends_with("Line 2 cannot be cancelled"));
    app.finish().await;
}

#[tokio::test]
async fn bad_requests_are_told_whole_and_reach_nobody() {
    let app = TestApp::start().await;
    let client = app.client().await;
    let mut body = sample("cancel");
    let status =
        body.pointer_mut("/orderCancellation/orderLines/orderLine/0/orderLineStatuses/orderLineStatus/0").unwrap();
    *status = json!({"status": "Shipped", "statusQuantity": {"amount": "none"}});
    body["purchaseOrderId"] = json!("..");
    let problem = client.cancel_order_lines(&body).await.unwrap_err();
    problem.is(Code::InvalidArgument, "INVALID_REQUEST");
    let at = "order_cancellation.order_lines.order_line[0].order_line_statuses.order_line_status[0]";
    let wanted = [
        "purchase_order_id".to_owned(),
        format!("{at}.status"),
        format!("{at}.cancellation_reason"),
        format!("{at}.status_quantity.amount"),
    ];
    assert_eq!(problem.fields, wanted);
    client.ship(&json!({})).await.unwrap_err().is(Code::InvalidArgument, "INVALID_REQUEST");
    client.refund(&json!({})).await.unwrap_err().is(Code::InvalidArgument, "INVALID_REQUEST");
    client.list_orders(&json!({"limit": 500})).await.unwrap_err().is(Code::InvalidArgument, "INVALID_REQUEST");
    client.acknowledge("").await.unwrap_err().is(Code::InvalidArgument, "INVALID_REQUEST");
    for operation in ["orders", "order", "acknowledge", "cancel_lines", "ship", "refund"] {
        assert!(app.requests(operation).await.is_empty(), "{operation}");
    }
    app.finish().await;
}
