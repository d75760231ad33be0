//! Whether a failed call may have changed something at Walmart.

/// What a failed call did. The one question that decides whether it may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// Certainly nothing: it was not sent, or Walmart refused it.
    None,
    /// It was carried out.
    Applied,
    /// It may have been carried out: sent, and no readable answer came.
    Unknown,
}
