//! Whether a failed call may have changed something at Walmart.

/// The effect of a failed call at Walmart. The effect alone decides whether the call may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Effect {
    /// The call certainly changed nothing: the request was not sent, or Walmart refused the request.
    None,
    /// The call was carried out.
    Applied,
    /// The call may have been carried out: the request was sent, and no readable answer came.
    Unknown,
}
