//! How each of Walmart's calls is asked and how its answer is read. Pure.

mod accepted;
mod look_up;
mod order_status;
mod promise;

use std::borrow::Cow;

use http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::call::RestRequest;
use crate::domain::operation::{Operation, WalmartCall};
use crate::pb::{Header, HeaderAttributes};
use crate::wire::envelope;
use crate::wire::error::{self, ErrorBody, Form};

/// How one of Walmart's calls is put in HTTP.
pub trait OperationCodec: WalmartCall {
    /// Builds the request. `account` fills what the caller left out of the header.
    fn build(request: &Self::Request, account: &HeaderAttributes) -> RestRequest;

    /// Whether an answer is read; another is a refusal, which `classify` judges.
    fn is_answer(status: u16, _body: &[u8]) -> bool {
        (200..300).contains(&status)
    }

    /// Reads the body of an answer with this status, a 2xx.
    fn read(status: u16, body: &[u8]) -> Result<Self::Answer, AnswerError>;
}

/// Why the body of a 2xx answer is no success.
#[derive(Debug, PartialEq)]
pub enum AnswerError {
    /// It says that the call failed: by the status FAIL, or by errors alone.
    Failed(ErrorBody),
    /// It is empty, cut off, or not what the operation answers.
    Unreadable,
}

/// A POST of `payload` in Walmart's envelope.
fn post<P: Serialize>(
    operation: Operation,
    header: Option<&Header>,
    payload: &P,
    account: &HeaderAttributes,
) -> RestRequest {
    let header = filled(header, account);
    let mut body = Vec::with_capacity(1536);
    // Writing numbers, texts and lists to memory cannot fail; an empty body would be refused by Walmart.
    if serde_json::to_writer(&mut body, &envelope::Request { header: &header, payload }).is_err() {
        body.clear();
    }
    RestRequest { method: Method::POST, target: operation.path().into(), body: body.into() }
}

/// The caller's header, with the account's values where it has none.
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

/// Reads an envelope whose status is one of `good`, or missing. "FAIL" is a failure, and so are errors without status and
/// payload, whatever the HTTP status; what else it may say is not known, so neither is what became of the call.
fn read_envelope<P: DeserializeOwned>(body: &[u8], good: &[&str]) -> Result<envelope::Answer<P>, AnswerError> {
    // What is no envelope may be a list of errors, or XML.
    let mut answer: envelope::Answer<P> = serde_json::from_slice(body).unwrap_or_default();
    if answer.failed() {
        return Err(AnswerError::Failed(error::read(body)));
    }
    if answer.status.is_empty() && answer.payload.is_empty() {
        let read = error::read(body);
        let refusal = read.form == Form::Envelope && !read.errors.is_empty();
        return Err(if refusal { AnswerError::Failed(read) } else { AnswerError::Unreadable });
    }
    if !(answer.errors.is_empty() && answer.error.is_empty()) {
        answer.errors = error::read(body).errors;
    }
    let known = answer.status.is_empty() || good.iter().any(|status| answer.status.eq_ignore_ascii_case(status));
    if known { Ok(answer) } else { Err(AnswerError::Unreadable) }
}
