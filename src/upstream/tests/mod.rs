//! The stack as a whole, by concern.

mod circuit;
mod classification;
mod codecs;
mod connections;
mod http_client;
mod limits;
mod look_up;
mod order;
mod rate_limit;
mod readiness;
mod refusals;
mod retry;
mod time_of_attempts;
mod tokens;
mod turns;
mod unmapped;
