//! The HTTP listener: probes, metrics, and what Walmart posts.

mod probes;
mod server;
pub mod webhooks;

pub use probes::{Probes, Stage, router};
pub use server::{Limits, serve};
