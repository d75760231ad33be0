//! Checks of a CancelOrder request.

use super::parts::{LineIds, order_numbers, quantity};
use super::{FieldFaults, FieldPath, REQUIRED, check_request_id};
use crate::pb::CancelOrderRequest;

/// Checks a cancellation and returns all of its faults.
pub(crate) fn check_cancellation(request: &CancelOrderRequest) -> Result<(), FieldFaults> {
    let mut faults = FieldFaults::default();
    check_request_id(&request.request_id, &mut faults);
    let at = FieldPath::Top("payload");
    let Some(payload) = &request.payload else {
        faults.add(&at, REQUIRED);
        return faults.into_result();
    };
    order_numbers(payload.seller_order_id.as_ref(), payload.customer_order_no.as_ref(), &at, &mut faults);
    let items = at.field("order_items");
    if payload.order_items.is_empty() {
        faults.add(&items, "needs at least one line");
    }
    let mut ids = LineIds::default();
    for (i, item) in payload.order_items.iter().enumerate() {
        let at = items.index(i);
        ids.check(item.seller_line_id.as_ref(), &at.field("seller_line_id"), &mut faults);
        quantity(item.qty.as_ref(), &at.field("qty"), &mut faults);
    }
    faults.into_result()
}
