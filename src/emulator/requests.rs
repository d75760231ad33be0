//! A request received by the emulator, and its outcome.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::HeaderMap;
use jiff::Timestamp;
use serde_json::json;

use super::calls::CallEffect;

/// Headers whose values are replaced.
pub(super) const SECRET: [&str; 4] = ["authorization", "proxy-authorization", "wm_sec.access_token", "cookie"];

/// A request as received, before any check.
#[derive(Debug)]
pub(crate) struct ReceivedRequest {
    pub(crate) time: Timestamp,
    /// The name of the call, such as `token` or `create`, or `unknown`.
    pub(crate) operation: &'static str,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) order_number: String,
    pub(crate) correlation_id: String,
    /// A JSON object as text, to save memory.
    pub(crate) headers: String,
    pub(crate) body: Bytes,
}

impl ReceivedRequest {
    pub(super) fn size(&self) -> usize {
        self.body.len() + self.headers.len() + self.path.len()
    }
}

/// The outcome of a request.
#[derive(Debug)]
pub(crate) struct RequestOutcome {
    pub(crate) account: Option<String>,
    pub(crate) effect: CallEffect,
    /// The rule or magic value that hit the call.
    pub(crate) disturbance: Option<String>,
    /// `None` when the connection was dropped.
    pub(crate) status: Option<u16>,
}

/// The filter of `GET requests` and `GET history`.
#[derive(Debug, Default)]
pub(crate) struct RequestFilter {
    pub(crate) operation: Option<String>,
    pub(crate) order_number: Option<String>,
    pub(crate) correlation_id: Option<String>,
}

impl RequestFilter {
    /// Whether a request matches.
    pub(crate) fn matches(&self, operation: &str, order_number: &str, correlation_id: &str) -> bool {
        let is = |wanted: &Option<String>, actual: &str| wanted.as_deref().is_none_or(|wanted| wanted == actual);
        is(&self.operation, operation)
            && is(&self.order_number, order_number)
            && is(&self.correlation_id, correlation_id)
    }
}

/// Headers by lower-case name: secrets replaced, repeated headers joined.
pub(crate) fn harmless(headers: &HeaderMap) -> String {
    let mut all: BTreeMap<&str, String> = BTreeMap::new();
    for (name, value) in headers {
        let text = if SECRET.contains(&name.as_str()) {
            "[redacted]".into()
        } else {
            String::from_utf8_lossy(value.as_bytes())
        };
        let entry = all.entry(name.as_str()).or_default();
        if !entry.is_empty() {
            entry.push_str(", ");
        }
        entry.push_str(&text);
    }
    json!(all).to_string()
}
