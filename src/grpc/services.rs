//! Routes a call to its service by path.
//!
//! tonic's own router serves any HTTP: it boxes the request body and the response once more, and stores the path's
//! parameters. Our services are few, and their names are known.

use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tonic::body::Body;
use tonic::codegen::BoxFuture;
use tonic::server::NamedService;
use tower::Service;

use super::{methods, status};

/// The future of the servers that tonic generates.
pub(crate) type ServerFuture = BoxFuture<Response<Body>, Infallible>;

/// Routes calls to the servers. Clones share them.
pub(crate) struct ServiceRouter<B>(Arc<[NamedServer<B>]>);

type NamedServer<B> = (&'static str, Box<dyn BoxedServer<B>>);

/// A server that tonic generated, behind a pointer. Generated servers are always ready.
trait BoxedServer<B>: Send + Sync {
    fn serve(&self, request: Request<B>) -> ServerFuture;
}

impl<S, B> BoxedServer<B> for S
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible, Future = ServerFuture> + Clone + Send + Sync,
{
    fn serve(&self, request: Request<B>) -> ServerFuture {
        self.clone().call(request)
    }
}

/// Collects the servers of a [`ServiceRouter`]; the most called server goes first.
pub(crate) struct ServiceRouterBuilder<B>(Vec<NamedServer<B>>);

impl<B> ServiceRouter<B> {
    pub(crate) fn builder() -> ServiceRouterBuilder<B> {
        ServiceRouterBuilder(Vec::new())
    }
}

impl<B> ServiceRouterBuilder<B> {
    pub(crate) fn with<S>(mut self, server: S) -> Self
    where
        S: Service<Request<B>, Response = Response<Body>, Error = Infallible, Future = ServerFuture>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
    {
        self.0.push((S::NAME, Box::new(server)));
        self
    }

    pub(crate) fn build(self) -> ServiceRouter<B> {
        ServiceRouter(self.0.into())
    }
}

impl<B> Clone for ServiceRouter<B> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<B> Service<Request<B>> for ServiceRouter<B> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = ServerFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> ServerFuture {
        let name = request.uri().path().strip_prefix('/').and_then(|path| path.split_once('/'));
        let service = name.and_then(|(name, _)| self.0.iter().find(|(known, _)| *known == name));
        match service {
            Some((_, service)) if methods::is_known(request.uri().path()) => service.serve(request),
            Some(_) => Box::pin(ready(Ok(status::no_such_method(request.uri().path()).into_http()))),
            None => Box::pin(ready(Ok(status::no_such_service(request.uri().path()).into_http()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use tonic::{Code, Status};

    use super::*;
    use crate::grpc::health::ServiceHealth;

    async fn code(services: &ServiceRouter<Body>, path: &str) -> Code {
        let request = Request::post(path).header("content-type", "application/grpc").body(Body::empty()).unwrap();
        let answer = services.clone().call(request).await.unwrap();
        let status = Status::from_header_map(answer.headers());
        let trailers = answer.into_body().collect().await.unwrap().trailers().cloned().unwrap_or_default();
        status.or_else(|| Status::from_header_map(&trailers)).unwrap().code()
    }

    #[tokio::test]
    async fn a_path_is_a_service_and_a_method() {
        let services = ServiceRouter::builder().with(ServiceHealth::new(&[]).service()).build();
        // Without a message, but it is the service that says so.
        assert_eq!(code(&services, "/grpc.health.v1.Health/Check").await, Code::Internal);
        for path in [
            "/",
            "//",
            "/grpc.health.v1.Health",
            "/grpc.health.v1.Health/",
            "/grpc.health.v1.Health/No",
            "/grpc.health.v1.Healthy/Check",
            "/grpc.health.v1/Health/Check",
            "//grpc.health.v1.Health/Check",
            "/x/grpc.health.v1.Health/Check",
        ] {
            assert_eq!(code(&services, path).await, Code::Unimplemented, "{path}");
        }
    }
}
