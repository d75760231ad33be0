//! Reads and changes the seller's own orders. Mutations are carried out by [`Mutate`], reads and repeatable changes by
//! [`CoalescedRead`]; this file shapes the answers.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use tokio_util::task::TaskTracker;

use super::cancel_order::BatchOutcome;
use super::ledger::Mutations;
use super::mutate::{Mutate, MutationError, MutationReply};
use super::read::CoalescedRead;
use super::{AccountDirectory, ServiceError};
use crate::domain::account::AccountIndex;
use crate::domain::mutations::{self, MAX_LINES, ShownObject};
use crate::domain::reads::{AcknowledgeOrder, CorrectTracking, GetSellerOrder, ListSellerOrders, ReadCall as _};
use crate::pb::{self, SellerOrder};
use crate::ports::call::CallContext;
use crate::ports::ledger::Ledger;
use crate::ports::upstream::{AcceptedAnswer, ErrorKind, Reply, WalmartApi};

/// The use cases of SellerOrderService. Each answers a caller, for the account that the request names. Cheap to clone.
pub struct SellerOrders<U, L> {
    directory: AccountDirectory,
    list: CoalescedRead<ListSellerOrders, U>,
    acknowledge: CoalescedRead<AcknowledgeOrder, U>,
    correct: CoalescedRead<CorrectTracking, U>,
    get: CoalescedRead<GetSellerOrder, U>,
    cancel: Mutate<mutations::CancelOrderLines, U, L>,
    ship: Mutate<mutations::ShipOrderLines, U, L>,
    refund: Mutate<mutations::RefundOrderLines, U, L>,
}

impl<U: Clone, L> Clone for SellerOrders<U, L> {
    fn clone(&self) -> Self {
        Self {
            directory: self.directory.clone(),
            list: self.list.clone(),
            acknowledge: self.acknowledge.clone(),
            correct: self.correct.clone(),
            get: self.get.clone(),
            cancel: self.cancel.clone(),
            ship: self.ship.clone(),
            refund: self.refund.clone(),
        }
    }
}

/// A cancellation of lines with at least one accepted batch.
#[derive(Debug)]
pub struct LineCancellationReply {
    /// The caller's request id, or a generated id.
    pub request_id: String,
    /// Outcomes of the batches, in the order sent. Line ids are line numbers.
    pub batches: Vec<BatchOutcome>,
    /// Whether an earlier call had begun or completed the cancellation.
    pub replayed: bool,
    /// The order after the last accepted batch.
    pub order: SellerOrder,
    /// What the messages have no place for in the answer that shows the order.
    pub unmapped: BTreeMap<String, String>,
}

/// A change of one order that Walmart accepted.
#[derive(Debug)]
pub struct OrderChangeReply {
    /// The caller's request id, or the id made of the content.
    pub request_id: String,
    /// The WM_QOS.CORRELATION_ID of the attempts.
    pub correlation_id: String,
    /// Whether an earlier call had begun or completed the change.
    pub replayed: bool,
    /// The order as Walmart returned it after the change.
    pub order: SellerOrder,
    /// What the messages have no place for in the answer that shows the order.
    pub unmapped: BTreeMap<String, String>,
}

impl<U: WalmartApi, L: Ledger> SellerOrders<U, L> {
    /// Sends to `upstream`, and works on `mutations`. Work without a remaining caller continues among `tasks`.
    pub fn new(upstream: U, mutations: Mutations<U, L>, tasks: TaskTracker) -> Self {
        Self {
            directory: mutations.directory().clone(),
            list: CoalescedRead::new(upstream.clone()),
            acknowledge: CoalescedRead::new(upstream.clone()),
            correct: CoalescedRead::new(upstream.clone()),
            get: CoalescedRead::new(upstream),
            cancel: Mutate::new(mutations.clone(), tasks.clone()),
            ship: Mutate::new(mutations.clone(), tasks.clone()),
            refund: Mutate::new(mutations, tasks),
        }
    }

    /// Lists the orders that the filters of the request select, a page at a time.
    pub async fn list(
        &self,
        request: pb::ListOrdersRequest,
        call: &CallContext,
    ) -> Result<pb::ListOrdersResponse, ServiceError> {
        let account = self.directory.of_request(&request.account, call, || ListSellerOrders::check(&request))?;
        self.list.call(account, request, call).await
    }

    /// Reads an order by its purchase order id.
    pub async fn get(
        &self,
        request: pb::GetOrderRequest,
        call: &CallContext,
    ) -> Result<pb::GetOrderResponse, ServiceError> {
        let account = self.directory.of_request(&request.account, call, || GetSellerOrder::check(&request))?;
        self.get.call(account, request, call).await
    }

    /// Acknowledges the order. Where Walmart refuses because units are past it, the order is read: without any unit in the
    /// state before, the acknowledgement is done.
    pub async fn acknowledge(
        &self,
        request: pb::AcknowledgeOrderRequest,
        call: &CallContext,
    ) -> Result<pb::AcknowledgeOrderResponse, ServiceError> {
        let account = self.directory.of_request(&request.account, call, || AcknowledgeOrder::check(&request))?;
        let purchase_order_id = request.purchase_order_id.clone();
        let refused = match self.acknowledge.call(account, request, call).await {
            Err(ServiceError::Upstream(error)) if error.kind == ErrorKind::WrongState => error,
            ended => return ended,
        };
        let read = pb::GetOrderRequest { purchase_order_id, ..Default::default() };
        match self.get.call(account, read, call).await {
            Ok(pb::GetOrderResponse { order: Some(order), correlation_id, unmapped }) if is_past_creation(&order) => {
                let (order, already_acknowledged) = (Some(order), true);
                Ok(pb::AcknowledgeOrderResponse { order, correlation_id, already_acknowledged, unmapped })
            }
            _ => Err(ServiceError::Upstream(refused)),
        }
    }

    /// Cancels lines: any number, in requests of at most a hundred. Fails when no batch was accepted.
    pub async fn cancel(
        &self,
        request: pb::CancelOrderLinesRequest,
        call: &CallContext,
    ) -> Result<LineCancellationReply, MutationError> {
        let account = self.cancel.account(&request.account, &request, call)?;
        let request = Arc::new(request);
        let MutationReply { request_id, mut batches, replayed } =
            self.cancel.call(account, request.clone(), call).await?;
        let last = batches.iter_mut().rev().find_map(|batch| batch.as_mut().ok());
        let shown = last.map(|Reply { answer, .. }| {
            let (shown, unmapped) = (mem::take(&mut answer.shown), mem::take(&mut answer.unmapped));
            AcceptedAnswer { shown, unmapped, ..AcceptedAnswer::default() }
        });
        let (direct, answer) = (shown.is_some() && !replayed, shown.unwrap_or_default());
        let (order, unmapped) = self.order(account, &request.purchase_order_id, answer, direct, call).await;
        let lines = mutations::CancelOrderLines::lines(&request).chunks(MAX_LINES);
        let numbers = lines.map(|lines| lines.iter().map(|line| line.line_number().to_owned()).collect());
        let batches = numbers.zip(batches).map(|(line_ids, result)| BatchOutcome { line_ids, result }).collect();
        Ok(LineCancellationReply { request_id, batches, replayed, order, unmapped })
    }

    /// Tells of shipped units once, or corrects a tracking number.
    pub async fn ship(
        &self,
        request: pb::ShipOrderLinesRequest,
        call: &CallContext,
    ) -> Result<OrderChangeReply, MutationError> {
        if mutations::is_correction(&request) {
            let request_id = request.request_id.clone();
            let corrected = self.correct(request, call).await;
            let answer = corrected.map_err(|error| MutationError { request_id, error })?;
            let pb::ShipOrderLinesResponse { order, correlation_id, unmapped, .. } = answer;
            let (request_id, order) = (String::new(), order.unwrap_or_default());
            return Ok(OrderChangeReply { request_id, correlation_id, replayed: false, order, unmapped });
        }
        let account = self.ship.account(&request.account, &request, call)?;
        let purchase_order = request.purchase_order_id.clone();
        let reply = self.ship.call(account, Arc::new(request), call).await?;
        self.changed(account, &purchase_order, reply, call).await
    }

    async fn correct(
        &self,
        request: pb::ShipOrderLinesRequest,
        call: &CallContext,
    ) -> Result<pb::ShipOrderLinesResponse, ServiceError> {
        let account = self.directory.of_request(&request.account, call, || CorrectTracking::check(&request))?;
        self.correct.call(account, request, call).await
    }

    /// Refunds lines, never twice.
    pub async fn refund(
        &self,
        request: pb::RefundOrderLinesRequest,
        call: &CallContext,
    ) -> Result<OrderChangeReply, MutationError> {
        let account = self.refund.account(&request.account, &request, call)?;
        let purchase_order = mutations::RefundOrderLines::purchase_order(&request).to_owned();
        let reply = self.refund.call(account, Arc::new(request), call).await?;
        self.changed(account, &purchase_order, reply, call).await
    }

    async fn changed(
        &self,
        account: AccountIndex,
        purchase_order: &str,
        reply: MutationReply,
        call: &CallContext,
    ) -> Result<OrderChangeReply, MutationError> {
        let MutationReply { request_id, batches, replayed } = reply;
        match batches.into_iter().next().unwrap_or(Err(ServiceError::Internal)) {
            Ok(Reply { answer, correlation_id }) => {
                let correlation_id = correlation_id.to_string();
                let (order, unmapped) = self.order(account, purchase_order, answer, !replayed, call).await;
                Ok(OrderChangeReply { request_id, correlation_id, replayed, order, unmapped })
            }
            Err(error) => Err(MutationError { request_id, error }),
        }
    }

    /// The order for the answer, and what the messages have no place for. An acceptance without an order's lines is read back once: Walmart showed none, or only the
    /// ledger knows of the acceptance. A replay shows the number alone.
    async fn order(
        &self,
        account: AccountIndex,
        purchase_order: &str,
        AcceptedAnswer { shown, mut unmapped, .. }: AcceptedAnswer,
        direct: bool,
        call: &CallContext,
    ) -> (SellerOrder, BTreeMap<String, String>) {
        let number_alone = SellerOrder { purchase_order_id: purchase_order.to_owned(), ..SellerOrder::default() };
        match shown {
            ShownObject::SellerOrder(order) if direct && order.order_lines.is_some() => (*order, unmapped),
            ShownObject::SellerOrder(_) | ShownObject::Nothing if direct => {
                let read = pb::GetOrderRequest { purchase_order_id: purchase_order.to_owned(), ..Default::default() };
                let read = self.get.call(account, read, call).await.unwrap_or_default();
                unmapped.extend(read.unmapped);
                (read.order.unwrap_or(number_alone), unmapped)
            }
            ShownObject::SellerOrder(_)
            | ShownObject::McsReturn(_)
            | ShownObject::Webhooks(_)
            | ShownObject::Nothing => (number_alone, unmapped),
        }
    }
}

/// Whether the order shows its lines, and no unit of them waits for the acknowledgement.
fn is_past_creation(order: &SellerOrder) -> bool {
    let lines = order.order_lines.as_ref().map(|lines| lines.order_line.as_slice()).unwrap_or_default();
    let statuses = |line: &pb::SellerOrderLine| {
        line.order_line_statuses.as_ref().map(|statuses| statuses.order_line_status.clone()).unwrap_or_default()
    };
    let is_past = |line: &pb::SellerOrderLine| {
        let statuses = statuses(line);
        let is_created = |status: &pb::LineStatus| {
            let units =
                status.status_quantity.as_ref().and_then(|quantity| quantity.amount().trim().parse::<f64>().ok());
            let is_other = !status.status().is_empty() && !status.status().eq_ignore_ascii_case("Created");
            !is_other && units != Some(0.0)
        };
        !statuses.is_empty() && !statuses.iter().any(is_created)
    };
    !lines.is_empty() && lines.iter().all(is_past)
}
