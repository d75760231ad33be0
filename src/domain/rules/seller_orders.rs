//! Checks of the requests of SellerOrderService.

use std::collections::HashSet;

use super::parts::{LineIds, text};
use super::{FieldFaults, FieldPath, REQUIRED, check_request_id};
use crate::pb::{
    AcknowledgeOrderRequest, CancelOrderLinesRequest, Charge, GetOrderRequest, LineQuantity, LineStatus, LineStatuses,
    ListOrdersRequest, OrderRefundLine, Refund, RefundOrderLinesRequest, ShipOrderLinesRequest, TrackingInfo,
};

/// Walmart's limits of a list.
const MAX_LIMIT: i32 = 200;
/// Longest cursor of a list, in bytes.
const MAX_CURSOR: usize = 4096;
/// Number of digits of a time in milliseconds since 1970; seconds have 10, .NET ticks 18.
const MILLISECONDS: std::ops::Range<f64> = 1e12..1e13;

const WHOLE_UNITS: &str = "must be a whole number as text, at least \"1\"";

/// Checks a search for orders and returns all of its faults.
pub(crate) fn check_list_orders(request: &ListOrdersRequest) -> Result<(), FieldFaults> {
    let mut faults = FieldFaults::default();
    let texts = [
        ("sku", &request.sku),
        ("customer_order_id", &request.customer_order_id),
        ("purchase_order_id", &request.purchase_order_id),
        ("status", &request.status),
        ("created_start_date", &request.created_start_date),
        ("created_end_date", &request.created_end_date),
        ("from_expected_ship_date", &request.from_expected_ship_date),
        ("to_expected_ship_date", &request.to_expected_ship_date),
        ("last_modified_start_date", &request.last_modified_start_date),
        ("last_modified_end_date", &request.last_modified_end_date),
        ("ship_node_type", &request.ship_node_type),
        ("shipping_program_type", &request.shipping_program_type),
        ("order_type", &request.order_type),
    ];
    for (name, value) in &texts[4..10] {
        date(value, &FieldPath::Top(name), &mut faults);
    }
    limit(request.limit, MAX_LIMIT, &mut faults);
    let flags = [("product_info", request.product_info), ("replacement_info", request.replacement_info)];
    let given = texts.iter().filter(|(_, value)| !value.is_empty()).map(|(name, _)| *name);
    let given = given.chain((request.limit != 0).then_some("limit"));
    cursor(&request.next_cursor, given.chain(flags.iter().filter(|(_, set)| *set).map(|(name, _)| *name)), &mut faults);
    faults.into_result()
}

/// Checks a request for an order.
pub(crate) fn check_get_order(request: &GetOrderRequest) -> Result<(), FieldFaults> {
    let mut faults = FieldFaults::default();
    path_id(&request.purchase_order_id, &FieldPath::Top("purchase_order_id"), &mut faults);
    faults.into_result()
}

pub(crate) fn check_acknowledgement(request: &AcknowledgeOrderRequest) -> Result<(), FieldFaults> {
    let mut faults = FieldFaults::default();
    path_id(&request.purchase_order_id, &FieldPath::Top("purchase_order_id"), &mut faults);
    faults.into_result()
}

/// Checks a cancellation of lines and returns all of its faults.
pub(crate) fn check_line_cancellation(request: &CancelOrderLinesRequest) -> Result<(), FieldFaults> {
    let mut faults = FieldFaults::default();
    check_request_id(&request.request_id, &mut faults);
    path_id(&request.purchase_order_id, &FieldPath::Top("purchase_order_id"), &mut faults);
    let top = FieldPath::Top("order_cancellation");
    let at = top.field("order_lines");
    let lines = request.order_cancellation.as_ref().and_then(|one| one.order_lines.as_ref());
    let lines = lines.map(|lines| lines.order_line.as_slice()).unwrap_or_default();
    if lines.is_empty() {
        faults.add(&at, "needs at least one line");
    }
    let at = at.field("order_line");
    let mut ids = LineIds::default();
    for (i, line) in lines.iter().enumerate() {
        let at = at.index(i);
        ids.check(line.line_number.as_ref(), &at.field("line_number"), &mut faults);
        each_status(line.order_line_statuses.as_ref(), &at, &mut faults, |status, at, faults| {
            filled(status, "Cancelled", at, faults);
            text(status.cancellation_reason.as_ref(), &at.field("cancellation_reason"), faults);
            units(status.status_quantity.as_ref(), &at.field("status_quantity"), faults);
        });
    }
    faults.into_result()
}

/// Checks a shipment and returns all of its faults.
pub(crate) fn check_shipment(request: &ShipOrderLinesRequest) -> Result<(), FieldFaults> {
    let mut faults = FieldFaults::default();
    check_request_id(&request.request_id, &mut faults);
    shipped_lines(request, &mut faults);
    faults.into_result()
}

/// Checks a correction of tracking numbers and returns all of its faults.
pub(crate) fn check_correction(request: &ShipOrderLinesRequest) -> Result<(), FieldFaults> {
    let mut faults = FieldFaults::default();
    if !request.request_id.is_empty() {
        faults.add(&FieldPath::Top("request_id"), "must be empty with PARTIAL_UPDATE, which may be repeated");
    }
    shipped_lines(request, &mut faults);
    faults.into_result()
}

fn shipped_lines(request: &ShipOrderLinesRequest, faults: &mut FieldFaults) {
    path_id(&request.purchase_order_id, &FieldPath::Top("purchase_order_id"), faults);
    let top = FieldPath::Top("order_shipment");
    let at = top.field("order_lines");
    let lines = request.order_shipment.as_ref().and_then(|one| one.order_lines.as_ref());
    let lines = lines.map(|lines| lines.order_line.as_slice()).unwrap_or_default();
    if lines.is_empty() {
        faults.add(&at, "needs at least one line");
    }
    let at = at.field("order_line");
    let mut ids = LineIds::default();
    for (i, line) in lines.iter().enumerate() {
        let at = at.index(i);
        ids.check(line.line_number.as_ref(), &at.field("line_number"), faults);
        let mut numbers = HashSet::new();
        each_status(line.order_line_statuses.as_ref(), &at, faults, |status, at, faults| {
            filled(status, "Shipped", at, faults);
            units(status.status_quantity.as_ref(), &at.field("status_quantity"), faults);
            let at = at.field("tracking_info");
            let Some(parcel) = &status.tracking_info else { return faults.add(&at, REQUIRED) };
            tracking(parcel, &at, faults);
            let number = parcel.tracking_number();
            if !number.is_empty() && !numbers.insert(number) {
                faults.add(&at.field("tracking_number"), "must be unique in the line");
            }
        });
    }
}

fn tracking(parcel: &TrackingInfo, at: &FieldPath<'_>, faults: &mut FieldFaults) {
    let time = parcel.ship_date_time.unwrap_or_default();
    if !MILLISECONDS.contains(&time) || time.fract() != 0.0 {
        faults.add(&at.field("ship_date_time"), "must be a time in milliseconds since 1970, 13 digits");
    }
    let name = parcel.carrier_name.clone().unwrap_or_default();
    let (carrier, other) = (!name.carrier().is_empty(), !name.other_carrier().is_empty());
    if carrier == other {
        faults.add(&at.field("carrier_name"), "needs exactly one of carrier and other_carrier");
    }
    text(parcel.method_code.as_ref(), &at.field("method_code"), faults);
    text(parcel.tracking_number.as_ref(), &at.field("tracking_number"), faults);
    if other {
        text(parcel.tracking_url.as_ref(), &at.field("tracking_url"), faults);
    }
}

/// Checks a refund and returns all of its faults.
pub(crate) fn check_refund(request: &RefundOrderLinesRequest) -> Result<(), FieldFaults> {
    let mut faults = FieldFaults::default();
    check_request_id(&request.request_id, &mut faults);
    let top = FieldPath::Top("order_refund");
    let inside = request.order_refund.as_ref().map(|refund| refund.purchase_order_id()).unwrap_or_default();
    match (request.purchase_order_id.as_str(), inside) {
        ("", id) | (id, "") => path_id(id, &FieldPath::Top("purchase_order_id"), &mut faults),
        (id, inside) => {
            path_id(id, &FieldPath::Top("purchase_order_id"), &mut faults);
            if id != inside {
                faults.add(&top.field("purchase_order_id"), "must equal purchase_order_id");
            }
        }
    }
    let at = top.field("order_lines");
    let lines = request.order_refund.as_ref().and_then(|one| one.order_lines.as_ref());
    let lines = lines.map(|lines| lines.order_line.as_slice()).unwrap_or_default();
    if lines.is_empty() {
        faults.add(&at, "needs at least one line");
    }
    let in_full = lines.iter().filter(|line| line.is_full_refund()).count();
    if in_full != 0 && in_full != lines.len() {
        faults.add(&at, "must be refunded all in full, or all in part");
    }
    let at = at.field("order_line");
    let mut ids = LineIds::default();
    for (i, line) in lines.iter().enumerate() {
        let at = at.index(i);
        ids.check(line.line_number.as_ref(), &at.field("line_number"), &mut faults);
        refunds(line, &at, &mut faults);
    }
    faults.into_result()
}

fn refunds(line: &OrderRefundLine, at: &FieldPath<'_>, faults: &mut FieldFaults) {
    let at = at.field("refunds");
    let refunds = line.refunds.as_ref().map(|refunds| refunds.refund.as_slice()).unwrap_or_default();
    let in_part = !line.is_full_refund();
    if refunds.is_empty() && in_part {
        return faults.add(&at, "needs at least one refund, or is_full_refund");
    }
    let at = at.field("refund");
    for (i, refund) in refunds.iter().enumerate() {
        charges(refund, in_part, &at.index(i), faults);
    }
}

fn charges(refund: &Refund, in_part: bool, at: &FieldPath<'_>, faults: &mut FieldFaults) {
    let at = at.field("refund_charges");
    let charges = refund.refund_charges.as_ref().map(|charges| charges.refund_charge.as_slice()).unwrap_or_default();
    if charges.is_empty() && in_part {
        return faults.add(&at, "needs at least one charge");
    }
    let at = at.field("refund_charge");
    for (i, one) in charges.iter().enumerate() {
        let at = at.index(i);
        if in_part {
            text(one.refund_reason.as_ref(), &at.field("refund_reason"), faults);
        }
        let at = at.field("charge");
        match &one.charge {
            Some(one) => charge(one, in_part, &at, faults),
            None if in_part => faults.add(&at, REQUIRED),
            None => {}
        }
    }
}

fn charge(charge: &Charge, in_part: bool, at: &FieldPath<'_>, faults: &mut FieldFaults) {
    if in_part {
        text(charge.charge_type.as_ref(), &at.field("charge_type"), faults);
        text(charge.charge_name.as_ref(), &at.field("charge_name"), faults);
    }
    let amount_at = at.field("charge_amount");
    let amount_at = amount_at.field("amount");
    match charge.charge_amount.as_ref().and_then(|amount| amount.amount) {
        // A positive amount would be a charge, and is never turned round.
        Some(amount) if !amount.is_finite() || amount >= 0.0 => faults.add(&amount_at, "must be below 0"),
        None if in_part => faults.add(&amount_at, REQUIRED),
        Some(_) | None => {}
    }
    let tax = charge.tax.as_ref().and_then(|tax| tax.tax_amount.as_ref()).and_then(|amount| amount.amount);
    if tax.is_some_and(|tax| !tax.is_finite() || tax > 0.0) {
        let at = at.field("tax");
        faults.add(&at.field("tax_amount").field("amount"), "must not be above 0");
    }
}

/// Checks every status of a line; a line needs at least one.
fn each_status<'l>(
    statuses: Option<&'l LineStatuses>,
    line: &FieldPath<'_>,
    faults: &mut FieldFaults,
    mut check: impl FnMut(&'l LineStatus, &FieldPath<'_>, &mut FieldFaults),
) {
    let at = line.field("order_line_statuses");
    let statuses = statuses.map(|statuses| statuses.order_line_status.as_slice()).unwrap_or_default();
    if statuses.is_empty() {
        return faults.add(&at, "needs at least one order_line_status");
    }
    let at = at.field("order_line_status");
    for (i, status) in statuses.iter().enumerate() {
        check(status, &at.index(i), faults);
    }
}

/// A status is filled in where the caller leaves it out.
fn filled(status: &LineStatus, wanted: &str, at: &FieldPath<'_>, faults: &mut FieldFaults) {
    if status.status.as_deref().is_some_and(|status| status != wanted) {
        let fault = if wanted == "Cancelled" { "must be \"Cancelled\"" } else { "must be \"Shipped\"" };
        faults.add(&at.field("status"), fault);
    }
}

/// The unit is filled in where the caller leaves it out.
fn units(quantity: Option<&LineQuantity>, at: &FieldPath<'_>, faults: &mut FieldFaults) {
    let at = at.field("amount");
    match quantity.and_then(|quantity| quantity.amount.as_deref()) {
        None | Some("") => faults.add(&at, REQUIRED),
        // At most nine digits: more is no quantity, and a doubt about it could not be counted.
        Some(text) => {
            let digits = text.bytes().all(|b| b.is_ascii_digit()) && text.len() <= 9;
            if !digits || text.parse::<u32>().is_ok_and(|units| units == 0) {
                faults.add(&at, WHOLE_UNITS);
            }
        }
    }
}

/// An id that goes into one segment of a path. A URL library would resolve dots.
pub(super) fn path_id(id: &str, at: &FieldPath<'_>, faults: &mut FieldFaults) {
    match id {
        "" => faults.add(at, REQUIRED),
        "." | ".." => faults.add(at, "must not be dots"),
        _ => {}
    }
}

/// Walmart refuses other forms, milliseconds too.
pub(super) fn date(value: &str, at: &FieldPath<'_>, faults: &mut FieldFaults) {
    if !value.is_empty() && !is_date(value) {
        faults.add(at, "must be of the form 2026-11-01 or 2026-11-01T08:00:00Z");
    }
}

fn is_date(value: &str) -> bool {
    match value.len() {
        10 => value.parse::<jiff::civil::Date>().is_ok(),
        20 => value.ends_with('Z') && value.as_bytes()[10] == b'T' && value.parse::<jiff::Timestamp>().is_ok(),
        _ => false,
    }
}

pub(super) fn limit(limit: i32, most: i32, faults: &mut FieldFaults) {
    if !(0..=most).contains(&limit) {
        faults.add(&FieldPath::Top("limit"), "must be 1 to 200, or 0 for Walmart's default");
    }
}

/// A cursor is Walmart's query string, and excludes all other filters, whose names are `given`.
pub(super) fn cursor(cursor: &str, given: impl Iterator<Item = &'static str>, faults: &mut FieldFaults) {
    if cursor.is_empty() {
        return;
    }
    let at = FieldPath::Top("next_cursor");
    if cursor.len() > MAX_CURSOR {
        faults.add(&at, "must be at most 4096 bytes");
    } else if !cursor.starts_with('?') || !cursor.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
        faults.add(&at, "must be a cursor of Walmart's as it came: beginning with ?, visible ASCII without #");
    }
    for name in given {
        faults.add(&FieldPath::Top(name), "must be empty with next_cursor, which has all filters");
    }
}

#[cfg(test)]
#[path = "seller_orders_tests.rs"]
mod tests;
