//! A client of either feed. On the wire the messages of the two services have the same form but for what an event says, so what
//! reads and checks the one reads and checks the other.

use order_gateway::pb::{
    Feed, ListCancelIntentsRequest, ListCancelIntentsResponse, SettleCancelIntentsRequest, SettleCancelIntentsResponse,
    SubscribeCancelIntentsRequest, SubscribeCancelIntentsResponse, WatchCancelIntentsRequest,
    WatchCancelIntentsResponse,
};
use prost::Message;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};
use tonic_prost::ProstCodec;

/// The RPCs of one feed.
pub(crate) struct FeedClient {
    grpc: Grpc<Channel>,
    feed: Feed,
}

impl FeedClient {
    /// Calls over this connection.
    pub(crate) fn new(channel: Channel, feed: Feed) -> Self {
        Self { grpc: Grpc::new(channel), feed }
    }

    pub(crate) async fn watch(
        &mut self,
        request: WatchCancelIntentsRequest,
    ) -> Result<Streaming<WatchCancelIntentsResponse>, Status> {
        self.stream("Watch", request).await
    }

    pub(crate) async fn subscribe(
        &mut self,
        request: SubscribeCancelIntentsRequest,
    ) -> Result<Streaming<SubscribeCancelIntentsResponse>, Status> {
        self.stream("Subscribe", request).await
    }

    pub(crate) async fn settle(
        &mut self,
        request: SettleCancelIntentsRequest,
    ) -> Result<SettleCancelIntentsResponse, Status> {
        self.unary("Settle", request).await
    }

    pub(crate) async fn list(
        &mut self,
        request: ListCancelIntentsRequest,
    ) -> Result<ListCancelIntentsResponse, Status> {
        self.unary("List", request).await
    }

    async fn stream<Q, A>(&mut self, verb: &str, request: Q) -> Result<Streaming<A>, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let path = self.ready(verb).await?;
        let answer = self.grpc.server_streaming(Request::new(request), path, ProstCodec::<Q, A>::default());
        Ok(answer.await?.into_inner())
    }

    async fn unary<Q, A>(&mut self, verb: &str, request: Q) -> Result<A, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let path = self.ready(verb).await?;
        Ok(self.grpc.unary(Request::new(request), path, ProstCodec::<Q, A>::default()).await?.into_inner())
    }

    async fn ready(&mut self, verb: &str) -> Result<PathAndQuery, Status> {
        self.grpc.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
        let (service, events) = match self.feed {
            Feed::OrderUpdates => ("OrderUpdateService", "OrderUpdates"),
            Feed::Unspecified | Feed::CancelIntents => ("CancelIntentService", "CancelIntents"),
        };
        let path = format!("/ordergateway.v1.{service}/{verb}{events}");
        path.parse().map_err(|error| Status::internal(format!("{path}: {error}")))
    }
}
