//! Checks of a GetOrderStatus request.

use super::{FieldFaults, FieldPath};
use crate::pb::GetOrderStatusRequest;

/// Walmart's limits of a search.
const MAX_LIMIT: i32 = 50;
const MAX_OFFSET: i32 = 50_000;

/// Checks a search for orders and returns all of its faults.
pub(crate) fn check_order_status(request: &GetOrderStatusRequest) -> Result<(), FieldFaults> {
    let mut faults = FieldFaults::default();
    let filters = [
        &request.order_number,
        &request.order_channel_id,
        &request.tracking_number,
        &request.shipment_number,
        &request.from_order_date,
        &request.to_order_date,
    ];
    if filters.iter().all(|filter| filter.is_empty()) {
        faults.add(&FieldPath::Top("order_number"), "is required, or another filter");
    }
    if !(0..=MAX_LIMIT).contains(&request.limit) {
        faults.add(&FieldPath::Top("limit"), "must be 1 to 50, or 0 for Walmart's default");
    }
    if !(0..=MAX_OFFSET).contains(&request.offset) {
        faults.add(&FieldPath::Top("offset"), "must be 0 to 50000");
    }
    faults.into_result()
}
