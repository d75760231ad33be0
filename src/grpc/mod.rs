//! The inbound edge: the gRPC server, its layers and its services.

pub mod cancel_intents;
pub mod connection;
pub mod feed_streams;
mod frames;
pub mod fulfillment;
pub mod gateway;
pub mod layers;
pub mod methods;
mod operation;
pub mod order_updates;
mod problem;
pub mod reflection;
pub mod server;
pub mod services;
pub mod status;
pub mod tls;
mod unary;
