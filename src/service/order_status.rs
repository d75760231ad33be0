//! The state of orders. A read; Walmart allows 20 a minute, so identical calls in flight share one. Nothing is kept: people
//! ask because it may have changed.

use std::sync::Arc;

use prost::Message as _;
use tokio_util::task::TaskTracker;

use super::ServiceError;
use super::absent;
use super::error::{SLACK, timed_out};
use super::flights::Flights;
use crate::domain::account::AccountIndex;
use crate::domain::operation::Operation;
use crate::domain::rules::check_order_status;
use crate::pb::{GetOrderStatusRequest, GetOrderStatusResponse};
use crate::ports::call::CallContext;
use crate::ports::upstream::{ErrorKind, Upstream, UpstreamError};

/// The use case. Cheap to clone.
#[derive(Clone)]
pub struct GetOrderStatus<U> {
    upstream: U,
    flights: Flights<Arc<GetOrderStatusResponse>>,
}

impl<U: Upstream> GetOrderStatus<U> {
    /// Asks `upstream`.
    pub fn new(upstream: U) -> Self {
        Self { upstream, flights: Flights::new(TaskTracker::new()) }
    }

    /// The orders that match. Naming an order number that Walmart does not know is an error; other searches may be empty.
    pub async fn call(
        &self,
        account: AccountIndex,
        request: GetOrderStatusRequest,
        call: &CallContext,
    ) -> Result<GetOrderStatusResponse, ServiceError> {
        check_order_status(&request).map_err(ServiceError::Invalid)?;
        let mut key = account.0.to_be_bytes().to_vec();
        // The account may be named or implied; it is the same one.
        GetOrderStatusRequest { account: String::new(), ..request.clone() }.encode(&mut key).unwrap_or_default();
        let request = Arc::new(request);
        loop {
            let seat = self.flights.board(&key, (), call.deadline, || {
                search(self.upstream.clone(), account, request.clone(), call.clone())
            });
            let Some(result) = seat.landed(call.deadline + SLACK, call).await else {
                return Err(timed_out(Operation::Status));
            };
            if !seat.was_too_short_for(call.deadline, &result) {
                // Lets go of the flight's copy first.
                drop(seat);
                return result.map(Arc::unwrap_or_clone);
            }
        }
    }
}

async fn search<U: Upstream>(
    upstream: U,
    account: AccountIndex,
    request: Arc<GetOrderStatusRequest>,
    call: CallContext,
) -> Result<Arc<GetOrderStatusResponse>, ServiceError> {
    let names_an_order = !request.order_number.is_empty();
    match upstream.order_status(account, &request, &call).await {
        Ok(reply) if names_an_order && reply.answer.payload.is_empty() => {
            Err(ServiceError::OrderNotFound { correlation_id: reply.correlation_id })
        }
        Ok(reply) => {
            let correlation_id = reply.correlation_id.to_string();
            Ok(Arc::new(GetOrderStatusResponse { correlation_id, ..reply.answer }))
        }
        // Walmart answers a search that finds nothing with an error, too.
        Err(error) if !names_an_order && absent::is_told_by(&error) => {
            let correlation_id = error.correlation_id.to_string();
            Ok(Arc::new(GetOrderStatusResponse { status: "OK".into(), correlation_id, ..Default::default() }))
        }
        Err(error) if error.kind == ErrorKind::NotFound && !absent::is_told_by(&error) => {
            Err(UpstreamError { kind: ErrorKind::Unavailable, ..error }.into())
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
#[path = "order_status_tests.rs"]
mod tests;
