//! Answers SHUTTING_DOWN to unary calls which outlast the grace period, before their connection is closed.
//!
//! The ledger carries a begun mutation on, in the next process at the latest: a client repeats its call on UNAVAILABLE.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tonic::body::Body;
use tower::{Layer, Service};

use crate::grpc::{methods, status};
use crate::shutdown::{OnceEvent, OnceEventWait};

/// Ends unary calls when the grace period is over.
#[derive(Clone, Debug)]
pub(crate) struct DrainNoticeLayer(pub(crate) OnceEvent);

impl<S> Layer<S> for DrainNoticeLayer {
    type Service = DrainNotice<S>;

    fn layer(&self, inner: S) -> DrainNotice<S> {
        DrainNotice { inner, closing: Arc::new(self.0.clone()) }
    }
}

/// The service of [`DrainNoticeLayer`].
#[derive(Clone, Debug)]
pub(crate) struct DrainNotice<S> {
    inner: S,
    /// Shared, because the service is cloned for every call.
    closing: Arc<OnceEvent>,
}

impl<S, B> Service<Request<B>> for DrainNotice<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = DrainNoticeFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let unary = !methods::is_streaming(request.uri().path());
        DrainNoticeFuture { closing: unary.then(|| self.closing.wait()), inner: self.inner.call(request) }
    }
}

pin_project! {
    /// The future of [`DrainNotice`].
    pub(crate) struct DrainNoticeFuture<F> {
        #[pin]
        inner: F,
        #[pin]
        closing: Option<OnceEventWait>,
    }
}

impl<F, E> Future for DrainNoticeFuture<F>
where
    F: Future<Output = Result<Response<Body>, E>>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(answer) = this.inner.poll(cx) {
            return Poll::Ready(answer);
        }
        match this.closing.as_pin_mut().map(|closing| closing.poll(cx)) {
            Some(Poll::Ready(())) => Poll::Ready(Ok(status::shutting_down().into_http())),
            _ => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;
    use tonic_types::StatusExt as _;
    use tower::ServiceExt as _;

    use super::*;
    use crate::testing::layers::*;

    #[tokio::test]
    async fn probes() {
        for path in [UNARY, WATCH] {
            let (service, handle) = above_mock(DrainNoticeLayer(OnceEvent::default()));
            survives_probes(service, handle, path).await;
        }
    }

    #[tokio::test]
    async fn unary_calls_are_told_and_streams_left_alone() {
        let closing = OnceEvent::default();
        let (mut service, mut handle) = above_mock(DrainNoticeLayer(closing.clone()));
        let unary = tokio::spawn(service.ready().await.unwrap().call(request(UNARY, &[])));
        let (_unary, _never) = handle.next_request().await.unwrap();
        let stream = tokio::spawn(service.ready().await.unwrap().call(request(WATCH, &[])));
        let (_stream, respond) = handle.next_request().await.unwrap();
        closing.set();
        let told = status(unary.await.unwrap().unwrap()).await;
        assert_eq!(told.code(), Code::Unavailable);
        assert_eq!(told.get_details_error_info().unwrap().reason, "SHUTTING_DOWN");
        assert!(told.get_details_retry_info().is_some());
        assert!(!stream.is_finished());
        respond.send_response(ok());
        assert_eq!(status(stream.await.unwrap().unwrap()).await.code(), Code::Ok);
    }
}
