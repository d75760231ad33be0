//! ReturnService: reads the call's context, calls the use case, builds the response.

use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};

use super::fulfillment::{HasCorrelationId, context, correlated, respond};
use super::status;
use crate::pb;
use crate::pb::return_service_server::ReturnService;
use crate::ports::ledger::Ledger;
use crate::ports::upstream::WalmartApi;
use crate::service::{Mutations, ReturnOrders};

/// The RPCs of ReturnService, over any upstream and ledger.
pub(crate) struct ReturnRpcs<U, L>(ReturnOrders<U, L>);

impl<U: WalmartApi, L: Ledger> ReturnRpcs<U, L> {
    /// Reads go to `upstream`, mutations through `mutations`. Mutations whose callers have left go on as `tasks`.
    pub(crate) fn new(upstream: U, mutations: Mutations<U, L>, tasks: TaskTracker) -> Self {
        Self(ReturnOrders::new(upstream, mutations, tasks))
    }
}

correlated!(
    ListReturnsResponse,
    RefundReturnResponse,
    CreateMcsReturnResponse,
    ListMcsReturnsResponse,
    CancelMcsReturnResponse
);

#[tonic::async_trait]
impl<U: WalmartApi, L: Ledger> ReturnService for ReturnRpcs<U, L> {
    async fn list_returns(
        &self,
        request: Request<pb::ListReturnsRequest>,
    ) -> Result<Response<pb::ListReturnsResponse>, Status> {
        let call = context(&request)?;
        let answer = self.0.list(request.into_inner(), &call).await;
        answer.map(|answer| respond(answer, &call)).map_err(|error| status::failure(error, "", &call))
    }

    async fn refund_return(
        &self,
        request: Request<pb::RefundReturnRequest>,
    ) -> Result<Response<pb::RefundReturnResponse>, Status> {
        let call = context(&request)?;
        let result = self.0.refund(request.into_inner(), &call).await;
        let answer = result.map_err(|failed| status::failure(failed.error, &failed.request_id, &call))?;
        Ok(respond(answer, &call))
    }

    async fn create_mcs_return(
        &self,
        request: Request<pb::CreateMcsReturnRequest>,
    ) -> Result<Response<pb::CreateMcsReturnResponse>, Status> {
        let call = context(&request)?;
        let result = self.0.create(request.into_inner(), &call).await;
        let answer = result.map_err(|failed| status::failure(failed.error, &failed.request_id, &call))?;
        Ok(respond(answer, &call))
    }

    async fn list_mcs_returns(
        &self,
        request: Request<pb::ListMcsReturnsRequest>,
    ) -> Result<Response<pb::ListMcsReturnsResponse>, Status> {
        let call = context(&request)?;
        let answer = self.0.list_mcs(request.into_inner(), &call).await;
        answer.map(|answer| respond(answer, &call)).map_err(|error| status::failure(error, "", &call))
    }

    async fn cancel_mcs_return(
        &self,
        request: Request<pb::CancelMcsReturnRequest>,
    ) -> Result<Response<pb::CancelMcsReturnResponse>, Status> {
        let call = context(&request)?;
        let result = self.0.cancel(request.into_inner(), &call).await;
        let answer = result.map_err(|failed| status::failure(failed.error, &failed.request_id, &call))?;
        Ok(respond(answer, &call))
    }
}
