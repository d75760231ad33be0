//! Pieces of work that are recorded, or not: either way they have their ids.

use http::Uri;
use opentelemetry::KeyValue;
use opentelemetry::trace::{Span as _, Status};
use opentelemetry_sdk::trace::Span;
use tonic::Code;
use uuid::Uuid;

use super::TraceContext;
use crate::telemetry::semconv;

/// One attempt upstream, as its span describes it. No ids, no query, no personal data.
#[derive(Clone, Copy, Debug)]
pub struct ClientRequest<'a> {
    /// `GET`, `POST`, ...
    pub method: &'static str,
    /// The path with names in place of values, such as `/v3/orders/{id}`.
    pub template: &'static str,
    /// Host of the upstream.
    pub server_address: &'a str,
    /// Its port.
    pub server_port: u16,
    /// Where it goes, as far as that holds no ids.
    pub url: Option<&'a Uri>,
    /// The `WM_QOS.CORRELATION_ID` that is sent.
    pub correlation_id: Uuid,
    /// 0 for the first attempt, 1 for the first repeat.
    pub resend_count: u32,
}

/// The span of an RPC. Dropped without an end it counts as cancelled by the caller.
#[derive(Debug)]
pub struct ServerSpan {
    pub(super) context: TraceContext,
    pub(super) span: Option<Box<Span>>,
}

impl ServerSpan {
    /// Where the RPC stands in its trace.
    pub fn context(&self) -> &TraceContext {
        &self.context
    }

    /// Whether attributes are kept.
    pub fn is_recording(&self) -> bool {
        self.span.is_some()
    }

    /// Adds an attribute; a name of `semconv`.
    pub(crate) fn set(&mut self, name: &'static str, value: impl Into<opentelemetry::Value>) {
        if let Some(span) = self.span.as_mut() {
            span.set_attribute(KeyValue::new(name, value));
        }
    }

    /// Ends it with the answer's code. Only what is the server's fault marks the span as failed.
    pub fn end(mut self, code: Code) {
        let Some(span) = self.span.as_mut() else { return };
        let name = code_name(code);
        span.set_attribute(KeyValue::new(semconv::RPC_RESPONSE_STATUS_CODE, name));
        if code != Code::Ok {
            span.set_attribute(KeyValue::new(semconv::ERROR_TYPE, name));
        }
        if is_server_fault(code) {
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

/// The span of one attempt upstream. Dropped without an end it counts as given up.
#[derive(Debug)]
pub struct ClientSpan {
    pub(super) context: TraceContext,
    pub(super) span: Option<Box<Span>>,
}

impl ClientSpan {
    /// What the upstream is told: this attempt's own id below the RPC's.
    pub fn context(&self) -> &TraceContext {
        &self.context
    }

    /// Ends it. `status` is the HTTP status, absent when no answer came; `error` a short fixed word for what went wrong
    /// below HTTP, such as `timeout`.
    pub fn end(mut self, status: Option<u16>, error: Option<&'static str>) {
        let Some(span) = self.span.as_mut() else { return };
        if let Some(status) = status {
            span.set_attribute(KeyValue::new(semconv::HTTP_RESPONSE_STATUS_CODE, i64::from(status)));
        }
        let failed = status.filter(|s| *s >= 400);
        match (error, failed) {
            (Some(error), _) => span.set_attribute(KeyValue::new(semconv::ERROR_TYPE, error)),
            (None, Some(status)) => span.set_attribute(KeyValue::new(semconv::ERROR_TYPE, status.to_string())),
            (None, None) => {}
        }
        if error.is_some() || failed.is_some() {
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

/// The span of work that no caller waits for, the first of its trace. It ends when it is dropped.
#[derive(Debug)]
pub struct BackgroundSpan {
    pub(super) context: TraceContext,
    pub(super) span: Option<Box<Span>>,
}

impl BackgroundSpan {
    /// Where the work stands in its trace.
    pub fn context(&self) -> &TraceContext {
        &self.context
    }

    /// Adds an attribute, if attributes are kept; a name of `semconv`.
    pub(crate) fn set(&mut self, name: &'static str, value: impl FnOnce() -> opentelemetry::Value) {
        if let Some(span) = self.span.as_mut() {
            span.set_attribute(KeyValue::new(name, value()));
        }
    }

    /// It did not come to its end. `error` is a short fixed word.
    pub fn failed(&mut self, error: &'static str) {
        if let Some(span) = self.span.as_mut() {
            span.set_attribute(KeyValue::new(semconv::ERROR_TYPE, error));
            span.set_status(Status::error(""));
        }
    }
}

impl Drop for ServerSpan {
    fn drop(&mut self) {
        abandon(self.span.as_mut());
    }
}

impl Drop for ClientSpan {
    fn drop(&mut self) {
        abandon(self.span.as_mut());
    }
}

/// A span that was ended ignores this.
fn abandon(span: Option<&mut Box<Span>>) {
    if let Some(span) = span {
        span.set_attribute(KeyValue::new(semconv::ERROR_TYPE, "cancelled"));
        span.end();
    }
}

/// The code as gRPC spells it.
pub(crate) const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// Codes that the conventions count as the server's fault.
pub(crate) const fn is_server_fault(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}
