//! Bounds the health watches of one connection. Health watches need no credentials and have no deadline of ours, and no
//! other limit applies: 38,400 of them, on 150 connections, took 262 MiB.

use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tonic::body::Body;
use tower::{Layer, Service};

use super::authn::PermitBody;
use super::{AdmissionFuture, HeldPermit};
use crate::grpc::{methods, status};
use crate::limits::HEALTH_WATCHES_PER_CONNECTION;
use crate::quota::{Quota, QuotaPermit};
use crate::telemetry::metrics::Metrics;

/// The permits of one connection, which the listener adds to every request.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionWatches(Quota);

impl Default for ConnectionWatches {
    fn default() -> Self {
        Self(Quota::new(HEALTH_WATCHES_PER_CONNECTION))
    }
}

/// Refuses health watches beyond [`HEALTH_WATCHES_PER_CONNECTION`] of a connection.
#[derive(Clone, Debug)]
pub(crate) struct HealthWatchesLayer(pub(crate) Arc<Metrics>);

impl<S> Layer<S> for HealthWatchesLayer {
    type Service = HealthWatches<S>;

    fn layer(&self, inner: S) -> HealthWatches<S> {
        HealthWatches { inner, metrics: self.0.clone() }
    }
}

/// The service of [`HealthWatchesLayer`].
#[derive(Clone, Debug)]
pub(crate) struct HealthWatches<S> {
    inner: S,
    metrics: Arc<Metrics>,
}

impl<S, B> Service<Request<B>> for HealthWatches<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = AdmissionFuture<S::Future, WatchPermit>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let watches = request.extensions().get::<ConnectionWatches>();
        let held = match watches.filter(|_| request.uri().path() == methods::HEALTH_WATCH) {
            None => None,
            Some(watches) => {
                let Some(place) = watches.0.try_acquire(1) else {
                    self.metrics.calls_shed.inc();
                    return AdmissionFuture::refused(status::too_many_watches());
                };
                Some(place)
            }
        };
        AdmissionFuture::forwarded(self.inner.call(request), WatchPermit(held))
    }
}

/// The permit of a health watch, held until the stream ends.
#[derive(Debug)]
pub(crate) struct WatchPermit(Option<QuotaPermit>);

impl HeldPermit for WatchPermit {
    fn follow(self, response: Response<Body>) -> Response<Body> {
        match self.0 {
            Some(place) => response.map(|inner| Body::new(PermitBody::new(inner, place))),
            None => response,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body::Frame;
    use http_body_util::StreamBody;
    use tonic::{Code, Status};
    use tonic_types::StatusExt as _;
    use tower::ServiceExt as _;

    use super::*;
    use crate::testing::layers::*;

    #[tokio::test]
    async fn probes() {
        for path in [UNARY, WATCH] {
            let (service, handle) = above_mock(HealthWatchesLayer(Arc::new(Metrics::new([]))));
            survives_probes(service, handle, path).await;
        }
    }

    #[tokio::test]
    async fn one_watch_too_many_of_a_connection_is_refused_until_another_ends() {
        let (mut service, mut handle) = above_mock(HealthWatchesLayer(Arc::new(Metrics::new([]))));
        let of = |connection: &ConnectionWatches, path| {
            let mut request = request(path, &[]);
            request.extensions_mut().insert(connection.clone());
            request
        };
        let (one, other) = (ConnectionWatches::default(), ConnectionWatches::default());
        let mut begin = async |connection: &ConnectionWatches, path| {
            let answer = tokio::spawn(service.ready().await.unwrap().call(of(connection, path)));
            tokio::select! {
                seen = handle.next_request() => {
                    let endless = StreamBody::new(futures_util::stream::pending::<Result<Frame<Bytes>, Status>>());
                    seen.unwrap().1.send_response(Response::new(Body::new(endless)));
                    Ok(answer.await.unwrap().unwrap())
                }
                // Refused without a word to what is below.
                () = async { while !answer.is_finished() { tokio::task::yield_now().await } } => {
                    Err(status(answer.await.unwrap().unwrap()).await)
                }
            }
        };
        let mut open = Vec::new();
        for _ in 0..HEALTH_WATCHES_PER_CONNECTION {
            open.push(begin(&one, WATCH).await.unwrap());
        }
        let refused = begin(&one, WATCH).await.unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        assert_eq!(refused.get_details_error_info().unwrap().reason, "TOO_MANY_STREAMS");
        assert!(refused.get_details_retry_info().unwrap().retry_delay.is_some());
        assert!(begin(&one, UNARY).await.is_ok(), "other calls of the connection go on");
        assert!(begin(&other, WATCH).await.is_ok(), "and so do other connections");
        open.pop();
        assert!(begin(&one, WATCH).await.is_ok());
    }
}
