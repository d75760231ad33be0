//! Detects Walmart's answer that an order does not exist.

use crate::domain::ledger::evidence::is_order_service_not_found;
use crate::ports::upstream::{ErrorKind, UpstreamError};

/// Whether the error is a not-found of Walmart's order service and nothing else. A bare 404, or a 404 for an unknown
/// path, was written by a gateway or proxy on the way and says nothing about orders.
pub(super) fn is_told_by(error: &UpstreamError) -> bool {
    let [only] = error.errors.as_slice() else { return false };
    error.kind == ErrorKind::NotFound && error.omitted == 0 && is_order_service_not_found(&only.code)
}
