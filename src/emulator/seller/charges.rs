//! Charges in the Orders API's form.

use serde_json::{Value, json};

/// A charge of a line; a refund has a negative one.
pub(super) fn charge(kind: &str, name: &str, cents: i64) -> Value {
    let amount = json!({"currency": "USD", "amount": cents as f64 / 100.0});
    json!({"chargeType": kind, "chargeName": name, "chargeAmount": amount, "tax": null})
}

/// The charges of a refund of everything.
pub(super) fn full_charges(cents: i64) -> Value {
    json!({"refundCharge": [{"refundReason": "Others", "charge": charge("PRODUCT", "ItemPrice", -cents)}]})
}
