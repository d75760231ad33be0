//! OrderUpdateService: reads the call's context, calls the feed's use case, builds the response.

use std::pin::Pin;

use futures_util::Stream;
use futures_util::stream::Empty;
use tonic::{Request, Response, Status};

use super::fulfillment::context;
use super::unary::unary;
use super::{feed_streams, status};
use crate::pb;
use crate::pb::order_update_service_server::OrderUpdateService;
use crate::service::feed::{EventPage, Feed, FeedStore, SettleReply};

/// The RPCs of OrderUpdateService, over any store.
pub(crate) struct OrderUpdateRpcs<F> {
    /// The feed's use cases.
    pub(crate) feed: Feed<F>,
}

#[tonic::async_trait]
impl<F: FeedStore> OrderUpdateService for OrderUpdateRpcs<F> {
    /// The generated stream stays empty: the encoded frames travel in the response's extensions, see [`super::frames`].
    type WatchOrderUpdatesStream = Empty<Result<pb::WatchOrderUpdatesResponse, Status>>;
    type SubscribeOrderUpdatesStream =
        Pin<Box<dyn Stream<Item = Result<pb::SubscribeOrderUpdatesResponse, Status>> + Send>>;

    async fn watch_order_updates(
        &self,
        request: Request<pb::WatchOrderUpdatesRequest>,
    ) -> Result<Response<Self::WatchOrderUpdatesStream>, Status> {
        let call = context(&request)?;
        let watch = self.feed.watch(request.get_ref(), &call).await;
        let watch = watch.map_err(|error| status::failure(error, "", &call))?;
        let mut response = Response::new(futures_util::stream::empty());
        response.extensions_mut().insert(feed_streams::watch::<pb::WatchOrderUpdatesResponse, _>(watch, call));
        Ok(response)
    }

    async fn subscribe_order_updates(
        &self,
        request: Request<pb::SubscribeOrderUpdatesRequest>,
    ) -> Result<Response<Self::SubscribeOrderUpdatesStream>, Status> {
        let call = context(&request)?;
        let deliveries = self.feed.subscribe(request.get_ref(), &call).await;
        let deliveries = deliveries.map_err(|error| status::failure(error, "", &call))?;
        Ok(Response::new(Box::pin(feed_streams::deliveries(deliveries, call))))
    }

    async fn settle_order_updates(
        &self,
        request: Request<pb::SettleOrderUpdatesRequest>,
    ) -> Result<Response<pb::SettleOrderUpdatesResponse>, Status> {
        unary!(self, request, |asked, call| async {
            let SettleReply { results, floor, backlog } = self.feed.settle(&asked, &call).await?;
            Ok(pb::SettleOrderUpdatesResponse { results, floor, backlog })
        })
    }

    async fn list_order_updates(
        &self,
        request: Request<pb::ListOrderUpdatesRequest>,
    ) -> Result<Response<pb::ListOrderUpdatesResponse>, Status> {
        unary!(self, request, |asked, call| async {
            let EventPage { events: updates, next_page_token } = self.feed.list(&asked, &call).await?;
            Ok(pb::ListOrderUpdatesResponse { updates, next_page_token })
        })
    }

    async fn get_order_update(
        &self,
        request: Request<pb::GetOrderUpdateRequest>,
    ) -> Result<Response<pb::GetOrderUpdateResponse>, Status> {
        unary!(self, request, |asked, call| async {
            let update = Some(self.feed.get(&asked, &call).await?);
            Ok(pb::GetOrderUpdateResponse { update })
        })
    }
}
