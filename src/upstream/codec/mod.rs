//! Encodes requests to Walmart and decodes answers, for each operation. Pure.

mod accepted;
mod look_up;
mod order_status;
mod promise;
mod returns;
mod seller_orders;
mod webhooks;

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::form_urlencoded;

pub(crate) use self::look_up::LookUpCodec;
use crate::domain::operation::{Operation, WalmartCall, operations};
use crate::domain::{mutations, reads};
use crate::pb::{Header, HeaderAttributes};
use crate::planted_bug::{PlantedBug, is_planted};
use crate::wire::error::{self, ErrorBody, ErrorForm};
use crate::wire::{envelope, watch};

/// The request built by a codec, without scheme, host and headers.
#[derive(Clone, Debug, PartialEq)]
pub struct RestRequest {
    /// HTTP method.
    pub method: Method,
    /// Path with query, below the base URL.
    pub target: Cow<'static, str>,
    /// JSON body; empty on GET and DELETE.
    pub body: Bytes,
}

/// Encodes and decodes a Walmart operation as HTTP.
pub trait OperationCodec: WalmartCall {
    /// The path of the call below the base URL.
    const PATH: &'static str;

    /// Short name of the response message that shows the answer to callers. Empty for an answer that is passed on
    /// undecoded.
    const MESSAGE: &'static str = "";

    /// Puts what the message has no place for beside the answer: JSON text by JSON path.
    fn keep_unmapped(_answer: &mut Self::Answer, _values: BTreeMap<String, String>) {}

    /// Builds the request. `account` fills header values left out by the caller.
    fn build(request: &Self::Request, account: &HeaderAttributes) -> RestRequest;

    /// Whether to decode the answer. Any other answer is a refusal, judged by `classify`.
    fn is_answer(status: u16, _body: &[u8]) -> bool {
        (200..300).contains(&status)
    }

    /// Decodes the body of an accepted answer.
    fn read(status: u16, body: &[u8]) -> Result<Self::Answer, AnswerError>;
}

/// Names the response message of a codec. `unmapped` of the answer takes what the message has no place for.
macro_rules! shown_as {
    ($message:ident) => {
        const MESSAGE: &'static str = stringify!($message);

        fn keep_unmapped(answer: &mut Self::Answer, values: std::collections::BTreeMap<String, String>) {
            answer.unmapped = values;
        }
    };
}
use shown_as;

macro_rules! paths {
    (
        reads { $($(#[$read_doc:meta])* $read:ident: [$read_type:ident $(, $same:ident)*] $read_facts:tt)* }
        mutations { $($(#[$doc:meta])* $mutation:ident: [$type:ident] $facts:tt)* }
    ) => {
        /// The path of an operation below the base URL.
        pub(super) const fn path(operation: Operation) -> &'static str {
            match operation {
                $(Operation::$read => <reads::$read_type as OperationCodec>::PATH,)*
                $(Operation::$mutation => <mutations::$type as OperationCodec>::PATH,)*
            }
        }
    };
}
operations!(paths);

/// The path of returns of Multichannel orders, for which a setting may have another.
pub(super) const RETURN_ORDERS: &str = <mutations::CreateMcsReturn as OperationCodec>::PATH;

/// The reason why an accepted answer is not a success.
#[derive(Debug, PartialEq)]
pub enum AnswerError {
    /// The body reports a failure, by the status FAIL or by errors alone.
    Failed(ErrorBody),
    /// The body is empty, truncated, or not an answer of the operation.
    Unreadable,
}

/// Builds a POST of `payload` in Walmart's envelope.
fn post<P: Serialize>(
    target: impl Into<Cow<'static, str>>,
    header: Option<&Header>,
    payload: &P,
    account: &HeaderAttributes,
) -> RestRequest {
    let header = filled(header, account);
    let mut body = Vec::with_capacity(1536);
    // Serializing numbers, texts and lists to memory cannot fail. In doubt the body is empty, and Walmart would
    // refuse the request.
    if serde_json::to_writer(&mut body, &envelope::RequestEnvelope { header: &header, payload }).is_err() {
        body.clear();
    }
    RestRequest { method: Method::POST, target: target.into(), body: body.into() }
}

/// Characters of an id that stand for themselves in a path.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Puts an id into the place of the braces in a path, as one segment.
fn in_path(template: &str, id: &str) -> String {
    let id = utf8_percent_encode(id, IN_PATH);
    match (template.find('{'), template.find('}')) {
        (Some(start), Some(end)) => format!("{}{id}{}", &template[..start], &template[end + 1..]),
        _ => template.to_owned(),
    }
}

/// Appends the parameters that are not empty.
fn with_query(path: &str, parameters: &[(&str, &str)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in parameters.iter().filter(|(_, value)| !value.is_empty()) {
        query.append_pair(name, value);
    }
    let query = query.finish();
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

fn get(target: String) -> RestRequest {
    RestRequest { method: Method::GET, target: target.into(), body: Bytes::new() }
}

/// Builds a request with a JSON body of its own form.
fn json(method: Method, target: String, body: &impl Serialize) -> RestRequest {
    // Serializing to memory cannot fail. In doubt the body is empty, and Walmart would refuse the request.
    let mut body = serde_json::to_vec(body).unwrap_or_default();
    if is_planted(PlantedBug::OwnFieldInBody) && body.pop().is_some() {
        body.extend(br#","replayed":false}"#);
    }
    RestRequest { method, target: target.into(), body: body.into() }
}

/// What an accepted answer without the wanted object is: a failure if it has errors, else unreadable.
fn has_errors(body: &[u8]) -> AnswerError {
    let read = error::read(body);
    let refusal = read.form == ErrorForm::Envelope && !read.errors.is_empty();
    if refusal { AnswerError::Failed(read) } else { AnswerError::Unreadable }
}

/// Returns the caller's header, completed with the account's values.
fn filled<'a>(header: Option<&'a Header>, account: &HeaderAttributes) -> Cow<'a, Header> {
    let full = |a: &HeaderAttributes| a.mart_id.is_some() && a.bu_id.is_some();
    if let Some(header) = header.filter(|header| header.header_attributes.as_ref().is_some_and(full)) {
        return Cow::Borrowed(header);
    }
    let mut attributes = header.and_then(|h| h.header_attributes.clone()).unwrap_or_default();
    attributes.mart_id = attributes.mart_id.or_else(|| account.mart_id.clone());
    attributes.bu_id = attributes.bu_id.or_else(|| account.bu_id.clone());
    Cow::Owned(Header { header_attributes: Some(attributes) })
}

/// Decodes an envelope whose status is in `good` or missing. "FAIL" is a failure with any HTTP status, and so are
/// errors without status and payload. Any other status is unreadable, since the outcome is unknown.
fn read_envelope<P: DeserializeOwned>(body: &[u8], good: &[&str]) -> Result<envelope::AnswerEnvelope<P>, AnswerError> {
    // A body without an envelope may still be a list of errors, or XML.
    let mut answer: envelope::AnswerEnvelope<P> = watch::from_slice(body).unwrap_or_default();
    if answer.failed() {
        return Err(AnswerError::Failed(error::read(body)));
    }
    if answer.status.is_empty() && answer.payload.is_empty() {
        let read = error::read(body);
        let refusal = read.form == ErrorForm::Envelope && !read.errors.is_empty();
        return Err(if refusal { AnswerError::Failed(read) } else { AnswerError::Unreadable });
    }
    if !(answer.errors.is_empty() && answer.error.is_empty()) {
        answer.errors = error::read(body).errors;
    }
    let known = answer.status.is_empty() || good.iter().any(|status| answer.status.eq_ignore_ascii_case(status));
    if known { Ok(answer) } else { Err(AnswerError::Unreadable) }
}
