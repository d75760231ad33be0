//! Bounds the time of one attempt on the wire. Waiting for the limit or a token does not count; those layers stand outside.

use std::future::ready;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::timeout_at;
use tower::{Layer, Service};

use crate::upstream::call::{Attempting, Next, Outbound};
use crate::upstream::exchange::Exchange;
use crate::upstream::failure::{Failure, Lost, NotSent};

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct AttemptTimeoutLayer {
    limit: Duration,
}

impl AttemptTimeoutLayer {
    /// No attempt takes longer than `limit`, or than the call's deadline leaves.
    pub fn new(limit: Duration) -> Self {
        Self { limit }
    }
}

impl<S> Layer<S> for AttemptTimeoutLayer {
    type Service = AttemptTimeout<S>;

    fn layer(&self, inner: S) -> AttemptTimeout<S> {
        AttemptTimeout { inner, limit: self.limit }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct AttemptTimeout<S> {
    inner: S,
    limit: Duration,
}

impl<X: Exchange, S: Next<X>> Service<Outbound<X>> for AttemptTimeout<S> {
    type Response = S::Response;
    type Error = Failure;
    type Future = Attempting<X>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, outbound: Outbound<X>) -> Self::Future {
        let Some(left) = outbound.call.attempt_time(outbound.at) else {
            return Box::pin(ready(Err(Failure::NotSent(NotSent::Deadline))));
        };
        tracing::trace!(layer = "attempt_timeout", "set");
        let (call, sends, limit) = (outbound.call.clone(), outbound.call.sends(), self.limit);
        let answer = timeout_at(outbound.at + limit.min(left), self.inner.call(outbound));
        Box::pin(async move {
            match answer.await {
                Ok(result) => result,
                Err(_) if call.sends() == sends => Err(Failure::NotSent(NotSent::Connect)),
                Err(_) if left <= limit => Err(Failure::Lost(Lost::Deadline)),
                Err(_) => Err(Failure::Lost(Lost::TimedOut)),
            }
        })
    }
}
