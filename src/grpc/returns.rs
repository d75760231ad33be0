//! ReturnService: reads the call's context, looks the account up, calls the use case, builds the response.

use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status};

use super::fulfillment::{HasCorrelationId, context, correlated, respond};
use super::status;
use crate::domain::mutations::{CancelMcsReturn, CreateMcsReturn, Mutation, RefundReturn};
use crate::domain::reads::{ListMarketplaceReturns, ListMcsReturnOrders, ReadCall};
use crate::pb;
use crate::pb::return_service_server::ReturnService;
use crate::ports::ledger::Ledger;
use crate::ports::upstream::WalmartApi;
use crate::service::{AccountDirectory, CoalescedRead, MutationError, Mutations, ReturnChanges};

/// The RPCs of ReturnService, over any upstream and ledger.
pub(crate) struct ReturnRpcs<U, L> {
    directory: AccountDirectory,
    list: CoalescedRead<ListMarketplaceReturns, U>,
    list_mcs: CoalescedRead<ListMcsReturnOrders, U>,
    changes: ReturnChanges<U, L>,
}

impl<U: WalmartApi, L: Ledger> ReturnRpcs<U, L> {
    /// Reads go to `upstream`, mutations through `mutations`. Mutations whose callers have left go on as `tasks`.
    pub(crate) fn new(
        directory: AccountDirectory,
        upstream: U,
        mutations: Mutations<U, L>,
        tasks: TaskTracker,
    ) -> Self {
        Self {
            directory,
            list: CoalescedRead::new(upstream.clone()),
            list_mcs: CoalescedRead::new(upstream),
            changes: ReturnChanges::new(mutations, tasks),
        }
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
        let request = request.into_inner();
        let answer = match self.directory.one(&request.account, &call) {
            Ok(account) => self.list.call(account, request, &call).await,
            Err(error) => Err(error.with_faults(ListMarketplaceReturns::check(&request))),
        };
        answer.map(|answer| respond(answer, &call)).map_err(|error| status::failure(error, "", &call))
    }

    async fn refund_return(
        &self,
        request: Request<pb::RefundReturnRequest>,
    ) -> Result<Response<pb::RefundReturnResponse>, Status> {
        let call = context(&request)?;
        let request = request.into_inner();
        let request_id = request.request_id.clone();
        let result = match self.directory.one(&request.account, &call) {
            Ok(account) => self.changes.refund(account, request, &call).await,
            Err(error) => Err(MutationError { request_id, error: error.with_faults(RefundReturn::check(&request)) }),
        };
        let answer = result.map_err(|failed| status::failure(failed.error, &failed.request_id, &call))?;
        Ok(respond(answer, &call))
    }

    async fn create_mcs_return(
        &self,
        request: Request<pb::CreateMcsReturnRequest>,
    ) -> Result<Response<pb::CreateMcsReturnResponse>, Status> {
        let call = context(&request)?;
        let request = request.into_inner();
        let request_id = request.request_id.clone();
        let result = match self.directory.one(&request.account, &call) {
            Ok(account) => self.changes.create(account, request, &call).await,
            Err(error) => Err(MutationError { request_id, error: error.with_faults(CreateMcsReturn::check(&request)) }),
        };
        let answer = result.map_err(|failed| status::failure(failed.error, &failed.request_id, &call))?;
        Ok(respond(answer, &call))
    }

    async fn list_mcs_returns(
        &self,
        request: Request<pb::ListMcsReturnsRequest>,
    ) -> Result<Response<pb::ListMcsReturnsResponse>, Status> {
        let call = context(&request)?;
        let request = request.into_inner();
        let answer = match self.directory.one(&request.account, &call) {
            Ok(account) => self.list_mcs.call(account, request, &call).await,
            Err(error) => Err(error.with_faults(ListMcsReturnOrders::check(&request))),
        };
        answer.map(|answer| respond(answer, &call)).map_err(|error| status::failure(error, "", &call))
    }

    async fn cancel_mcs_return(
        &self,
        request: Request<pb::CancelMcsReturnRequest>,
    ) -> Result<Response<pb::CancelMcsReturnResponse>, Status> {
        let call = context(&request)?;
        let request = request.into_inner();
        let request_id = request.request_id.clone();
        let result = match self.directory.one(&request.account, &call) {
            Ok(account) => self.changes.cancel(account, request, &call).await,
            Err(error) => Err(MutationError { request_id, error: error.with_faults(CancelMcsReturn::check(&request)) }),
        };
        let answer = result.map_err(|failed| status::failure(failed.error, &failed.request_id, &call))?;
        Ok(respond(answer, &call))
    }
}
