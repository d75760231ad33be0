//! The inbound edge: the gRPC server, its layers and its services.

pub(crate) mod cancel_intents;
pub(crate) mod connection;
pub(crate) mod feed_streams;
mod frames;
pub(crate) mod fulfillment;
pub(crate) mod gateway;
pub(crate) mod health;
pub(crate) mod layers;
pub(crate) mod methods;
pub(crate) mod one_message;
mod operation;
pub(crate) mod order_updates;
mod problem;
pub(crate) mod reflection;
pub(crate) mod returns;
pub(crate) mod seller_orders;
pub(crate) mod server;
pub(crate) mod services;
pub mod status;
pub(crate) mod tls;
mod unary;
pub(crate) mod webhook_subscriptions;
