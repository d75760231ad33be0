//! Ends unary calls which outlast the grace period, before their connection is closed.
//!
//! A begun mutation answers for itself: OUTCOME_PENDING with its effect and its correlation id, as at a deadline. The
//! ledger carries it on, in the next process at the latest. All other calls get SHUTTING_DOWN shortly after.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};
use tonic::body::Body;
use tower::{Layer, Service};

use crate::grpc::{methods, status};
use crate::shutdown::{OnceEvent, OnceEventWait};

/// Time after the end of the grace for calls to answer for themselves: a mutation reads its progress from the ledger.
/// Shorter than the time between the end of the grace and the abort (`shutdown`).
const ANSWER_LIMIT: Duration = Duration::from_millis(350);

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
        DrainNoticeFuture { closing: unary.then(|| self.closing.wait()), limit: None, inner: self.inner.call(request) }
    }
}

pin_project! {
    /// The future of [`DrainNotice`].
    pub(crate) struct DrainNoticeFuture<F> {
        #[pin]
        inner: F,
        // `None` for streams.
        #[pin]
        closing: Option<OnceEventWait>,
        // Set when the grace is over.
        limit: Option<Pin<Box<Sleep>>>,
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
        if this.limit.is_none() {
            let Some(closing) = this.closing.as_pin_mut() else { return Poll::Pending };
            ready!(closing.poll(cx));
        }
        let limit = this.limit.get_or_insert_with(|| Box::pin(sleep(ANSWER_LIMIT)));
        ready!(limit.as_mut().poll(cx));
        Poll::Ready(Ok(status::shutting_down().into_http()))
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

    #[tokio::test(start_paused = true)]
    async fn a_call_may_answer_for_itself_in_time() {
        for (answers_in, reason) in [(300, None), (400, Some("SHUTTING_DOWN"))] {
            let closing = OnceEvent::default();
            let event = closing.clone();
            let service = tower::service_fn(move |_: Request<Body>| {
                let event = event.clone();
                async move {
                    event.wait().await;
                    tokio::time::sleep(Duration::from_millis(answers_in)).await;
                    Ok::<_, std::convert::Infallible>(ok())
                }
            });
            let call = tokio::spawn(DrainNoticeLayer(closing.clone()).layer(service).oneshot(request(UNARY, &[])));
            tokio::task::yield_now().await;
            closing.set();
            let told = status(call.await.unwrap().unwrap()).await;
            assert_eq!(told.get_details_error_info().map(|info| info.reason), reason.map(str::to_owned));
        }
    }

    #[tokio::test(start_paused = true)]
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
