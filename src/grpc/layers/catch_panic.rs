//! Turns a panic in a handler into INTERNAL for the affected call alone, and counts it.
//!
//! A panic's message may hold data of the request: neither the response nor the log repeats it. The panic hook of the
//! process (`telemetry::log`) logs the place, and the access log names the call.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::{Frame, SizeHint};
use pin_project_lite::pin_project;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use crate::grpc::status;
use crate::telemetry::metrics::Metrics;

/// Catches panics of handlers, in the future and in the response body.
#[derive(Clone, Debug)]
pub(crate) struct CatchPanicLayer(pub(crate) Arc<Metrics>);

impl<S> Layer<S> for CatchPanicLayer {
    type Service = CatchPanic<S>;

    fn layer(&self, inner: S) -> CatchPanic<S> {
        CatchPanic { inner, metrics: self.0.clone() }
    }
}

/// The service of [`CatchPanicLayer`].
#[derive(Clone, Debug)]
pub(crate) struct CatchPanic<S> {
    inner: S,
    metrics: Arc<Metrics>,
}

impl<S, B> Service<Request<B>> for CatchPanic<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = Response<PanicGuardBody>;
    type Error = S::Error;
    type Future = PanicGuard<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let inner = catch_unwind(AssertUnwindSafe(|| self.inner.call(request))).ok();
        PanicGuard { inner, metrics: Some(self.metrics.clone()) }
    }
}

pin_project! {
    /// A handler's future, whose panic becomes a response with INTERNAL.
    pub(crate) struct PanicGuard<F> {
        #[pin]
        inner: Option<F>,
        metrics: Option<Arc<Metrics>>,
    }
}

impl<F, E> Future for PanicGuard<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = Result<Response<PanicGuardBody>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let inner = this.inner.as_mut().as_pin_mut();
        let polled = inner.and_then(|inner| catch_unwind(AssertUnwindSafe(|| inner.poll(cx))).ok());
        let metrics = this.metrics.take();
        let response = match polled {
            Some(Poll::Pending) => {
                *this.metrics = metrics;
                return Poll::Pending;
            }
            Some(Poll::Ready(answer)) => answer?.map(|body| PanicGuardBody { inner: Some(body), metrics }),
            None => {
                count(metrics.as_deref());
                status::internal().into_http().map(|body| PanicGuardBody { inner: Some(body), metrics: None })
            }
        };
        Poll::Ready(Ok(response))
    }
}

/// A response body, whose panic becomes a trailer with INTERNAL.
#[derive(Debug)]
pub(crate) struct PanicGuardBody {
    inner: Option<Body>,
    metrics: Option<Arc<Metrics>>,
}

impl http_body::Body for PanicGuardBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(inner) = self.inner.as_mut() else { return Poll::Ready(None) };
        match catch_unwind(AssertUnwindSafe(|| Pin::new(inner).poll_frame(cx))) {
            Ok(polled) => Poll::Ready(ready!(polled)),
            Err(_) => {
                self.inner = None;
                count(self.metrics.take().as_deref());
                Poll::Ready(Some(Ok(Frame::trailers(trailers(&status::internal())))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map(http_body::Body::size_hint).unwrap_or_default()
    }
}

fn count(metrics: Option<&Metrics>) {
    if let Some(metrics) = metrics {
        metrics.panics.inc();
    }
}

/// Converts a status to the trailers that end a stream.
pub(in crate::grpc) fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    // Headers can carry every status of ours. Otherwise the code alone is sent.
    if status.add_header(&mut trailers).is_err() {
        trailers.insert("grpc-status", http::HeaderValue::from(status.code() as i32));
    }
    trailers
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::BodyExt as _;
    use http_body_util::StreamBody;
    use tonic::Code;
    use tower::{ServiceExt as _, service_fn};

    use super::*;
    use crate::testing::layers::*;

    fn metrics() -> Arc<Metrics> {
        Arc::new(Metrics::new([]))
    }

    #[tokio::test]
    async fn probes() {
        let (service, handle) = above_mock(CatchPanicLayer(metrics()));
        survives_probes(service, handle, UNARY).await;
    }

    #[tokio::test]
    async fn a_panic_is_internal_and_counted_and_the_next_call_passes() {
        let metrics = metrics();
        let service = CatchPanicLayer(metrics.clone()).layer(service_fn(|r: Request<Body>| async move {
            assert!(r.headers().get("boom").is_none(), "the customer's name");
            Ok::<_, Infallible>(ok())
        }));
        let answer = service.clone().oneshot(request(UNARY, &[("boom", "1")])).await.unwrap();
        let refused = status(answer).await;
        assert_eq!(refused.code(), Code::Internal);
        assert!(!refused.message().contains("customer"));
        assert_eq!(metrics.panics.get(), 1);
        assert_eq!(status(service.oneshot(request(UNARY, &[])).await.unwrap()).await.code(), Code::Ok);
        assert_eq!(metrics.panics.get(), 1);
    }

    #[tokio::test]
    async fn a_panic_before_the_future_exists_and_one_inside_a_stream_are_caught_too() {
        let metrics = metrics();
        type Never = std::future::Ready<Result<Response<Body>, Infallible>>;
        let early = CatchPanicLayer(metrics.clone()).layer(service_fn(|_: Request<Body>| -> Never { panic!("early") }));
        assert_eq!(status(early.oneshot(request(UNARY, &[])).await.unwrap()).await.code(), Code::Internal);

        let late = CatchPanicLayer(metrics.clone()).layer(service_fn(|_: Request<Body>| async {
            let frames = futures_util::stream::poll_fn(|_| -> Poll<Option<Result<Frame<Bytes>, Status>>> { panic!() });
            Ok::<_, Infallible>(Response::new(Body::new(StreamBody::new(frames))))
        }));
        let answer = late.oneshot(request(WATCH, &[])).await.unwrap();
        let trailers = answer.into_body().collect().await.unwrap().trailers().cloned().unwrap();
        assert_eq!(Status::from_header_map(&trailers).unwrap().code(), Code::Internal);
        assert_eq!(metrics.panics.get(), 2);
    }
}
