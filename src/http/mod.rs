//! The HTTP listener: probes, metrics, a page for people, and what Walmart posts.

pub mod page;
mod patient;
mod peer;
mod probes;
mod scrapes;
mod server;
pub mod webhooks;

pub use probes::{Probes, Stage, router};
pub use server::{Limits, serve};
