//! `POST .../orders-fulfillments` and `POST .../orders-fulfillments/cancel`: Walmart accepts the request and
//! processes later.

use super::{AnswerError, OperationCodec, RestRequest, post, read_envelope, shown_as};
use crate::domain::mutations::{AcceptedAnswer, CancelOrder, CreateOrder};
use crate::pb::{self, HeaderAttributes};

impl OperationCodec for CreateOrder {
    const PATH: &'static str = "/v3/fulfillment/orders-fulfillments";
    shown_as!(CreateOrderResponse);

    fn build(request: &Self::Request, account: &HeaderAttributes) -> RestRequest {
        post(Self::PATH, request.header.as_ref(), &request.payload, account)
    }

    fn read(_status: u16, body: &[u8]) -> Result<Self::Answer, AnswerError> {
        read_acceptance(body)
    }
}

impl OperationCodec for CancelOrder {
    const PATH: &'static str = "/v3/fulfillment/orders-fulfillments/cancel";
    shown_as!(CancelOrderResponse);

    fn build(request: &Self::Request, account: &HeaderAttributes) -> RestRequest {
        post(Self::PATH, request.header.as_ref(), &request.payload, account)
    }

    fn read(_status: u16, body: &[u8]) -> Result<Self::Answer, AnswerError> {
        read_acceptance(body)
    }
}

/// Reads an acceptance. A 2xx without Walmart's request id is unreadable: field reports show such answers, and an
/// acceptance without an id proves nothing. Errors beside an id are passed on.
fn read_acceptance(body: &[u8]) -> Result<AcceptedAnswer, AnswerError> {
    let answer = read_envelope::<pb::Acceptance>(body, &["ACCEPTED", "OK", "CREATED", "SUCCESS"])?;
    let acceptance = answer.payload.into_iter().find(|a| !a.request_id.is_empty()).ok_or(AnswerError::Unreadable)?;
    let status = if answer.status.is_empty() { "ACCEPTED".to_owned() } else { answer.status };
    Ok(AcceptedAnswer { status, header: answer.header, acceptance, errors: answer.errors, ..Default::default() })
}
