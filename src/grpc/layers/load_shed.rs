//! Bounds the unary calls in flight, and refuses a call beyond the bound at once: a queue would hold calls until their
//! callers have given up. Streams are bounded by connections and by streams per connection; health checks always pass.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use tonic::body::Body;
use tower::{Layer, Service};

use super::{AdmissionFuture, HeldPermit};
use crate::grpc::{methods, status};
use crate::quota::{Quota, QuotaPermit};
use crate::telemetry::metrics::Metrics;

/// Advice to a refused caller. Calls take 0.1 to 1 s; a permit is free much sooner.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Admits `max` unary calls at a time.
#[derive(Clone, Debug)]
pub(crate) struct LoadShedLayer {
    places: Quota,
    metrics: Arc<Metrics>,
}

impl LoadShedLayer {
    /// Creates a layer; its clones and services share the permits.
    pub(crate) fn new(max: usize, metrics: Arc<Metrics>) -> Self {
        Self { places: Quota::new(max), metrics }
    }
}

impl<S> Layer<S> for LoadShedLayer {
    type Service = LoadShed<S>;

    fn layer(&self, inner: S) -> LoadShed<S> {
        LoadShed { inner, layer: Arc::new(self.clone()) }
    }
}

/// The service of [`LoadShedLayer`].
#[derive(Clone, Debug)]
pub(crate) struct LoadShed<S> {
    inner: S,
    layer: Arc<LoadShedLayer>,
}

impl<S, B> Service<Request<B>> for LoadShed<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = AdmissionFuture<S::Future, Option<QuotaPermit>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let path = request.uri().path();
        let held = if path.starts_with(methods::HEALTH) || methods::is_streaming(path) {
            None
        } else {
            let Some(place) = self.layer.places.try_acquire(1) else {
                self.layer.metrics.calls_shed.inc();
                return AdmissionFuture::refused(status::overloaded(RETRY_AFTER));
            };
            Some(place)
        };
        AdmissionFuture::forwarded(self.inner.call(request), held)
    }
}

impl HeldPermit for Option<QuotaPermit> {
    /// The body of a unary response is one buffered message: the work is done.
    fn follow(self, response: Response<Body>) -> Response<Body> {
        response
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
    async fn probes_take_no_places() {
        let (service, handle) = above_mock(LoadShedLayer::new(1, Arc::new(Metrics::new([]))));
        survives_probes(service, handle, UNARY).await;
    }

    #[tokio::test]
    async fn one_too_many_is_refused_and_a_place_comes_back() {
        let metrics = Arc::new(Metrics::new([]));
        let (mut service, mut handle) = above_mock(LoadShedLayer::new(2, metrics.clone()));
        let first = service.ready().await.unwrap().call(request(UNARY, &[]));
        let second = service.ready().await.unwrap().call(request(UNARY, &[]));
        let refused = status(service.ready().await.unwrap().call(request(UNARY, &[])).await.unwrap()).await;
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert_eq!(refused.get_details_error_info().unwrap().reason, "OVERLOADED");
        assert_eq!(refused.get_details_retry_info().unwrap().retry_delay, Some(RETRY_AFTER));
        assert_eq!(metrics.calls_shed.get(), 1);

        for path in ["/grpc.health.v1.Health/Check", WATCH] {
            let health = tokio::spawn(service.ready().await.unwrap().call(request(path, &[])));
            loop {
                let (seen, respond) = handle.next_request().await.unwrap();
                if seen.uri().path() == path {
                    respond.send_response(ok());
                    break;
                }
                std::mem::forget(respond);
            }
            assert_eq!(status(health.await.unwrap().unwrap()).await.code(), Code::Ok);
        }

        drop(first);
        drop(second);
        let again = tokio::spawn(service.ready().await.unwrap().call(request(UNARY, &[])));
        handle.next_request().await.unwrap().1.send_response(ok());
        assert_eq!(status(again.await.unwrap().unwrap()).await.code(), Code::Ok);
    }
}
