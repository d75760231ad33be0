//! The calls in flight of one connection, so that a connection without any can be closed.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tower::Service;

/// Counts the calls of a connection, from the request to the last byte of the answer.
#[derive(Clone)]
pub(super) struct Counted<S> {
    inner: S,
    calls: TaskTracker,
}

impl<S> Counted<S> {
    /// Counts in `calls`.
    pub(super) fn new(inner: S, calls: TaskTracker) -> Self {
        Self { inner, calls }
    }
}

impl<S, R, B> Service<Request<R>> for Counted<S>
where
    S: Service<Request<R>, Response = Response<B>>,
{
    type Response = Response<CountedBody<B>>;
    type Error = S::Error;
    type Future = Counting<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        Counting { answer: self.inner.call(request), token: Some(self.calls.token()) }
    }
}

pin_project! {
    /// A call without an answer yet.
    pub(super) struct Counting<F> {
        #[pin]
        answer: F,
        token: Option<TaskTrackerToken>,
    }
}

impl<F, B, E> Future for Counting<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<CountedBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.answer.poll(cx));
        let token = this.token.take();
        Poll::Ready(answer.map(|answer| answer.map(|body| CountedBody { body, _token: token })))
    }
}

pin_project! {
    /// An answer that is not read to its end yet.
    pub(super) struct CountedBody<B> {
        #[pin]
        body: B,
        _token: Option<TaskTrackerToken>,
    }
}

impl<B: Body> Body for CountedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
