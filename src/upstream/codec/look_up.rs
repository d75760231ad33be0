//! The ledger's look-ups, first of all `GET .../orders-fulfillments/status`. HTTP status and body are passed on undecoded,
//! because the ledger judges the answer as evidence.

use bytes::Bytes;

use super::{AnswerError, OperationCodec, RestRequest};
use crate::domain::ledger::evidence::LookupAnswer;
use crate::domain::reads::{LookUp, SearchOrders};
use crate::pb::HeaderAttributes;
use crate::wire::error;

/// Error codes about the call and not about the order, with any HTTP status.
const OF_THE_CALL: [&str; 2] = ["REQUEST_THRESHOLD_VIOLATED", "INVALID_TOKEN"];

/// The reading that all look-ups of the ledger share.
pub(crate) struct LookUpCodec;

impl LookUpCodec {
    /// Accepts a 404 like a 200. Excluded are answers about the call: credentials, rate limits, locks, overload and
    /// outages. The layers handle such answers as for any other call.
    pub(crate) fn is_answer(status: u16, body: &[u8]) -> bool {
        match status {
            401 | 403 | 408 | 423 | 429 | 500.. => false,
            _ => !error::read(body).errors.iter().any(|e| OF_THE_CALL.iter().any(|code| e.code.starts_with(code))),
        }
    }

    pub(crate) fn read(status: u16, body: &[u8]) -> LookupAnswer {
        LookupAnswer { http_status: status, body: Bytes::copy_from_slice(body) }
    }
}

impl OperationCodec for LookUp {
    const PATH: &'static str = SearchOrders::PATH;

    fn build(request: &Self::Request, account: &HeaderAttributes) -> RestRequest {
        SearchOrders::build(request, account)
    }

    fn is_answer(status: u16, body: &[u8]) -> bool {
        LookUpCodec::is_answer(status, body)
    }

    fn read(status: u16, body: &[u8]) -> Result<Self::Answer, AnswerError> {
        Ok(LookUpCodec::read(status, body))
    }
}
