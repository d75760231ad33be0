//! The inbound edge: gRPC.

mod calls;
pub mod fulfillment;
pub mod gateway;
pub mod layers;
pub mod listener;
pub mod methods;
mod opened;
mod operation;
pub mod reflection;
pub mod server;
pub mod status;
pub mod tls;
