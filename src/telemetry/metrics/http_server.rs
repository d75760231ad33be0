//! Metrics of HTTP requests, as the semantic conventions have them.

use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabel as _, EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};

use super::{Durations, durations, observe};
use crate::telemetry::semconv;
use crate::telemetry::trace::TraceContext;

/// Requests to the webhook paths. Probes and scrapes are not measured.
pub struct HttpServerMetrics {
    requests: Family<HttpLabels, Durations, fn() -> Durations>,
}

impl HttpServerMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let requests = Family::<HttpLabels, Durations, _>::new_with_constructor(durations as fn() -> Durations);
        let name = semconv::flat(semconv::HTTP_SERVER_REQUEST_DURATION);
        let help = "Duration of requests to the webhook paths, authentic or not, from their head to the answer";
        r.register_with_unit(name, help, Unit::Seconds, requests.clone());
        Self { requests }
    }

    /// Records a request. A recorded trace becomes the exemplar of the bucket.
    pub fn observe(&self, labels: &HttpLabels, took: Duration, trace: &TraceContext) {
        observe(&self.requests.get_or_create_owned(labels), took, trace);
    }
}

/// The attributes of `http.server.request.duration`. Only a server's fault has an `error.type`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpLabels {
    /// A method of the HTTP specifications, or `_OTHER`.
    pub method: &'static str,
    /// The path with names in place of values.
    pub route: &'static str,
    /// The status of the answer; `None` when the sender left before.
    pub status: Option<u16>,
}

impl EncodeLabelSet for HttpLabels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        ("http_request_method", self.method).encode(encoder.encode_label())?;
        ("url_scheme", semconv::SCHEME_HTTP).encode(encoder.encode_label())?;
        ("http_route", self.route).encode(encoder.encode_label())?;
        let Some(status) = self.status else { return Ok(()) };
        let text = status.to_string();
        ("http_response_status_code", text.as_str()).encode(encoder.encode_label())?;
        match status >= 500 {
            true => ("error_type", text.as_str()).encode(encoder.encode_label()),
            false => Ok(()),
        }
    }
}
