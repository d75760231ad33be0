//! The HTTP edge: probes, Walmart's webhooks, and the operators' endpoints with metrics and status page, on the same
//! listener or on a separate one.

pub(crate) mod admin;
mod metrics_text;
pub(crate) mod page;
mod peer;
mod probes;
mod server;
pub mod webhooks;
mod write_timeout;

pub(crate) use probes::{HealthProbes, ProcessStage, router};
pub(crate) use server::{HttpLimits, serve};
