//! Reads of returns.

use prost::Message;

use super::ReadCall;
use crate::domain::ledger::evidence::LookupAnswer;
use crate::domain::operation::{Operation, WalmartCall};
use crate::domain::personal::PersonalTexts;
use crate::domain::rules::{FieldFaults, check_list_mcs_returns, check_list_returns};
use crate::pb::{ListMcsReturnsRequest, ListMcsReturnsResponse, ListReturnsRequest, ListReturnsResponse, WalmartError};

/// Lists returns of marketplace orders.
#[derive(Debug)]
pub struct ListMarketplaceReturns;

/// Lists returns of Multichannel orders.
#[derive(Debug)]
pub struct ListMcsReturnOrders;

/// Reads a return for the ledger, unread.
#[derive(Debug)]
pub struct LookUpReturn;

/// Reads returns of Multichannel orders for the ledger, unread.
#[derive(Debug)]
pub struct LookUpMcsReturns;

impl WalmartCall for ListMarketplaceReturns {
    const OPERATION: Operation = Operation::Returns;
    type Request = ListReturnsRequest;
    type Answer = ListReturnsResponse;
}

impl WalmartCall for ListMcsReturnOrders {
    const OPERATION: Operation = Operation::McsReturns;
    type Request = ListMcsReturnsRequest;
    type Answer = ListMcsReturnsResponse;
}

impl WalmartCall for LookUpReturn {
    const OPERATION: Operation = Operation::Returns;
    type Request = ListReturnsRequest;
    type Answer = LookupAnswer;
}

impl WalmartCall for LookUpMcsReturns {
    const OPERATION: Operation = Operation::McsReturns;
    type Request = ListMcsReturnsRequest;
    type Answer = LookupAnswer;
}

impl ReadCall for ListMarketplaceReturns {
    fn check(request: &Self::Request) -> Result<(), FieldFaults> {
        check_list_returns(request)
    }

    fn identity(request: &Self::Request) -> Vec<u8> {
        ListReturnsRequest { account: String::new(), ..request.clone() }.encode_to_vec()
    }

    fn with_correlation_id(answer: Self::Answer, correlation_id: String) -> Self::Answer {
        ListReturnsResponse { correlation_id, ..answer }
    }

    /// Leaves out a cursor that leads nowhere: the one that was sent, and one of a page without returns.
    fn completed(request: &Self::Request, mut answer: Self::Answer) -> Option<Self::Answer> {
        if let Some(meta) = &mut answer.meta
            && (answer.return_orders.is_empty() || meta.next_cursor == request.next_cursor)
        {
            meta.next_cursor.clear();
        }
        Some(answer)
    }

    fn found_nothing() -> Option<Self::Answer> {
        Some(ListReturnsResponse::default())
    }

    /// The filters have only numbers, states and dates.
    fn personal(_: &Self::Request) -> PersonalTexts {
        PersonalTexts::default()
    }

    fn personal_of_answer(answer: &Self::Answer) -> PersonalTexts {
        PersonalTexts::of(&answer.return_orders)
    }

    fn errors(_: &mut Self::Answer) -> Vec<&mut WalmartError> {
        Vec::new()
    }
}

impl ReadCall for ListMcsReturnOrders {
    fn check(request: &Self::Request) -> Result<(), FieldFaults> {
        check_list_mcs_returns(request)
    }

    fn identity(request: &Self::Request) -> Vec<u8> {
        ListMcsReturnsRequest { account: String::new(), ..request.clone() }.encode_to_vec()
    }

    fn with_correlation_id(answer: Self::Answer, correlation_id: String) -> Self::Answer {
        ListMcsReturnsResponse { correlation_id, ..answer }
    }

    /// Keeps the returns of the ids that were asked for. Walmart is known to pass over filters that it does not know, and
    /// would show everything.
    fn completed(request: &Self::Request, mut answer: Self::Answer) -> Option<Self::Answer> {
        let is = |wanted: &str, shown: &str| wanted.is_empty() || wanted == shown;
        answer.payload.retain(|order| {
            is(&request.seller_order_id, &order.seller_order_id) && is(&request.return_order_id, &order.return_order_id)
        });
        let by_id = !request.seller_order_id.is_empty() || !request.return_order_id.is_empty();
        (!by_id || !answer.payload.is_empty()).then_some(answer)
    }

    fn personal(_: &Self::Request) -> PersonalTexts {
        PersonalTexts::default()
    }

    fn personal_of_answer(answer: &Self::Answer) -> PersonalTexts {
        PersonalTexts::of(&answer.payload)
    }

    fn errors(answer: &mut Self::Answer) -> Vec<&mut WalmartError> {
        answer.errors.iter_mut().collect()
    }
}
