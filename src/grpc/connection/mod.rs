//! The HTTP/2 connections below the gRPC server: accept loop, handshake, and the bounds of one connection.

mod calls;
mod guarded;
pub(super) mod heard_out;
mod keep_alive;
pub mod listener;
mod opened;
mod weighed;
