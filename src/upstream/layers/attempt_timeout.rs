//! Limits the time of an attempt on the wire. Waiting for the rate limit or an access token does not count, because
//! the layers above do the waiting.
//!
//! A read also ends at the call's deadline. A mutation still without a connection ends at the deadline too. After the
//! first byte may have left, a mutation gets the full attempt timeout, even if the caller is gone: an unneeded answer
//! is better than an unknown outcome.

use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::Either;
use tower::{Layer, Service};

use crate::upstream::attempt_futures::{AttemptLimits, OrRefused, TimedAttempt, refused};
use crate::upstream::call::{AttemptRequest, AttemptService};
use crate::upstream::failure::{AttemptFailure, LostAnswer, NotSent};

#[derive(Clone, Copy, Debug)]
pub(crate) struct AttemptTimeoutLayer {
    limit: Duration,
}

impl AttemptTimeoutLayer {
    /// Limits every attempt to `limit`, and a read also to the call's deadline.
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit }
    }
}

impl<S> Layer<S> for AttemptTimeoutLayer {
    type Service = AttemptTimeout<S>;

    fn layer(&self, inner: S) -> AttemptTimeout<S> {
        AttemptTimeout { inner, limit: self.limit }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct AttemptTimeout<S> {
    inner: S,
    limit: Duration,
}

impl<S: AttemptService> Service<AttemptRequest> for AttemptTimeout<S> {
    type Response = S::Response;
    type Error = AttemptFailure;
    type Future = OrRefused<TimedAttempt<S::Future>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AttemptFailure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, outbound: AttemptRequest) -> Self::Future {
        let Some(left) = outbound.call.attempt_time(outbound.at) else {
            return refused(NotSent::Deadline);
        };
        tracing::trace!(layer = "attempt_timeout", "set");
        let (call, at) = (outbound.call.clone(), outbound.at);
        // The deadline comes before the attempt timeout.
        let impatient = left < self.limit;
        let begin_by = at + self.limit.min(left);
        let unsent = if impatient { NotSent::Deadline } else { NotSent::Connect };
        let (end, lost) = match impatient && !call.operation.is_mutation() {
            true => (begin_by, LostAnswer::Deadline),
            false => (at + self.limit, LostAnswer::TimedOut),
        };
        let ends = AttemptLimits { begin_by, unsent, end, lost };
        let sends = call.sends();
        Either::Left(TimedAttempt::new(self.inner.call(outbound), call, sends, ends))
    }
}
