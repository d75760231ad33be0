//! Reads and changes returns. Mutations are carried out by [`Mutate`], reads by [`CoalescedRead`]; this file shapes the
//! answers.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::ledger::Mutations;
use super::mutate::{Mutate, MutationError, MutationReply};
use super::read::CoalescedRead;
use super::{AccountDirectory, ServiceError};
use crate::domain::mutations::{self, Mutation as _, ShownObject};
use crate::domain::reads::{ListMarketplaceReturns, ListMcsReturnOrders, ReadCall as _};
use crate::pb::{self, McsReturnOrder};
use crate::ports::call::CallContext;
use crate::ports::ledger::Ledger;
use crate::ports::upstream::{AcceptedAnswer, Reply, WalmartApi};

/// The use cases of ReturnService. Each answers a caller, for the account that the request names. Cheap to clone.
pub struct ReturnOrders<U, L> {
    directory: AccountDirectory,
    list: CoalescedRead<ListMarketplaceReturns, U>,
    list_mcs: CoalescedRead<ListMcsReturnOrders, U>,
    refund: Mutate<mutations::RefundReturn, U, L>,
    create: Mutate<mutations::CreateMcsReturn, U, L>,
    cancel: Mutate<mutations::CancelMcsReturn, U, L>,
}

impl<U: Clone, L> Clone for ReturnOrders<U, L> {
    fn clone(&self) -> Self {
        Self {
            directory: self.directory.clone(),
            list: self.list.clone(),
            list_mcs: self.list_mcs.clone(),
            refund: self.refund.clone(),
            create: self.create.clone(),
            cancel: self.cancel.clone(),
        }
    }
}

/// An accepted change of a return.
struct ReturnChange {
    request_id: String,
    replayed: bool,
    correlation_id: String,
    answer: AcceptedAnswer,
}

impl<U: WalmartApi, L: Ledger> ReturnOrders<U, L> {
    /// Sends to `upstream`, and works on `mutations`. Work without a remaining caller continues among `tasks`.
    pub fn new(upstream: U, mutations: Mutations<U, L>, tasks: TaskTracker) -> Self {
        Self {
            directory: mutations.directory().clone(),
            list: CoalescedRead::new(upstream.clone()),
            list_mcs: CoalescedRead::new(upstream),
            refund: Mutate::new(mutations.clone(), tasks.clone()),
            create: Mutate::new(mutations.clone(), tasks.clone()),
            cancel: Mutate::new(mutations, tasks),
        }
    }

    /// Lists the returns that the filters of the request select, a page at a time.
    pub async fn list(
        &self,
        request: pb::ListReturnsRequest,
        call: &CallContext,
    ) -> Result<pb::ListReturnsResponse, ServiceError> {
        let account = self.directory.of_request(&request.account, call, || ListMarketplaceReturns::check(&request))?;
        self.list.call(account, request, call).await
    }

    /// Lists returns of Multichannel orders, a page at a time.
    pub async fn list_mcs(
        &self,
        request: pb::ListMcsReturnsRequest,
        call: &CallContext,
    ) -> Result<pb::ListMcsReturnsResponse, ServiceError> {
        let account = self.directory.of_request(&request.account, call, || ListMcsReturnOrders::check(&request))?;
        self.list_mcs.call(account, request, call).await
    }

    /// Refunds units of a return, never twice. The answer repeats the ids and lines of the call, as Walmart's does.
    pub async fn refund(
        &self,
        request: pb::RefundReturnRequest,
        call: &CallContext,
    ) -> Result<pb::RefundReturnResponse, MutationError> {
        let account = self.refund.account(&request.account, &request, call)?;
        let request = Arc::new(request);
        let change = accepted(self.refund.call(account, request.clone(), call).await?)?;
        Ok(pb::RefundReturnResponse {
            return_order_id: request.return_order_id.clone(),
            customer_order_id: request.customer_order_id().to_owned(),
            refund_lines: request.refund_lines.clone(),
            correlation_id: change.correlation_id,
            request_id: change.request_id,
            replayed: change.replayed,
            unmapped: change.answer.unmapped,
        })
    }

    /// Opens a return of a Multichannel order, at most one for the seller's id of it.
    pub async fn create(
        &self,
        request: pb::CreateMcsReturnRequest,
        call: &CallContext,
    ) -> Result<pb::CreateMcsReturnResponse, MutationError> {
        let account = self.create.account(&request.account, &request, call)?;
        let request = Arc::new(request);
        let by_content = request.request_id.is_empty();
        let reply = self.create.call(account, request.clone(), call).await.map_err(|failed| match failed.error {
            ServiceError::RequestIdReused if by_content => {
                MutationError { error: ServiceError::ReturnIdUsed, ..failed }
            }
            _ => failed,
        })?;
        let ReturnChange { request_id, replayed, correlation_id, answer } = accepted(reply)?;
        let ids = || {
            let payload = request.payload.as_ref();
            McsReturnOrder {
                seller_return_order_id: payload.map(|one| one.seller_return_order_id().to_owned()).unwrap_or_default(),
                seller_order_id: mutations::CreateMcsReturn::order_number(&request).to_owned(),
                ..McsReturnOrder::default()
            }
        };
        Ok(pb::CreateMcsReturnResponse {
            status: answer.status,
            header: answer.header,
            payload: Some(shown(answer.shown, replayed).unwrap_or_else(ids)),
            errors: answer.errors,
            correlation_id,
            request_id,
            replayed,
            unmapped: answer.unmapped,
        })
    }

    /// Takes a return of a Multichannel order back.
    pub async fn cancel(
        &self,
        request: pb::CancelMcsReturnRequest,
        call: &CallContext,
    ) -> Result<pb::CancelMcsReturnResponse, MutationError> {
        let account = self.cancel.account(&request.account, &request, call)?;
        let return_order_id = request.return_order_id.clone();
        let reply = self.cancel.call(account, Arc::new(request), call).await?;
        let ReturnChange { request_id, replayed, correlation_id, answer } = accepted(reply)?;
        let ids = || McsReturnOrder { return_order_id, ..McsReturnOrder::default() };
        Ok(pb::CancelMcsReturnResponse {
            status: answer.status,
            header: answer.header,
            payload: Some(shown(answer.shown, replayed).unwrap_or_else(ids)),
            correlation_id,
            request_id,
            replayed,
            unmapped: answer.unmapped,
        })
    }
}

fn accepted(reply: MutationReply) -> Result<ReturnChange, MutationError> {
    let MutationReply { request_id, batches, replayed } = reply;
    match batches.into_iter().next().unwrap_or(Err(ServiceError::Internal)) {
        Ok(Reply { answer, correlation_id }) => {
            Ok(ReturnChange { request_id, replayed, correlation_id: correlation_id.to_string(), answer })
        }
        Err(error) => Err(MutationError { request_id, error }),
    }
}

/// The return for the answer; a replay shows no more than the ledger keeps.
fn shown(shown: ShownObject, replayed: bool) -> Option<McsReturnOrder> {
    match if replayed { shown.kept() } else { shown } {
        ShownObject::McsReturn(order) => Some(*order),
        ShownObject::SellerOrder(_) | ShownObject::Webhooks(_) | ShownObject::Nothing => None,
    }
}
