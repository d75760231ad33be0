//! Whether Walmart says that an order does not exist.

use crate::ports::upstream::{ErrorKind, UpstreamError};

/// Whether it is Walmart's order service that does not know the order. A bare 404, or one of a path that does not exist,
/// says nothing about orders: it comes from whatever stands in between.
pub(super) fn is_told_by(error: &UpstreamError) -> bool {
    let told = |code: &str| {
        code.starts_with("404.") || code.starts_with("CONTENT_NOT_FOUND") || code.starts_with("OS_NOT_FOUND_ERROR")
    };
    error.kind == ErrorKind::NotFound && error.errors.iter().any(|error| told(&error.code))
}
