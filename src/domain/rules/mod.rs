//! Checks of a request before any of Walmart's scarce calls is spent.
//!
//! The checks cover only certain faults: fields present in every sample of Walmart's, and fields that no order can do
//! without. Characters and lengths are left to Walmart. All faults are reported at once, and no fault repeats a value,
//! because values may be personal.

mod cancel;
mod order;
mod order_status;
mod parts;
mod path;
mod promise;
mod returns;
mod seller_orders;
mod webhooks;

pub(crate) use self::cancel::check_cancellation;
pub use self::order::check_order;
pub(crate) use self::order_status::check_order_status;
pub(crate) use self::parts::{check_request_id, is_request_id};
pub use self::path::FieldPath;
pub use self::promise::check_promise;
pub(crate) use self::returns::{
    check_list_mcs_returns, check_list_returns, check_mcs_return, check_mcs_return_cancellation, check_return_refund,
};
pub(crate) use self::seller_orders::{
    check_acknowledgement, check_correction, check_get_order, check_line_cancellation, check_list_orders, check_refund,
    check_shipment,
};
pub(crate) use self::webhooks::{
    check_webhook_creation, check_webhook_deletion, check_webhook_test, check_webhook_update,
};

/// One fault of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldFault {
    /// Path of the field, such as `payload.order_items[0].qty.measurement_value`.
    pub field: String,
    /// Description of the fault, without the value.
    pub description: &'static str,
}

/// Most faults that are written out. A request of one megabyte can have a fault in millions of empty lines, and an
/// answer has room for fewer.
const MAX_KEPT: usize = 256;

/// Faults found, in the order of the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldFaults {
    /// The first faults, at most 256.
    pub kept: Vec<FieldFault>,
    /// Number of further faults, counted only.
    pub omitted: usize,
}

impl FieldFaults {
    /// Adds a fault at a field.
    pub fn add(&mut self, at: &FieldPath<'_>, description: &'static str) {
        if self.kept.len() < MAX_KEPT {
            self.kept.push(FieldFault { field: at.to_string(), description });
        } else {
            self.omitted += 1;
        }
    }

    /// Adds the faults of a later part of the request.
    pub fn extend(&mut self, later: Self) {
        self.kept.extend(later.kept);
        self.omitted += later.omitted + self.kept.len().saturating_sub(MAX_KEPT);
        self.kept.truncate(MAX_KEPT);
    }

    /// Converts to `Ok` when no fault was found.
    pub(crate) fn into_result(self) -> Result<(), Self> {
        if self.kept.is_empty() { Ok(()) } else { Err(self) }
    }
}

const REQUIRED: &str = "is required";

#[cfg(test)]
mod tests;
