//! What the tests share.

pub mod app;
pub(crate) mod authority;
pub mod bodies;
pub mod client;
pub mod collector;
pub mod dev;
pub mod feed;
pub mod frames;
pub mod grpcio;
pub mod process;
pub(crate) mod tls;
pub mod tools;
pub mod webhooks;
