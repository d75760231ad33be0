//! Walmart's envelope around a payload, as plainly as serde allows: what a handler without a gateway would write.

use order_gateway::pb::{Header, WalmartError};
use serde::{Deserialize, Serialize};

/// A request on its way to Walmart.
#[derive(Serialize)]
pub(crate) struct Question<'a, P> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<&'a Header>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<&'a P>,
}

/// Walmart's answer to it. Also reads the sample requests, which have no status.
#[derive(Deserialize)]
pub(crate) struct Answer<P> {
    #[serde(default)]
    pub status: String,
    pub header: Option<Header>,
    pub payload: Option<P>,
    #[serde(default)]
    pub errors: Vec<WalmartError>,
}
