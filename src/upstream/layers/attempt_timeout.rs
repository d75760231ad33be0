//! Bounds the time of one attempt on the wire. Waiting for the limit or a token does not count; those layers stand outside.
//!
//! A read ends at the call's deadline too. So does a mutation that has not begun to leave, because there is no connection
//! yet; once its first byte may have left it belongs to its operation, and has all the time of an attempt whatever its
//! caller does: an answer that nobody waited for is better than a doubt.

use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::Either;
use tower::{Layer, Service};

use super::attempt_futures::{AttemptLimits, OrRefused, TimedAttempt, refused};
use crate::upstream::call::{AttemptRequest, AttemptService};
use crate::upstream::codec::OperationCodec;
use crate::upstream::failure::{AttemptFailure, LostAnswer, NotSent};

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct AttemptTimeoutLayer {
    limit: Duration,
}

impl AttemptTimeoutLayer {
    /// No attempt takes longer than `limit`; a read not longer than the call's deadline leaves.
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

impl<X: OperationCodec, S: AttemptService<X>> Service<AttemptRequest<X>> for AttemptTimeout<S> {
    type Response = S::Response;
    type Error = AttemptFailure;
    type Future = OrRefused<TimedAttempt<S::Future>, X>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AttemptFailure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, outbound: AttemptRequest<X>) -> Self::Future {
        let Some(left) = outbound.call.attempt_time(outbound.at) else {
            return refused(NotSent::Deadline);
        };
        tracing::trace!(layer = "attempt_timeout", "set");
        let (call, at) = (outbound.call.clone(), outbound.at);
        // Whose time ends first.
        let impatient = left < self.limit;
        let begin_by = at + self.limit.min(left);
        let unsent = if impatient { NotSent::Deadline } else { NotSent::Connect };
        let (end, lost) = match impatient && !X::OPERATION.is_mutation() {
            true => (begin_by, LostAnswer::Deadline),
            false => (at + self.limit, LostAnswer::TimedOut),
        };
        let ends = AttemptLimits { begin_by, unsent, end, lost };
        let sends = call.sends();
        Either::Left(TimedAttempt::new(self.inner.call(outbound), call, sends, ends))
    }
}
