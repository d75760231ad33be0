//! The real program, as people and orchestrators run it.

mod call;
mod callers;
mod commands;
mod dev;
mod drain;
mod feed;
mod owner;
mod proxies;
mod secrets;
mod serve;
mod shipped;
mod signals;
mod store;
mod telemetry;
mod trigger;
mod upstream_tls;
