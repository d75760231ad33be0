//! SellerOrderService: reads the call's context, calls the use case, builds the response.

use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};

use super::fulfillment::{HasCorrelationId, batch, context, correlated, respond};
use super::status;
use crate::pb;
use crate::pb::seller_order_service_server::SellerOrderService;
use crate::ports::ledger::Ledger;
use crate::ports::upstream::WalmartApi;
use crate::service::{Mutations, SellerOrders};

/// The RPCs of SellerOrderService, over any upstream and ledger.
pub(crate) struct SellerOrderRpcs<U, L>(SellerOrders<U, L>);

impl<U: WalmartApi, L: Ledger> SellerOrderRpcs<U, L> {
    /// Reads go to `upstream`, mutations through `mutations`. Mutations whose callers have left go on as `tasks`.
    pub(crate) fn new(upstream: U, mutations: Mutations<U, L>, tasks: TaskTracker) -> Self {
        Self(SellerOrders::new(upstream, mutations, tasks))
    }
}

correlated!(
    ListOrdersResponse,
    GetOrderResponse,
    AcknowledgeOrderResponse,
    CancelOrderLinesResponse,
    ShipOrderLinesResponse,
    RefundOrderLinesResponse
);

#[tonic::async_trait]
impl<U: WalmartApi, L: Ledger> SellerOrderService for SellerOrderRpcs<U, L> {
    async fn list_orders(
        &self,
        request: Request<pb::ListOrdersRequest>,
    ) -> Result<Response<pb::ListOrdersResponse>, Status> {
        let call = context(&request)?;
        let answer = self.0.list(request.into_inner(), &call).await;
        answer.map(|answer| respond(answer, &call)).map_err(|error| status::failure(error, "", &call))
    }

    async fn get_order(&self, request: Request<pb::GetOrderRequest>) -> Result<Response<pb::GetOrderResponse>, Status> {
        let call = context(&request)?;
        let answer = self.0.get(request.into_inner(), &call).await;
        answer.map(|answer| respond(answer, &call)).map_err(|error| status::failure(error, "", &call))
    }

    async fn acknowledge_order(
        &self,
        request: Request<pb::AcknowledgeOrderRequest>,
    ) -> Result<Response<pb::AcknowledgeOrderResponse>, Status> {
        let call = context(&request)?;
        let answer = self.0.acknowledge(request.into_inner(), &call).await;
        answer.map(|answer| respond(answer, &call)).map_err(|error| status::failure(error, "", &call))
    }

    async fn cancel_order_lines(
        &self,
        request: Request<pb::CancelOrderLinesRequest>,
    ) -> Result<Response<pb::CancelOrderLinesResponse>, Status> {
        let call = context(&request)?;
        let result = self.0.cancel(request.into_inner(), &call).await;
        let reply = result.map_err(|failed| status::failure(failed.error, &failed.request_id, &call))?;
        let all = reply.batches.iter().all(|batch| batch.result.is_ok());
        let first = reply.batches.iter().find_map(|batch| batch.result.as_ref().ok());
        let response = pb::CancelOrderLinesResponse {
            status: if all { "ACCEPTED" } else { "PARTIAL" }.into(),
            order: Some(reply.order),
            correlation_id: first.map(|reply| reply.correlation_id.to_string()).unwrap_or_default(),
            batches: reply.batches.into_iter().map(|one| batch(one, &reply.request_id, &call)).collect(),
            request_id: reply.request_id,
            replayed: reply.replayed,
            unmapped: reply.unmapped,
        };
        Ok(respond(response, &call))
    }

    async fn ship_order_lines(
        &self,
        request: Request<pb::ShipOrderLinesRequest>,
    ) -> Result<Response<pb::ShipOrderLinesResponse>, Status> {
        let call = context(&request)?;
        let result = self.0.ship(request.into_inner(), &call).await;
        let reply = result.map_err(|failed| status::failure(failed.error, &failed.request_id, &call))?;
        let response = pb::ShipOrderLinesResponse {
            order: Some(reply.order),
            correlation_id: reply.correlation_id,
            request_id: reply.request_id,
            replayed: reply.replayed,
            unmapped: reply.unmapped,
        };
        Ok(respond(response, &call))
    }

    async fn refund_order_lines(
        &self,
        request: Request<pb::RefundOrderLinesRequest>,
    ) -> Result<Response<pb::RefundOrderLinesResponse>, Status> {
        let call = context(&request)?;
        let result = self.0.refund(request.into_inner(), &call).await;
        let reply = result.map_err(|failed| status::failure(failed.error, &failed.request_id, &call))?;
        let response = pb::RefundOrderLinesResponse {
            order: Some(reply.order),
            correlation_id: reply.correlation_id,
            request_id: reply.request_id,
            replayed: reply.replayed,
            unmapped: reply.unmapped,
        };
        Ok(respond(response, &call))
    }
}
