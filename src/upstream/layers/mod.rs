//! The layers between a use case and the wire, one a file. Their order stands in [`stack`](super::stack).
//!
//! A layer that calls what is below it exactly once does so at once, on the service that was polled ready. Only those that
//! wait first, or call again, take a clone for it.

pub mod attempt;
pub mod attempt_futures;
pub mod attempt_timeout;
pub mod auth;
pub mod bucket;
pub mod budget;
pub mod circuit;
pub mod deadline;
pub mod load_shed;
pub mod rate_limit;
pub mod retry;
pub mod trace;
