//! Walmart's REST shapes: how its JSON is written (strictly) and read (leniently). Shared by `upstream` and the
//! webhooks; pure.

pub mod envelope;
pub mod error;
pub mod lenient;
pub mod number;
