//! Ends a call at the deadline as a last resort; the layers below check the deadline before every wait. No timer runs
//! while an attempt is on the wire, which has a timer of its own. A mutation on the wire is not cut off.

use std::task::{Context, Poll};

use futures_util::future::Either;
use tower::{Layer, Service};

use crate::upstream::attempt_futures::{OrRefused, UntilDeadline, refused};
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
    type Future = OrRefused<UntilDeadline<S::Future>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AttemptFailure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, outbound: AttemptRequest) -> Self::Future {
        let call = outbound.call.clone();
        if call.attempt_time(outbound.at).is_none() {
            return refused(NotSent::Deadline);
        }
        tracing::trace!(layer = "deadline", "set");
        Either::Left(UntilDeadline::new(self.inner.call(outbound), call))
    }
}
