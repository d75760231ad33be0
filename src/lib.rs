//! order-gateway: a typed gRPC API for Walmart fulfillment.
//!
//! The table lists the modules in the order in which a call passes them. A module may use only modules below its own level;
//! `tests/it/levels.rs` has the exact list and fails for any other use. `docs/ARCHITECTURE.md` follows a call from file to
//! file.
//!
//! | level | modules | |
//! |---|---|---|
//! | process | [`cli`], [`app`] | commands; composition of all parts |
//! | inbound edges | [`grpc`], [`http`] | RPCs; webhooks, probes and metrics |
//! | use cases | [`service`] | the promises of each RPC, generic over traits |
//! | ports | [`ports`] | traits for the outside: Walmart, time, randomness, the current call |
//! | outbound edge | [`upstream`] | calls to Walmart; implements [`ports::upstream`] |
//! | storage | [`store`] | the ledger and the feeds; implements [`ports::ledger`] |
//! | settings | [`config`] | loading, validation and documentation |
//! | pure | [`domain`], [`wire`], [`pb`] | values and rules; Walmart's JSON; the messages of both APIs |
//! | anywhere | [`telemetry`], [`shutdown`], [`accept`], [`quota`], `rate_limiter`, `single_flight`, `limits`, [`crash_point`], [`planted_bug`] | traces, metrics and logs; drain; connection limits; quotas; rates; identical work done once; limits of the process; crash tests; bugs for testing the tests |
//! | other side | [`emulator`] | an emulated Walmart for tests and for `dev`; shares only `domain` with the rest |
#![warn(missing_docs)]

pub mod accept;
pub mod app;
pub mod cli;
pub mod config;
pub mod crash_point;
pub mod domain;
pub mod emulator;
pub mod grpc;
pub mod http;
mod limits;
pub mod pb;
pub mod planted_bug;
pub mod ports;
pub mod quota;
mod rate_limiter;
pub mod service;
pub mod shutdown;
mod single_flight;
pub mod store;
pub mod telemetry;
#[cfg(test)]
mod testing;
pub mod upstream;
pub mod wire;
