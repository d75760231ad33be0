//! Names the call in the access log and follows it through the layers (`RUST_LOG=order_gateway::upstream=trace`).

use std::task::{Context, Poll};

use tower::{Layer, Service};

use crate::upstream::call::{Attempting, Next, Outbound};
use crate::upstream::exchange::Exchange;
use crate::upstream::failure::Failure;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct TraceLayer;

impl<S> Layer<S> for TraceLayer {
    type Service = Trace<S>;

    fn layer(&self, inner: S) -> Trace<S> {
        Trace { inner }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Trace<S> {
    inner: S,
}

impl<X: Exchange, S: Next<X>> Service<Outbound<X>> for Trace<S> {
    type Response = S::Response;
    type Error = Failure;
    type Future = Attempting<X>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, outbound: Outbound<X>) -> Self::Future {
        let operation = X::OPERATION.name();
        outbound.call.context.facts.set_correlation_id(outbound.call.correlation_id);
        tracing::trace!(layer = "trace", operation, "call");
        let answer = self.inner.call(outbound);
        Box::pin(async move {
            let result = answer.await;
            tracing::trace!(layer = "trace", operation, ok = result.is_ok(), "end");
            result
        })
    }
}
