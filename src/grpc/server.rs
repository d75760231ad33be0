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
use crate::limits::{INBOUND_CALLS, MESSAGE_BYTES};
use crate::shutdown::OnceEvent;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trace::Tracer;

/// Settings and shared parts of the inbound layers.
pub(crate) struct InboundConfig {
    pub(crate) tracer: Tracer,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) access_log: AccessLog,
    /// The clients allowed to call; empty for an open gateway.
    pub(crate) clients: Vec<AllowedClient>,
    /// Ends the streams when cancelled.
    pub(crate) stopping: CancellationToken,
    /// Ends the unary calls that outlast the grace period.
    pub(crate) closing: OnceEvent,
}

/// The services below all inbound layers. Tests and production use the same stack.
pub(crate) fn stack<B>(
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
        // Drain the unread request body when a layer answers early: h2 counts a reset against the connection.
        .map_request(|request: Request<B>| request.map(DrainRequestBody::new))
        // Outermost, to measure and log every response, refusals included.
        .layer(TraceLayer { tracer, metrics: metrics.clone(), access_log })
        // Above the layers that build the bodies to be counted, below the layer that records the refusals.
        .layer(ResponseBytesLayer::default())
        // Above everything that can panic, below the layer that records the call.
        .layer(CatchPanicLayer(metrics.clone()))
        // Before any work is spent on a caller; health watches need no credentials.
        .layer(HealthWatchesLayer(metrics.clone()))
        // Before any work is spent on the caller.
        .layer(LoadShedLayer::new(INBOUND_CALLS, metrics.clone()))
        // Before anything reserved to known callers, such as the timer of the deadline.
        .layer(AuthnLayer::new(clients, metrics))
        // Above everything that waits.
        .layer(DeadlineLayer)
        // Below the deadline, which this layer enforces on streams.
        .layer(EndStreamsLayer(stopping))
        // As far in as the layer above, for the unary calls which that layer leaves alone.
        .layer(DrainNoticeLayer(closing))
        // Next to the library whose code is corrected.
        .map_response(message_limit::correct)
        // Next to the handlers whose encoded streams are sent.
        .map_response(frames::unpack)
        .service(services)
}

/// Health status of the services: SERVING or NOT_SERVING, for all of them together.
#[derive(Clone)]
pub(crate) struct ServiceHealth {
    reporter: HealthReporter,
    services: Arc<[&'static str]>,
}

impl ServiceHealth {
    /// Registers these services, by full name, and the server as a whole. All of them are NOT_SERVING until
    /// [`Self::serving`].
    pub(crate) async fn new(services: &[&'static str]) -> Self {
        let health = Self { reporter: HealthReporter::new(), services: services.into() };
        health.set(ServingStatus::NotServing).await;
        health
    }

    /// The service that answers health checks.
    pub(crate) fn service(
        &self,
    ) -> tonic_health::pb::health_server::HealthServer<impl tonic_health::pb::health_server::Health> {
        let service = tonic_health::server::HealthService::from_health_reporter(self.reporter.clone());
        tonic_health::pb::health_server::HealthServer::new(service).max_decoding_message_size(MESSAGE_BYTES)
    }

    /// Sets all services to SERVING.
    pub(crate) async fn serving(&self) {
        self.set(ServingStatus::Serving).await;
    }

    /// Sets all services to NOT_SERVING, which asks clients to send no more calls.
    pub(crate) async fn not_serving(&self) {
        self.set(ServingStatus::NotServing).await;
    }

    async fn set(&self, status: ServingStatus) {
        for service in std::iter::once("").chain(self.services.iter().copied()) {
            self.reporter.set_service_status(service, status).await;
        }
    }
}
