//! Bounds the calls that are under way upstream. What is above the bound is refused at once: a queue without a limit
//! would only make everyone late.

use std::task::{Context, Poll};

use futures_util::future::Either;
use tower::{Layer, Service};

use super::attempt_futures::{AttemptObserver, ObservedAttempt, OrRefused, refused};
use crate::ports::call::Purpose;
use crate::quota::{Quota, QuotaPermit};
use crate::upstream::call::{AttemptRequest, AttemptResponse, AttemptService};
use crate::upstream::codec::OperationCodec;
use crate::upstream::failure::{AttemptFailure, NotSent};

/// See the module. One layer is one bound, shared by all services that it makes.
#[derive(Clone, Debug)]
pub struct LoadShedLayer {
    places: Quota,
}

impl LoadShedLayer {
    /// At most `limit` calls at once.
    pub fn new(limit: usize) -> Self {
        Self { places: Quota::new(limit) }
    }
}

impl<S> Layer<S> for LoadShedLayer {
    type Service = LoadShed<S>;

    fn layer(&self, inner: S) -> LoadShed<S> {
        LoadShed { inner, places: self.places.clone() }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct LoadShed<S> {
    inner: S,
    places: Quota,
}

impl<X: OperationCodec, S: AttemptService<X>> Service<AttemptRequest<X>> for LoadShed<S> {
    type Response = S::Response;
    type Error = AttemptFailure;
    type Future = OrRefused<ObservedAttempt<S::Future, InFlightPermit>, X>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AttemptFailure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, outbound: AttemptRequest<X>) -> Self::Future {
        let place = self.places.try_acquire(1);
        // Look-ups and re-sends are few, and settle what callers wait for.
        if place.is_none() && outbound.call.context.purpose == CallPurpose::Caller {
            return refused(NotSent::Overloaded);
        }
        tracing::trace!(layer = "load_shed", "admitted");
        Either::Left(ObservedAttempt::new(self.inner.call(outbound), InFlightPermit(place)))
    }
}

/// Room for a call, if it needs any; free again when dropped.
pub struct InFlightPermit(#[expect(dead_code, reason = "is held")] Option<QuotaPermit>);

impl AttemptObserver for InFlightPermit {
    fn ended<A>(self, _: &Result<AttemptResponse<A>, AttemptFailure>) {}
}
