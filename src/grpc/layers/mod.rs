//! Inbound layers, one file per layer; `grpc/server.rs` orders them.
//!
//! A layer keeps the error type of the inner service and refuses with a complete gRPC response: tests and production
//! run the same server.

mod access_end;
pub(crate) mod authn;
pub(crate) mod catch_panic;
pub(crate) mod client_limits;
pub(crate) mod connection_streams;
pub(crate) mod deadline;
pub(crate) mod drain_notice;
pub(crate) mod grpc_only;
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
        Self::answered(status.into_http())
    }

    fn answered(refusal: Response<Body>) -> Self {
        Self { inner: None, held: None, refusal: Some(Box::new(refusal)) }
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

/// Extension of a refusal that its layer logs in summary, at a bounded rate. The access log has no line for the call.
#[derive(Clone, Copy, Debug)]
struct LoggedInSummary;

/// Returns the call's context, which the trace layer sets.
fn context<B>(request: &mut Request<B>) -> Option<&mut CallContext> {
    request.extensions_mut().get_mut()
}
