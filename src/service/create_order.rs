//! Creating an order. Sent once; when the answer is lost the outcome is looked up before anything is sent again.

use std::sync::Arc;
use std::time::Duration;

use prost::Message;

use super::ServiceError;
use super::absent;
use super::error::{SLACK, not_asked, pending, timed_out};
use super::flights::Flights;
use super::unsettled::{Standing, Unsettled};
use crate::domain::account::AccountIndex;
use crate::domain::effect::Effect;
use crate::domain::operation::Operation;
use crate::domain::order_number;
use crate::domain::personal::Personal;
use crate::domain::rules::check_order;
use crate::pb::{CreateOrderRequest, CreateOrderResponse, GetOrderStatusRequest, OrderStatus};
use crate::ports::call::CallContext;
use crate::ports::upstream::{ErrorKind, Upstream};

/// The use case. Cheap to clone.
#[derive(Clone)]
pub struct CreateOrder<U> {
    upstream: U,
    /// One for each order number at a time, each with its request.
    flights: Flights<Arc<CreateOrderResponse>, Arc<CreateOrderRequest>>,
    unsettled: Unsettled,
}

impl<U: Upstream> CreateOrder<U> {
    /// Sends to `upstream`, which applies what it got within `settle_window`.
    pub fn new(upstream: U, settle_window: Duration) -> Self {
        Self { upstream, flights: Flights::new(), unsettled: Unsettled::new(settle_window) }
    }

    /// Creates the order. Calls for one order number take their turn: the same call twice at a time is one, and another
    /// order of that number waits for it. A call that ends, or is given up, does not end the creation.
    pub async fn call(
        &self,
        account: AccountIndex,
        request: CreateOrderRequest,
        call: &CallContext,
    ) -> Result<CreateOrderResponse, ServiceError> {
        check_order(&request).map_err(ServiceError::Invalid)?;
        let Some(payload) = &request.payload else { return Err(ServiceError::Internal) };
        let mut key = account.0.to_be_bytes().to_vec();
        key.extend_from_slice(order_number::of_order(payload).as_bytes());
        let request = Arc::new(request);
        loop {
            let work = || self.clone().create(account, request.clone(), call.clone(), key.clone());
            let seat = self.flights.board(&key, request.clone(), call.deadline, work);
            let same = !seat.joined || seat.tag.payload == request.payload;
            match seat.landed(call.deadline + SLACK).await {
                None if same => return Err(pending(Operation::Create)),
                None => return Err(timed_out(Operation::Create)),
                Some(Ok(_)) if !same => return Err(not_asked(Operation::Create, ErrorKind::Duplicate)),
                Some(Err(_)) if !same => {}
                Some(result) if seat.was_too_short_for(call.deadline, &result) => {}
                Some(result) => {
                    let mut answer = Arc::unwrap_or_clone(result?);
                    answer.replayed |= seat.joined;
                    if !request.request_id.is_empty() {
                        answer.request_id = request.request_id.clone();
                    }
                    return Ok(answer);
                }
            }
        }
    }

    async fn create(
        self,
        account: AccountIndex,
        request: Arc<CreateOrderRequest>,
        call: CallContext,
        key: Vec<u8>,
    ) -> Result<Arc<CreateOrderResponse>, ServiceError> {
        let order_number = request.payload.as_ref().map(order_number::of_order).unwrap_or_default();
        let standing = self.unsettled.standing(&key);
        if standing != Standing::Clear
            && let Some(found) = self.look_up(account, order_number, standing, &call).await?
        {
            // The list keeps it: the next repeat must not be sent either.
            return if self.unsettled.had_content(&key, &content(&request)) {
                Ok(Arc::new(found))
            } else {
                Err(not_asked(Operation::Create, ErrorKind::Duplicate))
            };
        }
        match self.upstream.create_order(account, &request, &call).await {
            Ok(reply) => {
                self.unsettled.remove(&key);
                Ok(Arc::new(CreateOrderResponse {
                    status: reply.answer.status,
                    header: reply.answer.header,
                    payload: Some(reply.answer.acceptance),
                    correlation_id: reply.correlation_id.to_string(),
                    request_id: order_number.to_owned(),
                    replayed: false,
                }))
            }
            // The one that was looked for in vain came through after all; a later look-up will tell.
            Err(error)
                if error.kind == ErrorKind::Duplicate && self.unsettled.had_content(&key, &content(&request)) =>
            {
                self.unsettled.add(key, &content(&request));
                Err(pending(Operation::Create))
            }
            Err(mut error) => {
                if error.effect == Effect::Unknown {
                    self.unsettled.add(key, &content(&request));
                }
                if let Some(payload) = &request.payload {
                    Personal::of_order(payload).redact(&mut error.errors);
                }
                Err(error.into())
            }
        }
    }

    /// Asks whether the order exists. `None` when it certainly does not and may be sent.
    async fn look_up(
        &self,
        account: AccountIndex,
        order_number: &str,
        standing: Standing,
        call: &CallContext,
    ) -> Result<Option<CreateOrderResponse>, ServiceError> {
        let request = GetOrderStatusRequest { order_number: order_number.to_owned(), ..Default::default() };
        let found = match self.upstream.order_status(account, &request, call).await {
            Ok(reply) if reply.answer.payload.is_empty() => None,
            Ok(reply) if reply.answer.payload.iter().any(|order| may_be(order, order_number)) => {
                Some(reply.correlation_id)
            }
            Err(error) if absent::is_told_by(&error) => None,
            // Other orders, or no answer: that says nothing about this one.
            Ok(_) | Err(_) => return Err(pending(Operation::Create)),
        };
        match (found, standing) {
            (Some(correlation_id), _) => Ok(Some(CreateOrderResponse {
                status: "ACCEPTED".into(),
                correlation_id: correlation_id.to_string(),
                request_id: order_number.to_owned(),
                replayed: true,
                ..Default::default()
            })),
            (None, Standing::Settled) => Ok(None),
            (None, _) => Err(pending(Operation::Create)),
        }
    }
}

/// What makes two orders with one number the same.
fn content(request: &CreateOrderRequest) -> Vec<u8> {
    request.payload.as_ref().map(Message::encode_to_vec).unwrap_or_default()
}

/// Whether it has this number, under any of its names; one without a number is what was asked for.
fn may_be(order: &OrderStatus, order_number: &str) -> bool {
    let numbers = [&order.seller_order_id, &order.order_number, &order.customer_order_no];
    let mut given = numbers.into_iter().filter(|number| !number.is_empty()).peekable();
    given.peek().is_none() || given.any(|number| number == order_number)
}

#[cfg(test)]
#[path = "create_order_tests.rs"]
mod tests;
