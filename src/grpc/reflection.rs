//! Server reflection, by tonic's own service. The tables are built at the first call: most processes never get a
//! reflection call.

use std::convert::Infallible;
use std::future::ready;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use http::{Request, Response};
use tonic::body::Body;
use tonic::server::NamedService;
use tonic_reflection::server::{Builder, Error, v1, v1alpha};
use tower::Service;

use super::services::ServerFuture;
use super::status;
use crate::pb;

/// A service built at its first call. Clones share the service. Calls get INTERNAL if the build fails; a test proves
/// that both versions below build.
pub(crate) struct OnFirstCall<S> {
    make: fn() -> Result<S, Error>,
    made: Arc<OnceLock<Option<S>>>,
}

impl<S> OnFirstCall<S> {
    fn new(make: fn() -> Result<S, Error>) -> Self {
        Self { make, made: Arc::default() }
    }
}

/// Reflection in version 1.
pub(crate) fn v1() -> OnFirstCall<v1::ServerReflectionServer<impl v1::ServerReflection>> {
    OnFirstCall::new(|| builder().build_v1())
}

/// Reflection v1alpha, for older clients.
pub(crate) fn v1alpha() -> OnFirstCall<v1alpha::ServerReflectionServer<impl v1alpha::ServerReflection>> {
    OnFirstCall::new(|| builder().build_v1alpha())
}

fn builder() -> Builder<'static> {
    Builder::configure()
        .register_encoded_file_descriptor_set(pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
}

impl<S> Clone for OnFirstCall<S> {
    fn clone(&self) -> Self {
        Self { make: self.make, made: self.made.clone() }
    }
}

impl<S: NamedService> NamedService for OnFirstCall<S> {
    const NAME: &'static str = S::NAME;
}

impl<S, B> Service<Request<B>> for OnFirstCall<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible, Future = ServerFuture> + Clone,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = S::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // Always ready, like the generated servers.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let made = self.made.get_or_init(|| {
            (self.make)().inspect_err(|error| tracing::error!(%error, "reflection cannot be served")).ok()
        });
        match made {
            Some(service) => service.clone().call(request),
            None => Box::pin(ready(Ok(status::internal().into_http()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;
    use crate::testing::layers::{request, status};

    const PATH: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

    #[test]
    fn both_versions_can_be_made() {
        assert!((v1().make)().is_ok());
        assert!((v1alpha().make)().is_ok());
    }

    #[tokio::test]
    async fn it_is_made_by_the_first_call_for_all_clones() {
        let service = v1();
        assert!(service.made.get().is_none());
        let answer = service.clone().call(request(PATH, &[("content-type", "application/grpc")])).await.unwrap();
        assert_eq!(answer.status(), http::StatusCode::OK);
        assert!(service.made.get().is_some_and(Option::is_some));
    }

    #[tokio::test]
    async fn what_cannot_be_made_is_a_bug() {
        fn again<S>(_: fn() -> OnFirstCall<S>) -> OnFirstCall<S> {
            OnFirstCall::new(|| Err(Error::InvalidFileDescriptorSet("on purpose".into())))
        }
        let answer = again(v1).call(request(PATH, &[])).await.unwrap();
        assert_eq!(status(answer).await.code(), Code::Internal);
    }
}
