//! Walmart's REST messages: strict writing and lenient reading. Shared by `upstream` and the webhooks; pure.

pub mod envelope;
pub mod error;
pub mod lenient;
pub mod number;
pub mod unmapped;
pub mod watch;
