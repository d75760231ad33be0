//! Request bodies: Walmart's samples, and the same for other numbers.

use serde_json::{Value, json};

fn read(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// Seed 001's promise, for SKU-1.
pub fn promise() -> Value {
    read(include_str!("../../../examples/promise.json"))
}

/// The same for another SKU.
pub fn promise_of(sku: &str) -> Value {
    let mut body = promise();
    body["payload"]["offerSelections"][0]["offers"][0]["sku"] = json!(sku);
    body
}

/// Seed 001's create, of SO123.
pub fn create() -> Value {
    read(include_str!("../../../examples/create.json"))
}

/// The same with another order number.
pub fn create_as(number: &str) -> Value {
    let mut body = create();
    body["payload"]["sellerOrderId"] = json!(number);
    body["payload"]["customerOrderNo"] = json!(number);
    body
}

/// Seed 001's cancel, of SO123.
pub fn cancel() -> Value {
    read(include_str!("../../../examples/cancel.json"))
}

/// Seed 000's cancel, of the order that the emulator knows from the start.
pub fn cancel_in_production() -> Value {
    read(include_str!("../../../examples/cancel-production.json"))
}

/// A cancel of these lines, one unit each.
pub fn cancel_lines(number: &str, lines: impl IntoIterator<Item = String>) -> Value {
    let quantity = json!({"unitOfMeasure": "EACH", "measurementValue": 1});
    let items: Vec<Value> = lines.into_iter().map(|id| json!({"sellerLineId": id, "qty": quantity})).collect();
    json!({"payload": {"sellerOrderId": number, "orderItems": items}})
}
