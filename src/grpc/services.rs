//! Which service a call belongs to, by its path.
//!
//! tonic's own router is one for any HTTP: it boxes each request's body and each answer once more, and keeps what stood in
//! the path. The names of our services are known, and few.

use std::convert::Infallible;
use std::future::ready;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tonic::body::Body;
use tonic::codegen::BoxFuture;
use tonic::server::NamedService;
use tower::Service;

use super::status;

/// The future of the servers that tonic generates.
pub type Answering = BoxFuture<Response<Body>, Infallible>;

/// The services that are served. Cheap to clone.
pub struct Services<B>(Arc<[Named<B>]>);

type Named<B> = (&'static str, Box<dyn Serve<B>>);

/// A server that tonic generated. They are always ready.
trait Serve<B>: Send + Sync {
    fn serve(&self, request: Request<B>) -> Answering;
}

impl<S, B> Serve<B> for S
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible, Future = Answering> + Clone + Send + Sync,
{
    fn serve(&self, request: Request<B>) -> Answering {
        self.clone().call(request)
    }
}

/// Collects [`Services`], the one that is called most first.
pub struct ServicesBuilder<B>(Vec<Named<B>>);

impl<B> Services<B> {
    /// None yet.
    pub fn builder() -> ServicesBuilder<B> {
        ServicesBuilder(Vec::new())
    }
}

impl<B> ServicesBuilder<B> {
    /// Serves this one too.
    pub fn with<S>(mut self, server: S) -> Self
    where
        S: Service<Request<B>, Response = Response<Body>, Error = Infallible, Future = Answering>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
    {
        self.0.push((S::NAME, Box::new(server)));
        self
    }

    /// All of them.
    pub fn build(self) -> Services<B> {
        Services(self.0.into())
    }
}

impl<B> Clone for Services<B> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<B> Service<Request<B>> for Services<B> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Answering {
        let name = request.uri().path().strip_prefix('/').and_then(|path| path.split_once('/'));
        let service = name.and_then(|(name, _)| self.0.iter().find(|(known, _)| *known == name));
        match service {
            Some((_, service)) => service.serve(request),
            None => Box::pin(ready(Ok(status::no_such_service().into_http()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use tonic::{Code, Status};

    use super::*;
    use crate::grpc::server::Health;

    async fn code(services: &Services<Body>, path: &str) -> Code {
        let request = Request::post(path).header("content-type", "application/grpc").body(Body::empty()).unwrap();
        let answer = services.clone().call(request).await.unwrap();
        let status = Status::from_header_map(answer.headers());
        let trailers = answer.into_body().collect().await.unwrap().trailers().cloned().unwrap_or_default();
        status.or_else(|| Status::from_header_map(&trailers)).unwrap().code()
    }

    #[tokio::test]
    async fn a_path_is_a_service_and_a_method() {
        let services = Services::builder().with(Health::new(&[]).await.service()).build();
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
