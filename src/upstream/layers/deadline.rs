//! Refuses a call that has too little time left for an attempt. There is no timer for the call as a whole: every wait below
//! is bounded by the time left (`OutboundCall::latest_start`, `attempt_timeout`), and a mutation on the wire is not cut off.

use std::task::{Context, Poll};

use futures_util::future::Either;
use tower::{Layer, Service};

use crate::upstream::attempt_futures::{OrRefused, refused};
use crate::upstream::call::{AttemptRequest, AttemptService};
use crate::upstream::failure::{AttemptFailure, NotSent};

#[derive(Clone, Copy, Debug)]
pub(crate) struct DeadlineLayer;

impl<S> Layer<S> for DeadlineLayer {
    type Service = Deadline<S>;

    fn layer(&self, inner: S) -> Deadline<S> {
        Deadline { inner }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Deadline<S> {
    inner: S,
}

impl<S: AttemptService> Service<AttemptRequest> for Deadline<S> {
    type Response = S::Response;
    type Error = AttemptFailure;
    type Future = OrRefused<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AttemptFailure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, outbound: AttemptRequest) -> Self::Future {
        if outbound.call.attempt_time(outbound.at).is_none() {
            return refused(NotSent::Deadline);
        }
        tracing::trace!(layer = "deadline", "passed");
        Either::Left(self.inner.call(outbound))
    }
}
