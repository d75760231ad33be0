//! The HTTP listener: probes and metrics; webhooks are nested beside them.

mod probes;
mod server;

pub use probes::{Probes, Stage, router};
pub use server::{Limits, serve};
