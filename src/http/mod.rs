//! HTTP: probes and what Walmart posts; and the operators' door with metrics and a page for people, on the same listener or on
//! one of its own.

pub mod admin;
mod metrics_text;
pub mod page;
mod peer;
mod probes;
mod server;
pub mod webhooks;
mod write_timeout;

pub use probes::{HealthProbes, ProcessStage, router};
pub use server::{HttpLimits, serve};
