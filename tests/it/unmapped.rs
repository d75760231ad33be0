//! What Walmart says and the messages do not know: with the caller, in a metric and once in the log, and nowhere else.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::app::{Setup, TestApp};
use crate::support::bodies;

/// Has the emulator answer a call with this body.
async fn answer(app: &TestApp, operation: &str, body: &Value) {
    app.set_faults(&format!("[[fault]]\noperation = \"{operation}\"\nstatus = 200\nbody = '''{body}'''")).await;
}

fn fields(pairs: &[(&str, Value)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(path, value)| ((*path).to_owned(), value.to_string())).collect()
}

async fn counted(app: &TestApp, operation: &str, path: &str) -> f64 {
    app.metric(&format!("order_gateway_unmapped_fields_total{{operation=\"{operation}\",path=\"{path}\"}}")).await
}

#[tokio::test]
async fn reads_hand_on_what_they_do_not_know() {
    let app = TestApp::start().await;
    let client = app.client().await;
    let order =
        json!({"purchaseOrderId": "17", "giftNote": "For Ana Roe", "orderLines": {"orderLine": [{"lineNumber": "1"}]}});
    answer(&app, "order", &json!({ "order": order })).await;
    for times in [1.0, 2.0] {
        let shown = client.get_order("17").await.unwrap();
        assert_eq!(shown.unmapped, fields(&[("order.giftNote", json!("For Ana Roe"))]));
        assert_eq!(counted(&app, "order", "order.giftNote").await, times);
    }
    let list =
        json!({"list": {"meta": {"totalCount": 2}, "elements": {"order": [order, order]}, "facets": [{"n": 1}]}});
    answer(&app, "orders", &list).await;
    let shown = client.list_orders(&json!({})).await.unwrap();
    let note = |n: usize| format!("list.elements.order[{n}].giftNote");
    let expected =
        [(&*note(0), json!("For Ana Roe")), (&*note(1), json!("For Ana Roe")), ("list.facets", json!([{"n": 1}]))];
    assert_eq!(shown.unmapped, fields(&expected));
    // Two of one place in an answer are one.
    assert_eq!(counted(&app, "orders", "list.elements.order[].giftNote").await, 1.0);
    app.finish().await;
}

#[tokio::test]
async fn a_mutation_hands_it_on_once_and_keeps_none_of_it() {
    let app = TestApp::start().await;
    let client = app.client().await;
    answer(&app, "create", &json!({"status": "ACCEPTED", "payload": {"requestId": "R"}, "promise": {"to": "Ana Roe"}}))
        .await;
    let created = client.create(&bodies::create_as("SO-1")).await.unwrap();
    assert_eq!(created.unmapped, fields(&[("promise", json!({"to": "Ana Roe"}))]));
    let again = client.create(&bodies::create_as("SO-1")).await.unwrap();
    assert!(again.replayed && again.unmapped.is_empty());
    assert_eq!(counted(&app, "create", "promise").await, 1.0);
    app.finish().await;
}

#[tokio::test]
async fn every_batch_of_a_cancellation_is_counted_and_the_first_is_shown() {
    let app = TestApp::start().await;
    let client = app.client().await;
    answer(&app, "cancel", &json!({"status": "ACCEPTED", "payload": {"requestId": "R", "eta": "soon"}})).await;
    let line =
        |n: usize| json!({"sellerLineId": n.to_string(), "qty": {"unitOfMeasure": "EACH", "measurementValue": 1}});
    let mut body = bodies::cancel();
    body["payload"]["orderItems"] = (1..=150).map(line).collect();
    let cancelled = client.cancel(&body).await.unwrap();
    assert_eq!((cancelled.batches.len(), cancelled.unmapped), (2, fields(&[("payload.eta", json!("soon"))])));
    assert_eq!(counted(&app, "cancel", "payload.eta").await, 2.0);
    app.finish().await;
}

/// The emulator says nothing that the messages do not know.
#[tokio::test]
async fn nothing_of_the_usual_answers_is_unknown() {
    let app = Setup::new().start().await;
    let client = app.client().await;
    assert!(client.promise(&bodies::promise()).await.unwrap().unmapped.is_empty());
    client.create(&bodies::create()).await.unwrap();
    client.status(&json!({"orderNumber": "SO123"})).await.unwrap();
    client.cancel(&bodies::cancel()).await.unwrap();
    client.list_orders(&json!({})).await.unwrap();
    client.acknowledge("1700000000002").await.unwrap();
    client.list_returns(&json!({})).await.unwrap();
    client.list_mcs_returns(&json!({})).await.unwrap();
    let ship = serde_json::from_str(include_str!("../../examples/ship.json")).unwrap();
    client.ship(&ship).await.unwrap();
    let refund = serde_json::from_str(include_str!("../../examples/refund.json")).unwrap();
    client.refund(&refund).await.unwrap();
    let (_, metrics) = app.get("/metrics").await;
    let counted: Vec<_> =
        metrics.lines().filter(|line| line.starts_with("order_gateway_unmapped_fields_total{")).collect();
    assert_eq!(counted, [""; 0]);
    app.finish().await;
}
