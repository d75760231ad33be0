//! An error with its details, and its encoding as a status. [`super::status`] chooses the code and the reason.
//!
//! Status and message together fit into a header buffer of 4 KiB, which is what common proxies have: details travel in
//! trailers, in base64.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http::HeaderMap;
use prost::Message;
use prost_types::Any;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};
use tonic_types::pb as rpc;
use uuid::Uuid;

use crate::domain::effect::Effect;
use crate::domain::rules::FieldFault;
use crate::pb;
use crate::ports::upstream::UpstreamError;
use crate::telemetry::trace::TraceContext;

/// Domain of every error reason.
pub const DOMAIN: &str = "ordergateway.v1";
/// Largest serialized `google.rpc.Status`, in bytes.
pub const MAX_SIZE: usize = 2900;
/// Key of the trace id in the metadata, for the line of the log and the trace of a failed call.
const TRACE_ID: &str = "traceId";
/// Bytes that the trace id takes in a serialized status: the entry, and longer lengths of what encloses it.
const TRACE_ROOM: usize = 48;
/// Longest message, in bytes as sent in `grpc-message`.
pub const MAX_MESSAGE: usize = 150;
/// Longest repeated texts of Walmart's, in bytes: codes and fields; descriptions; severities and categories. One error
/// of such texts fits.
const MAX_TEXTS: [usize; 3] = [128, 384, 64];
/// Longest value of the metadata, in bytes.
const MAX_VALUE: usize = 128;
/// Trailer by which the server sets the time before a client library's next attempt, in milliseconds; a negative value
/// forbids the attempt (gRFC A6).
pub(super) const PUSHBACK: &str = "grpc-retry-pushback-ms";
/// Replaces the end of a text that is cut.
const ELLIPSIS: &str = "…";

/// An error with all of its details.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) code: Code,
    pub(super) reason: &'static str,
    pub(super) message: Cow<'static, str>,
    pub(super) metadata: HashMap<String, String>,
    pub(super) faults: Vec<FieldFault>,
    pub(super) retry_after: Option<Duration>,
    pub(super) quota: Option<(String, String)>,
    pub(super) upstream: Option<pb::UpstreamError>,
    pub(super) omitted: usize,
}

impl Problem {
    pub(super) fn new(code: Code, reason: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            reason,
            message: message.into(),
            metadata: HashMap::new(),
            faults: Vec::new(),
            retry_after: None,
            quota: None,
            upstream: None,
            omitted: 0,
        }
    }

    pub(super) fn metadata(mut self, key: &str, value: &str) -> Self {
        self.metadata.insert(key.to_owned(), cut(value, MAX_VALUE).into_owned());
        self
    }

    pub(super) fn retry_after(mut self, retry_after: Option<Duration>) -> Self {
        self.retry_after = retry_after;
        self
    }

    /// Adds the correlation id, which names the upstream call in the log and at Walmart.
    pub(super) fn correlated(self, id: Option<Uuid>) -> Self {
        match id {
            Some(id) => self.metadata("correlationId", &id.to_string()),
            None => self,
        }
    }

    /// Adds the trace of the call to an error that is not the status of the call, such as that of a batch.
    pub(super) fn traced(self, trace: &TraceContext) -> Self {
        self.metadata(TRACE_ID, &trace.trace_id_text())
    }

    /// Adds Walmart's errors, unless no request was sent to Walmart.
    pub(super) fn upstream(mut self, error: UpstreamError) -> Self {
        if error.correlation_id.is_nil() {
            return self;
        }
        let effect = match error.effect {
            Effect::None => pb::Effect::None,
            Effect::Applied => pb::Effect::Applied,
            Effect::Unknown => pb::Effect::Unknown,
        };
        self.omitted += error.omitted;
        self.upstream = Some(pb::UpstreamError {
            http_status: error.http_status.into(),
            errors: error.errors.into_iter().map(shortened).collect(),
            correlation_id: error.correlation_id.to_string(),
            effect: effect.into(),
        });
        self
    }

    pub(super) fn into_status(self) -> Status {
        let mut metadata = MetadataMap::new();
        if let Some(retry_after) = self.retry_after {
            let millis = retry_after.as_nanos().div_ceil(1_000_000);
            metadata.insert(PUSHBACK, u64::try_from(millis).unwrap_or(u64::MAX).into());
        }
        let message = self.into_message();
        let details = message.encode_to_vec().into();
        Status::with_details_and_metadata(Code::from_i32(message.code), message.message, details, metadata)
    }

    /// Encodes the status, and drops list entries from the end until the size fits, with room for [`add_trace`].
    pub(super) fn into_message(mut self) -> rpc::Status {
        self.drop_what_cannot_fit();
        loop {
            let message = self.message();
            let errors = self.upstream.as_mut().map(|upstream| &mut upstream.errors);
            let dropped = message.encoded_len() > MAX_SIZE - TRACE_ROOM
                && (self.faults.pop().is_some() || errors.is_some_and(|errors| errors.pop().is_some()));
            if !dropped {
                return message;
            }
            self.omitted += 1;
        }
    }

    /// Truncates lists by the sum of their sizes first: [`Self::into_message`] encodes the status again for every entry
    /// dropped.
    fn drop_what_cannot_fit(&mut self) {
        let faults = fitting(&self.faults, |fault| fault.field.len() + fault.description.len());
        self.omitted += self.faults.len() - faults;
        self.faults.truncate(faults);
        if let Some(upstream) = &mut self.upstream {
            let errors = fitting(&upstream.errors, Message::encoded_len);
            self.omitted += upstream.errors.len() - errors;
            upstream.errors.truncate(errors);
        }
    }

    fn message(&self) -> rpc::Status {
        let mut metadata = self.metadata.clone();
        if self.omitted > 0 {
            metadata.insert("omitted".into(), self.omitted.to_string());
        }
        let info = rpc::ErrorInfo { reason: self.reason.into(), domain: DOMAIN.into(), metadata };
        let mut details = vec![any("google.rpc.ErrorInfo", &info)];
        if !self.faults.is_empty() {
            let field_violations = self.faults.iter().map(violation).collect();
            details.push(any("google.rpc.BadRequest", &rpc::BadRequest { field_violations }));
        }
        if let Some(retry_after) = self.retry_after {
            let retry_delay = prost_types::Duration::try_from(retry_after).ok();
            details.push(any("google.rpc.RetryInfo", &rpc::RetryInfo { retry_delay }));
        }
        if let Some((subject, description)) = &self.quota {
            let violation = rpc::quota_failure::Violation {
                subject: subject.clone(),
                description: description.clone(),
                ..Default::default()
            };
            details.push(any("google.rpc.QuotaFailure", &rpc::QuotaFailure { violations: vec![violation] }));
        }
        if let Some(upstream) = &self.upstream {
            details.push(any("ordergateway.v1.UpstreamError", upstream));
        }
        rpc::Status { code: self.code as i32, message: cut_message(&self.message).into_owned(), details }
    }
}

/// Adds the trace id to the ErrorInfo of the status in these headers, and returns its reason. Returns `None`, and changes
/// nothing, for a status without an ErrorInfo, such as the gRPC library's own.
///
/// The outermost layer calls this, because errors come from handlers and from every layer below it.
pub(super) fn add_trace(headers: &mut HeaderMap, trace: &TraceContext) -> Option<String> {
    let details = headers.get_mut(Status::GRPC_STATUS_DETAILS)?;
    let mut status = rpc::Status::decode(&*STANDARD_NO_PAD.decode(details.as_bytes()).ok()?).ok()?;
    let any = status.details.iter_mut().find(|any| any.type_url.ends_with("/google.rpc.ErrorInfo"))?;
    let mut info = rpc::ErrorInfo::decode(&*any.value).ok()?;
    info.metadata.insert(TRACE_ID.to_owned(), trace.trace_id_text());
    any.value = info.encode_to_vec();
    *details = STANDARD_NO_PAD.encode(status.encode_to_vec()).try_into().ok()?;
    Some(info.reason)
}

/// Returns the number of leading items whose sizes sum up to less than the limit.
fn fitting<T>(items: &[T], size: impl Fn(&T) -> usize) -> usize {
    let mut sum = 0;
    items
        .iter()
        .take_while(|item| {
            sum += size(item);
            sum < MAX_SIZE
        })
        .count()
}

fn violation(fault: &FieldFault) -> rpc::bad_request::FieldViolation {
    rpc::bad_request::FieldViolation {
        field: cut(&fault.field, MAX_VALUE * 2).into_owned(),
        description: fault.description.into(),
        ..Default::default()
    }
}

fn any(name: &str, message: &impl Message) -> Any {
    Any { type_url: format!("type.googleapis.com/{name}"), value: message.encode_to_vec() }
}

fn shortened(mut error: pb::WalmartError) -> pb::WalmartError {
    let pb::WalmartError { code, field, description, info, severity, category } = &mut error;
    for (texts, longest) in [[code, field], [description, info], [severity, category]].into_iter().zip(MAX_TEXTS) {
        for text in texts {
            if let Cow::Owned(shorter) = cut(text, longest) {
                *text = shorter;
            }
        }
    }
    error
}

/// A text of at most `longest` bytes; a longer one ends in an ellipsis.
fn cut(text: &str, longest: usize) -> Cow<'_, str> {
    if text.len() <= longest {
        return text.into();
    }
    let end = text.floor_char_boundary(longest - ELLIPSIS.len());
    format!("{}{ELLIPSIS}", &text[..end]).into()
}

/// A message that takes at most [`MAX_MESSAGE`] bytes on the wire, where most characters but letters and digits are
/// percent-encoded.
fn cut_message(text: &str) -> Cow<'_, str> {
    let sent = |c: char| match c {
        '!' | '$' | '&'..='/' | '0'..=';' | '=' | '@'..='_' | 'a'..='z' | '|' | '~' => 1,
        c => 3 * c.len_utf8(),
    };
    let room = MAX_MESSAGE - 3 * ELLIPSIS.len();
    let (mut all, mut end) = (0, 0);
    for (at, c) in text.char_indices() {
        all += sent(c);
        if all <= room {
            end = at + c.len_utf8();
        }
    }
    if all <= MAX_MESSAGE { text.into() } else { format!("{}{ELLIPSIS}", &text[..end]).into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_cut_where_it_would_be_too_long_on_the_wire() {
        for unit in ["x", " ", "é", "%", "\u{1f600}", "a b"] {
            let long = unit.repeat(300);
            let status = Problem::new(Code::Internal, "INTERNAL", long.clone()).into_status();
            let sent = status.clone().into_http::<()>().headers()["grpc-message"].len();
            assert!((MAX_MESSAGE - 20..=MAX_MESSAGE).contains(&sent), "{unit:?}: {sent}");
            let kept = status.message().strip_suffix(ELLIPSIS).unwrap();
            assert!(long.starts_with(kept), "{unit:?}");
        }
        let fits = "x".repeat(MAX_MESSAGE);
        assert_eq!(cut_message(&fits), fits);
    }

    #[test]
    fn the_trace_id_fits_into_every_status() {
        let trace = TraceContext { trace_id: u128::MAX, span_id: 1, sampled: false, state: None };
        let fault = |field: String| FieldFault { field, description: "is required" };
        // Sizes about which lengths get another byte, and the largest.
        for faults in [0, 1, 2, 3, 1000] {
            for length in 1..200 {
                let faults = (0..faults).map(|_| fault("x".repeat(length))).collect();
                let problem = Problem { faults, ..Problem::new(Code::InvalidArgument, "INVALID_REQUEST", "x") };
                let status = problem.into_status();
                let mut headers = status.clone().into_http::<()>().headers().clone();
                assert_eq!(add_trace(&mut headers, &trace).as_deref(), Some("INVALID_REQUEST"));
                let told = Status::from_header_map(&headers).unwrap();
                let details = rpc::Status::decode(told.details()).unwrap();
                assert!(details.encoded_len() <= MAX_SIZE, "{}", details.encoded_len());
                assert!(details.encoded_len() <= status.details().len() + TRACE_ROOM);
                let info = rpc::ErrorInfo::decode(&*details.details[0].value).unwrap();
                assert_eq!(info.metadata[TRACE_ID], "f".repeat(32));
                assert_eq!((told.code(), told.message()), (status.code(), status.message()));
            }
        }
        let mut bare = Status::unimplemented("x").into_http::<()>().headers().clone();
        let before = bare.clone();
        assert_eq!((add_trace(&mut bare, &trace), bare), (None, before));
    }

    #[test]
    fn generic_clients_are_told_when_to_come_back() {
        let pushback = |wait: Option<Duration>| {
            let status = Problem::new(Code::Unavailable, "X", "x").retry_after(wait).into_status();
            status.metadata().get(PUSHBACK).map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(pushback(None), None);
        assert_eq!(pushback(Some(Duration::from_millis(1500))).as_deref(), Some("1500"));
        assert_eq!(pushback(Some(Duration::from_nanos(1))).as_deref(), Some("1"));
    }
}
