//! Cancelling lines. Any number of them, in requests of at most a hundred, in order; a refused one does not stop the rest.
//! The work is that of every mutation ([`Mutate`]); here is the form of its answer.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::ServiceError;
use super::ledger::Mutations;
use super::mutate::{Mutate, Mutated, NotMutated};
use crate::domain::account::AccountIndex;
use crate::domain::mutations::{self, MAX_LINES};
use crate::pb::{CancelItem, CancelOrderRequest};
use crate::ports::call::CallContext;
use crate::ports::ledger::Ledger;
use crate::ports::upstream::{AcceptedAnswer, Reply, WalmartApi};

/// The use case. Cheap to clone.
pub struct CancelOrder<U, L>(Mutate<mutations::CancelOrder, U, L>);

impl<U, L> Clone for CancelOrder<U, L> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

/// A cancellation of which at least one batch was accepted.
#[derive(Debug)]
pub struct Cancelled {
    /// The caller's id, or the one that was made.
    pub request_id: String,
    /// In the order sent.
    pub batches: Vec<BatchOutcome>,
    /// Whether it had been done, or begun, by an earlier call.
    pub replayed: bool,
}

/// What became of one upstream request.
#[derive(Clone, Debug)]
pub struct BatchOutcome {
    /// Its lines.
    pub line_ids: Vec<String>,
    /// Walmart's acceptance, or why there is none.
    pub result: Result<Reply<AcceptedAnswer>, ServiceError>,
}

impl<U: WalmartApi, L: Ledger> CancelOrder<U, L> {
    /// Works on `mutations`; work whose callers have left goes on among `tasks`.
    pub fn new(mutations: Mutations<U, L>, tasks: TaskTracker) -> Self {
        Self(Mutate::new(mutations, tasks))
    }

    /// Cancels. Fails when no batch was accepted: with an unknown outcome if any batch has one, else as the first batch.
    /// The same call with the same id, or without one while it is open, is one. A call that ends, or is given up, does not
    /// end the cancellation.
    pub async fn call(
        &self,
        account: AccountIndex,
        request: CancelOrderRequest,
        call: &CallContext,
    ) -> Result<Cancelled, NotMutated> {
        let request = Arc::new(request);
        let Mutated { request_id, batches, replayed } = self.0.call(account, request.clone(), call).await?;
        let items = request.payload.as_ref().map(|payload| payload.order_items.as_slice()).unwrap_or_default();
        let ids = |lines: &[CancelItem]| lines.iter().filter_map(|line| line.seller_line_id.clone()).collect();
        let lines = items.chunks(MAX_LINES).map(ids);
        let batches = lines.zip(batches).map(|(line_ids, result)| BatchOutcome { line_ids, result }).collect();
        Ok(Cancelled { request_id, batches, replayed })
    }
}

#[cfg(test)]
#[path = "cancel_order_tests.rs"]
mod tests;
