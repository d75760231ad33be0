//! The gRPC server: the only place that orders the inbound layers.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tower::{Service, ServiceBuilder};

use super::connection::drain_request_body::DrainRequestBody;
use super::frames;
use super::layers::authn::{AllowedClient, AuthnLayer};
use super::layers::catch_panic::CatchPanicLayer;
use super::layers::deadline::DeadlineLayer;
use super::layers::drain_notice::DrainNoticeLayer;
use super::layers::health_watches::HealthWatchesLayer;
use super::layers::load_shed::LoadShedLayer;
use super::layers::message_limit;
use super::layers::response_bytes::ResponseBytesLayer;
use super::layers::streams::EndStreamsLayer;
use super::layers::trace::{AccessLog, TraceLayer};
use super::services::ServiceRouter;
use crate::shutdown::OnceEvent;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trace::Tracer;

/// Longest message that is accepted, packed or unpacked; each service is told (`max_decoding_message_size`).
pub const MAX_MESSAGE: usize = 1024 * 1024;

/// Unary calls in flight before more are refused.
pub const MAX_IN_FLIGHT: usize = 1024;

/// What the layers need.
pub struct InboundConfig {
    /// Makes the spans.
    pub tracer: Tracer,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Which calls are logged.
    pub access_log: AccessLog,
    /// Who may call; empty for an open gateway.
    pub clients: Vec<AllowedClient>,
    /// Ends the streams when it is cancelled.
    pub stopping: CancellationToken,
    /// Ends what else is open when it comes.
    pub closing: OnceEvent,
}

/// The routes below all inbound layers. Tests and production serve the same.
pub fn stack<B>(
    config: InboundConfig,
    services: ServiceRouter<DrainRequestBody<B>>,
) -> impl Service<
    Request<B>,
    Response = Response<impl http_body::Body<Data = Bytes, Error = Status> + Send + 'static>,
    Error = Infallible,
    Future: Send + 'static,
> + Clone
+ Send
+ 'static
where
    B: http_body::Body<Data = Bytes> + Unpin + Send + 'static,
{
    let InboundConfig { tracer, metrics, access_log, clients, stopping, closing } = config;
    ServiceBuilder::new()
        // Whoever answers early, the caller is heard out.
        .map_request(|request: Request<B>| request.map(DrainRequestBody::new))
        // Outermost: whatever is answered below is measured and logged, refusals too.
        .layer(TraceLayer { tracer, metrics: metrics.clone(), access_log })
        // Above what makes the bodies that it weighs, below what counts its refusals.
        .layer(ResponseBytesLayer::default())
        // Above all that can panic, below what counts the call.
        .layer(CatchPanicLayer(metrics.clone()))
        // Before any work is spent on the caller, who need not be known for these.
        .layer(HealthWatchesLayer(metrics.clone()))
        // Before any work is spent on the caller.
        .layer(LoadShedLayer::new(MAX_IN_FLIGHT, metrics.clone()))
        // Before anything that only a known caller may use, the deadline's timer among it.
        .layer(AuthnLayer::new(clients, metrics))
        // Above all that waits.
        .layer(DeadlineLayer)
        // Below the deadline that it enforces.
        .layer(EndStreamsLayer(stopping))
        // As late as that one, for the calls that it does not end.
        .layer(DrainNoticeLayer(closing))
        // Next to the library whose code it corrects.
        .map_response(message_limit::correct)
        // Next to the handlers whose streams it sends.
        .map_response(frames::unpack)
        .service(services)
}

/// Tells the services' health: SERVING or not, all of them together.
#[derive(Clone)]
pub struct ServiceHealth {
    reporter: HealthReporter,
    services: Arc<[&'static str]>,
}

impl ServiceHealth {
    /// For these services, by full name, and for the server as a whole. Everything is NOT_SERVING until it is set.
    pub async fn new(services: &[&'static str]) -> Self {
        let health = Self { reporter: HealthReporter::new(), services: services.into() };
        health.set(ServingStatus::NotServing).await;
        health
    }

    /// The service that answers health checks.
    pub fn service(
        &self,
    ) -> tonic_health::pb::health_server::HealthServer<impl tonic_health::pb::health_server::Health> {
        let service = tonic_health::server::HealthService::from_health_reporter(self.reporter.clone());
        tonic_health::pb::health_server::HealthServer::new(service).max_decoding_message_size(MAX_MESSAGE)
    }

    /// Calls may come.
    pub async fn serving(&self) {
        self.set(ServingStatus::Serving).await;
    }

    /// No more calls should come.
    pub async fn not_serving(&self) {
        self.set(ServingStatus::NotServing).await;
    }

    async fn set(&self, status: ServingStatus) {
        for service in std::iter::once("").chain(self.services.iter().copied()) {
            self.reporter.set_service_status(service, status).await;
        }
    }
}
