//! HTTP: probes and what Walmart posts; and the operators' door with metrics and a page for people, on the same listener or on
//! one of its own.

pub mod admin;
pub mod page;
mod patient;
mod peer;
mod probes;
mod scrapes;
mod server;
pub mod webhooks;

pub use probes::{Probes, Stage, router};
pub use server::{Limits, serve};
