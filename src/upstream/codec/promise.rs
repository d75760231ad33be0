//! `POST .../fetchOrderPromiseOptions`: delivery offers for a cart.

use super::{AnswerError, OperationCodec, RestRequest, post, read_envelope, shown_as};
use crate::domain::reads::FetchPromise;
use crate::pb::{self, HeaderAttributes};
use crate::wire::envelope::AnswerEnvelope;
use crate::wire::error::{ErrorBody, THRESHOLD_VIOLATED};

impl OperationCodec for FetchPromise {
    const PATH: &'static str = "/v3/fulfillment/orders-fulfillments/fetchOrderPromiseOptions";
    shown_as!(FetchDeliveryPromiseResponse);

    fn build(request: &Self::Request, account: &HeaderAttributes) -> RestRequest {
        post(Self::PATH, request.header.as_ref(), &request.payload, account)
    }

    /// Accepts 206 and "PARTIAL_SUCCESS", also with errors alone, which means no offers. Older API versions answer
    /// "ACCEPTED".
    fn read(status: u16, body: &[u8]) -> Result<Self::Answer, AnswerError> {
        let answer = match read_envelope(body, &["SUCCESS", "PARTIAL_SUCCESS", "ACCEPTED", "OK", "PARTIAL"]) {
            Err(AnswerError::Failed(errors)) if status == 206 && is_partial(body, &errors) => {
                let (status, errors) = (PARTIAL.to_owned(), errors.errors);
                return Ok(pb::FetchDeliveryPromiseResponse { status, errors, ..Default::default() });
            }
            other => other?,
        };
        let payload: Option<pb::Promise> = answer.payload.into_iter().next();
        let partial = status == 206 || [PARTIAL, "PARTIAL"].iter().any(|s| answer.status.eq_ignore_ascii_case(s));
        if payload.is_none() && (answer.errors.is_empty() || !partial) {
            return Err(AnswerError::Unreadable);
        }
        Ok(pb::FetchDeliveryPromiseResponse {
            status: answer.status,
            header: answer.header,
            payload,
            errors: answer.errors,
            ..Default::default()
        })
    }
}

/// The status of a partial answer.
const PARTIAL: &str = "PARTIAL_SUCCESS";

/// Whether the body has only errors, without the status FAIL and without an error for too many calls.
fn is_partial(body: &[u8], errors: &ErrorBody) -> bool {
    let says_fail = serde_json::from_slice::<AnswerEnvelope<pb::Promise>>(body).is_ok_and(|answer| answer.failed());
    !says_fail && !errors.errors.iter().any(|error| error.code.starts_with(THRESHOLD_VIOLATED))
}
