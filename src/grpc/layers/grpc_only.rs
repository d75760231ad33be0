//! Refuses HTTP requests that are not gRPC before a handler runs: status 405 for a method other than POST, status 415 for
//! a content type other than gRPC's.

use std::future::{Ready, ready};
use std::task::{Context, Poll};

use futures_util::future::Either;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

/// The media type of gRPC, alone or followed by `+` (a message format) or `;` (parameters).
const GRPC: &[u8] = b"application/grpc";

const TOLD: &str = "this is a gRPC server: POST with content-type application/grpc";

/// Lets only gRPC through.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GrpcOnlyLayer;

impl<S> Layer<S> for GrpcOnlyLayer {
    type Service = GrpcOnly<S>;

    fn layer(&self, inner: S) -> GrpcOnly<S> {
        GrpcOnly { inner }
    }
}

/// The service of [`GrpcOnlyLayer`].
#[derive(Clone, Debug)]
pub(crate) struct GrpcOnly<S> {
    inner: S,
}

impl<S, B> Service<Request<B>> for GrpcOnly<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<Response<Body>, S::Error>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match refusal(request.method(), request.headers()) {
            None => Either::Left(self.inner.call(request)),
            Some(status) => Either::Right(ready(Ok(refused(status)))),
        }
    }
}

fn refusal(method: &Method, headers: &HeaderMap) -> Option<StatusCode> {
    if method != Method::POST {
        return Some(StatusCode::METHOD_NOT_ALLOWED);
    }
    let content_type = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    (!is_grpc(content_type)).then_some(StatusCode::UNSUPPORTED_MEDIA_TYPE)
}

fn is_grpc(content_type: &[u8]) -> bool {
    let Some((start, rest)) = content_type.split_at_checked(GRPC.len()) else { return false };
    start.eq_ignore_ascii_case(GRPC) && matches!(rest.trim_ascii_start().first(), None | Some(b'+' | b';'))
}

/// Builds the refusal. The body is text for people; the `grpc-status` header serves gRPC clients, metrics and the access
/// log.
fn refused(status: StatusCode) -> Response<Body> {
    let mut response = Status::new(Code::InvalidArgument, TOLD).into_http::<Body>();
    *response.body_mut() = Body::new(Full::from(TOLD).map_err(|never| match never {}));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::layers::*;

    #[tokio::test]
    async fn probes() {
        for path in [UNARY, WATCH] {
            let (service, handle) = above_mock(GrpcOnlyLayer);
            survives_probes(service, handle, path).await;
        }
    }

    #[test]
    fn content_types() {
        for good in [
            "application/grpc",
            "application/grpc+proto",
            "application/grpc;charset=utf-8",
            "application/grpc ; x=y",
            "Application/GRPC",
        ] {
            assert!(is_grpc(good.as_bytes()), "{good}");
        }
        for bad in ["", "application/json", "application/grpc-web", "application/grpcx", "application/grp", "text/html"]
        {
            assert!(!is_grpc(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn methods_come_first() {
        let none = HeaderMap::new();
        assert_eq!(refusal(&Method::GET, &none), Some(StatusCode::METHOD_NOT_ALLOWED));
        assert_eq!(refusal(&Method::POST, &none), Some(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        let answer = refused(StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!((answer.status().as_u16(), answer.headers()[ALLOW].to_str().unwrap()), (405, "POST"));
        assert!(refused(StatusCode::UNSUPPORTED_MEDIA_TYPE).headers().get(ALLOW).is_none());
    }
}
