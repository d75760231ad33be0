//! `POST .../fetchOrderPromiseOptions`

use super::{Exchange, Unusable, post, read_envelope};
use crate::domain::operation::Operation;
use crate::pb::{self, HeaderAttributes};
use crate::upstream::call::Request;

/// Fetches a delivery promise.
#[derive(Debug)]
pub struct FetchPromise;

impl Exchange for FetchPromise {
    const OPERATION: Operation = Operation::Promise;
    type Request = pb::FetchDeliveryPromiseRequest;
    type Answer = pb::FetchDeliveryPromiseResponse;

    fn build(request: &Self::Request, account: &HeaderAttributes) -> Request {
        post(Self::OPERATION, request.header.as_ref(), &request.payload, account)
    }

    /// 206 and "PARTIAL_SUCCESS" are ordinary answers. Older versions say "ACCEPTED".
    fn read(_status: u16, body: &[u8]) -> Result<Self::Answer, Unusable> {
        let answer = read_envelope(body, &["SUCCESS", "PARTIAL_SUCCESS", "ACCEPTED", "OK", "PARTIAL"])?;
        let payload: pb::Promise = answer.payload.into_iter().next().ok_or(Unusable::Unreadable)?;
        Ok(pb::FetchDeliveryPromiseResponse {
            status: answer.status,
            header: answer.header,
            payload: Some(payload),
            errors: answer.errors,
            ..Default::default()
        })
    }
}
