//! Names the call in the access log and follows it through the layers (`RUST_LOG=order_gateway::upstream=trace`).

use std::task::{Context, Poll};

use tower::{Layer, Service};

use super::passing::{Watch, Watched};
use crate::domain::operation::Operation;
use crate::upstream::call::{Answered, Next, Outbound};
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
    type Future = Watched<S::Future, Called>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, outbound: Outbound<X>) -> Self::Future {
        outbound.call.context.facts.set_correlation_id(outbound.call.correlation_id);
        tracing::trace!(layer = "trace", operation = X::OPERATION.name(), "call");
        Watched::new(self.inner.call(outbound), Called(X::OPERATION))
    }
}

/// A call that has begun.
pub struct Called(Operation);

impl Watch for Called {
    fn ended<A>(self, result: &Result<Answered<A>, Failure>) {
        tracing::trace!(layer = "trace", operation = self.0.name(), ok = result.is_ok(), "end");
    }
}
