//! The stack as a whole, by concern.

mod circuit;
mod classification;
mod exchanges;
mod http_client;
mod limits;
mod look_up;
mod order;
mod rate_limit;
mod readiness;
mod retry;
mod tokens;
