//! Returns of marketplace orders (`/v3/returns`) and of Multichannel orders (`/v3/fulfillment/return-orders`).

use http::Method;

use super::seller_orders::with_cursor;
use super::{
    AnswerError, LookUpCodec, OperationCodec, RestRequest, get, has_errors, in_path, json, post, read_envelope,
    shown_as,
};
use crate::domain::ledger::evidence::LookupAnswer;
use crate::domain::mutations::{AcceptedAnswer, CancelMcsReturn, CreateMcsReturn, RefundReturn, ShownObject};
use crate::domain::reads::{ListMarketplaceReturns, ListMcsReturnOrders, LookUpMcsReturns, LookUpReturn};
use crate::pb::{self, HeaderAttributes, McsReturnOrder};
use crate::wire::watch;

/// Statuses of an accepted answer.
const GOOD: [&str; 5] = ["OK", "SUCCESS", "ACCEPTED", "CREATED", "PARTIAL_SUCCESS"];

impl OperationCodec for ListMarketplaceReturns {
    const PATH: &'static str = "/v3/returns";
    shown_as!(ListReturnsResponse);

    fn build(request: &Self::Request, _account: &HeaderAttributes) -> RestRequest {
        let path = Self::PATH;
        if !request.next_cursor.is_empty() {
            return get(with_cursor(path, &request.next_cursor));
        }
        let limit = if request.limit == 0 { String::new() } else { request.limit.to_string() };
        get(super::with_query(
            path,
            &[
                ("returnOrderId", &request.return_order_id),
                ("customerOrderId", &request.customer_order_id),
                ("status", &request.status),
                ("returnType", &request.return_type),
                ("returnCreationStartDate", &request.return_creation_start_date),
                ("returnCreationEndDate", &request.return_creation_end_date),
                ("returnLastModifiedStartDate", &request.return_last_modified_start_date),
                ("returnLastModifiedEndDate", &request.return_last_modified_end_date),
                ("limit", &limit),
                ("replacementInfo", if request.replacement_info { "true" } else { "" }),
                ("isWFSEnabled", if request.is_wfs_enabled { "Y" } else { "" }),
            ],
        ))
    }

    fn read(_status: u16, body: &[u8]) -> Result<Self::Answer, AnswerError> {
        let answer: pb::ListReturnsResponse = watch::from_slice(body).unwrap_or_default();
        match (&answer.meta, answer.return_orders.is_empty()) {
            (None, true) => Err(has_errors(body)),
            _ => Ok(answer),
        }
    }
}

impl OperationCodec for LookUpReturn {
    const PATH: &'static str = ListMarketplaceReturns::PATH;

    fn build(request: &Self::Request, account: &HeaderAttributes) -> RestRequest {
        ListMarketplaceReturns::build(request, account)
    }

    fn is_answer(status: u16, body: &[u8]) -> bool {
        LookUpCodec::is_answer(status, body)
    }

    fn read(status: u16, body: &[u8]) -> Result<LookupAnswer, AnswerError> {
        Ok(LookUpCodec::read(status, body))
    }
}

impl OperationCodec for RefundReturn {
    const PATH: &'static str = "/v3/returns/{returnOrderId}/refund";
    shown_as!(RefundReturnResponse);

    fn build(request: &Self::Request, _account: &HeaderAttributes) -> RestRequest {
        json(Method::POST, in_path(Self::PATH, &request.return_order_id), request)
    }

    /// Walmart repeats the ids and lines of the request.
    fn read(_status: u16, body: &[u8]) -> Result<Self::Answer, AnswerError> {
        let answer: pb::RefundReturnResponse = watch::from_slice(body).unwrap_or_default();
        if answer.return_order_id.is_empty() && answer.refund_lines.is_empty() {
            return Err(has_errors(body));
        }
        Ok(AcceptedAnswer { status: "ACCEPTED".into(), ..AcceptedAnswer::default() })
    }
}

impl OperationCodec for ListMcsReturnOrders {
    const PATH: &'static str = CreateMcsReturn::PATH;
    shown_as!(ListMcsReturnsResponse);

    fn build(request: &Self::Request, _account: &HeaderAttributes) -> RestRequest {
        let number = |n: i32| if n == 0 { String::new() } else { n.to_string() };
        get(super::with_query(
            Self::PATH,
            &[
                ("sellerOrderId", &request.seller_order_id),
                ("returnOrderId", &request.return_order_id),
                ("fromOrderDate", &request.from_order_date),
                ("toOrderDate", &request.to_order_date),
                ("limit", &number(request.limit)),
                ("offset", &number(request.offset)),
            ],
        ))
    }

    fn read(_status: u16, body: &[u8]) -> Result<Self::Answer, AnswerError> {
        let answer = read_envelope(body, &GOOD)?;
        if answer.status.is_empty() && answer.payload.is_empty() {
            return Err(AnswerError::Unreadable);
        }
        Ok(pb::ListMcsReturnsResponse {
            status: if answer.status.is_empty() { "OK".to_owned() } else { answer.status },
            header: answer.header,
            payload: answer.payload,
            errors: answer.errors,
            ..Default::default()
        })
    }
}

impl OperationCodec for LookUpMcsReturns {
    const PATH: &'static str = CreateMcsReturn::PATH;

    fn build(request: &Self::Request, account: &HeaderAttributes) -> RestRequest {
        ListMcsReturnOrders::build(request, account)
    }

    fn is_answer(status: u16, body: &[u8]) -> bool {
        LookUpCodec::is_answer(status, body)
    }

    fn read(status: u16, body: &[u8]) -> Result<LookupAnswer, AnswerError> {
        Ok(LookUpCodec::read(status, body))
    }
}

impl OperationCodec for CreateMcsReturn {
    const PATH: &'static str = "/v3/fulfillment/return-orders";
    shown_as!(CreateMcsReturnResponse);

    fn build(request: &Self::Request, account: &HeaderAttributes) -> RestRequest {
        post(Self::PATH, request.header.as_ref(), &request.payload, account)
    }

    /// An acceptance has Walmart's number of the return.
    fn read(_status: u16, body: &[u8]) -> Result<Self::Answer, AnswerError> {
        let answer = accepted(body)?;
        match &answer.shown {
            ShownObject::McsReturn(order) if !order.return_order_id.is_empty() => Ok(answer),
            _ => Err(AnswerError::Unreadable),
        }
    }
}

impl OperationCodec for CancelMcsReturn {
    const PATH: &'static str = "/v3/fulfillment/return-orders/{returnOrderId}/cancel";
    shown_as!(CancelMcsReturnResponse);

    fn build(request: &Self::Request, account: &HeaderAttributes) -> RestRequest {
        let target = in_path(Self::PATH, &request.return_order_id);
        let payload = pb::McsReturnCancellation {};
        post(target, request.header.as_ref(), &payload, account)
    }

    fn read(_status: u16, body: &[u8]) -> Result<Self::Answer, AnswerError> {
        accepted(body)
    }
}

fn accepted(body: &[u8]) -> Result<AcceptedAnswer, AnswerError> {
    let answer = read_envelope::<McsReturnOrder>(body, &GOOD)?;
    let shown = answer.payload.into_iter().next().map(|order| ShownObject::McsReturn(Box::new(order)));
    let status = if answer.status.is_empty() { "OK".to_owned() } else { answer.status };
    let (header, errors) = (answer.header, answer.errors);
    Ok(AcceptedAnswer { status, header, errors, shown: shown.unwrap_or_default(), ..AcceptedAnswer::default() })
}
