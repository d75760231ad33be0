//! Creates an order: once for an order number, after any failure. The work is shared by all mutations ([`Mutate`]);
//! this file shapes the answer.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::ServiceError;
use super::ledger::Mutations;
use super::mutate::{Mutate, MutationReply};
use crate::domain::account::AccountIndex;
use crate::domain::mutations;
use crate::domain::order_number;
use crate::domain::rules::check_order;
use crate::pb::{CreateOrderRequest, CreateOrderResponse};
use crate::ports::call::CallContext;
use crate::ports::ledger::Ledger;
use crate::ports::upstream::{AcceptedAnswer, Reply, WalmartApi};

/// The use case CreateOrder. Cheap to clone.
pub struct CreateOrder<U, L>(Mutate<mutations::CreateOrder, U, L>);

impl<U, L> Clone for CreateOrder<U, L> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<U: WalmartApi, L: Ledger> CreateOrder<U, L> {
    /// Works on `mutations`. Work without a remaining caller continues among `tasks`.
    pub fn new(mutations: Mutations<U, L>, tasks: TaskTracker) -> Self {
        Self(Mutate::new(mutations, tasks))
    }

    /// Answers a caller, for the account that the request names.
    pub async fn answer(
        &self,
        request: Arc<CreateOrderRequest>,
        call: &CallContext,
    ) -> Result<CreateOrderResponse, ServiceError> {
        let directory = self.0.mutations.directory();
        let account = directory.of_request(&request.account, call, || check_order(&request))?;
        self.call(account, request, call).await
    }

    /// Creates the order. A repeated call, concurrent or later, gets the answer of the first call; different content
    /// under a used number or id is refused. The creation continues when its caller leaves.
    pub(super) async fn call(
        &self,
        account: AccountIndex,
        request: impl Into<Arc<CreateOrderRequest>>,
        call: &CallContext,
    ) -> Result<CreateOrderResponse, ServiceError> {
        let request = request.into();
        let MutationReply { batches, replayed, .. } =
            self.0.call(account, request.clone(), call).await.map_err(|failed| failed.error)?;
        let reply = batches.into_iter().next().unwrap_or(Err(ServiceError::Internal))?;
        Ok(response(reply, &request, replayed))
    }
}

fn response(reply: Reply<AcceptedAnswer>, request: &CreateOrderRequest, replayed: bool) -> CreateOrderResponse {
    let Reply { answer: AcceptedAnswer { status, header, acceptance, errors, unmapped, .. }, correlation_id } = reply;
    let request_id = if request.request_id.is_empty() {
        request.payload.as_ref().map(order_number::of_order).unwrap_or_default()
    } else {
        &request.request_id
    };
    CreateOrderResponse {
        status,
        header,
        // An order found by a look-up after a lost answer has no acceptance.
        payload: Some(acceptance).filter(|acceptance| !acceptance.request_id.is_empty()),
        correlation_id: correlation_id.to_string(),
        request_id: request_id.to_owned(),
        replayed,
        errors,
        unmapped,
    }
}

#[cfg(test)]
#[path = "create_order_tests.rs"]
mod tests;
