//! `POST .../orders-fulfillments` and `POST .../orders-fulfillments/cancel`: Walmart accepts, and works on it later.

use super::{Exchange, Unusable, post, read_envelope};
use crate::domain::mutations::{AcceptedAnswer, CancelOrder, CreateOrder};
use crate::domain::operation::WalmartCall;
use crate::pb::{self, HeaderAttributes};
use crate::upstream::call::Request;

impl Exchange for CreateOrder {
    fn build(request: &Self::Request, account: &HeaderAttributes) -> Request {
        post(Self::OPERATION, request.header.as_ref(), &request.payload, account)
    }

    fn read(_status: u16, body: &[u8]) -> Result<Self::Answer, Unusable> {
        read_acceptance(body)
    }
}

impl Exchange for CancelOrder {
    fn build(request: &Self::Request, account: &HeaderAttributes) -> Request {
        post(Self::OPERATION, request.header.as_ref(), &request.payload, account)
    }

    fn read(_status: u16, body: &[u8]) -> Result<Self::Answer, Unusable> {
        read_acceptance(body)
    }
}

/// An acceptance without Walmart's id is no proof: field reports tell of 2xx answers that lack it. Errors beside an id are
/// told with it.
fn read_acceptance(body: &[u8]) -> Result<AcceptedAnswer, Unusable> {
    let answer = read_envelope::<pb::Acceptance>(body, &["ACCEPTED", "OK", "CREATED", "SUCCESS"])?;
    let acceptance = answer.payload.into_iter().find(|a| !a.request_id.is_empty()).ok_or(Unusable::Unreadable)?;
    let status = if answer.status.is_empty() { "ACCEPTED".to_owned() } else { answer.status };
    Ok(AcceptedAnswer { status, header: answer.header, acceptance, errors: answer.errors })
}
