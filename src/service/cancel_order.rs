//! Cancels lines of an order: any number of lines, in requests of at most a hundred, in order. A refused request does
//! not stop the rest. The work is shared by all mutations ([`Mutate`]); this file shapes the answer.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::ServiceError;
use super::ledger::Mutations;
use super::mutate::{Mutate, MutationError, MutationReply};
use crate::domain::account::AccountIndex;
use crate::domain::mutations::{self, MAX_LINES};
use crate::pb::{CancelItem, CancelOrderRequest};
use crate::ports::call::CallContext;
use crate::ports::ledger::Ledger;
use crate::ports::upstream::{AcceptedAnswer, Reply, WalmartApi};

/// The use case CancelOrder. Cheap to clone.
pub struct CancelOrder<U, L>(Mutate<mutations::CancelOrder, U, L>);

impl<U, L> Clone for CancelOrder<U, L> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// A cancellation with at least one accepted batch.
#[derive(Debug)]
pub struct CancellationReply {
    /// The caller's request id, or a generated id.
    pub request_id: String,
    /// Outcomes of the batches, in the order sent.
    pub batches: Vec<BatchOutcome>,
    /// Whether an earlier call had begun or completed the cancellation.
    pub replayed: bool,
}

/// The outcome of one upstream request.
#[derive(Clone, Debug)]
pub struct BatchOutcome {
    /// Seller line ids of the batch.
    pub line_ids: Vec<String>,
    /// Walmart's acceptance, or the reason for its lack.
    pub result: Result<Reply<AcceptedAnswer>, ServiceError>,
}

impl<U: WalmartApi, L: Ledger> CancelOrder<U, L> {
    /// Works on `mutations`. Work without a remaining caller continues among `tasks`.
    pub fn new(mutations: Mutations<U, L>, tasks: TaskTracker) -> Self {
        Self(Mutate::new(mutations, tasks))
    }

    /// Answers a caller, for the account that the request names.
    pub async fn answer(
        &self,
        request: CancelOrderRequest,
        call: &CallContext,
    ) -> Result<CancellationReply, MutationError> {
        let account = self.0.account(&request.account, &request, call)?;
        self.call(account, request, call).await
    }

    /// Cancels the lines. Fails when no batch was accepted: as pending if the outcome of any batch is unknown, else
    /// with the error of the first batch. Calls with the same request id, or without id while one is open, are the same
    /// call. The cancellation continues when its caller leaves.
    pub(super) async fn call(
        &self,
        account: AccountIndex,
        request: CancelOrderRequest,
        call: &CallContext,
    ) -> Result<CancellationReply, MutationError> {
        let request = Arc::new(request);
        let MutationReply { request_id, batches, replayed } = self.0.call(account, request.clone(), call).await?;
        let items = request.payload.as_ref().map(|payload| payload.order_items.as_slice()).unwrap_or_default();
        let ids = |lines: &[CancelItem]| lines.iter().filter_map(|line| line.seller_line_id.clone()).collect();
        let lines = items.chunks(MAX_LINES).map(ids);
        let batches = lines.zip(batches).map(|(line_ids, result)| BatchOutcome { line_ids, result }).collect();
        Ok(CancellationReply { request_id, batches, replayed })
    }
}

#[cfg(test)]
#[path = "cancel_order_tests.rs"]
mod tests;
