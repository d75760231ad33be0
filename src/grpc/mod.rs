//! The inbound edge: gRPC.

mod calls;
pub mod cancel_intents;
pub mod feed_streams;
mod frames;
pub mod fulfillment;
pub mod gateway;
mod guarded;
pub mod heard_out;
mod keep_alive;
pub mod layers;
pub mod listener;
pub mod methods;
mod opened;
mod operation;
pub mod order_updates;
mod problem;
pub mod reflection;
pub mod server;
pub mod services;
pub mod status;
pub mod tls;
mod unary;
pub mod weighed;
