//! The limits of the process: the connections, calls, streams and bytes of all callers together.
//!
//! These limits bound the memory of the process. The limits of one client are settings (`grpc.max_calls_per_client`); times, and limits
//! of a single parser, stand beside their code.

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Open gRPC connections.
pub(crate) const GRPC_CONNECTIONS: usize = 10_000;
/// Open connections of the listener for webhooks and probes: more than [`UNPROVED_POSTS`], so that probes still find a
/// place.
pub(crate) const HTTP_CONNECTIONS: usize = 2048;
/// Open connections of a separate operators' listener.
pub(crate) const ADMIN_CONNECTIONS: usize = 256;
/// Length of the accept queue. Thousands of connections may arrive at once, and a client dropped from the queue
/// retries only after seconds.
pub(crate) const ACCEPT_QUEUE: u32 = 4096;

/// Streaming calls of a gRPC connection.
pub(crate) const STREAMING_CALLS_PER_CONNECTION: usize = 256;
/// Open HTTP/2 streams of a gRPC connection: its streaming calls, and room for unary calls beside them.
pub(crate) const STREAMS_PER_CONNECTION: u32 = STREAMING_CALLS_PER_CONNECTION as u32 + 64;
/// Health watches of a gRPC connection: one per service, and one for the server as a whole.
pub(crate) const HEALTH_WATCHES_PER_CONNECTION: usize = 8;
/// Open streams of the feeds.
pub(crate) const FEED_STREAMS: usize = 20_000;

/// Unary calls in flight before the next is refused.
pub(crate) const INBOUND_CALLS: usize = 1024;
/// Calls to Walmart in flight.
pub(crate) const UPSTREAM_CALLS: usize = 1024;

/// Bytes of a gRPC message, compressed or not; every service gets this limit (`max_decoding_message_size`).
pub(crate) const MESSAGE_BYTES: usize = MIB;
/// Bytes of all unfinished gRPC requests together.
pub(crate) const UNFINISHED_REQUEST_BYTES: usize = 64 * MIB;
/// Bytes of all large gRPC responses together that their readers have not taken yet.
pub(crate) const UNREAD_RESPONSE_BYTES: usize = 32 * MIB;
/// Bytes of an answer of Walmart. A larger answer is refused without being read to the end.
pub(crate) const WALMART_ANSWER_BYTES: usize = 8 * MIB;

/// Bytes of a delivery's body.
pub(crate) const DELIVERY_BYTES: usize = 256 * KIB;
/// Deliveries being stored at a time.
pub(crate) const DELIVERIES: usize = 1024;
/// Bytes of all bodies being stored at a time.
pub(crate) const STORING_BYTES: usize = 64 * MIB;
/// Posts whose origin is not proved yet, at most half of [`HTTP_CONNECTIONS`].
pub(crate) const UNPROVED_POSTS: usize = 1024;
/// Unproved posts of one address.
pub(crate) const UNPROVED_POSTS_PER_ADDRESS: usize = 64;
/// Bytes read of all unproved posts together.
pub(crate) const UNPROVED_BYTES: usize = 32 * MIB;

/// Approximate bytes of the promise cache.
pub(crate) const PROMISE_CACHE_BYTES: u64 = 32 * MIB as u64;
/// Approximate bytes of the cached blocks of one feed's log.
pub(crate) const FEED_CACHE_BYTES: u64 = 8 * MIB as u64;
