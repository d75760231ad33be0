//! The gRPC server: the only place that orders the inbound layers.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tower::{Service, ServiceBuilder};

use super::connection::drain_request_body::DrainRequestBody;
use super::frames;
use super::layers::authn::{AllowedClients, AuthnLayer};
use super::layers::catch_panic::CatchPanicLayer;
use super::layers::connection_streams::ConnectionStreamsLayer;
use super::layers::deadline::DeadlineLayer;
use super::layers::drain_notice::DrainNoticeLayer;
use super::layers::grpc_only::GrpcOnlyLayer;
use super::layers::load_shed::LoadShedLayer;
use super::layers::message_limit;
use super::layers::response_bytes::ResponseBytesLayer;
use super::layers::streams::EndStreamsLayer;
use super::layers::trace::TraceLayer;
use super::one_message::OneMessage;
use super::services::ServiceRouter;
use crate::config::AccessLog;
use crate::limits::INBOUND_CALLS;
use crate::shutdown::OnceEvent;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trace::Tracer;

/// Settings and shared parts of the inbound layers.
pub(crate) struct InboundConfig {
    pub(crate) tracer: Tracer,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) access_log: AccessLog,
    /// The clients allowed to call; empty for an open gateway.
    pub(crate) clients: AllowedClients,
    /// Ends the streams when cancelled.
    pub(crate) stopping: CancellationToken,
    /// Ends the unary calls that outlast the grace period.
    pub(crate) closing: OnceEvent,
}

/// The services below all inbound layers. Tests and production use the same stack.
pub(crate) fn stack<B>(
    config: InboundConfig,
    services: ServiceRouter<OneMessage<DrainRequestBody<B>>>,
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
        .layer(TraceLayer::new(tracer, metrics.clone(), access_log))
        // Above the layers that build the bodies to be counted, below the layer that records the refusals.
        .layer(ResponseBytesLayer::default())
        // Above everything that can panic, below the layer that records the call.
        .layer(CatchPanicLayer(metrics.clone()))
        // Before any work is spent on what no service could answer.
        .layer(GrpcOnlyLayer)
        // Before any work is spent on a caller; health watches need no credentials.
        .layer(ConnectionStreamsLayer(metrics.clone()))
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
        // Next to the library that would pass over a second message.
        .map_request(OneMessage::of)
        .service(services)
}
