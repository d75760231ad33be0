//! Creates a CLIENT span and records a measurement for each attempt on the wire.

use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::Instant;
use tower::{Layer, Service};

use crate::telemetry::metrics::{AttemptOutcome, Metrics};
use crate::telemetry::trace::{ClientRequest, ClientSpan};
use crate::upstream::attempt_futures::{AttemptObserver, ObservedAttempt};
use crate::upstream::call::{AttemptRequest, AttemptResponse, AttemptService, OutboundCall};
use crate::upstream::codec;
use crate::upstream::failure::{AttemptFailure, LostAnswer};
use crate::upstream::transport::Endpoint;

#[derive(Clone)]
pub(crate) struct AttemptTelemetryLayer {
    endpoint: Endpoint,
    metrics: Arc<Metrics>,
}

impl AttemptTelemetryLayer {
    /// Creates the layer; spans go to the tracer of `endpoint`.
    pub(crate) fn new(endpoint: Endpoint, metrics: Arc<Metrics>) -> Self {
        Self { endpoint, metrics }
    }
}

impl<S> Layer<S> for AttemptTelemetryLayer {
    type Service = AttemptTelemetry<S>;

    fn layer(&self, inner: S) -> AttemptTelemetry<S> {
        AttemptTelemetry { inner, layer: Arc::new(self.clone()) }
    }
}

#[derive(Clone)]
pub(crate) struct AttemptTelemetry<S> {
    inner: S,
    layer: Arc<AttemptTelemetryLayer>,
}

impl<S: AttemptService> Service<AttemptRequest> for AttemptTelemetry<S> {
    type Response = S::Response;
    type Error = AttemptFailure;
    type Future = ObservedAttempt<S::Future, AttemptSpanGuard>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AttemptFailure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut outbound: AttemptRequest) -> Self::Future {
        tracing::trace!(layer = "attempt", attempt = outbound.attempt, "begun");
        let layer = self.layer.clone();
        let span = layer.span(&outbound);
        outbound.trace = span.context().clone();
        let running = AttemptSpanGuard { call: outbound.call.clone(), span: Some(span), began: outbound.at, layer };
        ObservedAttempt::new(self.inner.call(outbound), running)
    }
}

impl AttemptTelemetryLayer {
    fn span(&self, outbound: &AttemptRequest) -> ClientSpan {
        let (server_address, server_port) = self.endpoint.server();
        let request = ClientRequest {
            method: method(&outbound.call),
            template: codec::path(outbound.call.operation),
            server_address,
            server_port,
            url: self.endpoint.url(codec::path(outbound.call.operation)),
            correlation_id: outbound.call.correlation_id,
            resend_count: outbound.call.context.facts.attempts(),
        };
        self.endpoint.tracer().client_span(&outbound.trace, &request)
    }
}

/// The span of an attempt in flight. An attempt dropped before the end counts as cancelled.
pub(crate) struct AttemptSpanGuard {
    call: Arc<OutboundCall>,
    span: Option<ClientSpan>,
    began: Instant,
    layer: Arc<AttemptTelemetryLayer>,
}

impl AttemptObserver for AttemptSpanGuard {
    fn ended(mut self, result: &Result<AttemptResponse, AttemptFailure>) {
        let Some(span) = self.span.take() else { return };
        let outcome = outcome(result);
        let ended = result.as_ref().map_or_else(|_| Instant::now(), |answered| answered.at);
        let status = match result {
            Ok(answered) => Some(answered.status),
            Err(failure) => failure.status(),
        };
        self.measure(outcome, status, ended, &span);
        span.end(status, outcome.failure());
    }
}

impl AttemptSpanGuard {
    fn measure(&self, outcome: AttemptOutcome, status: Option<u16>, ended: Instant, span: &ClientSpan) {
        let took = ended.saturating_duration_since(self.began);
        self.layer.metrics.upstream.attempt(
            Some(self.call.operation),
            method(&self.call),
            outcome,
            status,
            took,
            span.context(),
        );
    }
}

impl Drop for AttemptSpanGuard {
    fn drop(&mut self) {
        if let Some(span) = self.span.take() {
            self.measure(AttemptOutcome::Cancelled, None, Instant::now(), &span);
        }
    }
}

fn method(call: &OutboundCall) -> &'static str {
    match call.method {
        http::Method::GET => "GET",
        http::Method::PATCH => "PATCH",
        http::Method::DELETE => "DELETE",
        _ => "POST",
    }
}

fn outcome(result: &Result<AttemptResponse, AttemptFailure>) -> AttemptOutcome {
    match result {
        Ok(_) => AttemptOutcome::Success,
        Err(AttemptFailure::NotSent(_)) => AttemptOutcome::NotSent,
        Err(AttemptFailure::Lost(LostAnswer::TimedOut | LostAnswer::Deadline)) => AttemptOutcome::TimedOut,
        Err(AttemptFailure::Lost(LostAnswer::Interrupted)) => AttemptOutcome::Interrupted,
        Err(AttemptFailure::Unreadable { .. }) => AttemptOutcome::Unreadable,
        Err(failure) if failure.is_throttled() => AttemptOutcome::RateLimited,
        Err(AttemptFailure::Refused { status: 401 | 403, .. }) => AttemptOutcome::Unauthorized,
        Err(AttemptFailure::Refused { status: 500.., .. }) => AttemptOutcome::ServerError,
        Err(AttemptFailure::Refused { .. }) => AttemptOutcome::Rejected,
    }
}
