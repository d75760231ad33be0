//! Counts the open calls of a connection, which can be closed without them, and ends the calls whose peer does not take
//! their responses. Small windows are legal, down to 0 for a while: a part of a response may wait for as long as the
//! checks below allow, and the bytes that wait are bounded elsewhere (`listener`, `layers/response_bytes`).

use std::pin::Pin;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tower::Service;

use super::request_bytes::RequestBytesLimit;
use super::stream_state::{StreamState, StreamWait};
use crate::grpc::layers::connection_streams::StreamPermits;
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
    /// Streams whose responses wait for the peer.
    waiting: Mutex<Vec<Arc<StreamState>>>,
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

    /// Runs one check, and ends the streams of which a response part has been unread for too long. Returns their number.
    /// Must be called every [`CHECK_INTERVAL`].
    pub(super) fn end_unread(&self) -> usize {
        let check = self.0.checks.fetch_add(1, Ordering::Relaxed) + 1;
        if self.0.due(check).load(Ordering::Relaxed) == 0 {
            return 0;
        }
        let mut ended = 0;
        self.0.waiting().retain(|stream| match stream.waits(check) {
            StreamWait::Yes => true,
            StreamWait::No => {
                stream.unlist();
                false
            }
            StreamWait::TooLong => {
                stream.end();
                ended += 1;
                false
            }
        });
        ended
    }

    /// Lists a stream whose response waits for the peer.
    pub(super) fn list(&self, stream: &Arc<StreamState>) {
        self.0.waiting().push(stream.clone());
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

    fn waiting(&self) -> MutexGuard<'_, Vec<Arc<StreamState>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts the calls of a connection, from the request to the last byte of the response.
#[derive(Clone)]
pub(super) struct CountCalls<S> {
    inner: S,
    calls: OpenCalls,
    room: Quota,
    permits: StreamPermits,
}

impl<S> CountCalls<S> {
    /// Counts calls in `calls`; the bytes of unfinished requests are taken from `room`.
    pub(super) fn new(inner: S, calls: OpenCalls, room: Quota) -> Self {
        Self { inner, calls, room, permits: StreamPermits::default() }
    }
}

impl<S, R, B> Service<Request<R>> for CountCalls<S>
where
    S: Service<Request<RequestBytesLimit<R>>, Response = Response<B>>,
    B: Body,
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
            request.extensions_mut().insert(self.permits.clone());
        }
        self.calls.0.begun.fetch_add(1, Ordering::Relaxed);
        let call = OpenCall {
            checks_allowed: if streaming { STREAM_CHECKS } else { UNARY_CHECKS } as u64,
            due_check: None,
            stream: None,
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
    /// The stream of the call, once it is answered.
    stream: Option<Arc<StreamState>>,
    seen: Arc<CallCounts>,
    _open: TaskTrackerToken,
}

impl OpenCall {
    /// Notes a response part handed to HTTP/2, which polls the body again once the peer's window had room for the part.
    /// The head of a response is a part too: the body is first polled when the window has any room.
    fn piece_sent(&mut self) {
        let check = self.seen.checks.load(Ordering::Relaxed) + self.checks_allowed;
        self.seen.due(check).fetch_add(1, Ordering::Relaxed);
        self.due_check = Some(check);
        self.told(check);
    }

    fn piece_taken(&mut self) {
        if let Some(check) = self.due_check.take() {
            self.seen.due(check).fetch_sub(1, Ordering::Relaxed);
            self.told(0);
        }
    }

    fn told(&self, check: u64) {
        if let Some(stream) = &self.stream {
            stream.set_due_check(check);
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
    B: Body,
{
    type Output = Result<Response<CountedBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let answer = ready!(this.answer.poll(cx));
        let mut call = this.call.take();
        if let (Ok(answer), Some(call)) = (&answer, &mut call)
            && !answer.body().is_end_stream()
        {
            call.stream = StreamState::current();
            call.piece_sent();
        }
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
    use hyper::rt::Executor as _;
    use tokio::sync::oneshot;
    use tower::service_fn;

    use super::super::stream_tasks::StreamExecutor;
    use super::*;

    /// Begins a call in a task as hyper does, which takes so many parts of the answer and then waits for the peer.
    fn begin(calls: &OpenCalls, path: &str, takes: usize) -> oneshot::Receiver<()> {
        let answers = service_fn(async |_: Request<RequestBytesLimit<Full<Bytes>>>| {
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"an answer"))))
        });
        let mut service = CountCalls::new(answers, calls.clone(), Quota::new(1024));
        let call = service.call(Request::post(path).body(Full::default()).unwrap());
        let (done, ended) = oneshot::channel::<()>();
        StreamExecutor(calls.clone()).execute(async move {
            let mut answer = call.await.unwrap();
            for _ in 0..takes {
                answer.frame().await;
            }
            std::future::pending::<()>().await;
            drop((answer, done));
        });
        ended
    }

    #[tokio::test]
    async fn a_stream_whose_answer_is_not_taken_ends_alone() {
        for (path, checks_allowed) in [("/unary", UNARY_CHECKS), ("/grpc.health.v1.Health/Watch", STREAM_CHECKS)] {
            // With no room at all, and after the first part.
            for takes in [0, 1] {
                let calls = OpenCalls::default();
                let mut stuck = begin(&calls, path, takes);
                // All of it was taken: it may go on for ever.
                let mut fine = begin(&calls, path, 2);
                tokio::task::yield_now().await;
                assert_eq!((1..checks_allowed).map(|_| calls.end_unread()).sum::<usize>(), 0);
                assert!(stuck.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Empty));
                assert_eq!(calls.end_unread(), 1, "{path} {takes}");
                assert!(stuck.await.is_err(), "its task is gone");
                assert_eq!((0..2 * STREAM_CHECKS).map(|_| calls.end_unread()).sum::<usize>(), 0);
                assert!(fine.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Empty));
                assert_eq!((calls.begun(), calls.is_empty()), (2, false));
            }
        }
    }
}
