//! What a request must have before it is worth one of Walmart's scarce calls.
//!
//! Checked is what is certain: the fields that every sample of Walmart's has, and what no order can do without. Characters
//! and lengths are Walmart's to judge. All faults are found at once; none repeats a value, which may be personal.

mod cancel;
mod order;
mod order_status;
mod parts;
mod path;
mod promise;

pub use self::cancel::check_cancellation;
pub use self::order::check_order;
pub use self::order_status::check_order_status;
pub use self::parts::{check_request_id, is_request_id};
pub use self::path::Path;
pub use self::promise::check_promise;

/// One thing that is wrong with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where, as `payload.order_items[0].qty.measurement_value`.
    pub field: String,
    /// What is wrong with it. Never repeats the value.
    pub description: &'static str,
}

/// Most faults that are written out; a megabyte of empty lines has millions. An answer has room for fewer.
const MAX_KEPT: usize = 256;

/// Faults found so far, in the order of the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// The first of them, at most 256.
    pub kept: Vec<Fault>,
    /// How many more there are.
    pub omitted: usize,
}

impl Faults {
    /// Adds one.
    pub fn add(&mut self, at: &Path<'_>, description: &'static str) {
        if self.kept.len() < MAX_KEPT {
            self.kept.push(Fault { field: at.to_string(), description });
        } else {
            self.omitted += 1;
        }
    }

    /// Adds those of a later part of the request.
    pub fn extend(&mut self, later: Self) {
        self.kept.extend(later.kept);
        self.omitted += later.omitted + self.kept.len().saturating_sub(MAX_KEPT);
        self.kept.truncate(MAX_KEPT);
    }

    /// `Ok` when there are none.
    pub fn into_result(self) -> Result<(), Self> {
        if self.kept.is_empty() { Ok(()) } else { Err(self) }
    }
}

const REQUIRED: &str = "is required";

#[cfg(test)]
mod tests;
