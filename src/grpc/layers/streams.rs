//! Ends streams at the client's deadline, if the client sent one, when its access ends, and when the process stops.
//!
//! A handler need not watch for either, and a client always gets a status with the reason.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::future::Either;
use http::{Request, Response};
use http_body::Frame;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use super::access_end::AccessEnd;
use super::catch_panic::trailers;
use super::deadline::BACKSTOP;
use crate::grpc::{methods, status};
use crate::ports::call::CallContext;

/// The end of a stream, independent of its handler.
struct StreamEnd {
    stopping: CancellationToken,
    deadline: Option<Instant>,
    access: Option<AccessEnd>,
    waiting: Pin<Box<dyn Future<Output = Status> + Send>>,
}

impl StreamEnd {
    fn new(stopping: CancellationToken, context: Option<&CallContext>, access: Option<AccessEnd>) -> Self {
        let deadline = context.map(|context| context.deadline + BACKSTOP);
        let (stopped, of_caller) = (stopping.clone(), access.clone());
        let waiting = Box::pin(async move {
            let late = async {
                match deadline {
                    Some(deadline) => sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            let access_lost = async {
                match of_caller {
                    Some(access) => access.wait().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stopped.cancelled() => status::shutting_down(),
                () = late => status::deadline_exceeded(None),
                status = access_lost => status,
            }
        });
        Self { stopping, deadline, access, waiting }
    }

    /// Returns the status if the end has come. Cheaper than polling `waiting`.
    fn has_come(&self) -> Option<Status> {
        if self.stopping.is_cancelled() {
            return Some(status::shutting_down());
        }
        if let Some(status) = self.access.as_ref().and_then(AccessEnd::has_come) {
            return Some(status);
        }
        self.deadline.filter(|deadline| *deadline <= Instant::now()).map(|_| status::deadline_exceeded(None))
    }
}

/// Ends streams when the token is cancelled, or at their deadline.
#[derive(Clone, Debug)]
pub(crate) struct EndStreamsLayer(pub(crate) CancellationToken);

impl<S> Layer<S> for EndStreamsLayer {
    type Service = EndStreams<S>;

    fn layer(&self, inner: S) -> EndStreams<S> {
        EndStreams { inner, stopping: Arc::new(self.0.clone()) }
    }
}

/// The service of [`EndStreamsLayer`].
#[derive(Clone, Debug)]
pub(crate) struct EndStreams<S> {
    inner: S,
    /// Shared: the service is cloned for every call, and cloning a token takes a lock.
    stopping: Arc<CancellationToken>,
}

impl<S, B> Service<Request<B>> for EndStreams<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, Pin<Box<dyn Future<Output = Result<Response<Body>, S::Error>> + Send>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if !methods::is_streaming(request.uri().path()) {
            return Either::Left(self.inner.call(request));
        }
        let extensions = request.extensions();
        let stopping = CancellationToken::clone(&self.stopping);
        let mut end = StreamEnd::new(stopping, extensions.get(), extensions.get().cloned());
        let answer = self.inner.call(request);
        Either::Right(Box::pin(async move {
            let response = tokio::select! {
                biased;
                status = &mut end.waiting => return Ok(status.into_http()),
                answer = answer => answer?,
            };
            Ok(response.map(|inner| Body::new(EndingBody { inner: Some(inner), end, last: None })))
        }))
    }
}

struct EndingBody {
    inner: Option<Body>,
    end: StreamEnd,
    /// The status to end with, once the end has come and one ready frame was sent before it.
    last: Option<Status>,
}

impl http_body::Body for EndingBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        let Some(inner) = this.inner.as_mut() else { return Poll::Ready(None) };
        let status = match this.last.take() {
            Some(status) => status,
            None => match Pin::new(inner).poll_frame(cx) {
                // At the end of a stream one frame that is ready is still sent, so that a health watch hears NOT_SERVING
                // before it is closed. Only one: a stream that always has another frame would never end.
                Poll::Ready(Some(Ok(frame))) if frame.is_data() => {
                    this.last = this.end.has_come();
                    return Poll::Ready(Some(Ok(frame)));
                }
                // The handler's own end may carry more, such as the cursor to resume from.
                Poll::Ready(end) => return Poll::Ready(end),
                Poll::Pending => ready!(this.end.waiting.as_mut().poll(cx)),
            },
        };
        this.inner = None;
        Poll::Ready(Some(Ok(Frame::trailers(trailers(&status)))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(http_body::Body::is_end_stream)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::time::Duration;

    use http_body_util::StreamBody;
    use tonic::Code;
    use tonic_types::StatusExt as _;
    use tower::{ServiceExt as _, service_fn};

    use super::super::deadline::DeadlineLayer;
    use super::*;
    use crate::testing::layers::*;

    #[tokio::test]
    async fn probes() {
        for path in [UNARY, WATCH] {
            let (service, handle) = above_mock(EndStreamsLayer(CancellationToken::new()));
            survives_probes(service, handle, path).await;
        }
    }

    /// A stream with one frame and no end.
    async fn endless(_: Request<Body>) -> Result<Response<Body>, Infallible> {
        use futures_util::StreamExt as _;
        let first = futures_util::stream::iter([Ok::<_, Status>(Frame::data(Bytes::from_static(b"x")))]);
        Ok(Response::new(Body::new(StreamBody::new(first.chain(futures_util::stream::pending())))))
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_at_its_deadline() {
        let service = DeadlineLayer.layer(EndStreamsLayer(CancellationToken::new()).layer(service_fn(endless)));
        let started = tokio::time::Instant::now();
        let answer = service.oneshot(request(WATCH, &[("grpc-timeout", "2M")])).await.unwrap();
        assert_eq!(status(answer).await.code(), Code::DeadlineExceeded);
        assert_eq!(started.elapsed(), Duration::from_secs(120) + BACKSTOP);
    }

    #[tokio::test]
    async fn what_is_ready_at_shutdown_is_told_once_more_and_no_further() {
        use http_body_util::BodyExt as _;
        let stopping = CancellationToken::new();
        let flowing = service_fn(async |_: Request<Body>| {
            let frames = futures_util::stream::repeat_with(|| Ok::<_, Status>(Frame::data(Bytes::from_static(b"x"))));
            Ok::<_, Infallible>(Response::new(Body::new(StreamBody::new(frames))))
        });
        let mut answer = EndStreamsLayer(stopping.clone()).layer(flowing).oneshot(request(WATCH, &[])).await.unwrap();
        stopping.cancel();
        assert!(answer.frame().await.unwrap().unwrap().is_data());
        assert!(answer.frame().await.unwrap().unwrap().is_trailers());
        assert!(answer.frame().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_at_shutdown_and_none_begins_after() {
        let stopping = CancellationToken::new();
        let service = EndStreamsLayer(stopping.clone()).layer(service_fn(endless));
        let open = service.clone().oneshot(request(WATCH, &[])).await.unwrap();
        stopping.cancel();
        let late = service.oneshot(request(WATCH, &[])).await.unwrap();
        for answer in [open, late] {
            let status = status(answer).await;
            assert_eq!(status.code(), Code::Unavailable);
            assert_eq!(status.get_details_error_info().unwrap().reason, "SHUTTING_DOWN");
        }
    }
}
