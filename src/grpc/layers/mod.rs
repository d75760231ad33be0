//! Inbound layers, one file per layer; `grpc/server.rs` orders them.
//!
//! A layer keeps the error type of the inner service and refuses with a complete gRPC response: tests and production
//! run the same server.

pub(crate) mod authn;
pub(crate) mod catch_panic;
pub(crate) mod client_limits;
pub(crate) mod deadline;
pub(crate) mod drain_notice;
pub(crate) mod health_watches;
pub(crate) mod load_shed;
pub(crate) mod message_limit;
pub(crate) mod response_bytes;
pub(crate) mod streams;
pub(crate) mod trace;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tonic::Status;
use tonic::body::Body;

use crate::ports::call::CallContext;

pin_project! {
    /// The future of a layer that forwards a call or refuses it. `held`, such as a permit, is given to the response through
    /// [`HeldPermit::follow`], or dropped with this future.
    pub(crate) struct AdmissionFuture<F, G> {
        #[pin]
        inner: Option<F>,
        held: Option<G>,
        // Boxed, because the future is moved with every call and few calls are refused.
        refusal: Option<Box<Response<Body>>>,
    }
}

impl<F, G> AdmissionFuture<F, G> {
    fn refused(status: Status) -> Self {
        Self { inner: None, held: None, refusal: Some(Box::new(status.into_http())) }
    }

    fn forwarded(inner: F, held: G) -> Self {
        Self { inner: Some(inner), held: Some(held), refusal: None }
    }
}

impl<F, G, E> Future for AdmissionFuture<F, G>
where
    F: Future<Output = Result<Response<Body>, E>>,
    G: HeldPermit,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(inner) = this.inner.as_pin_mut() else {
            // A future must not be polled after its end; doing so would return an empty response.
            return Poll::Ready(Ok(*this.refusal.take().unwrap_or_default()));
        };
        let response = ready!(inner.poll(cx))?;
        Poll::Ready(Ok(match this.held.take() {
            Some(held) => held.follow(response),
            None => response,
        }))
    }
}

/// A permit held while a call runs.
pub(crate) trait HeldPermit {
    /// Called when the response headers are ready. Moves the permit into the body where the body is work too.
    fn follow(self, response: Response<Body>) -> Response<Body>;
}

/// Returns the call's context, which the trace layer sets.
fn context<B>(request: &mut Request<B>) -> Option<&mut CallContext> {
    request.extensions_mut().get_mut()
}

#[cfg(test)]
pub(crate) mod testing {
    //! What the tests of layers share.

    use std::convert::Infallible;
    use std::sync::Arc;

    use http_body_util::BodyExt as _;
    use tower::{Layer, Service};
    use tower_test::mock::{self, Mock};

    use super::*;
    use crate::ports::call::CallRecord;
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
        let mut request = Request::builder().uri(path).body(Body::empty()).unwrap();
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
}
