//! The layers between a use case and the wire. [`stack`](super::stack) decides the order.
//!
//! A layer which calls the inner service exactly once does so in `call`, on the service polled ready. Only layers
//! with a wait or a repeat use a clone.

pub(crate) mod attempt;
pub(crate) mod attempt_timeout;
pub(crate) mod auth;
pub(crate) mod bucket;
pub(crate) mod budget;
pub mod circuit;
pub(crate) mod deadline;
pub(crate) mod load_shed;
pub mod rate_limit;
pub(crate) mod retry;
pub(crate) mod trace;
