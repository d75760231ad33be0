//! Records the correlation id for the access log, and traces the call through the layers
//! (`RUST_LOG=order_gateway::upstream=trace`).

use std::task::{Context, Poll};

use tower::{Layer, Service};

use crate::domain::operation::Operation;
use crate::upstream::attempt_futures::{AttemptObserver, ObservedAttempt};
use crate::upstream::call::{AttemptRequest, AttemptResponse, AttemptService};
use crate::upstream::failure::AttemptFailure;

#[derive(Clone, Copy, Debug)]
pub(crate) struct TraceLayer;

impl<S> Layer<S> for TraceLayer {
    type Service = Trace<S>;

    fn layer(&self, inner: S) -> Trace<S> {
        Trace { inner }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Trace<S> {
    inner: S,
}

impl<S: AttemptService> Service<AttemptRequest> for Trace<S> {
    type Response = S::Response;
    type Error = AttemptFailure;
    type Future = ObservedAttempt<S::Future, TraceObserver>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AttemptFailure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, outbound: AttemptRequest) -> Self::Future {
        outbound.call.context.facts.set_correlation_id(outbound.call.correlation_id);
        tracing::trace!(layer = "trace", operation = outbound.call.operation.name(), "call");
        let observer = TraceObserver(outbound.call.operation);
        ObservedAttempt::new(self.inner.call(outbound), observer)
    }
}

/// Traces the end of a call.
pub(crate) struct TraceObserver(Operation);

impl AttemptObserver for TraceObserver {
    fn ended(self, result: &Result<AttemptResponse, AttemptFailure>) {
        tracing::trace!(layer = "trace", operation = self.0.name(), ok = result.is_ok(), "end");
    }
}
