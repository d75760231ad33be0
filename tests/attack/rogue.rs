//! What one client with a token of its own can hold: calls, streams, health watches and subscriptions.

use order_gateway::pb;
use prost::Message as _;

use crate::attacks::{CREATE, stream};
use crate::frames::{END_HEADERS, HEADERS, call, frame, head, opening};

const HEALTH_WATCH: &str = "/grpc.health.v1.Health/Watch";
const WATCH: &str = "/ordergateway.v1.CancelIntentService/WatchCancelIntents";
const CREATE_SUBSCRIPTION: &str = "/ordergateway.v1.CancelIntentService/CreateSubscription";
/// Calls that a connection may have at a time, by the gateway's SETTINGS.
const STREAMS: u32 = 256;
/// Subscriptions that are asked for in one write.
const AT_ONCE: u32 = 50;

/// As many calls as a connection may have, each without its message.
pub(crate) fn calls() -> Vec<u8> {
    let call = |n| frame(HEADERS, END_HEADERS, stream(n), &head(CREATE));
    [opening(&[]), (0..STREAMS).flat_map(call).collect()].concat()
}

/// As many streams of the feed as a connection may have.
pub(crate) fn streams() -> Vec<u8> {
    [opening(&[]), (0..STREAMS).flat_map(|n| call(WATCH, stream(n), &[])).collect()].concat()
}

/// As many health watches as a connection may have.
pub(crate) fn health_watches() -> Vec<u8> {
    [opening(&[]), (0..STREAMS).flat_map(|n| call(HEALTH_WATCH, stream(n), &[])).collect()].concat()
}

/// Requests for subscriptions, none of them twice on one connection.
pub(crate) fn subscriptions(n: u32) -> Vec<u8> {
    let one = |n: u32| {
        let subscription = pb::Subscription { name: format!("rogue-{n}"), ..Default::default() };
        let request = pb::CreateSubscriptionRequest { subscription: Some(subscription) };
        call(CREATE_SUBSCRIPTION, stream(n), &request.encode_to_vec())
    };
    (AT_ONCE * n..AT_ONCE * (n + 1)).flat_map(one).collect()
}
