//! The outbound edge: implements [`ports::upstream`](crate::ports::upstream) over REST. [`stack`] alone decides the
//! order of the layers.

pub mod accounts;
pub(crate) mod attempt_futures;
pub(crate) mod call;
pub mod classify;
pub mod client;
pub mod codec;
pub mod failure;
pub mod headers;
pub mod http_client;
pub mod layers;
pub(crate) mod overview;
mod pool;
#[cfg(feature = "crash-points")]
mod split_body;
pub mod token;
mod token_failure;
pub mod transport;
mod watched_body;
pub(crate) mod wording;

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

/// Settings of the layer stack.
#[derive(Clone, Copy, Debug)]
pub struct StackSettings {
    /// Maximum calls in flight; further calls are refused.
    pub max_in_flight: usize,
    /// Maximum attempts per call.
    pub max_attempts: u32,
    /// Maximum time on the wire per attempt.
    pub attempt_timeout: Duration,
}

/// State shared between the stack and the overview of the gateway.
#[derive(Clone)]
pub struct StackResources<H> {
    /// Address of Walmart, with the common headers.
    pub endpoint: Endpoint,
    /// Rate limit buckets of all accounts.
    pub buckets: AccountBuckets,
    /// Circuit breakers of all accounts.
    pub circuits: AccountCircuits,
    /// Access tokens of all accounts.
    pub tokens: TokenCache<H>,
    /// Metrics of the process.
    pub metrics: Arc<Metrics>,
}

/// The layers in order, from the use case to the wire.
pub(crate) type Stack<H> = Trace<
    Deadline<LoadShed<CircuitBreaker<Retry<RateLimit<Auth<AttemptTelemetry<AttemptTimeout<HttpTransport<H>>>, H>>>>>>,
>;

/// Builds the stack around `http`.
pub(crate) fn stack<H: HttpService>(
    http: H,
    settings: StackSettings,
    shared: &StackResources<H>,
    clock: Clock,
    random: Random,
) -> Stack<H> {
    let StackSettings { max_in_flight, max_attempts, attempt_timeout } = settings;
    let metrics = &shared.metrics;
    ServiceBuilder::new()
        // Outermost, so that the access log names every call, including calls refused by the next layer.
        .layer(TraceLayer)
        // Above all layers with waits, each of which ends by itself in time. A call that has too little time takes no permit.
        .layer(DeadlineLayer)
        // Counts calls, not attempts: a call waiting for a retry or a token still takes memory.
        .layer(LoadShedLayer::new(max_in_flight))
        // Outside retry, because the circuit counts calls. An open circuit uses up neither rate limit tokens nor
        // attempts.
        .layer(CircuitLayer::new(shared.circuits.clone()))
        // Everything below runs again on each attempt.
        .layer(RetryLayer::new(max_attempts, random, metrics.clone()))
        // Inside retry, so that a retry pays too. Outside auth, so that an access token does not expire in the queue.
        .layer(RateLimitLayer::new(shared.buckets.clone(), metrics.clone(), shared.endpoint.tracer().clone()))
        // Outside the timeout: waiting for an access token is not time on the wire.
        .layer(AuthLayer::new(shared.tokens.clone()))
        // Measures only time on the wire: a span for every request sent, including a replay with a fresh token.
        .layer(AttemptTelemetryLayer::new(shared.endpoint.clone(), metrics.clone()))
        // Directly above the transport: limits only time on the wire.
        .layer(AttemptTimeoutLayer::new(attempt_timeout))
        .service(HttpTransport::new(http, shared.endpoint.clone(), clock))
}
