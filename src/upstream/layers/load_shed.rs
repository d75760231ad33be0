//! Bounds the calls that are under way upstream. What is above the bound is refused at once: a queue without a limit
//! would only make everyone late.

use std::future::ready;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::Semaphore;
use tower::{Layer, Service};

use crate::upstream::call::{Attempting, Next, Outbound};
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
    type Future = Attempting<X>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, outbound: Outbound<X>) -> Self::Future {
        let Ok(permit) = self.permits.clone().try_acquire_owned() else {
            return Box::pin(ready(Err(Failure::NotSent(NotSent::Overloaded))));
        };
        tracing::trace!(layer = "load_shed", "admitted");
        let answer = self.inner.call(outbound);
        Box::pin(async move {
            let _permit = permit;
            answer.await
        })
    }
}
