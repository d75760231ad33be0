//! Counts the open calls of a connection: a connection without calls can be closed, and a connection whose peer does
//! not read its responses.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tower::Service;

use super::request_bytes::RequestBytesLimit;
use crate::grpc::layers::health_watches::ConnectionWatches;
use crate::grpc::methods;
use crate::quota::Quota;

/// Interval of the checks for unread responses.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// Checks that a part of a unary response may stay unread: ten to fifteen seconds.
const UNARY_CHECKS: usize = 3;
/// Checks that a part of a stream may stay unread, 75 seconds. The feed's streams end with SLOW_CONSUMER after a
/// minute.
const STREAM_CHECKS: usize = 16;

/// The call counts of one connection. Clones share the counts.
#[derive(Clone, Debug, Default)]
pub(super) struct OpenCalls(Arc<CallCounts>);

#[derive(Debug, Default)]
struct CallCounts {
    open: TaskTracker,
    begun: AtomicU64,
    checks: AtomicU64,
    /// Response parts handed to HTTP/2 and not yet taken by the peer, by the check at which they must be gone: slot
    /// `check % len`. Every response passes through these counters; two additions cost less than reading a clock.
    unread: [AtomicU32; STREAM_CHECKS + 1],
}

impl OpenCalls {
    /// Number of calls begun since the connection was opened.
    pub(super) fn begun(&self) -> u64 {
        self.0.begun.load(Ordering::Relaxed)
    }

    /// Whether no call is open.
    pub(super) fn is_empty(&self) -> bool {
        self.0.open.is_empty()
    }

    /// Runs one check and returns whether a response part has been unread for too long. Must be called every
    /// [`CHECK_INTERVAL`].
    pub(super) fn check_unread(&self) -> bool {
        let check = self.0.checks.fetch_add(1, Ordering::Relaxed) + 1;
        self.0.due(check).load(Ordering::Relaxed) > 0
    }

    /// Waits until no call is open. The connection must not accept any more calls.
    pub(super) async fn ended(&self) {
        self.0.open.close();
        self.0.open.wait().await;
    }
}

impl CallCounts {
    /// Response parts that must be gone at this check.
    fn due(&self, check: u64) -> &AtomicU32 {
        &self.unread[(check % self.unread.len() as u64) as usize]
    }
}

/// Counts the calls of a connection, from the request to the last byte of the response.
#[derive(Clone)]
pub(super) struct CountCalls<S> {
    inner: S,
    calls: OpenCalls,
    room: Quota,
    watches: ConnectionWatches,
}

impl<S> CountCalls<S> {
    /// Counts calls in `calls`; the bytes of unfinished requests are taken from `room`.
    pub(super) fn new(inner: S, calls: OpenCalls, room: Quota) -> Self {
        Self { inner, calls, room, watches: ConnectionWatches::default() }
    }
}

impl<S, R, B> Service<Request<R>> for CountCalls<S>
where
    S: Service<Request<RequestBytesLimit<R>>, Response = Response<B>>,
{
    type Response = Response<CountedBody<B>>;
    type Error = S::Error;
    type Future = CountedFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<R>) -> Self::Future {
        let streaming = methods::is_streaming(request.uri().path());
        if streaming {
            request.extensions_mut().insert(self.watches.clone());
        }
        self.calls.0.begun.fetch_add(1, Ordering::Relaxed);
        let call = OpenCall {
            checks_allowed: if streaming { STREAM_CHECKS } else { UNARY_CHECKS } as u64,
            due_check: None,
            seen: self.calls.0.clone(),
            _open: self.calls.0.open.token(),
        };
        let request = request.map(|body| {
            if streaming { RequestBytesLimit::unlimited(body) } else { RequestBytesLimit::new(body, self.room.clone()) }
        });
        CountedFuture { answer: self.inner.call(request), call: Some(call) }
    }
}

/// A call from its request to the end of its response.
struct OpenCall {
    checks_allowed: u64,
    /// The check at which the current response part must have been taken.
    due_check: Option<u64>,
    seen: Arc<CallCounts>,
    _open: TaskTrackerToken,
}

impl OpenCall {
    /// Notes a response part handed to HTTP/2, which polls the body again once the peer's window had room for the part.
    fn piece_sent(&mut self) {
        let check = self.seen.checks.load(Ordering::Relaxed) + self.checks_allowed;
        self.seen.due(check).fetch_add(1, Ordering::Relaxed);
        self.due_check = Some(check);
    }

    fn piece_taken(&mut self) {
        if let Some(check) = self.due_check.take() {
            self.seen.due(check).fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        self.piece_taken();
    }
}

pin_project! {
    /// The future of [`CountCalls`].
    pub(super) struct CountedFuture<F> {
        #[pin]
        answer: F,
        call: Option<OpenCall>,
    }
}

impl<F, B, E> Future for CountedFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<CountedBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.answer.poll(cx));
        let call = this.call.take();
        Poll::Ready(answer.map(|answer| answer.map(|body| CountedBody { body, call })))
    }
}

pin_project! {
    /// A response body whose unread parts are counted.
    pub(super) struct CountedBody<B> {
        #[pin]
        body: B,
        call: Option<OpenCall>,
    }
}

impl<B: Body> Body for CountedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        if let Some(call) = this.call.as_mut() {
            call.piece_taken();
        }
        let frame = this.body.poll_frame(cx);
        if let (Poll::Ready(Some(Ok(frame))), Some(call)) = (&frame, this.call.as_mut())
            && frame.is_data()
        {
            call.piece_sent();
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use bytes::Bytes;
    use http_body_util::{BodyExt as _, Full};
    use tower::service_fn;

    use super::*;

    #[tokio::test]
    async fn an_answer_that_is_not_read_shows_until_it_is() {
        let calls = OpenCalls::default();
        let answers = service_fn(async |_: Request<RequestBytesLimit<Full<Bytes>>>| {
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"an answer"))))
        });
        let mut service = CountCalls::new(answers, calls.clone(), Quota::new(1024));
        for (path, checks_allowed) in [("/unary", UNARY_CHECKS), ("/grpc.health.v1.Health/Watch", STREAM_CHECKS)] {
            let request = Request::post(path).body(Full::default()).unwrap();
            let mut answer = service.call(request).await.unwrap();
            assert!((0..2 * checks_allowed).all(|_| !calls.check_unread()), "nothing was handed over");
            assert!(answer.frame().await.unwrap().unwrap().is_data());
            assert!((1..checks_allowed).all(|_| !calls.check_unread()) && !calls.is_empty());
            assert!(calls.check_unread());
            let mut quick = service.call(Request::post(path).body(Full::default()).unwrap()).await.unwrap();
            assert!(quick.frame().await.unwrap().unwrap().is_data());
            drop(quick);
            assert!(answer.frame().await.is_none());
            assert!((0..2 * checks_allowed).all(|_| !calls.check_unread()), "it was read");
            drop(answer);
            assert!(calls.is_empty());
        }
        assert_eq!(calls.begun(), 4);
    }
}
