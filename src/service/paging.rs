//! The parameters of a page in a list request.

use super::ServiceError;
use crate::domain::rules::{FieldFaults, FieldPath};

/// Length of a page when the caller gives none.
const PAGE: usize = 100;
const LARGEST_PAGE: usize = 1000;

/// Reads the length of a page.
pub(super) fn size(page_size: i32, faults: &mut FieldFaults) -> usize {
    match usize::try_from(page_size) {
        Ok(0) => PAGE,
        Ok(size) if size <= LARGEST_PAGE => size,
        _ => {
            faults.add(&FieldPath::Top("page_size"), "must be 1 to 1000, or 0 for 100");
            PAGE
        }
    }
}

/// Reads a page token; `first` for an empty token.
pub(super) fn token<T: std::str::FromStr>(page_token: &str, first: T, faults: &mut FieldFaults) -> T {
    if page_token.is_empty() {
        return first;
    }
    page_token.parse().unwrap_or_else(|_| {
        faults.add(&FieldPath::Top("page_token"), "must be the next_page_token of an earlier answer");
        first
    })
}

/// Reads length and token of a page with numeric tokens.
pub(super) fn numbered(page_size: i32, page_token: &str) -> Result<(usize, u64), ServiceError> {
    let mut faults = FieldFaults::default();
    let page = (size(page_size, &mut faults), token(page_token, 0, &mut faults));
    faults.into_result().map_err(ServiceError::Invalid)?;
    Ok(page)
}
