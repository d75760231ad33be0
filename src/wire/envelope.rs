//! The envelope of every message: `header` and `payload`, and in answers also `status` and `errors`.

use serde::{Deserialize, Serialize};

use super::lenient;
use crate::pb::{Header, WalmartError};

/// A request as sent to Walmart.
#[derive(Serialize)]
pub struct RequestEnvelope<'a, P> {
    /// Market and business unit.
    pub header: &'a Header,
    /// The message of the operation.
    pub payload: &'a P,
}

/// An answer as received from Walmart. Any part may be missing or null.
#[derive(Debug, Deserialize)]
#[serde(default, bound = "P: Deserialize<'de>")]
pub struct AnswerEnvelope<P> {
    /// "ACCEPTED", "SUCCESS", "PARTIAL_SUCCESS", "OK", "FAIL", ...
    #[serde(deserialize_with = "lenient::text")]
    pub status: String,
    /// The header of the request, or null.
    #[serde(deserialize_with = "lenient::object")]
    pub header: Option<Header>,
    /// A message or a list of messages, normalized to a list.
    #[serde(deserialize_with = "lenient::list")]
    pub payload: Vec<P>,
    /// Errors; may be present and empty on success.
    #[serde(deserialize_with = "lenient::errors")]
    pub errors: Vec<WalmartError>,
    /// Errors under the alternative key.
    #[serde(deserialize_with = "lenient::errors")]
    pub error: Vec<WalmartError>,
}

impl<P> Default for AnswerEnvelope<P> {
    fn default() -> Self {
        Self { status: String::new(), header: None, payload: Vec::new(), errors: Vec::new(), error: Vec::new() }
    }
}

impl<P> AnswerEnvelope<P> {
    /// Whether the status text reports a failure. The HTTP status may still be a success.
    pub fn failed(&self) -> bool {
        self.status.eq_ignore_ascii_case("FAIL") || self.status.eq_ignore_ascii_case("FAILED")
    }
}
