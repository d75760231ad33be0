//! CancelIntentService: reads the call's context, calls the feed's use case, builds the response.

use std::pin::Pin;

use futures_util::Stream;
use futures_util::stream::Empty;
use tonic::{Request, Response, Status};

use super::fulfillment::context;
use super::unary::unary;
use super::{feed_streams, status};
use crate::pb;
use crate::pb::cancel_intent_service_server::CancelIntentService;
use crate::service::feed::{EventPage, Feed, FeedStore, SettleReply};

/// The RPCs of CancelIntentService, over any store.
pub(crate) struct CancelIntentRpcs<F> {
    /// The feed's use cases.
    pub(crate) feed: Feed<F>,
}

#[tonic::async_trait]
impl<F: FeedStore> CancelIntentService for CancelIntentRpcs<F> {
    /// The generated stream stays empty: the encoded frames travel in the response's extensions, see [`super::frames`].
    type WatchCancelIntentsStream = Empty<Result<pb::WatchCancelIntentsResponse, Status>>;
    type SubscribeCancelIntentsStream =
        Pin<Box<dyn Stream<Item = Result<pb::SubscribeCancelIntentsResponse, Status>> + Send>>;

    async fn watch_cancel_intents(
        &self,
        request: Request<pb::WatchCancelIntentsRequest>,
    ) -> Result<Response<Self::WatchCancelIntentsStream>, Status> {
        let call = context(&request)?;
        let watch = self.feed.watch(request.get_ref(), &call).await;
        let watch = watch.map_err(|error| status::failure(error, "", &call))?;
        let mut response = Response::new(futures_util::stream::empty());
        response.extensions_mut().insert(feed_streams::watch::<pb::WatchCancelIntentsResponse, _>(watch, call));
        Ok(response)
    }

    async fn subscribe_cancel_intents(
        &self,
        request: Request<pb::SubscribeCancelIntentsRequest>,
    ) -> Result<Response<Self::SubscribeCancelIntentsStream>, Status> {
        let call = context(&request)?;
        let deliveries = self.feed.subscribe(request.get_ref(), &call).await;
        let deliveries = deliveries.map_err(|error| status::failure(error, "", &call))?;
        Ok(Response::new(Box::pin(feed_streams::deliveries(deliveries, call))))
    }

    async fn settle_cancel_intents(
        &self,
        request: Request<pb::SettleCancelIntentsRequest>,
    ) -> Result<Response<pb::SettleCancelIntentsResponse>, Status> {
        unary!(self, request, |asked, call| async {
            let SettleReply { results, floor, backlog } = self.feed.settle(&asked, &call).await?;
            Ok(pb::SettleCancelIntentsResponse { results, floor, backlog })
        })
    }

    async fn list_cancel_intents(
        &self,
        request: Request<pb::ListCancelIntentsRequest>,
    ) -> Result<Response<pb::ListCancelIntentsResponse>, Status> {
        unary!(self, request, |asked, call| async {
            let EventPage { events, next_page_token } = self.feed.list(&asked, &call).await?;
            Ok(pb::ListCancelIntentsResponse { events, next_page_token })
        })
    }

    async fn get_cancel_intent(
        &self,
        request: Request<pb::GetCancelIntentRequest>,
    ) -> Result<Response<pb::GetCancelIntentResponse>, Status> {
        unary!(self, request, |asked, call| async {
            let event = Some(self.feed.get(&asked, &call).await?);
            Ok(pb::GetCancelIntentResponse { event })
        })
    }

    async fn create_subscription(
        &self,
        request: Request<pb::CreateSubscriptionRequest>,
    ) -> Result<Response<pb::CreateSubscriptionResponse>, Status> {
        unary!(self, request, |asked, call| async {
            let subscription = Some(self.feed.create(asked.subscription.as_ref(), &call).await?);
            Ok(pb::CreateSubscriptionResponse { subscription })
        })
    }

    async fn get_subscription(
        &self,
        request: Request<pb::GetSubscriptionRequest>,
    ) -> Result<Response<pb::GetSubscriptionResponse>, Status> {
        unary!(self, request, |asked, call| async {
            let subscription = Some(self.feed.show(&asked.name, &call).await?);
            Ok(pb::GetSubscriptionResponse { subscription })
        })
    }

    async fn list_subscriptions(
        &self,
        request: Request<pb::ListSubscriptionsRequest>,
    ) -> Result<Response<pb::ListSubscriptionsResponse>, Status> {
        unary!(self, request, |asked, call| self.feed.list_subscriptions(&asked, &call))
    }

    async fn update_subscription(
        &self,
        request: Request<pb::UpdateSubscriptionRequest>,
    ) -> Result<Response<pb::UpdateSubscriptionResponse>, Status> {
        unary!(self, request, |asked, call| self.feed.update(&asked, &call))
    }

    async fn delete_subscription(
        &self,
        request: Request<pb::DeleteSubscriptionRequest>,
    ) -> Result<Response<pb::DeleteSubscriptionResponse>, Status> {
        unary!(self, request, |asked, call| async {
            self.feed.delete(&asked, &call).await.map(|()| pb::DeleteSubscriptionResponse {})
        })
    }

    async fn seek_subscription(
        &self,
        request: Request<pb::SeekSubscriptionRequest>,
    ) -> Result<Response<pb::SeekSubscriptionResponse>, Status> {
        unary!(self, request, |asked, call| async { self.feed.seek(&asked, &call).await })
    }

    async fn list_parked_cancel_intents(
        &self,
        request: Request<pb::ListParkedCancelIntentsRequest>,
    ) -> Result<Response<pb::ListParkedCancelIntentsResponse>, Status> {
        unary!(self, request, |asked, call| self.feed.parked(&asked, &call))
    }

    async fn redrive_cancel_intents(
        &self,
        request: Request<pb::RedriveCancelIntentsRequest>,
    ) -> Result<Response<pb::RedriveCancelIntentsResponse>, Status> {
        unary!(self, request, |asked, call| async {
            let redriven = self.feed.redrive(&asked, &call).await?;
            Ok(pb::RedriveCancelIntentsResponse { redriven })
        })
    }

    async fn list_quarantined_webhooks(
        &self,
        request: Request<pb::ListQuarantinedWebhooksRequest>,
    ) -> Result<Response<pb::ListQuarantinedWebhooksResponse>, Status> {
        unary!(self, request, |asked, call| self.feed.quarantined(&asked, &call))
    }

    async fn reread_quarantined_webhooks(
        &self,
        request: Request<pb::RereadQuarantinedWebhooksRequest>,
    ) -> Result<Response<pb::RereadQuarantinedWebhooksResponse>, Status> {
        unary!(self, request, |asked, call| self.feed.reread(&asked, &call))
    }
}
