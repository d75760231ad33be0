//! The only file that builds a `tonic::Status`: the contract's error table, with its details.
//!
//! Every error has a `google.rpc.ErrorInfo` with our domain and a reason that callers act on; `docs/ERRORS.md` has a row
//! for each. The serialized status stays below 4 KiB, because details travel in trailers and common clients cap those.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use prost::Message;
use prost_types::Any;
use tonic::{Code, Status};
use tonic_types::pb as rpc;

use crate::domain::effect::Effect;
use crate::domain::operation::Operation;
use crate::domain::rules::{Fault, is_request_id};
use crate::pb;
use crate::ports::call::CallContext;
use crate::ports::upstream::{ErrorKind, UpstreamError};
use crate::service::{AccountError, ServiceError};

/// Domain of every reason.
pub const DOMAIN: &str = "ordergateway.v1";
/// Largest serialized `google.rpc.Status`, in bytes.
pub const MAX_SIZE: usize = 4096;
/// Longest text of Walmart's that is repeated, in bytes.
const MAX_TEXT: usize = 512;
/// Longest name of a service that is repeated, in bytes.
const MAX_SERVICE: usize = 128;
/// When to try again after being turned away, where nothing better is known.
const OVERLOADED_RETRY: Duration = Duration::from_secs(1);
/// When to try again after the store failed.
const STORE_RETRY: Duration = Duration::from_secs(5);
/// When to try again where nobody knows when the account has calls left: Walmart counts by the minute.
const RATE_LIMITED_RETRY: Duration = Duration::from_secs(60);

/// The answer to a failed call. `request_id` is that of a mutation, else empty.
pub fn failure(error: ServiceError, request_id: &str, call: &CallContext) -> Status {
    let problem = problem(error, request_id, call);
    call.facts.set_reason(problem.reason);
    problem.into_status()
}

/// The same as a message, for one batch of a call that succeeded in part.
pub fn batch_failure(error: ServiceError, request_id: &str, call: &CallContext) -> rpc::Status {
    problem(error, request_id, call).into_message()
}

/// The deadline passed.
pub fn deadline_exceeded() -> Status {
    Problem::new(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", "the deadline passed").into_status()
}

/// Too many calls in flight.
pub fn overloaded(retry_after: Duration) -> Status {
    let problem = Problem::new(Code::ResourceExhausted, "OVERLOADED", "too many calls in flight");
    problem.retry_after(Some(retry_after)).into_status()
}

/// No credentials, or wrong ones.
pub fn caller_unauthenticated() -> Status {
    let message = "credentials are missing or wrong: send `authorization: Bearer <token>`";
    Problem::new(Code::Unauthenticated, "CALLER_UNAUTHENTICATED", message).into_status()
}

/// The caller may not use this service.
pub fn service_not_allowed(service: &str) -> Status {
    // It comes from the path, as long as the caller likes.
    let service = &service[..service.floor_char_boundary(MAX_SERVICE)];
    let message = format!("this caller may not use {service}");
    let problem = Problem::new(Code::PermissionDenied, "SERVICE_NOT_ALLOWED", message);
    problem.metadata("service", service).into_status()
}

/// The caller is over its own share.
pub fn caller_rate_limited(retry_after: Duration) -> Status {
    let problem = Problem::new(Code::ResourceExhausted, "CALLER_RATE_LIMITED", "the caller is over its share");
    problem.retry_after(Some(retry_after)).into_status()
}

/// A bug; the text is constant, the log has the rest.
pub fn internal() -> Status {
    Problem::new(Code::Internal, "INTERNAL", "internal error").into_status()
}

/// The process is going down.
pub fn shutting_down() -> Status {
    let problem = Problem::new(Code::Unavailable, "SHUTTING_DOWN", "the gateway is shutting down");
    problem.retry_after(Some(OVERLOADED_RETRY)).into_status()
}

fn problem(error: ServiceError, request_id: &str, call: &CallContext) -> Problem {
    let problem = match error {
        ServiceError::Invalid(faults) => Problem {
            faults: faults.kept,
            omitted: faults.omitted,
            ..Problem::new(Code::InvalidArgument, "INVALID_REQUEST", "the request has faults; see BadRequest")
        },
        ServiceError::Account(AccountError::NotAllowed) => {
            Problem::new(Code::PermissionDenied, "ACCOUNT_NOT_ALLOWED", "the caller may not use this account")
        }
        ServiceError::Account(AccountError::NotFound) => {
            Problem::new(Code::NotFound, "ACCOUNT_NOT_FOUND", "no such account in the settings")
        }
        ServiceError::OrderNotFound { correlation_id } => {
            let message = "Walmart does not know this order";
            let upstream = pb::UpstreamError {
                // It answered, with a list that is empty.
                http_status: 200,
                correlation_id: correlation_id.to_string(),
                effect: pb::Effect::None.into(),
                ..Default::default()
            };
            Problem { upstream: Some(upstream), ..Problem::new(Code::NotFound, "UPSTREAM_NOT_FOUND", message) }
                .metadata("operation", Operation::Status.name())
        }
        ServiceError::OutcomePending { operation, retry_after, cause } => {
            let message = "it is not known yet whether Walmart carried this out; repeat the same call to find out";
            let problem = Problem::new(Code::Unavailable, "OUTCOME_PENDING", message)
                .metadata("operation", operation.name())
                .retry_after(Some(retry_after));
            match cause {
                Some(cause) => problem.upstream(*cause),
                None => problem,
            }
        }
        ServiceError::Upstream(error) => upstream(*error, call),
        ServiceError::Expired { operation } => {
            let message = "given up without effect: it could not be carried out in time; call again to start anew";
            Problem::new(Code::Aborted, "OPERATION_EXPIRED", message).metadata("operation", operation.name())
        }
        ServiceError::RequestIdReused => {
            let message = "this request_id was used for a request with other content";
            Problem::new(Code::InvalidArgument, "IDEMPOTENCY_KEY_REUSED", message)
        }
        ServiceError::OrderNumberUsed => {
            let message = "this order number was used for an order with other content";
            Problem::new(Code::AlreadyExists, "ORDER_NUMBER_USED", message)
                .metadata("operation", Operation::Create.name())
        }
        ServiceError::Store => Problem::new(
            Code::Unavailable,
            "STORE_UNAVAILABLE",
            "the ledger cannot be read or written; nothing was sent",
        )
        .retry_after(Some(STORE_RETRY)),
        ServiceError::OperationNotFound => Problem::new(Code::NotFound, "OPERATION_NOT_FOUND", "no such operation"),
        ServiceError::OperationClosed => {
            Problem::new(Code::FailedPrecondition, "OPERATION_CLOSED", "the operation is final and cannot be resolved")
        }
        ServiceError::Internal => Problem::new(Code::Internal, "INTERNAL", "internal error"),
    };
    let problem = match call.facts.account() {
        Some(account) => problem.metadata("account", account.as_str()),
        None => problem,
    };
    // One that is refused may be a megabyte of anything.
    if is_request_id(request_id) { problem.metadata("requestId", request_id) } else { problem }
}

fn upstream(error: UpstreamError, call: &CallContext) -> Problem {
    let code = walmart_code(&error);
    let told = |text: &str| match &code {
        Some(code) => format!("{text}: {code}"),
        None => text.to_owned(),
    };
    let problem = match error.kind {
        ErrorKind::Rejected => {
            Problem::new(Code::InvalidArgument, "UPSTREAM_REJECTED", told("Walmart refused the request"))
        }
        ErrorKind::WrongState => Problem::new(
            Code::FailedPrecondition,
            "UPSTREAM_REJECTED",
            told("Walmart refused the request in the order's present state"),
        ),
        ErrorKind::NotFound => Problem::new(Code::NotFound, "UPSTREAM_NOT_FOUND", told("Walmart does not know this")),
        ErrorKind::Duplicate => {
            Problem::new(Code::AlreadyExists, "ORDER_NUMBER_USED", told("Walmart has another order with this number"))
        }
        ErrorKind::CredentialsRefused => Problem::new(
            Code::Unavailable,
            "UPSTREAM_CREDENTIALS_REFUSED",
            told("Walmart refuses the gateway's credentials for this account"),
        ),
        ErrorKind::RateLimited => {
            let account = call.facts.account().map_or("", |account| account.as_str());
            let subject = format!("account:{account}/operation:{}", error.operation);
            let message = "the account's calls of this operation are used up, and waiting would pass the deadline";
            Problem {
                retry_after: Some(RATE_LIMITED_RETRY),
                quota: Some((subject, format!("Walmart limits how often {} may be called", error.operation))),
                ..Problem::new(Code::ResourceExhausted, "UPSTREAM_RATE_LIMITED", message)
            }
        }
        ErrorKind::Overloaded => {
            Problem::new(Code::ResourceExhausted, "OVERLOADED", "too many calls to Walmart are under way")
                .retry_after(Some(OVERLOADED_RETRY))
        }
        ErrorKind::CircuitOpen => Problem::new(
            Code::Unavailable,
            "UPSTREAM_UNAVAILABLE",
            "this operation has been failing at Walmart and is not tried for a while",
        )
        .retry_after(Some(OVERLOADED_RETRY)),
        ErrorKind::Unavailable => {
            Problem::new(Code::Unavailable, "UPSTREAM_UNAVAILABLE", told("no usable answer from Walmart"))
        }
        ErrorKind::DeadlineExceeded => Problem::new(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", "the deadline passed"),
    };
    let problem = match code {
        Some(code) => problem.metadata("walmartCode", &code),
        None => problem,
    };
    let retry_after = error.retry_after;
    let problem = problem.metadata("operation", error.operation.name()).upstream(error);
    if retry_after.is_some() { problem.retry_after(retry_after) } else { problem }
}

/// Walmart's first code, if it is one: it stands in the message.
fn walmart_code(error: &UpstreamError) -> Option<String> {
    let is_code = |code: &&String| {
        (1..=64).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    error.errors.iter().map(|error| &error.code).find(is_code).cloned()
}

/// An error with all that can be said about it.
#[derive(Debug)]
struct Problem {
    code: Code,
    reason: &'static str,
    message: Cow<'static, str>,
    metadata: HashMap<String, String>,
    faults: Vec<Fault>,
    retry_after: Option<Duration>,
    quota: Option<(String, String)>,
    upstream: Option<pb::UpstreamError>,
    omitted: usize,
}

impl Problem {
    fn new(code: Code, reason: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
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

    fn metadata(mut self, key: &str, value: &str) -> Self {
        self.metadata.insert(key.to_owned(), value.to_owned());
        self
    }

    fn retry_after(mut self, retry_after: Option<Duration>) -> Self {
        self.retry_after = retry_after;
        self
    }

    /// Adds what Walmart said, unless Walmart was never asked.
    fn upstream(mut self, error: UpstreamError) -> Self {
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

    fn into_status(self) -> Status {
        let message = self.into_message();
        let details = message.encode_to_vec().into();
        Status::with_details(Code::from_i32(message.code), message.message, details)
    }

    /// Drops the last of its lists until it fits.
    fn into_message(mut self) -> rpc::Status {
        self.drop_what_cannot_fit();
        loop {
            let message = self.message();
            let errors = self.upstream.as_mut().map(|upstream| &mut upstream.errors);
            let dropped = message.encoded_len() > MAX_SIZE
                && (self.faults.pop().is_some() || errors.is_some_and(|errors| errors.pop().is_some()));
            if !dropped {
                return message;
            }
            self.omitted += 1;
        }
    }

    /// One look at the sizes, so that a long list is not written out again for each that is dropped.
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
        rpc::Status { code: self.code as i32, message: self.message.clone().into_owned(), details }
    }
}

/// How many of the first items come to less than the limit by themselves.
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

fn violation(fault: &Fault) -> rpc::bad_request::FieldViolation {
    rpc::bad_request::FieldViolation {
        field: fault.field.clone(),
        description: fault.description.into(),
        ..Default::default()
    }
}

fn any(name: &str, message: &impl Message) -> Any {
    Any { type_url: format!("type.googleapis.com/{name}"), value: message.encode_to_vec() }
}

fn shortened(mut error: pb::WalmartError) -> pb::WalmartError {
    let pb::WalmartError { code, field, description, info, severity, category } = &mut error;
    for text in [code, field, description, info, severity, category] {
        text.truncate(text.floor_char_boundary(MAX_TEXT));
    }
    error
}
