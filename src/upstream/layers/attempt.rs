//! One CLIENT span and one measurement for each attempt on the wire.

use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::Instant;
use tower::{Layer, Service};

use super::passing::{Watch, Watched};
use crate::telemetry::metrics::{AttemptOutcome, Metrics};
use crate::telemetry::trace::{ClientRequest, ClientSpan};
use crate::upstream::call::{Answered, Call, Next, Outbound};
use crate::upstream::exchange::Exchange;
use crate::upstream::failure::{Failure, Lost};
use crate::upstream::transport::Site;

/// See the module.
#[derive(Clone)]
pub struct AttemptLayer {
    site: Site,
    metrics: Arc<Metrics>,
}

impl AttemptLayer {
    /// Spans go to the site's tracer.
    pub fn new(site: Site, metrics: Arc<Metrics>) -> Self {
        Self { site, metrics }
    }
}

impl<S> Layer<S> for AttemptLayer {
    type Service = Attempt<S>;

    fn layer(&self, inner: S) -> Attempt<S> {
        Attempt { inner, layer: Arc::new(self.clone()) }
    }
}

/// See the module.
#[derive(Clone)]
pub struct Attempt<S> {
    inner: S,
    layer: Arc<AttemptLayer>,
}

impl<X: Exchange, S: Next<X>> Service<Outbound<X>> for Attempt<S> {
    type Response = S::Response;
    type Error = Failure;
    type Future = Watched<S::Future, Running>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut outbound: Outbound<X>) -> Self::Future {
        tracing::trace!(layer = "attempt", attempt = outbound.attempt, "begun");
        let layer = self.layer.clone();
        let span = layer.span(&outbound);
        outbound.trace = span.context().clone();
        let running = Running { call: outbound.call.clone(), span: Some(span), began: outbound.at, layer };
        Watched::new(self.inner.call(outbound), running)
    }
}

impl AttemptLayer {
    fn span<X: Exchange>(&self, outbound: &Outbound<X>) -> ClientSpan {
        let (server_address, server_port) = self.site.server();
        let request = ClientRequest {
            method: method(&outbound.call),
            template: X::OPERATION.path(),
            server_address,
            server_port,
            url: self.site.url(X::OPERATION.path()),
            correlation_id: outbound.call.correlation_id,
            resend_count: outbound.call.context.facts.attempts(),
        };
        self.site.tracer().client_span(&outbound.trace, &request)
    }
}

/// An attempt that has begun. Dropped before its end it counts as cancelled.
pub struct Running {
    call: Arc<Call>,
    span: Option<ClientSpan>,
    began: Instant,
    layer: Arc<AttemptLayer>,
}

impl Watch for Running {
    fn ended<A>(mut self, result: &Result<Answered<A>, Failure>) {
        let Some(span) = self.span.take() else { return };
        let outcome = outcome(result);
        let ended = result.as_ref().map_or_else(|_| Instant::now(), |answered| answered.at);
        self.measure(outcome, ended, &span);
        let error = match outcome {
            AttemptOutcome::NotSent
            | AttemptOutcome::Interrupted
            | AttemptOutcome::TimedOut
            | AttemptOutcome::Unreadable => Some(outcome.name()),
            _ => None,
        };
        let status = match result {
            Ok(answered) => Some(answered.status),
            Err(failure) => failure.status(),
        };
        span.end(status, error);
    }
}

impl Running {
    fn measure(&self, outcome: AttemptOutcome, ended: Instant, span: &ClientSpan) {
        let took = ended.saturating_duration_since(self.began);
        self.layer.metrics.upstream.attempt(
            Some(self.call.operation),
            method(&self.call),
            outcome,
            took,
            span.context(),
        );
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(span) = self.span.take() {
            self.measure(AttemptOutcome::Cancelled, Instant::now(), &span);
        }
    }
}

fn method(call: &Call) -> &'static str {
    if call.method == http::Method::GET { "GET" } else { "POST" }
}

fn outcome<A>(result: &Result<Answered<A>, Failure>) -> AttemptOutcome {
    match result {
        Ok(_) => AttemptOutcome::Success,
        Err(Failure::NotSent(_)) => AttemptOutcome::NotSent,
        Err(Failure::Lost(Lost::TimedOut | Lost::Deadline)) => AttemptOutcome::TimedOut,
        Err(Failure::Lost(Lost::Interrupted)) => AttemptOutcome::Interrupted,
        Err(Failure::Unreadable { .. }) => AttemptOutcome::Unreadable,
        Err(failure) if failure.is_throttled() => AttemptOutcome::RateLimited,
        Err(Failure::Refused { status: 401 | 403, .. }) => AttemptOutcome::Unauthorized,
        Err(Failure::Refused { status: 500.., .. }) => AttemptOutcome::ServerError,
        Err(Failure::Refused { .. }) => AttemptOutcome::Rejected,
    }
}
