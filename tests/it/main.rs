//! Everything that is tested from outside the crate, in one binary: one file a subject.
//!
//! Tests that start the real program or call it with grpcurl need the tools of `./scripts/test`; the others run with
//! plain `cargo test`.

// A test fails by panicking; clippy knows test functions, not their helpers. Nobody imports this crate.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod accounts;
mod admin_door;
mod answers_in_time;
mod authn;
mod backfill;
mod bad_input;
mod bad_upstream;
mod cancel;
mod clients;
mod create;
mod deadlines;
mod errors_doc;
mod faults;
mod feed;
mod feed_errors;
mod feed_restart;
mod gateway_status;
mod headers;
mod lag;
mod levels;
mod limits;
mod mirror;
mod neighbours;
mod operations;
mod order_status;
mod order_updates;
mod process;
mod promise;
mod readme;
mod reload;
mod returns;
mod seller_orders;
mod sellers;
mod status_limits;
mod status_table;
mod support;
mod tls;
mod unmapped;
mod webhook_cases;
mod webhook_door;
mod webhook_subscriptions;
mod webhooks;
mod webhooks_hostile;
