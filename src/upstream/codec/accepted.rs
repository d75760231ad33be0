//! `POST .../orders-fulfillments` and `POST .../orders-fulfillments/cancel`: Walmart accepts, and works on it later.

use super::{AnswerError, OperationCodec, post, read_envelope};
use crate::domain::mutations::{Accepted, CancelOrder, CreateOrder};
use crate::domain::operation::WalmartCall;
use crate::pb::{self, HeaderAttributes};
use crate::upstream::call::RestRequest;

impl OperationCodec for CreateOrder {
    fn build(request: &Self::Request, account: &HeaderAttributes) -> RestRequest {
        post(Self::OPERATION, request.header.as_ref(), &request.payload, account)
    }

    fn read(_status: u16, body: &[u8]) -> Result<Self::Answer, AnswerError> {
        read_acceptance(body)
    }
}

impl OperationCodec for CancelOrder {
    fn build(request: &Self::Request, account: &HeaderAttributes) -> RestRequest {
        post(Self::OPERATION, request.header.as_ref(), &request.payload, account)
    }

    fn read(_status: u16, body: &[u8]) -> Result<Self::Answer, AnswerError> {
        read_acceptance(body)
    }
}

/// An acceptance without Walmart's id is no proof: field reports tell of 2xx answers that lack it. Errors beside an id are
/// told with it.
fn read_acceptance(body: &[u8]) -> Result<Accepted, AnswerError> {
    let answer = read_envelope::<pb::Acceptance>(body, &["ACCEPTED", "OK", "CREATED", "SUCCESS"])?;
    let acceptance = answer.payload.into_iter().find(|a| !a.request_id.is_empty()).ok_or(AnswerError::Unreadable)?;
    let status = if answer.status.is_empty() { "ACCEPTED".to_owned() } else { answer.status };
    Ok(AcceptedAnswer { status, header: answer.header, acceptance, errors: answer.errors })
}
