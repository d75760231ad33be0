//! A mock service below a layer of the gRPC stack, requests to it, and the statuses of its answers.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body_util::BodyExt as _;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};
use tower_test::mock::{self, Mock};

use crate::ports::call::{CallContext, CallRecord};
use crate::telemetry::trace::TraceContext;

pub(crate) const UNARY: &str = "/ordergateway.v1.FulfillmentService/CreateOrder";
pub(crate) const WATCH: &str = "/grpc.health.v1.Health/Watch";

pub(crate) type MockService = InfallibleMock<Mock<Request<Body>, Response<Body>>>;
pub(crate) type MockHandle = mock::Handle<Request<Body>, Response<Body>>;

/// A mock whose error type is that of production.
#[derive(Clone)]
pub(crate) struct InfallibleMock<S>(S);

impl<R, S: Service<R>> Service<R> for InfallibleMock<S>
where
    S::Future: Send + 'static,
    S::Response: Send,
    S::Error: Send,
{
    type Response = S::Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx).map(|ready| {
            assert!(ready.is_ok(), "the mock's handle is gone");
            Ok(())
        })
    }

    fn call(&mut self, request: R) -> Self::Future {
        let inner = self.0.call(request);
        Box::pin(async move {
            match inner.await {
                Ok(response) => Ok(response),
                Err(_) => std::future::pending().await,
            }
        })
    }
}

/// A layer above a mock that accepts any number of calls.
pub(crate) fn above_mock<L: Layer<MockService>>(layer: L) -> (L::Service, MockHandle) {
    let (service, handle) = mock::pair();
    (layer.layer(InfallibleMock(service)), handle)
}

pub(crate) fn request(path: &str, headers: &[(&'static str, &str)]) -> Request<Body> {
    let mut request = Request::post(path).header("content-type", "application/grpc").body(Body::empty()).unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let deadline = CallContext::no_deadline(tokio::time::Instant::now());
    let trace = TraceContext { trace_id: 1, span_id: 2, sampled: false, state: None };
    request.extensions_mut().insert(CallContext {
        deadline,
        trace,
        facts: Arc::new(CallRecord::default()),
        purpose: Default::default(),
    });
    request
}

pub(crate) fn ok() -> Response<Body> {
    Response::builder().header("grpc-status", "0").body(Body::empty()).unwrap()
}

/// The status of an answer, from its headers or its trailers.
pub(crate) async fn status<B>(response: Response<B>) -> Status
where
    B: http_body::Body<Data = bytes::Bytes>,
    B::Error: std::fmt::Debug,
{
    let (parts, body) = response.into_parts();
    if let Some(status) = Status::from_header_map(&parts.headers) {
        return status;
    }
    let trailers = body.collect().await.unwrap().trailers().cloned().unwrap_or_default();
    Status::from_header_map(&trailers).expect("a gRPC answer has a status")
}

/// A layer is probed for readiness more than once before a call, and called more than once.
pub(crate) async fn survives_probes<S, B>(mut service: S, mut handle: MockHandle, path: &str)
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible>,
    B: http_body::Body<Data = bytes::Bytes>,
    B::Error: std::fmt::Debug,
{
    for _ in 0..3 {
        for _ in 0..2 {
            std::future::poll_fn(|cx| service.poll_ready(cx)).await.unwrap();
        }
        let (answer, ()) = tokio::join!(service.call(request(path, &[])), async {
            let (_, respond) = handle.next_request().await.unwrap();
            respond.send_response(ok());
        });
        assert_eq!(status(answer.unwrap()).await.code(), tonic::Code::Ok);
    }
}
