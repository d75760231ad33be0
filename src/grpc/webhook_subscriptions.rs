//! WebhookSubscriptionService: reads the call's context, calls the use case, builds the response.

use tonic::{Request, Response, Status};

use super::fulfillment::{HasCorrelationId, context, correlated, respond};
use super::status;
use crate::pb;
use crate::pb::webhook_subscription_service_server::WebhookSubscriptionService;
use crate::ports::ledger::Ledger;
use crate::ports::upstream::WalmartApi;
use crate::service::WebhookSubscriptions;

/// The RPCs of WebhookSubscriptionService, over any upstream and ledger.
pub(crate) struct WebhookSubscriptionRpcs<U, L>(pub(crate) WebhookSubscriptions<U, L>);

correlated!(
    ListEventTypesResponse,
    ListWebhookSubscriptionsResponse,
    CreateWebhookSubscriptionResponse,
    UpdateWebhookSubscriptionResponse,
    DeleteWebhookSubscriptionResponse,
    TestWebhookSubscriptionResponse
);

#[tonic::async_trait]
impl<U: WalmartApi, L: Ledger> WebhookSubscriptionService for WebhookSubscriptionRpcs<U, L> {
    async fn list_event_types(
        &self,
        request: Request<pb::ListEventTypesRequest>,
    ) -> Result<Response<pb::ListEventTypesResponse>, Status> {
        let call = context(&request)?;
        let answer = self.0.event_types(request.into_inner(), &call).await;
        answer.map(|answer| respond(answer, &call)).map_err(|error| status::failure(error, "", &call))
    }

    async fn list_webhook_subscriptions(
        &self,
        request: Request<pb::ListWebhookSubscriptionsRequest>,
    ) -> Result<Response<pb::ListWebhookSubscriptionsResponse>, Status> {
        let call = context(&request)?;
        let answer = self.0.list(request.into_inner(), &call).await;
        answer.map(|answer| respond(answer, &call)).map_err(|error| status::failure(error, "", &call))
    }

    async fn create_webhook_subscription(
        &self,
        request: Request<pb::CreateWebhookSubscriptionRequest>,
    ) -> Result<Response<pb::CreateWebhookSubscriptionResponse>, Status> {
        let call = context(&request)?;
        let answer = self.0.create(request.into_inner(), &call).await;
        let answer = answer.map_err(|failed| status::failure(failed.error, &failed.request_id, &call))?;
        Ok(respond(answer, &call))
    }

    async fn update_webhook_subscription(
        &self,
        request: Request<pb::UpdateWebhookSubscriptionRequest>,
    ) -> Result<Response<pb::UpdateWebhookSubscriptionResponse>, Status> {
        let call = context(&request)?;
        let answer = self.0.update(request.into_inner(), &call).await;
        answer.map(|answer| respond(answer, &call)).map_err(|error| status::failure(error, "", &call))
    }

    async fn delete_webhook_subscription(
        &self,
        request: Request<pb::DeleteWebhookSubscriptionRequest>,
    ) -> Result<Response<pb::DeleteWebhookSubscriptionResponse>, Status> {
        let call = context(&request)?;
        let answer = self.0.delete(request.into_inner(), &call).await;
        answer.map(|answer| respond(answer, &call)).map_err(|error| status::failure(error, "", &call))
    }

    async fn test_webhook_subscription(
        &self,
        request: Request<pb::TestWebhookSubscriptionRequest>,
    ) -> Result<Response<pb::TestWebhookSubscriptionResponse>, Status> {
        let call = context(&request)?;
        let answer = self.0.test(request.into_inner(), &call).await;
        answer.map(|answer| respond(answer, &call)).map_err(|error| status::failure(error, "", &call))
    }
}
