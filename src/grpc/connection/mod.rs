//! The HTTP/2 connections below the gRPC server: accept loop, handshake, and the bounds of one connection.

pub(super) mod drain_request_body;
mod frame_guard;
mod lingering;
pub(crate) mod listener;
mod open_calls;
mod poll_clock;
mod preface_read;
mod request_bytes;
mod stream_state;
mod stream_tasks;
