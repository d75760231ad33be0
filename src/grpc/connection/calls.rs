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

use super::weighed::Weighed;
use crate::grpc::layers::watches::ConnectionWatches;
use crate::grpc::methods;
use crate::quota::Quota;

/// Between two looks for answers that are not read.
pub(super) const LOOK: Duration = Duration::from_secs(5);
/// How many looks may find a piece of an answer waiting for its reader: for ten seconds, at most fifteen.
const UNREAD: usize = 3;
/// The same for streams, for 75 seconds: those of the feed say SLOW_CONSUMER after a minute.
const UNREAD_STREAM: usize = 16;

/// What is known of a connection's calls. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Calls(Arc<Seen>);

#[derive(Debug, Default)]
struct Seen {
    open: TaskTracker,
    begun: AtomicU64,
    looks: AtomicU64,
    /// Pieces of answers that were handed to HTTP/2 and did not find room with the peer, by the look at which they must
    /// have, counted round and round. Every answer passes here, so it is two numbers and no clock.
    unread: [AtomicU32; UNREAD_STREAM + 1],
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

    /// Looks, which is to be done every [`LOOK`], whether an answer has waited for its reader for too long.
    pub(super) fn look(&self) -> bool {
        let look = self.0.looks.fetch_add(1, Ordering::Relaxed) + 1;
        self.0.due(look).load(Ordering::Relaxed) > 0
    }

    /// Waits until none is open. No more must begin.
    pub(super) async fn ended(&self) {
        self.0.open.close();
        self.0.open.wait().await;
    }
}

impl Seen {
    /// Pieces that must not be there any more at this look.
    fn due(&self, look: u64) -> &AtomicU32 {
        &self.unread[(look % self.unread.len() as u64) as usize]
    }
}

/// Counts the calls of a connection, from the request to the last byte of the answer.
#[derive(Clone)]
pub(super) struct Counted<S> {
    inner: S,
    calls: Calls,
    room: Quota,
    watches: ConnectionWatches,
}

impl<S> Counted<S> {
    /// Counts in `calls`; what requests take while they come in is taken from `room`.
    pub(super) fn new(inner: S, calls: Calls, room: Quota) -> Self {
        Self { inner, calls, room, watches: ConnectionWatches::default() }
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

    fn call(&mut self, mut request: Request<R>) -> Self::Future {
        let streaming = methods::is_streaming(request.uri().path());
        if streaming {
            request.extensions_mut().insert(self.watches.clone());
        }
        self.calls.0.begun.fetch_add(1, Ordering::Relaxed);
        let call = Call {
            patience: if streaming { UNREAD_STREAM } else { UNREAD } as u64,
            waits: None,
            seen: self.calls.0.clone(),
            _open: self.calls.0.open.token(),
        };
        let request =
            request.map(|body| if streaming { Weighed::free(body) } else { Weighed::new(body, self.room.clone()) });
        Counting { answer: self.inner.call(request), call: Some(call) }
    }
}

/// One call.
struct Call {
    patience: u64,
    /// The look at which a piece of its answer must have been taken.
    waits: Option<u64>,
    seen: Arc<Seen>,
    _open: TaskTrackerToken,
}

impl Call {
    /// A piece of its answer was handed to HTTP/2, which asks for more when that one has found room.
    fn handed(&mut self) {
        let look = self.seen.looks.load(Ordering::Relaxed) + self.patience;
        self.seen.due(look).fetch_add(1, Ordering::Relaxed);
        self.waits = Some(look);
    }

    fn taken(&mut self) {
        if let Some(look) = self.waits.take() {
            self.seen.due(look).fetch_sub(1, Ordering::Relaxed);
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
    use tower::service_fn;

    use super::*;

    #[tokio::test]
    async fn an_answer_that_is_not_read_shows_until_it_is() {
        let calls = Calls::default();
        let answers = service_fn(async |_: Request<Weighed<Full<Bytes>>>| {
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"an answer"))))
        });
        let mut service = Counted::new(answers, calls.clone(), Quota::new(1024));
        for (path, patience) in [("/unary", UNREAD), ("/grpc.health.v1.Health/Watch", UNREAD_STREAM)] {
            let request = Request::post(path).body(Full::default()).unwrap();
            let mut answer = service.call(request).await.unwrap();
            assert!((0..2 * patience).all(|_| !calls.look()), "nothing was handed over");
            assert!(answer.frame().await.unwrap().unwrap().is_data());
            assert!((1..patience).all(|_| !calls.look()) && !calls.is_empty());
            assert!(calls.look());
            let mut quick = service.call(Request::post(path).body(Full::default()).unwrap()).await.unwrap();
            assert!(quick.frame().await.unwrap().unwrap().is_data());
            drop(quick);
            assert!(answer.frame().await.is_none());
            assert!((0..2 * patience).all(|_| !calls.look()), "it was read");
            drop(answer);
            assert!(calls.is_empty());
        }
        assert_eq!(calls.begun(), 4);
    }
}
