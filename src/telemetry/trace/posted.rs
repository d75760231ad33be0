//! The spans of HTTP requests that are posted to the gateway: webhooks.

use std::time::SystemTime;

use http::StatusCode;
use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanBuilder, SpanKind};

use super::TraceContext;
use crate::telemetry::semconv;

/// Longest path in a span, in bytes; a path comes from a stranger.
const MAX_PATH: usize = 256;

/// The trace of a request whose sender may be a stranger.
///
/// The sender's wish to have the request recorded counts only for a request that was accepted: otherwise strangers would
/// fill the collector. The span is therefore built when the request ends. What is not accepted is recorded by the
/// gateway's own rule.
#[derive(Debug)]
pub(crate) struct PostSpan {
    pub(super) context: TraceContext,
    pub(super) parent: Option<TraceContext>,
    /// Whether the request is recorded without the sender's wish.
    pub(super) by_rule: bool,
}

/// An HTTP request and its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HttpExchange<'a> {
    /// A method of the HTTP specifications, or `_OTHER`.
    pub(crate) method: &'static str,
    /// The path with names in place of values.
    pub(crate) route: &'static str,
    /// The path.
    pub(crate) path: &'a str,
    /// The status of the answer; `None` when the sender left before.
    pub(crate) status: Option<StatusCode>,
    /// The time of the request, for the span.
    pub(crate) started: SystemTime,
}

impl PostSpan {
    /// The position of the request in its trace.
    pub(crate) fn context(&self) -> &TraceContext {
        &self.context
    }

    /// Whether the request is recorded after this answer.
    pub(super) fn is_recorded(&self, status: Option<StatusCode>) -> bool {
        self.context.sampled && (self.by_rule || status.is_some_and(|status| status.is_success()))
    }
}

/// The span of a request.
pub(super) fn server_span(exchange: &HttpExchange<'_>) -> SpanBuilder {
    let HttpExchange { method, route, path, status, started } = *exchange;
    let failed = status.filter(StatusCode::is_server_error);
    let path = &path[..path.floor_char_boundary(MAX_PATH)];
    let mut attributes = vec![
        KeyValue::new(semconv::HTTP_REQUEST_METHOD, method),
        KeyValue::new(semconv::HTTP_ROUTE, route),
        KeyValue::new(semconv::URL_SCHEME, semconv::SCHEME_HTTP),
        KeyValue::new(semconv::URL_PATH, path.to_owned()),
    ];
    if let Some(status) = status {
        attributes.push(KeyValue::new(semconv::HTTP_RESPONSE_STATUS_CODE, i64::from(status.as_u16())));
    }
    if let Some(status) = failed {
        attributes.push(KeyValue::new(semconv::ERROR_TYPE, status.as_str().to_owned()));
    }
    // The conventions name a span of an unknown method `HTTP`.
    let named = if method == semconv::OTHER { "HTTP" } else { method };
    SpanBuilder::from_name(format!("{named} {route}"))
        .with_kind(SpanKind::Server)
        .with_start_time(started)
        .with_attributes(attributes)
}
