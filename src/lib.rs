//! order-gateway: one typed gRPC door to Walmart fulfillment.
//!
//! The modules, in the order in which a call passes them. A module uses modules that stand below it in this table, never one
//! above it or on its own level: `tests/it/levels.rs` has the exact list and fails when a module uses another.
//! `docs/ARCHITECTURE.md` follows one call from file to file.
//!
//! | level | modules | |
//! |---|---|---|
//! | process | [`cli`], [`app`] | commands; puts the parts together |
//! | inbound edges | [`grpc`], [`http`] | calls; probes and metrics |
//! | use cases | [`service`] | what each RPC promises, knowing only traits |
//! | needs | [`ports`] | what use cases need of the outside: Walmart, time, randomness, the call in hand |
//! | outbound edge | [`upstream`] | the way to Walmart, implements [`ports::upstream`] |
//! | ledger | [`store`] | keeps mutations, implements [`ports::ledger`] |
//! | settings | [`config`] | read, checked, explained |
//! | pure | [`domain`], [`wire`], [`pb`] | values and rules; Walmart's JSON; the messages that are both |
//! | anywhere | [`telemetry`], [`shutdown`], [`accept`], [`quota`], [`crash_point`], [`planted_bug`] | traces, metrics, logs; the end; connections; what is bounded; where tests kill; bugs that tests must find |
//! | other side | [`emulator`] | a Walmart for tests and for `dev`; shares only `domain` with the rest |
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
pub mod pb;
pub mod planted_bug;
pub mod ports;
pub mod quota;
pub mod service;
pub mod shutdown;
pub mod store;
pub mod telemetry;
pub mod upstream;
pub mod wire;
