//! The envelope around every message: `header` and `payload`; in answers `status` and `errors` too.

use serde::{Deserialize, Serialize};

use super::lenient;
use crate::pb::{Header, WalmartError};

/// A request as Walmart gets it.
#[derive(Serialize)]
pub struct RequestEnvelope<'a, P> {
    /// Market and business unit.
    pub header: &'a Header,
    /// The message.
    pub payload: &'a P,
}

/// An answer as Walmart sends it. Every part may be missing or null.
#[derive(Debug, Deserialize)]
#[serde(default, bound = "P: Deserialize<'de>")]
pub struct AnswerEnvelope<P> {
    /// "ACCEPTED", "SUCCESS", "PARTIAL_SUCCESS", "OK", "FAIL", ...
    #[serde(deserialize_with = "lenient::text")]
    pub status: String,
    /// Repeats the request's header, or is null.
    #[serde(deserialize_with = "lenient::object")]
    pub header: Option<Header>,
    /// One message or a list of them; the reader of the operation knows which it wants.
    #[serde(deserialize_with = "lenient::list")]
    pub payload: Vec<P>,
    /// May be there, and empty, on success.
    #[serde(deserialize_with = "lenient::list")]
    pub errors: Vec<WalmartError>,
    /// The other name of the same.
    #[serde(deserialize_with = "lenient::list")]
    pub error: Vec<WalmartError>,
}

impl<P> Default for AnswerEnvelope<P> {
    fn default() -> Self {
        Self { status: String::new(), header: None, payload: Vec::new(), errors: Vec::new(), error: Vec::new() }
    }
}

impl<P> AnswerEnvelope<P> {
    /// Whether the status text says that the call failed, whatever the HTTP status says.
    pub fn failed(&self) -> bool {
        self.status.eq_ignore_ascii_case("FAIL") || self.status.eq_ignore_ascii_case("FAILED")
    }
}
