//! The generated messages, clients and servers of `proto/ordergateway/v1/`.
//!
//! By the mirror rule Walmart's messages among them are Walmart's JSON as well: `build.rs` gives those serde
//! attributes, so the same types travel from the gRPC edge to the REST edge without a conversion in between.

#![allow(clippy::all, missing_docs, unreachable_pub)]

pub mod codec;

tonic::include_proto!("ordergateway.v1");

/// `grpc.health.v1`, with the RPC `List`.
pub mod health {
    tonic::include_proto!("grpc.health.v1");
}

/// Descriptors of all files, with comments, for reflection and for protobuf's JSON form.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor.bin"));
