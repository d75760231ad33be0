//! Limits the calls in flight to Walmart. Calls above the limit are refused at once, since an unbounded queue would
//! make all calls late.

use std::task::{Context, Poll};

use futures_util::future::Either;
use tower::{Layer, Service};

use crate::ports::call::CallPurpose;
use crate::quota::{Quota, QuotaPermit};
use crate::upstream::attempt_futures::{AttemptObserver, ObservedAttempt, OrRefused, refused};
use crate::upstream::call::{AttemptRequest, AttemptResponse, AttemptService};
use crate::upstream::failure::{AttemptFailure, NotSent};

/// All services made by a layer share the same quota.
#[derive(Clone, Debug)]
pub(crate) struct LoadShedLayer {
    places: Quota,
}

impl LoadShedLayer {
    /// Admits at most `limit` calls at a time.
    pub(crate) fn new(limit: usize) -> Self {
        Self { places: Quota::new(limit) }
    }
}

impl<S> Layer<S> for LoadShedLayer {
    type Service = LoadShed<S>;

    fn layer(&self, inner: S) -> LoadShed<S> {
        LoadShed { inner, places: self.places.clone() }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct LoadShed<S> {
    inner: S,
    places: Quota,
}

impl<S: AttemptService> Service<AttemptRequest> for LoadShed<S> {
    type Response = S::Response;
    type Error = AttemptFailure;
    type Future = OrRefused<ObservedAttempt<S::Future, InFlightPermit>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AttemptFailure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, outbound: AttemptRequest) -> Self::Future {
        let place = self.places.try_acquire(1);
        // The ledger's look-ups and re-sends pass without a permit: such calls are few, and settle outcomes callers
        // wait for.
        let is_ledgers = matches!(outbound.call.context.purpose, CallPurpose::Lookup | CallPurpose::Resend);
        if place.is_none() && !is_ledgers {
            return refused(NotSent::Overloaded);
        }
        tracing::trace!(layer = "load_shed", "admitted");
        Either::Left(ObservedAttempt::new(self.inner.call(outbound), InFlightPermit(place)))
    }
}

/// The permit of a call in flight; `None` for a ledger call above the quota.
pub(crate) struct InFlightPermit(#[expect(dead_code, reason = "is held")] Option<QuotaPermit>);

impl AttemptObserver for InFlightPermit {
    fn ended(self, _: &Result<AttemptResponse, AttemptFailure>) {}
}
