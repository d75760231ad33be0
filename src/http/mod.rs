//! The HTTP edge: probes, Walmart's webhooks, and the operators' endpoints with metrics and status page, on the same
//! listener or on a separate one.

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
