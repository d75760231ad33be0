//! Whether Walmart says that an order does not exist.

use crate::domain::ledger::evidence::is_order_service_not_found;
use crate::ports::upstream::{ErrorKind, UpstreamError};

/// Whether Walmart's order service does not know the order, and says nothing else. A bare 404, or one of a path that does
/// not exist, says nothing about orders: a gateway or proxy on the way wrote it.
pub(super) fn is_told_by(error: &UpstreamError) -> bool {
    let [only] = error.errors.as_slice() else { return false };
    error.kind == ErrorKind::NotFound && error.omitted == 0 && is_order_service_not_found(&only.code)
}
