//! The JSON of an order, and of refusals, in the Orders API's form.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::book::{ChangeRefused, LineRefund, SellerLine, SellerOrder};
use super::charges::charge;
use crate::emulator::answer::WalmartAnswer;

/// An order with its lines as they were at `seen`.
pub(super) fn order(order: &SellerOrder, seen: Timestamp, now: Timestamp) -> Value {
    let lines: Vec<Value> = order.lines_at(seen).iter().map(|line| self::line(line, order, now)).collect();
    let day = |days: i64| order.created.as_millisecond() + days * 24 * 60 * 60 * 1000;
    json!({
        "purchaseOrderId": order.purchase_order, "customerOrderId": order.customer_order,
        "customerEmailId": "relay-1@relay.emulator.invalid", "orderType": "REGULAR", "isGuest": false,
        "orderDate": order.created.as_millisecond(),
        "shippingInfo": {
            "phone": "5551230000", "estimatedDeliveryDate": day(7), "estimatedShipDate": order.ship_by.as_millisecond(),
            "methodCode": "Value",
            "postalAddress": {"name": "Ana Roe", "address1": "12 Oak Ave", "address2": null, "city": "Tulsa",
                "state": "OK", "postalCode": "74103", "country": "USA", "addressType": "RESIDENTIAL"}
        },
        "orderLines": {"orderLine": lines},
        "shipNode": {"type": order.ship_node_type, "name": "Warehouse 1", "id": "10000000001"}
    })
}

/// The order in the wrapper of answers about one.
pub(super) fn wrapped(one: &SellerOrder, seen: Timestamp, now: Timestamp) -> WalmartAnswer {
    WalmartAnswer::json(200, json!({"order": order(one, seen, now)}))
}

fn line(line: &SellerLine, order: &SellerOrder, now: Timestamp) -> Value {
    let mut value = json!({
        "lineNumber": line.number,
        "item": {"productName": line.name, "sku": line.sku, "condition": "New"},
        "charges": {"charge": [
            charge("PRODUCT", "ItemPrice", line.price_cents),
            charge("SHIPPING", "Shipping", line.shipping_cents)
        ]},
        "orderLineQuantity": units(line.ordered),
        "statusDate": order.modified.as_millisecond(),
        "orderLineStatuses": {"orderLineStatus": statuses(line, now)},
        "fulfillment": {"fulfillmentOption": "S2H", "shipMethod": "VALUE", "storeId": null,
            "shippingProgramType": "TWO_DAY"}
    });
    if line.intent {
        value["intentToCancel"] = json!("TRUE");
    }
    if let Some(id) = &line.return_order_id {
        value["returnOrderId"] = json!(id);
    }
    match line.refunds.as_slice() {
        [] => value["refund"] = Value::Null,
        [one] => value["refund"] = refund(one),
        many => value["refunds"] = json!({"refund": many.iter().map(refund).collect::<Vec<_>>()}),
    }
    value
}

/// One entry for each state and parcel with units.
fn statuses(line: &SellerLine, now: Timestamp) -> Vec<Value> {
    let mut all = Vec::new();
    let mut add = |status: &str, count: u64, more: Value| {
        if count > 0 {
            let mut entry = json!({"status": status, "statusQuantity": units(count), "cancellationReason": null,
                "trackingInfo": null});
            if let (Some(entry), Value::Object(more)) = (entry.as_object_mut(), more) {
                entry.extend(more);
            }
            all.push(entry);
        }
    };
    add("Created", line.created, Value::Null);
    add("Acknowledged", line.acknowledged, Value::Null);
    for (reason, count) in &line.cancelled {
        add("Cancelled", *count, json!({"cancellationReason": reason}));
    }
    let mut refunded = line.refunded_units;
    for parcel in &line.parcels {
        let in_refund = refunded.min(parcel.units);
        refunded -= in_refund;
        let status = if parcel.is_delivered(now) { "Delivered" } else { "Shipped" };
        add("Refund", in_refund, json!({"trackingInfo": parcel.tracking}));
        add(status, parcel.units - in_refund, json!({"trackingInfo": parcel.tracking}));
    }
    all
}

fn units(count: u64) -> Value {
    json!({"unitOfMeasurement": "EACH", "amount": count.to_string()})
}

fn refund(refund: &LineRefund) -> Value {
    json!({"refundId": refund.id, "refundComments": refund.comments, "refundCharges": refund.charges})
}

/// An error of the order service, in its own envelope.
pub(super) fn error(status: u16, code: &str, severity: &str, description: &str, info: &str) -> WalmartAnswer {
    let error = json!({"code": format!("{code}.GMP_ORDER_API"), "field": "data", "description": description,
        "info": info, "severity": severity, "category": "DATA", "causes": [], "errorIdentifiers": {}});
    WalmartAnswer::json(status, json!({"errors": {"error": [error]}}))
}

/// The answer to a read that no order matches.
pub(super) fn not_found() -> WalmartAnswer {
    let text = "Unable to find order(s) that match your search request.";
    error(404, "CONTENT_NOT_FOUND", "INFO", text, "No orders found.")
}

pub(super) fn invalid(description: &str) -> WalmartAnswer {
    error(400, "INVALID_REQUEST_CONTENT", "ERROR", description, "Request content is invalid.")
}

pub(super) fn refused(number: &str, why: &ChangeRefused) -> WalmartAnswer {
    let text = match why {
        ChangeRefused::UnknownOrder => return not_found(),
        ChangeRefused::UnknownLine(line) => format!("The Line: {line} of PO: {number} does not exist"),
        ChangeRefused::HigherStatus => format!("PO: {number} has some or all qty in higher status"),
        ChangeRefused::InStatus(line, status) => {
            format!("The Line: {line} of PO: {number} is in {} status", status.to_uppercase())
        }
        ChangeRefused::OverShipped(line) => format!("Qty OverShipped for Line: {line} of PO: {number}"),
        ChangeRefused::NotSoMany(line) => {
            format!("The quantity is not available in Line: {line} of PO: {number}")
        }
        ChangeRefused::NotAcknowledged(line) => {
            format!("The Line: {line} of PO: {number} is in CREATED status and cannot be Shipped")
        }
        ChangeRefused::WantsCancel(line) => {
            format!("The Line: {line} of PO: {number} has an intent to cancel; intentToCancelOverride is needed")
        }
        ChangeRefused::OverAllowance(line) => {
            format!("The refund amount for Line: {line} of PO: {number} is more than what is left of the charges")
        }
    };
    invalid(&text)
}
