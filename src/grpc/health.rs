//! The health service (`grpc.health.v1`): SERVING or NOT_SERVING, for all services together. Probes need no credentials.

use std::pin::Pin;

use futures_util::{Stream, stream};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use crate::limits::MESSAGE_BYTES;
use crate::pb::health::health_check_response::ServingStatus;
use crate::pb::health::health_server::{Health, HealthServer};
use crate::pb::health::{HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse};

/// Health of the services. Cheap to clone; all clones share one state.
#[derive(Clone, Debug)]
pub(crate) struct ServiceHealth {
    services: &'static [&'static str],
    serving: watch::Sender<bool>,
}

impl ServiceHealth {
    /// Knows these services, by full name, and the server as a whole. All of them are NOT_SERVING until
    /// [`Self::serving`].
    pub(crate) fn new(services: &'static [&'static str]) -> Self {
        Self { services, serving: watch::Sender::new(false) }
    }

    /// The service that answers health checks.
    pub(crate) fn service(&self) -> HealthServer<Self> {
        HealthServer::new(self.clone()).max_decoding_message_size(MESSAGE_BYTES)
    }

    /// Sets all services to SERVING.
    pub(crate) fn serving(&self) {
        self.serving.send_replace(true);
    }

    /// Sets all services to NOT_SERVING, which asks clients to send no more calls.
    pub(crate) fn not_serving(&self) {
        self.serving.send_replace(false);
    }

    fn knows(&self, service: &str) -> bool {
        service.is_empty() || self.services.contains(&service)
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

const fn of(is_serving: bool) -> ServingStatus {
    if is_serving { ServingStatus::Serving } else { ServingStatus::NotServing }
}

#[tonic::async_trait]
impl Health for ServiceHealth {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        if !self.knows(&request.get_ref().service) {
            return Err(Status::not_found("unknown service"));
        }
        Ok(Response::new(response(of(*self.serving.borrow()))))
    }

    async fn list(&self, _: Request<HealthListRequest>) -> Result<Response<HealthListResponse>, Status> {
        let now = response(of(*self.serving.borrow()));
        let services = std::iter::once("").chain(self.services.iter().copied());
        Ok(Response::new(HealthListResponse { statuses: services.map(|name| (name.to_owned(), now)).collect() }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        if !self.knows(&request.get_ref().service) {
            // By the protocol the stream stays open: the service might become known.
            let unknown = stream::iter([Ok(response(ServingStatus::ServiceUnknown))]);
            return Ok(Response::new(Box::pin(futures_util::StreamExt::chain(unknown, stream::pending()))));
        }
        let mut changes = self.serving.subscribe();
        changes.mark_changed();
        let told = stream::unfold((changes, None), |(mut changes, told)| async move {
            loop {
                // The sender lives as long as the service. Without it, nothing changes any more.
                changes.changed().await.ok()?;
                let now = *changes.borrow_and_update();
                if told != Some(now) {
                    return Some((Ok(response(of(now))), (changes, Some(now))));
                }
            }
        });
        Ok(Response::new(Box::pin(told)))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, StreamExt as _};
    use tonic::Code;

    use super::*;

    fn asking(service: &str) -> Request<HealthCheckRequest> {
        Request::new(HealthCheckRequest { service: service.into() })
    }

    #[tokio::test]
    async fn known_services_are_checked_listed_and_watched() {
        let health = ServiceHealth::new(&["a.B"]);
        let check =
            async |service: &str| health.check(asking(service)).await.map(|answer| answer.into_inner().status());
        let mut watched = health.watch(asking("a.B")).await.unwrap().into_inner();
        assert_eq!(watched.next().await.unwrap().unwrap().status(), ServingStatus::NotServing);
        health.serving();
        assert_eq!(watched.next().await.unwrap().unwrap().status(), ServingStatus::Serving);
        for service in ["", "a.B"] {
            assert_eq!(check(service).await.unwrap(), ServingStatus::Serving);
        }
        assert_eq!(check("a.C").await.unwrap_err().code(), Code::NotFound);
        // The same again is no news.
        health.serving();
        assert!(watched.next().now_or_never().is_none());
        health.not_serving();
        assert_eq!(watched.next().await.unwrap().unwrap().status(), ServingStatus::NotServing);
        let listed = health.list(Request::new(HealthListRequest {})).await.unwrap().into_inner().statuses;
        assert_eq!(listed.len(), 2);
        assert!(listed.values().all(|one| one.status() == ServingStatus::NotServing), "{listed:?}");
    }

    #[tokio::test]
    async fn a_watch_of_an_unknown_service_stays_open() {
        let health = ServiceHealth::new(&["a.B"]);
        let mut watched = health.watch(asking("a.C")).await.unwrap().into_inner();
        assert_eq!(watched.next().await.unwrap().unwrap().status(), ServingStatus::ServiceUnknown);
        health.serving();
        assert!(watched.next().now_or_never().is_none());
    }
}
