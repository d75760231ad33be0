//! The bodies that are posted. The `n` of a webhook is in its event id, and in each body something is that no other has.

use serde_json::{Value, json};

use crate::schedule::Dice;

const SKUS: [&str; 6] = ["SKU-A", "SKU-B", "SKU-C", "SKU-D", "SKU-E", "SKU-F"];
const SHIP_NODES: [&str; 3] = ["SellerFulfilled", "WFSFulfilled", "3PLFulfilled"];

/// Articles that some readers choose.
pub(crate) fn some_skus() -> Vec<String> {
    SKUS[..2].iter().map(|sku| (*sku).to_owned()).collect()
}

/// The event of its own.
pub(crate) fn intent(dice: &Dice, n: usize, order: u64) -> Vec<u8> {
    bytes(&json!({
        "source": source(dice, "INTENT_TO_CANCEL", Some(n)),
        "payload": order_of(dice, order),
    }))
}

/// The envelope that is to replace it; the kind of event may stand in two places.
pub(crate) fn update(dice: &Dice, n: usize, order: u64, in_meta: bool) -> Vec<u8> {
    let mut body = json!({
        "source": source(dice, "ORDER_UPDATES", Some(n)),
        "payload": { "order": order_of(dice, order) },
    });
    let payload = &mut body["payload"];
    if in_meta {
        payload["meta"] = json!({ "subEventType": "INTENT_TO_CANCEL" });
    } else {
        payload["subEventType"] = json!("INTENT_TO_CANCEL");
    }
    bytes(&body)
}

/// Something else that happened to an order.
pub(crate) fn other(dice: &Dice, n: usize, order: u64) -> Vec<u8> {
    if dice.share(0.5) {
        return bytes(&json!({
            "source": source(dice, "PO_CREATED", Some(n)),
            "payload": order_of(dice, order),
        }));
    }
    bytes(&json!({
        "source": source(dice, "ORDER_UPDATES", Some(n)),
        "payload": { "meta": { "subEventType": "PO_LINE_AUTOCANCELLED" }, "order": order_of(dice, order) },
    }))
}

/// Walmart forgot to name it.
pub(crate) fn without_an_id(dice: &Dice, n: usize, order: u64) -> Vec<u8> {
    let mut body = json!({
        "source": source(dice, "INTENT_TO_CANCEL", None),
        "payload": order_of(dice, order),
    });
    body["payload"]["customerOrderId"] = json!(format!("C-{n}"));
    bytes(&body)
}

/// Walmart's, but no JSON.
pub(crate) fn unreadable(dice: &Dice, n: usize) -> Vec<u8> {
    match dice.up_to(3) {
        1 => format!("{{\"source\":{{\"eventType\":\"INTENT_TO_CANCEL\",\"eventId\":\"cut-{n}\"").into_bytes(),
        2 => format!("intent to cancel {n}").into_bytes(),
        // As printed in Walmart's own sample.
        _ => format!("{{ source\": {{ \"eventType\": \"INTENT_TO_CANCEL\", \"eventId\": \"misprint-{n}\" }} }}")
            .into_bytes(),
    }
}

fn source(dice: &Dice, event_type: &str, n: Option<usize>) -> Value {
    let mut source = json!({
        "eventType": event_type,
        "eventFilters": null,
        "eventTime": format!("2026-10-30T15:{:02}:{:02}.{:03}Z", dice.up_to(59), dice.up_to(59), dice.up_to(999)),
    });
    if let Some(n) = n {
        source["eventId"] = json!(format!("event-{n}"));
    }
    if dice.share(0.2) {
        source["eventVersion"] = json!("V1");
    }
    source
}

fn order_of(dice: &Dice, order: u64) -> Value {
    let lines: Vec<Value> = (0..dice.up_to(3))
        .map(|line| {
            json!({
                "lineNumber": (line + 1).to_string(),
                "sku": dice.one_of(&SKUS),
                "productName": "Red mug",
                "quantity": { "unitOfMeasure": "EACH", "measurementValue": dice.up_to(9).to_string() },
                "status": "PO Created",
            })
        })
        .collect();
    let mut body = json!({
        "partnerId": (100 + dice.up_to(3)).to_string(),
        "customerOrderId": format!("C-{}", dice.up_to(1_000_000_000_000)),
        "orderLines": lines,
        "shipNodeType": dice.one_of(&SHIP_NODES),
    });
    // A few come without one, and wait for nothing.
    if !dice.share(0.03) {
        body["purchaseOrderId"] = json!(format!("PO-{order}"));
    }
    body
}

fn bytes(body: &Value) -> Vec<u8> {
    body.to_string().into_bytes()
}
