//! The calls of one connection: so that one without any can be closed, and one whose peer does not read its answers.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tower::Service;

use super::methods;
use super::weighed::{Room, Weighed};

/// How long a piece of an answer may wait for its reader. Streams of the feed say SLOW_CONSUMER after a minute.
const UNREAD: Duration = Duration::from_secs(10);
const UNREAD_STREAM: Duration = Duration::from_secs(75);

/// What is known of a connection's calls. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Calls(Arc<Seen>);

#[derive(Debug, Default)]
struct Seen {
    open: TaskTracker,
    begun: AtomicU64,
    /// Pieces of answers that were handed to HTTP/2 and did not find room with the peer, by the end of our patience.
    unread: Mutex<BTreeSet<(Instant, u64)>>,
}

impl Calls {
    /// How many have begun since the connection was opened.
    pub(super) fn begun(&self) -> u64 {
        self.0.begun.load(Ordering::Relaxed)
    }

    /// Whether none is open.
    pub(super) fn is_empty(&self) -> bool {
        self.0.open.is_empty()
    }

    /// Whether an answer has waited for its reader for too long.
    pub(super) fn has_unread(&self) -> bool {
        let unread = self.0.unread.lock().unwrap_or_else(PoisonError::into_inner);
        unread.first().is_some_and(|(until, _)| *until <= Instant::now())
    }

    /// Waits until none is open. No more must begin.
    pub(super) async fn ended(&self) {
        self.0.open.close();
        self.0.open.wait().await;
    }
}

/// Counts the calls of a connection, from the request to the last byte of the answer.
#[derive(Clone)]
pub(super) struct Counted<S> {
    inner: S,
    calls: Calls,
    room: Room,
}

impl<S> Counted<S> {
    /// Counts in `calls`; what requests take while they come in is taken from `room`.
    pub(super) fn new(inner: S, calls: Calls, room: Room) -> Self {
        Self { inner, calls, room }
    }
}

impl<S, R, B> Service<Request<R>> for Counted<S>
where
    S: Service<Request<Weighed<R>>, Response = Response<B>>,
{
    type Response = Response<CountedBody<B>>;
    type Error = S::Error;
    type Future = Counting<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        let streaming = methods::is_streaming(request.uri().path());
        let call = Call {
            number: self.calls.0.begun.fetch_add(1, Ordering::Relaxed),
            patience: if streaming { UNREAD_STREAM } else { UNREAD },
            waits: None,
            seen: self.calls.0.clone(),
            _open: self.calls.0.open.token(),
        };
        let request = request.map(|body| if streaming { Weighed::free(body) } else { self.room.weighed(body) });
        Counting { answer: self.inner.call(request), call: Some(call) }
    }
}

/// One call.
struct Call {
    number: u64,
    patience: Duration,
    /// Until when a piece of its answer may wait.
    waits: Option<Instant>,
    seen: Arc<Seen>,
    _open: TaskTrackerToken,
}

impl Call {
    /// A piece of its answer was handed to HTTP/2, which asks for more when that one has found room.
    fn handed(&mut self) {
        let until = Instant::now() + self.patience;
        self.waits = Some(until);
        self.seen.unread.lock().unwrap_or_else(PoisonError::into_inner).insert((until, self.number));
    }

    fn taken(&mut self) {
        if let Some(until) = self.waits.take() {
            self.seen.unread.lock().unwrap_or_else(PoisonError::into_inner).remove(&(until, self.number));
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.taken();
    }
}

pin_project! {
    /// A call without an answer yet.
    pub(super) struct Counting<F> {
        #[pin]
        answer: F,
        call: Option<Call>,
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
        let call = this.call.take();
        Poll::Ready(answer.map(|answer| answer.map(|body| CountedBody { body, call })))
    }
}

pin_project! {
    /// An answer that is not read to its end yet.
    pub(super) struct CountedBody<B> {
        #[pin]
        body: B,
        call: Option<Call>,
    }
}

impl<B: Body> Body for CountedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        if let Some(call) = this.call.as_mut() {
            call.taken();
        }
        let frame = this.body.poll_frame(cx);
        if let (Poll::Ready(Some(Ok(frame))), Some(call)) = (&frame, this.call.as_mut())
            && frame.is_data()
        {
            call.handed();
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
    use tokio::time::advance;
    use tower::service_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_not_read_shows_until_it_is() {
        let calls = Calls::default();
        let answers = service_fn(async |_: Request<Weighed<Full<Bytes>>>| {
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"an answer"))))
        });
        let mut service = Counted::new(answers, calls.clone(), Room::new());
        for (path, patience) in [("/unary", UNREAD), ("/grpc.health.v1.Health/Watch", UNREAD_STREAM)] {
            let request = Request::post(path).body(Full::default()).unwrap();
            let mut answer = service.call(request).await.unwrap();
            advance(2 * patience).await;
            assert!(!calls.has_unread(), "nothing was handed over");
            assert!(answer.frame().await.unwrap().unwrap().is_data());
            advance(patience - Duration::from_secs(1)).await;
            assert!(!calls.has_unread() && !calls.is_empty());
            advance(Duration::from_secs(1)).await;
            assert!(calls.has_unread());
            assert!(answer.frame().await.is_none());
            assert!(!calls.has_unread(), "it was read");
            drop(answer);
            assert!(calls.is_empty());
        }
        assert_eq!(calls.begun(), 2);
    }
}
