//! Cancelling lines. Any number of them, in requests of at most a hundred, in order; a refused one does not stop the rest.

use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;

use super::ServiceError;
use super::error::{SLACK, pending};
use super::flights::Flights;
use super::unsettled::{Standing, Unsettled};
use crate::domain::account::AccountIndex;
use crate::domain::effect::Effect;
use crate::domain::operation::Operation;
use crate::domain::rules::check_cancellation;
use crate::pb::{CancelItem, CancelOrderRequest, Cancellation};
use crate::ports::call::CallContext;
use crate::ports::random::Random;
use crate::ports::upstream::{Accepted, Reply, Upstream};

/// Walmart's limit of lines in one request.
pub const MAX_LINES: usize = 100;

/// The use case. Cheap to clone.
#[derive(Clone)]
pub struct CancelOrder<U> {
    upstream: U,
    random: Random,
    /// Each with the id that it is known by.
    flights: Flights<Arc<Vec<BatchOutcome>>, String>,
    unsettled: Unsettled,
}

/// A cancellation of which at least one batch was accepted.
#[derive(Debug)]
pub struct Cancelled {
    /// The caller's id, or the one that was made.
    pub request_id: String,
    /// In the order sent.
    pub batches: Vec<BatchOutcome>,
    /// Whether an identical call that was under way did the work.
    pub joined: bool,
}

/// What became of one upstream request.
#[derive(Clone, Debug)]
pub struct BatchOutcome {
    /// Its lines.
    pub line_ids: Vec<String>,
    /// Walmart's acceptance, or why there is none.
    pub result: Result<Reply<Accepted>, ServiceError>,
}

impl BatchOutcome {
    /// Whether Walmart may have acted although no acceptance came.
    pub fn is_unknown(&self) -> bool {
        matches!(self.result, Err(ServiceError::OutcomePending { .. }))
    }
}

/// A failure, and the id that the call is known by.
#[derive(Debug)]
pub struct NotCancelled {
    /// The caller's id, or the one that was made.
    pub request_id: String,
    /// Why.
    pub error: ServiceError,
}

impl<U: Upstream> CancelOrder<U> {
    /// Sends to `upstream`, which applies what it got within `settle_window`.
    pub fn new(upstream: U, settle_window: Duration, random: Random) -> Self {
        Self { upstream, random, flights: Flights::new(), unsettled: Unsettled::new(settle_window) }
    }

    /// Cancels. Fails when no batch was accepted: with an unknown outcome if any batch has one, else as the first batch.
    /// The same call twice at a time is one. A call that ends, or is given up, leaves no batch half done.
    pub async fn call(
        &self,
        account: AccountIndex,
        request: CancelOrderRequest,
        call: &CallContext,
    ) -> Result<Cancelled, NotCancelled> {
        let made = if request.request_id.is_empty() { self.random.uuid().to_string() } else { String::new() };
        let known_by = if made.is_empty() { &request.request_id } else { &made };
        if let Err(faults) = check_cancellation(&request) {
            return Err(NotCancelled { request_id: known_by.clone(), error: ServiceError::Invalid(faults) });
        }
        let mut key = account.0.to_be_bytes().to_vec();
        // An id that the caller gave makes it a call of its own; one that was made does not.
        key.extend_from_slice(request.request_id.as_bytes());
        key.push(0);
        request.payload.iter().for_each(|payload| key.extend(payload.encode_to_vec()));
        let work = || self.clone().all(account, request.clone(), call.clone());
        let seat = self.flights.board(&key, known_by.clone(), call.deadline, work);
        let request_id = seat.tag.clone();
        let failed = |error| NotCancelled { request_id: request_id.clone(), error };
        let result = seat.landed(call.deadline + SLACK).await;
        let batches = result.unwrap_or_else(|| Err(pending(Operation::Cancel))).map_err(failed)?;
        let batches = Arc::unwrap_or_clone(batches);
        if batches.iter().any(|batch| batch.result.is_ok()) {
            return Ok(Cancelled { request_id, batches, joined: seat.joined });
        }
        let unknown = batches.iter().position(BatchOutcome::is_unknown);
        let told = batches.into_iter().nth(unknown.unwrap_or(0));
        Err(failed(told.and_then(|batch| batch.result.err()).unwrap_or(ServiceError::Internal)))
    }

    async fn all(
        self,
        account: AccountIndex,
        request: CancelOrderRequest,
        call: CallContext,
    ) -> Result<Arc<Vec<BatchOutcome>>, ServiceError> {
        let Some(payload) = request.payload else { return Err(ServiceError::Internal) };
        let mut batches = Vec::with_capacity(payload.order_items.len().div_ceil(MAX_LINES));
        for lines in payload.order_items.chunks(MAX_LINES) {
            let batch = CancelOrderRequest {
                header: request.header.clone(),
                payload: Some(Cancellation { order_items: lines.to_vec(), ..without_items(&payload) }),
                ..Default::default()
            };
            let result = self.one(account, batch, &call).await;
            let line_ids = lines.iter().filter_map(|line: &CancelItem| line.seller_line_id.clone()).collect();
            batches.push(BatchOutcome { line_ids, result });
        }
        Ok(Arc::new(batches))
    }

    async fn one(
        &self,
        account: AccountIndex,
        batch: CancelOrderRequest,
        call: &CallContext,
    ) -> Result<Reply<Accepted>, ServiceError> {
        let mut key = account.0.to_be_bytes().to_vec();
        batch.payload.iter().for_each(|payload| key.extend(payload.encode_to_vec()));
        if self.unsettled.standing(&key) == Standing::TooEarly {
            return Err(pending(Operation::Cancel));
        }
        match self.upstream.cancel_order(account, &batch, call).await {
            Ok(reply) => {
                self.unsettled.remove(&key);
                Ok(reply)
            }
            Err(error) => {
                if error.effect == Effect::Unknown {
                    self.unsettled.add(key, &[]);
                }
                Err(error.into())
            }
        }
    }
}

fn without_items(payload: &Cancellation) -> Cancellation {
    Cancellation {
        customer_order_no: payload.customer_order_no.clone(),
        seller_order_id: payload.seller_order_id.clone(),
        seller_id: payload.seller_id.clone(),
        order_items: Vec::new(),
    }
}

#[cfg(test)]
#[path = "cancel_order_tests.rs"]
mod tests;
