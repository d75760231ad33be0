//! Searches the state of orders. Answers are not cached, because callers ask for changes.

use super::read::{CallEnd, CoalescedRead, reply};
use super::{AccountDirectory, ServiceError, absent};
use crate::domain::account::AccountIndex;
use crate::domain::operation::WalmartCall as _;
use crate::domain::reads::{FindOrder, SearchOrders};
use crate::domain::rules::check_order_status;
use crate::pb::{GetOrderStatusRequest, GetOrderStatusResponse};
use crate::ports::call::CallContext;
use crate::ports::upstream::{ErrorKind, Reply, Upstream, UpstreamError};

/// The use case GetOrderStatus. Cheap to clone.
#[derive(Clone)]
pub struct GetOrderStatus<U> {
    directory: AccountDirectory,
    find: CoalescedRead<FindOrder, U>,
    search: CoalescedRead<SearchOrders, U>,
}

impl<U: Upstream<FindOrder> + Upstream<SearchOrders>> GetOrderStatus<U> {
    /// Sends searches to `upstream`.
    pub fn new(directory: AccountDirectory, upstream: U) -> Self {
        Self {
            directory,
            find: CoalescedRead::new(upstream.clone()).concluding(found),
            search: CoalescedRead::new(upstream).concluding(listed),
        }
    }

    /// Answers a caller, for the account that the request names.
    pub async fn answer(
        &self,
        request: GetOrderStatusRequest,
        call: &CallContext,
    ) -> Result<GetOrderStatusResponse, ServiceError> {
        let account = self.directory.of_request(&request.account, call, || check_order_status(&request))?;
        self.call(account, request, call).await
    }

    /// Searches orders. An order number unknown to Walmart is an error; a search by any other filter may be empty.
    pub(super) async fn call(
        &self,
        account: AccountIndex,
        request: GetOrderStatusRequest,
        call: &CallContext,
    ) -> Result<GetOrderStatusResponse, ServiceError> {
        if request.order_number.is_empty() {
            self.search.call(account, request, call).await
        } else {
            self.find.call(account, request, call).await
        }
    }
}

fn found(request: &GetOrderStatusRequest, ended: CallEnd<FindOrder>) -> Result<GetOrderStatusResponse, ServiceError> {
    match ended {
        Ok(Reply { answer, correlation_id }) if answer.payload.is_empty() => {
            Err(ServiceError::OrderNotFound { operation: FindOrder::OPERATION, correlation_id })
        }
        ended => reply::<FindOrder>(request, ended.map_err(of_the_order_service)),
    }
}

fn listed(
    request: &GetOrderStatusRequest,
    ended: CallEnd<SearchOrders>,
) -> Result<GetOrderStatusResponse, ServiceError> {
    match ended {
        // Walmart also answers an empty search with an error.
        Err(UpstreamError { correlation_id, .. }) if ended.as_ref().is_err_and(absent::is_told_by) => {
            let answer = GetOrderStatusResponse { status: "OK".into(), ..Default::default() };
            reply::<SearchOrders>(request, Ok(Reply { answer, correlation_id }))
        }
        ended => reply::<SearchOrders>(request, ended.map_err(of_the_order_service)),
    }
}

/// A not-found from any party except the order service says nothing about orders.
fn of_the_order_service(error: UpstreamError) -> UpstreamError {
    if error.kind == ErrorKind::NotFound && !absent::is_told_by(&error) {
        UpstreamError { kind: ErrorKind::Unavailable, ..error }
    } else {
        error
    }
}

#[cfg(test)]
#[path = "order_status_tests.rs"]
mod tests;
