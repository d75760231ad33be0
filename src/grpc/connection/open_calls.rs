//! The calls of one connection: so that one without any can be closed, and one whose peer does not read its answers.

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

/// Between two looks for answers that are not read.
pub(super) const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// How many looks may find a piece of an answer waiting for its reader: for ten seconds, at most fifteen.
const UNARY_CHECKS: usize = 3;
/// The same for streams, for 75 seconds: those of the feed say SLOW_CONSUMER after a minute.
const STREAM_CHECKS: usize = 16;

/// What is known of a connection's calls. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct OpenCalls(Arc<CallCounts>);

#[derive(Debug, Default)]
struct CallCounts {
    open: TaskTracker,
    begun: AtomicU64,
    checks: AtomicU64,
    /// Pieces of answers that were handed to HTTP/2 and did not find room with the peer, by the look at which they must
    /// have, counted round and round. Every answer passes here, so it is two numbers and no clock.
    unread: [AtomicU32; STREAM_CHECKS + 1],
}

impl OpenCalls {
    /// How many have begun since the connection was opened.
    pub(super) fn begun(&self) -> u64 {
        self.0.begun.load(Ordering::Relaxed)
    }

    /// Whether none is open.
    pub(super) fn is_empty(&self) -> bool {
        self.0.open.is_empty()
    }

    /// Looks, which is to be done every [`CHECK_INTERVAL`], whether an answer has waited for its reader for too long.
    pub(super) fn check_unread(&self) -> bool {
        let check = self.0.checks.fetch_add(1, Ordering::Relaxed) + 1;
        self.0.due(check).load(Ordering::Relaxed) > 0
    }

    /// Waits until none is open. No more must begin.
    pub(super) async fn ended(&self) {
        self.0.open.close();
        self.0.open.wait().await;
    }
}

impl CallCounts {
    /// Pieces that must not be there any more at this look.
    fn due(&self, check: u64) -> &AtomicU32 {
        &self.unread[(check % self.unread.len() as u64) as usize]
    }
}

/// Counts the calls of a connection, from the request to the last byte of the answer.
#[derive(Clone)]
pub(super) struct CountCalls<S> {
    inner: S,
    calls: OpenCalls,
    room: Quota,
    watches: ConnectionWatches,
}

impl<S> CountCalls<S> {
    /// Counts in `calls`; what requests take while they come in is taken from `room`.
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

/// One call.
struct OpenCall {
    checks_allowed: u64,
    /// The look at which a piece of its answer must have been taken.
    due_check: Option<u64>,
    seen: Arc<CallCounts>,
    _open: TaskTrackerToken,
}

impl OpenCall {
    /// A piece of its answer was handed to HTTP/2, which asks for more when that one has found room.
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
    /// A call without an answer yet.
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
    /// An answer that is not read to its end yet.
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
