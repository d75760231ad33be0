//! Bounds the open streams of one connection, and among them the health watches.
//!
//! A client whose connection is full of streams would wait for one of them to end, without a word and for ever. HTTP/2
//! therefore allows more streams than there may be streaming calls: unary calls always find room, and one stream too many
//! is told so. Health watches need no credentials and have no deadline of ours, and no other limit applies: 38,400 of
//! them, on 150 connections, took 262 MiB.

use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use super::authn::PermitBody;
use super::{AdmissionFuture, HeldPermit};
use crate::grpc::{methods, status};
use crate::limits::{HEALTH_WATCHES_PER_CONNECTION, STREAMING_CALLS_PER_CONNECTION};
use crate::quota::{Quota, QuotaPermit};
use crate::telemetry::metrics::Metrics;

/// The permits of one connection, which the listener adds to every streaming call.
#[derive(Clone, Debug)]
pub(crate) struct StreamPermits {
    streams: Quota,
    watches: Quota,
}

impl Default for StreamPermits {
    fn default() -> Self {
        Self { streams: Quota::new(STREAMING_CALLS_PER_CONNECTION), watches: Quota::new(HEALTH_WATCHES_PER_CONNECTION) }
    }
}

impl StreamPermits {
    /// Takes the permits of a stream at this path.
    fn take(&self, path: &str) -> Result<HeldPermits, Status> {
        let stream = self.streams.try_acquire(1).ok_or_else(status::too_many_streams)?;
        let watch = match path == methods::HEALTH_WATCH {
            true => Some(self.watches.try_acquire(1).ok_or_else(status::too_many_watches)?),
            false => None,
        };
        Ok((stream, watch))
    }
}

type HeldPermits = (QuotaPermit, Option<QuotaPermit>);

/// Refuses streams beyond [`STREAMING_CALLS_PER_CONNECTION`] of a connection, and health watches beyond [`HEALTH_WATCHES_PER_CONNECTION`].
#[derive(Clone, Debug)]
pub(crate) struct ConnectionStreamsLayer(pub(crate) Arc<Metrics>);

impl<S> Layer<S> for ConnectionStreamsLayer {
    type Service = ConnectionStreams<S>;

    fn layer(&self, inner: S) -> ConnectionStreams<S> {
        ConnectionStreams { inner, metrics: self.0.clone() }
    }
}

/// The service of [`ConnectionStreamsLayer`].
#[derive(Clone, Debug)]
pub(crate) struct ConnectionStreams<S> {
    inner: S,
    metrics: Arc<Metrics>,
}

impl<S, B> Service<Request<B>> for ConnectionStreams<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = AdmissionFuture<S::Future, StreamPermit>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let permits = request.extensions().get::<StreamPermits>();
        let held = match permits.map(|permits| permits.take(request.uri().path())).transpose() {
            Ok(held) => held,
            Err(refusal) => {
                self.metrics.calls_shed.inc();
                return AdmissionFuture::refused(refusal);
            }
        };
        AdmissionFuture::forwarded(self.inner.call(request), StreamPermit(held))
    }
}

/// The permits of a stream, held until it ends.
#[derive(Debug)]
pub(crate) struct StreamPermit(Option<HeldPermits>);

impl HeldPermit for StreamPermit {
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
    use tonic::Code;
    use tonic_types::StatusExt as _;
    use tower::ServiceExt as _;

    use super::*;
    use crate::testing::layers::*;

    const FEED: &str = "/ordergateway.v1.CancelIntentService/WatchCancelIntents";

    #[tokio::test]
    async fn probes() {
        for path in [UNARY, WATCH] {
            let (service, handle) = above_mock(ConnectionStreamsLayer(Arc::new(Metrics::new([]))));
            survives_probes(service, handle, path).await;
        }
    }

    #[tokio::test]
    async fn one_watch_too_many_of_a_connection_is_refused_until_another_ends() {
        let (mut service, mut handle) = above_mock(ConnectionStreamsLayer(Arc::new(Metrics::new([]))));
        let of = |connection: &StreamPermits, path| {
            let mut request = request(path, &[]);
            request.extensions_mut().insert(connection.clone());
            request
        };
        let (one, other) = (StreamPermits::default(), StreamPermits::default());
        let mut begin = async |connection: &StreamPermits, path| {
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
        assert!(begin(&one, FEED).await.is_ok(), "other streams of the connection go on");
        assert!(begin(&other, WATCH).await.is_ok(), "and so do other connections");
        open.pop();
        assert!(begin(&one, WATCH).await.is_ok());
        open.clear();
        for _ in 0..STREAMING_CALLS_PER_CONNECTION {
            open.push(begin(&one, FEED).await.unwrap());
        }
        for path in [FEED, WATCH] {
            let refused = begin(&one, path).await.unwrap_err();
            assert_eq!(refused.get_details_error_info().unwrap().reason, "TOO_MANY_STREAMS");
        }
        assert!(begin(&other, FEED).await.is_ok());
        open.pop();
        assert!(begin(&one, FEED).await.is_ok());
    }
}
