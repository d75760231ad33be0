//! The way to Walmart: REST behind [`ports::upstream`](crate::ports::upstream). The only place that orders the layers.

pub mod accounts;
pub mod call;
pub mod classify;
pub mod client;
pub mod codec;
pub mod failure;
pub mod headers;
pub mod http_client;
pub mod layers;
pub mod overview;
mod pool;
#[cfg(feature = "crash-points")]
mod split_body;
pub mod token;
mod token_failure;
pub mod transport;
mod watched_body;
pub mod wording;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tower::ServiceBuilder;

use self::layers::attempt::{AttemptTelemetry, AttemptTelemetryLayer};
use self::layers::attempt_timeout::{AttemptTimeout, AttemptTimeoutLayer};
use self::layers::auth::{Auth, AuthLayer};
use self::layers::circuit::{AccountCircuits, CircuitBreaker, CircuitLayer};
use self::layers::deadline::{Deadline, DeadlineLayer};
use self::layers::load_shed::{LoadShed, LoadShedLayer};
use self::layers::rate_limit::{AccountBuckets, RateLimit, RateLimitLayer};
use self::layers::retry::{Retry, RetryLayer};
use self::layers::trace::{Trace, TraceLayer};
use self::token::TokenCache;
use self::transport::{Endpoint, HttpService, HttpTransport};
use crate::ports::clock::Clock;
use crate::ports::random::Random;
use crate::telemetry::metrics::Metrics;

/// Settings of the stack.
#[derive(Clone, Copy, Debug)]
pub struct StackSettings {
    /// Calls under way at once; more are refused.
    pub max_in_flight: usize,
    /// Attempts a call.
    pub max_attempts: u32,
    /// Longest time of an attempt on the wire.
    pub attempt_timeout: Duration,
}

/// What the stack shares with those who look at it.
#[derive(Clone)]
pub struct StackResources<H> {
    /// Where Walmart is.
    pub endpoint: Endpoint,
    /// Limits.
    pub buckets: AccountBuckets,
    /// Circuits.
    pub circuits: AccountCircuits,
    /// Access tokens.
    pub tokens: TokenCache<H>,
    /// Counters.
    pub metrics: Arc<Metrics>,
}

/// The layers in their order, from the use case to the wire.
pub type Stack<H> = Trace<
    Deadline<LoadShed<CircuitBreaker<Retry<RateLimit<Auth<AttemptTelemetry<AttemptTimeout<HttpTransport<H>>>, H>>>>>>,
>;

/// Builds the stack around `http`.
pub fn stack<H: HttpService>(
    http: H,
    settings: StackSettings,
    shared: &StackResources<H>,
    clock: Clock,
    random: Random,
) -> Stack<H> {
    let StackSettings { max_in_flight, max_attempts, attempt_timeout } = settings;
    let metrics = &shared.metrics;
    let accounts = shared.endpoint.accounts().len();
    ServiceBuilder::new()
        // Outermost, so that every call is named in the access log, also one that is refused just below.
        .layer(TraceLayer)
        // Before everything that may wait. Those look at what is left by themselves; this is the last resort.
        .layer(DeadlineLayer)
        // Counts calls, not attempts: a call that waits for a retry or a token still takes room.
        .layer(LoadShedLayer::new(max_in_flight))
        // Outside retry: it judges calls. An open circuit costs neither a token of the bucket nor a try.
        .layer(CircuitLayer::new(shared.circuits.clone()))
        // Everything below happens again on each attempt.
        .layer(RetryLayer::new(max_attempts, accounts, random, metrics.clone()))
        // Inside retry, so that a retry pays too. Outside auth: a token that is waited for must not age in a queue.
        .layer(RateLimitLayer::new(shared.buckets.clone(), metrics.clone()))
        // Outside the timeout: waiting for an access token is not time on the wire.
        .layer(AuthLayer::new(shared.tokens.clone()))
        // Spans and durations of the wire alone, one for each request that leaves, a replay with a fresh token too.
        .layer(AttemptTelemetryLayer::new(shared.endpoint.clone(), metrics.clone()))
        // Wire time only.
        .layer(AttemptTimeoutLayer::new(attempt_timeout))
        .service(HttpTransport::new(http, shared.endpoint.clone(), clock))
}
