//! The calls about one order.

use serde_json::Value;

use super::book::{CancelWish, LineRefund, RefundWish, SellerBook, SellerParcel, ShipWish};
use super::shown;
use crate::emulator::calls::{CallEffect, CallResult, EmulatedCall};

/// Lines that a cancellation may name. Source: seed 002.
const MAX_LINES: usize = 100;

/// The purchase order in the path of a call; empty for the list.
pub(crate) fn purchase_order(path: &str) -> String {
    let segment = path.strip_prefix("/v3/orders/").and_then(|rest| rest.split('/').next()).unwrap_or_default();
    percent_encoding::percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

/// Answers a read of one order, as it was `lag` ago.
pub(crate) fn get(book: &SellerBook, context: &EmulatedCall<'_>, number: &str, lag: std::time::Duration) -> CallResult {
    let seen = context.now.saturating_sub(lag).unwrap_or(context.now);
    let answer = match book.get(context.account, number) {
        Some(order) if order.created <= seen => shown::wrapped(order, seen, context.now),
        _ => shown::not_found(),
    };
    CallResult { answer, effect: CallEffect::Read }
}

fn changed(
    book: &SellerBook,
    context: &EmulatedCall<'_>,
    number: &str,
    effect: CallEffect,
    result: Result<(), super::book::ChangeRefused>,
) -> CallResult {
    match result {
        Ok(()) => {
            let order = book.get(context.account, number);
            let answer = order.map_or_else(shown::not_found, |order| shown::wrapped(order, context.now, context.now));
            CallResult { answer, effect }
        }
        Err(why) => CallResult::refused(shown::refused(number, &why)),
    }
}

pub(crate) fn acknowledge(book: &mut SellerBook, context: &EmulatedCall<'_>, number: &str) -> CallResult {
    let done = book.acknowledge(context.account, number, context.now);
    changed(book, context, number, CallEffect::Acknowledged, done)
}

/// Answers a cancellation of lines.
pub(crate) fn cancel(book: &mut SellerBook, context: &EmulatedCall<'_>, number: &str, body: &Value) -> CallResult {
    let lines = lines(&body["orderCancellation"]);
    let mut wishes = Vec::new();
    for line in &lines {
        for status in statuses(line) {
            let reason = status["cancellationReason"].as_str().unwrap_or_default();
            if status["status"] != "Cancelled" || reason.is_empty() || reason == "CUSTOMER_CHANGED_MIND" {
                return refused("cancellationReason or status is not valid");
            }
            let Some(units) = units(status) else { return refused("statusQuantity is not valid") };
            wishes.push(CancelWish { line: number_of(line).to_owned(), units, reason: reason.to_owned() });
        }
    }
    if wishes.is_empty() || lines.len() > MAX_LINES {
        return refused("orderLine must be 1 to 100 lines");
    }
    let done = book.cancel(context.account, number, &wishes, context.now);
    changed(book, context, number, CallEffect::LinesCancelled, done)
}

/// Answers a shipment, or a correction of tracking numbers.
pub(crate) fn ship(book: &mut SellerBook, context: &EmulatedCall<'_>, number: &str, body: &Value) -> CallResult {
    let shipment = &body["orderShipment"];
    let corrects = shipment["processMode"] == "PARTIAL_UPDATE";
    let (mut wishes, mut corrections) = (Vec::new(), Vec::new());
    for line in lines(shipment) {
        let mut parcels = Vec::new();
        for (at, status) in statuses(line).into_iter().enumerate() {
            let tracking = &status["trackingInfo"];
            if !METHODS.iter().any(|known| tracking["methodCode"] == *known) {
                return refused(&format!("Method code is not supported in line number {}", at + 1));
            }
            let carrier = &tracking["carrierName"];
            let is_named = carrier["carrier"].is_string() != carrier["otherCarrier"].is_string();
            let tracking_number = tracking["trackingNumber"].as_str().unwrap_or_default();
            if !is_named || tracking_number.is_empty() || tracking["shipDateTime"].as_i64().is_none_or(|t| t < 1 << 40)
            {
                return refused("trackingInfo is not valid");
            }
            let present = status["currentTrackingInfo"]["trackingNumber"].as_str().unwrap_or_default();
            corrections.push((number_of(line).to_owned(), present.to_owned(), tracking.clone()));
            let Some(units) = units(status) else { return refused("statusQuantity is not valid") };
            parcels.push(SellerParcel {
                units,
                shipped: context.now,
                delivered: false,
                tracking_number: tracking_number.to_owned(),
                tracking: tracking.clone(),
            });
        }
        let overrides_intent = line["intentToCancelOverride"].as_bool().unwrap_or_default();
        wishes.push(ShipWish { line: number_of(line).to_owned(), overrides_intent, parcels });
    }
    if wishes.is_empty() {
        return refused("orderLine must not be empty");
    }
    let (effect, done) = if corrects {
        (CallEffect::Corrected, book.correct(context.account, number, &corrections, context.now))
    } else {
        (CallEffect::Shipped, book.ship(context.account, number, &wishes, context.now))
    };
    changed(book, context, number, effect, done)
}

const METHODS: [&str; 6] = ["Standard", "Express", "OneDay", "Freight", "WhiteGlove", "Value"];

pub(crate) fn refund(book: &mut SellerBook, context: &EmulatedCall<'_>, number: &str, body: &Value) -> CallResult {
    let refund = &body["orderRefund"];
    if refund["purchaseOrderId"] != number {
        return refused("purchaseOrderId is required in the request");
    }
    let mut wishes = Vec::new();
    for line in lines(refund) {
        let mut refunds = Vec::new();
        for refund in items(&line["refunds"], "refund") {
            let mut cents = 0;
            for charge in items(&refund["refundCharges"], "refundCharge") {
                let amount = charge["charge"]["chargeAmount"]["amount"].as_f64();
                match amount.filter(|amount| *amount < 0.0) {
                    Some(amount) => cents += (amount * -100.0).round() as i64,
                    None => return refused("The refund amount must be negative"),
                }
            }
            refunds.push(LineRefund {
                id: refund["refundId"].as_str().unwrap_or_default().to_owned(),
                comments: refund["refundComments"].as_str().unwrap_or_default().to_owned(),
                cents,
                charges: refund["refundCharges"].clone(),
            });
        }
        let in_full = line["isFullRefund"].as_bool().unwrap_or_default();
        wishes.push(RefundWish { line: number_of(line).to_owned(), in_full, refunds });
    }
    if wishes.is_empty() || wishes.iter().any(|wish| wish.in_full != wishes[0].in_full) {
        return refused("orderLine must be all full refunds or all partial refunds");
    }
    let done = book.refund(context.account, number, wishes, context.now);
    changed(book, context, number, CallEffect::Refunded, done)
}

fn refused(text: &str) -> CallResult {
    CallResult::refused(shown::invalid(text))
}

fn items<'v>(at: &'v Value, key: &str) -> Vec<&'v Value> {
    at[key].as_array().map(|all| all.iter().collect()).unwrap_or_default()
}

fn lines(body: &Value) -> Vec<&Value> {
    items(&body["orderLines"], "orderLine")
}

fn statuses(line: &Value) -> Vec<&Value> {
    items(&line["orderLineStatuses"], "orderLineStatus")
}

fn number_of(line: &Value) -> &str {
    line["lineNumber"].as_str().unwrap_or_default()
}

/// Units are text in the Orders API.
fn units(status: &Value) -> Option<u64> {
    let amount = status["statusQuantity"]["amount"].as_str()?.parse().ok()?;
    (status["statusQuantity"]["unitOfMeasurement"].is_string() && amount > 0).then_some(amount)
}

/// The call that does what a call of the FAQ promises, which no specification has.
pub(crate) fn real_call(method: &http::Method, path: &str) -> Option<&'static str> {
    let path = path.strip_prefix("/v3").unwrap_or(path);
    match (method.as_str(), path) {
        ("POST", "/returns") => Some("see POST /v3/fulfillment/return-orders, or POST /v1/simulations/returns"),
        ("POST", "/refunds") => Some("see POST /v3/returns/{returnOrderId}/refund"),
        ("PUT", path) if path.starts_with("/returns/") => {
            Some("see POST /v3/fulfillment/return-orders/{returnOrderId}/cancel, or PUT /v1/simulations/returns")
        }
        _ => None,
    }
}
