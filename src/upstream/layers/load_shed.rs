//! Bounds the calls that are under way upstream. What is above the bound is refused at once: a queue without a limit
//! would only make everyone late.

use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::Either;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::{Layer, Service};

use super::passing::{OrRefused, Watch, Watched, refused};
use crate::upstream::call::{Answered, Next, Outbound};
use crate::upstream::exchange::Exchange;
use crate::upstream::failure::{Failure, NotSent};

/// See the module. One layer is one bound, shared by all services that it makes.
#[derive(Clone, Debug)]
pub struct LoadShedLayer {
    permits: Arc<Semaphore>,
}

impl LoadShedLayer {
    /// At most `limit` calls at once.
    pub fn new(limit: usize) -> Self {
        Self { permits: Arc::new(Semaphore::new(limit)) }
    }
}

impl<S> Layer<S> for LoadShedLayer {
    type Service = LoadShed<S>;

    fn layer(&self, inner: S) -> LoadShed<S> {
        LoadShed { inner, permits: self.permits.clone() }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct LoadShed<S> {
    inner: S,
    permits: Arc<Semaphore>,
}

impl<X: Exchange, S: Next<X>> Service<Outbound<X>> for LoadShed<S> {
    type Response = S::Response;
    type Error = Failure;
    type Future = OrRefused<Watched<S::Future, Permit>, X>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, outbound: Outbound<X>) -> Self::Future {
        let Ok(permit) = self.permits.clone().try_acquire_owned() else {
            return refused(NotSent::Overloaded);
        };
        tracing::trace!(layer = "load_shed", "admitted");
        Either::Left(Watched::new(self.inner.call(outbound), Permit(permit)))
    }
}

/// Room for a call; free again when dropped.
pub struct Permit(#[expect(dead_code, reason = "is held")] OwnedSemaphorePermit);

impl Watch for Permit {
    fn ended<A>(self, _: &Result<Answered<A>, Failure>) {}
}
