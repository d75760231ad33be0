//! One service for all calls of a connection.

use std::cell::RefCell;
use std::convert::Infallible;
use std::task::{Context, Waker};

use tower::Service;

/// A service that is always ready, such as [`stack`](super::server::stack), as hyper has them. hyper begins the calls of a
/// connection one after the other, so none needs a clone of its own, which takes a dozen counters up and down.
pub(super) struct Serial<S>(RefCell<S>);

impl<S> Serial<S> {
    pub(super) fn new(service: S) -> Self {
        Self(RefCell::new(service))
    }
}

impl<S, R> hyper::service::Service<R> for Serial<S>
where
    S: Service<R, Error = Infallible>,
{
    type Response = S::Response;
    type Error = Infallible;
    type Future = S::Future;

    fn call(&self, request: R) -> S::Future {
        let mut service = self.0.borrow_mut();
        // Owed to the service, which refuses what it has no room for and never lets anyone wait.
        let _ready = service.poll_ready(&mut Context::from_waker(Waker::noop()));
        service.call(request)
    }
}
