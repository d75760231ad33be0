//! Reads of the seller's own orders, and the changes of them that may be repeated.

use prost::Message;

use super::ReadCall;
use crate::domain::ledger::evidence::LookupAnswer;
use crate::domain::operation::{Operation, WalmartCall};
use crate::domain::personal::PersonalTexts;
use crate::domain::rules::{FieldFaults, check_acknowledgement, check_correction, check_get_order, check_list_orders};
use crate::pb::{
    AcknowledgeOrderRequest, AcknowledgeOrderResponse, GetOrderRequest, GetOrderResponse, ListOrdersRequest,
    ListOrdersResponse, OrderList, ShipOrderLinesRequest, ShipOrderLinesResponse, WalmartError,
};

/// The read of `ListOrders`: orders by filters, a page at a time.
#[derive(Debug)]
pub struct ListSellerOrders;

/// The read of `GetOrder`.
#[derive(Debug)]
pub struct GetSellerOrder;

/// Reads one order for the ledger. The answer is passed on unread, as that of [`LookUp`](super::LookUp).
#[derive(Debug)]
pub struct LookUpSellerOrder;

/// The acknowledgement of an order. It may be repeated, so it is sent like a read.
#[derive(Debug)]
pub struct AcknowledgeOrder;

/// The correction of a tracking number. It may be repeated as well.
#[derive(Debug)]
pub struct CorrectTracking;

impl WalmartCall for ListSellerOrders {
    const OPERATION: Operation = Operation::Orders;
    type Request = ListOrdersRequest;
    type Answer = ListOrdersResponse;
}

impl WalmartCall for GetSellerOrder {
    const OPERATION: Operation = Operation::Order;
    type Request = GetOrderRequest;
    type Answer = GetOrderResponse;
}

impl WalmartCall for LookUpSellerOrder {
    const OPERATION: Operation = Operation::Order;
    type Request = GetOrderRequest;
    type Answer = LookupAnswer;
}

impl WalmartCall for AcknowledgeOrder {
    const OPERATION: Operation = Operation::Acknowledge;
    type Request = AcknowledgeOrderRequest;
    type Answer = AcknowledgeOrderResponse;
}

impl WalmartCall for CorrectTracking {
    const OPERATION: Operation = Operation::Tracking;
    type Request = ShipOrderLinesRequest;
    type Answer = ShipOrderLinesResponse;
}

impl ReadCall for ListSellerOrders {
    fn check(request: &Self::Request) -> Result<(), FieldFaults> {
        check_list_orders(request)
    }

    fn identity(request: &Self::Request) -> Vec<u8> {
        ListOrdersRequest { account: String::new(), ..request.clone() }.encode_to_vec()
    }

    fn with_correlation_id(answer: Self::Answer, correlation_id: String) -> Self::Answer {
        ListOrdersResponse { correlation_id, ..answer }
    }

    /// Leaves out a cursor that leads nowhere: the one that was sent, which Walmart's sandbox gives for ever, and one of a
    /// page without orders.
    fn completed(request: &Self::Request, mut answer: Self::Answer) -> Option<Self::Answer> {
        if let Some(list) = &mut answer.list {
            let is_empty = list.elements.as_ref().is_none_or(|elements| elements.order.is_empty());
            if let Some(meta) = &mut list.meta
                && (is_empty || meta.next_cursor == request.next_cursor)
            {
                meta.next_cursor.clear();
            }
        }
        Some(answer)
    }

    fn found_nothing() -> Option<Self::Answer> {
        Some(ListOrdersResponse { list: Some(OrderList::default()), ..ListOrdersResponse::default() })
    }

    /// The filters have only numbers, states and dates.
    fn personal(_: &Self::Request) -> PersonalTexts {
        PersonalTexts::default()
    }

    fn personal_of_answer(answer: &Self::Answer) -> PersonalTexts {
        PersonalTexts::of(&answer.list)
    }

    fn errors(answer: &mut Self::Answer) -> Vec<&mut WalmartError> {
        answer.list.iter_mut().flat_map(|list| &mut list.errors).collect()
    }
}

impl ReadCall for GetSellerOrder {
    fn check(request: &Self::Request) -> Result<(), FieldFaults> {
        check_get_order(request)
    }

    fn identity(request: &Self::Request) -> Vec<u8> {
        GetOrderRequest { account: String::new(), ..request.clone() }.encode_to_vec()
    }

    fn with_correlation_id(answer: Self::Answer, correlation_id: String) -> Self::Answer {
        GetOrderResponse { correlation_id, ..answer }
    }

    fn personal(_: &Self::Request) -> PersonalTexts {
        PersonalTexts::default()
    }

    fn personal_of_answer(answer: &Self::Answer) -> PersonalTexts {
        PersonalTexts::of(&answer.order)
    }

    fn errors(_: &mut Self::Answer) -> Vec<&mut WalmartError> {
        Vec::new()
    }
}

impl ReadCall for AcknowledgeOrder {
    fn check(request: &Self::Request) -> Result<(), FieldFaults> {
        check_acknowledgement(request)
    }

    fn identity(request: &Self::Request) -> Vec<u8> {
        request.purchase_order_id.clone().into_bytes()
    }

    fn with_correlation_id(answer: Self::Answer, correlation_id: String) -> Self::Answer {
        AcknowledgeOrderResponse { correlation_id, ..answer }
    }

    fn personal(_: &Self::Request) -> PersonalTexts {
        PersonalTexts::default()
    }

    fn personal_of_answer(answer: &Self::Answer) -> PersonalTexts {
        PersonalTexts::of(&answer.order)
    }

    fn errors(_: &mut Self::Answer) -> Vec<&mut WalmartError> {
        Vec::new()
    }
}

impl ReadCall for CorrectTracking {
    fn check(request: &Self::Request) -> Result<(), FieldFaults> {
        check_correction(request)
    }

    fn identity(request: &Self::Request) -> Vec<u8> {
        ShipOrderLinesRequest { account: String::new(), ..request.clone() }.encode_to_vec()
    }

    fn with_correlation_id(answer: Self::Answer, correlation_id: String) -> Self::Answer {
        ShipOrderLinesResponse { correlation_id, ..answer }
    }

    fn personal(request: &Self::Request) -> PersonalTexts {
        PersonalTexts::of(&request.order_shipment)
    }

    fn personal_of_answer(answer: &Self::Answer) -> PersonalTexts {
        PersonalTexts::of(&answer.order)
    }

    fn errors(_: &mut Self::Answer) -> Vec<&mut WalmartError> {
        Vec::new()
    }
}
