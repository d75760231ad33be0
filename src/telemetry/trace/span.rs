//! Spans, recorded or not. An unrecorded span still has ids.

use http::Uri;
use opentelemetry::KeyValue;
use opentelemetry::trace::{Span as _, Status};
use opentelemetry_sdk::trace::Span;
use tonic::Code;
use uuid::Uuid;

use super::TraceContext;
use crate::telemetry::semconv;

/// The span attributes of an upstream attempt. Contains no ids, no query and no personal data.
#[derive(Clone, Copy, Debug)]
pub struct ClientRequest<'a> {
    /// HTTP method, such as `GET` or `POST`.
    pub method: &'static str,
    /// The path with names in place of values, such as `/v3/orders/{id}`.
    pub template: &'static str,
    /// Host of the upstream.
    pub server_address: &'a str,
    /// Port of the upstream.
    pub server_port: u16,
    /// The URL, if free of ids.
    pub url: Option<&'a Uri>,
    /// The `WM_QOS.CORRELATION_ID` of the request.
    pub correlation_id: Uuid,
    /// 0 for the first attempt, 1 for the first repeat.
    pub resend_count: u32,
}

/// The span of an RPC. Dropping without [`end`](Self::end) records a cancellation by the caller, which is no error.
#[derive(Debug)]
pub struct ServerSpan {
    pub(super) context: TraceContext,
    pub(super) span: Option<Box<Span>>,
}

impl ServerSpan {
    /// The position of the RPC in the trace.
    pub fn context(&self) -> &TraceContext {
        &self.context
    }

    /// Whether attributes are recorded.
    pub fn is_recording(&self) -> bool {
        self.span.is_some()
    }

    /// Adds an attribute named in `semconv`.
    pub(crate) fn set(&mut self, name: &'static str, value: impl Into<opentelemetry::Value>) {
        if let Some(span) = self.span.as_mut() {
            span.set_attribute(KeyValue::new(name, value));
        }
    }

    /// Ends the span with the status code. Only a code counted as the server's fault is an error of the span.
    pub fn end(mut self, code: Code) {
        let Some(span) = self.span.as_mut() else { return };
        let name = code_name(code);
        span.set_attribute(KeyValue::new(semconv::RPC_RESPONSE_STATUS_CODE, name));
        if is_server_fault(code) {
            span.set_attribute(KeyValue::new(semconv::ERROR_TYPE, name));
            span.set_status(Status::error(""));
        }
        span.end();
    }
}

/// The span of an upstream attempt. Dropping without [`end`](Self::end) records an abandoned attempt.
#[derive(Debug)]
pub struct ClientSpan {
    pub(super) context: TraceContext,
    pub(super) span: Option<Box<Span>>,
}

impl ClientSpan {
    /// The context for the upstream: the attempt's own id below the RPC's id.
    pub fn context(&self) -> &TraceContext {
        &self.context
    }

    /// Ends the span. `status` is the HTTP status, if an answer arrived. `error` is a short fixed word for a failure
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

/// The root span of background work. Ends when dropped.
#[derive(Debug)]
pub struct BackgroundSpan {
    pub(super) context: TraceContext,
    pub(super) span: Option<Box<Span>>,
}

impl BackgroundSpan {
    /// The position of the work in the trace.
    pub fn context(&self) -> &TraceContext {
        &self.context
    }

    /// Adds an attribute named in `semconv`, if the span is recorded.
    pub(crate) fn set(&mut self, name: &'static str, value: impl FnOnce() -> opentelemetry::Value) {
        if let Some(span) = self.span.as_mut() {
            span.set_attribute(KeyValue::new(name, value()));
        }
    }

    /// Marks the work as failed. `error` is a short fixed word.
    pub fn failed(&mut self, error: &'static str) {
        if let Some(span) = self.span.as_mut() {
            span.set_attribute(KeyValue::new(semconv::ERROR_TYPE, error));
            span.set_status(Status::error(""));
        }
    }
}

// An attribute that is set on a finished span is ignored.
impl Drop for ServerSpan {
    fn drop(&mut self) {
        if let Some(span) = self.span.as_mut() {
            span.set_attribute(KeyValue::new(semconv::RPC_RESPONSE_STATUS_CODE, code_name(Code::Cancelled)));
        }
    }
}

impl Drop for ClientSpan {
    fn drop(&mut self) {
        if let Some(span) = self.span.as_mut() {
            span.set_attribute(KeyValue::new(semconv::ERROR_TYPE, "cancelled"));
        }
    }
}

/// The span of a wait in the course of a call. Ends when dropped.
#[derive(Debug)]
pub struct WaitSpan {
    pub(super) _span: Option<Box<Span>>,
}

/// The code's name in the gRPC specification.
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

/// Whether the semantic conventions count the code as the server's fault.
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
