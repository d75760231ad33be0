//! The error table of the contract: the only file that maps an error to a `tonic::Status`.
//!
//! Every error has a `google.rpc.ErrorInfo` with our domain and a reason for callers to act on; `docs/ERRORS.md` has a
//! row per reason. [`Problem`] encodes the status.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::pb as rpc;
use uuid::Uuid;

use super::problem::Problem;
pub use super::problem::{DOMAIN, MAX_MESSAGE, MAX_SIZE};
use crate::domain::feed::FeedName;
use crate::domain::operation::Operation;
use crate::domain::rules::is_request_id;
use crate::pb;
use crate::ports::call::CallContext;
use crate::ports::upstream::{ErrorKind, UpstreamError};
use crate::service::feed::{FaultKind, FeedError, StreamEnd};
use crate::service::{AccountError, ServiceError};

/// Longest repeated name of a caller's, in bytes.
const MAX_NAME: usize = 128;
/// Retry advice after a refusal, where no better time is known.
const OVERLOADED_RETRY: Duration = Duration::from_secs(1);
/// Retry advice after a failure of the store.
const STORE_RETRY: Duration = Duration::from_secs(5);
/// Retry advice after a refused stream.
const STREAMS_RETRY: Duration = Duration::from_secs(10);
/// Retry advice after a refused subscription.
const SUBSCRIPTIONS_RETRY: Duration = Duration::from_secs(60);
/// Retry advice where the account's next free call is unknown: Walmart counts by the minute.
const RATE_LIMITED_RETRY: Duration = Duration::from_secs(60);

/// The status of a failed call. `request_id` is the mutation's id, and empty for a read.
pub fn failure(error: ServiceError, request_id: &str, call: &CallContext) -> Status {
    if let Some(id) = error.correlation_id() {
        call.facts.set_correlation_id(id);
    }
    let problem = problem(error, request_id, call);
    call.facts.set_reason(problem.reason);
    problem.into_status()
}

/// The same status as a message, for one batch of a call that succeeded in part.
pub fn batch_failure(error: ServiceError, request_id: &str, call: &CallContext) -> rpc::Status {
    problem(error, request_id, call).traced(&call.trace).into_message()
}

/// The deadline of the call passed.
pub fn deadline_exceeded(correlation_id: Option<Uuid>) -> Status {
    let problem = Problem::new(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", "the deadline passed");
    problem.correlated(correlation_id).into_status()
}

/// Too many unary calls are in flight.
pub fn overloaded(retry_after: Duration) -> Status {
    let problem = Problem::new(Code::ResourceExhausted, "OVERLOADED", "too many calls in flight");
    problem.retry_after(Some(retry_after)).into_status()
}

/// A large response did not fit beside the responses that wait for their readers. The call itself was carried out.
pub fn too_much_unread(retry_after: Duration) -> Status {
    let message = "too many large responses wait for their readers: repeat the call";
    Problem::new(Code::ResourceExhausted, "OVERLOADED", message).retry_after(Some(retry_after)).into_status()
}

/// A connection has its full number of streams.
pub fn too_many_streams() -> Status {
    let message = "this connection has 256 open streams: open another channel";
    Problem::new(Code::ResourceExhausted, "TOO_MANY_STREAMS", message).into_status()
}

/// A connection has its full number of health watches.
pub fn too_many_watches() -> Status {
    let message = "this connection has its maximum of health watches";
    Problem::new(Code::ResourceExhausted, "TOO_MANY_STREAMS", message).retry_after(Some(STREAMS_RETRY)).into_status()
}

/// The credentials are missing or wrong.
pub fn caller_unauthenticated() -> Status {
    let message = "credentials are missing or wrong: send `authorization: Bearer <token>`";
    Problem::new(Code::Unauthenticated, "CALLER_UNAUTHENTICATED", message).into_status()
}

/// The caller may not use this service.
pub fn service_not_allowed(service: &str) -> Status {
    // The name comes from the path, which may be of any length.
    let service = &service[..service.floor_char_boundary(MAX_NAME)];
    let message = format!("this caller may not use {service}");
    let problem = Problem::new(Code::PermissionDenied, "SERVICE_NOT_ALLOWED", message);
    problem.metadata("service", service).into_status()
}

/// The settings changed, and the caller may use fewer accounts or services than when it opened the stream.
pub(crate) fn access_narrowed() -> Status {
    let message = "the caller's access was narrowed; open the stream again for what is left";
    Problem::new(Code::PermissionDenied, "ACCOUNT_NOT_ALLOWED", message).into_status()
}

/// The caller is over its limits.
pub fn caller_rate_limited(retry_after: Duration) -> Status {
    let problem = Problem::new(Code::ResourceExhausted, "CALLER_RATE_LIMITED", "the caller is over its limits");
    problem.retry_after(Some(retry_after)).into_status()
}

/// A bug in the gateway. The text is constant; the log has the details.
pub fn internal() -> Status {
    Problem::new(Code::Internal, "INTERNAL", "internal error").into_status()
}

/// The path names no service. Without details, as all that the gRPC library finds.
pub(super) fn no_such_service(path: &str) -> Status {
    let name = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    Status::unimplemented(format!("unknown service {}", name_in_short(name)))
}

/// The path names a service, and no method of it.
pub(super) fn no_such_method(path: &str) -> Status {
    let (service, method) = path.trim_start_matches('/').split_once('/').unwrap_or_default();
    Status::unimplemented(format!("unknown method {} of {}", name_in_short(method), name_in_short(service)))
}

/// A name of a caller's choice, for a message: names of services and methods are never as long.
fn name_in_short(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '_';
    name.chars().map(|c| if fits(c) { c } else { '_' }).take(48).collect()
}

/// The process is stopping.
pub fn shutting_down() -> Status {
    stopping().into_status()
}

fn stopping() -> Problem {
    Problem::new(Code::Unavailable, "SHUTTING_DOWN", "the gateway is shutting down").retry_after(Some(OVERLOADED_RETRY))
}

fn problem(error: ServiceError, request_id: &str, call: &CallContext) -> Problem {
    // A failure of the store, for example, may follow a call to Walmart: the log names that call's id.
    let correlation_id = error.correlation_id().or_else(|| call.facts.correlation_id());
    let problem = match error {
        ServiceError::Invalid(faults) if faults.kept.is_empty() => {
            Problem::new(Code::InvalidArgument, "INVALID_REQUEST", "the request changes nothing: set at least one field")
        }
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
        ServiceError::OrderNotFound { operation, correlation_id: id } => {
            let message = "Walmart does not know this order";
            let upstream = pb::UpstreamError {
                // Walmart answered, with an empty list.
                http_status: 200,
                correlation_id: id.to_string(),
                effect: pb::Effect::None.into(),
                ..Default::default()
            };
            Problem { upstream: Some(upstream), ..Problem::new(Code::NotFound, "UPSTREAM_NOT_FOUND", message) }
                .metadata("operation", operation.name())
        }
        ServiceError::OutcomePending { operation, retry_after, cause, .. } => {
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
        ServiceError::Expired { operation, .. } => {
            let message = "the operation expired without effect: it could not be carried out in time; call again to start a new one";
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
        ServiceError::ReturnIdUsed => {
            let message = "this seller_return_order_id was used for a return with other content";
            Problem::new(Code::AlreadyExists, "RETURN_ID_USED", message)
                .metadata("operation", Operation::McsReturnCreate.name())
        }
        ServiceError::SubscriptionExists { ids, .. } => {
            let message = "an ACTIVE subscription of this event type and URL exists, or is being made";
            let problem = Problem::new(Code::AlreadyExists, "SUBSCRIPTION_EXISTS", message)
                .metadata("operation", Operation::WebhookCreate.name());
            if ids.is_empty() { problem } else { problem.metadata("subscriptionId", &ids.join(",")) }
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
        ServiceError::Feed(error) => feed(error),
        ServiceError::Internal => Problem::new(Code::Internal, "INTERNAL", "internal error"),
    }
    .correlated(correlation_id);
    let problem = match call.facts.account() {
        Some(account) => problem.metadata("account", account.as_str()),
        None => problem,
    };
    // A refused request id may be a megabyte of any text.
    if is_request_id(request_id) { problem.metadata("requestId", request_id) } else { problem }
}

fn upstream(error: UpstreamError, call: &CallContext) -> Problem {
    let code = walmart_code(&error);
    let with_code = |text: &str| match &code {
        Some(code) => format!("{text}: {code}"),
        None => text.to_owned(),
    };
    let problem = match error.kind {
        ErrorKind::Rejected => {
            Problem::new(Code::InvalidArgument, "UPSTREAM_REJECTED", with_code("Walmart refused the request"))
        }
        ErrorKind::WrongState => Problem::new(
            Code::FailedPrecondition,
            "UPSTREAM_REJECTED",
            with_code("Walmart refused the request in the order's present state"),
        ),
        ErrorKind::NotFound if error.operation == Operation::McsReturnCreate => Problem::new(
            Code::NotFound,
            "UPSTREAM_NOT_FOUND",
            "Walmart knows no such MCS order; returns of marketplace orders are opened by the customer",
        ),
        ErrorKind::NotFound => {
            Problem::new(Code::NotFound, "UPSTREAM_NOT_FOUND", with_code("Walmart does not know this"))
        }
        ErrorKind::Duplicate => Problem::new(
            Code::AlreadyExists,
            "ORDER_NUMBER_USED",
            with_code("Walmart has another order with this number"),
        ),
        ErrorKind::CredentialsRefused => Problem::new(
            Code::Unavailable,
            "UPSTREAM_CREDENTIALS_REFUSED",
            with_code("Walmart refuses the gateway's credentials for this account"),
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
            Problem::new(Code::Unavailable, "UPSTREAM_UNAVAILABLE", with_code("no usable answer from Walmart"))
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

/// The status that ends a stream of a feed.
pub fn stream_end(ended: StreamEnd, call: &CallContext) -> Status {
    let problem = problem(ServiceError::Feed(ended.error), "", call);
    call.facts.set_reason(problem.reason);
    match ended.last {
        Some(cursor) => problem.metadata("lastCursor", &cursor.to_string()),
        None => problem,
    }
    .into_status()
}

fn feed(error: FeedError) -> Problem {
    match error {
        FeedError::Faulty(kind, faults) => {
            let message = "the request has faults; see BadRequest";
            let problem = match kind {
                FaultKind::Cursor => Problem::new(Code::InvalidArgument, "BAD_CURSOR", message),
                FaultKind::Filter => Problem::new(Code::InvalidArgument, "BAD_FILTER", message),
                FaultKind::Lease => Problem::new(Code::InvalidArgument, "BAD_LEASE_FORMAT", message),
                FaultKind::Bounds => Problem::new(Code::InvalidArgument, "OUT_OF_BOUNDS", message),
            };
            let field = faults.kept.first().map_or("", |fault| fault.field.as_str()).to_owned();
            Problem { faults: faults.kept, omitted: faults.omitted, ..problem }.metadata("field", &field)
        }
        FeedError::LogChanged { ours, theirs, first, head } => {
            let message = "the cursor belongs to another log than the gateway has now; choose a new start";
            Problem::new(Code::FailedPrecondition, "LOG_CHANGED", message)
                .metadata("logIds", &format!("{ours},{theirs}"))
                .metadata("first", &first.to_string())
                .metadata("head", &head.to_string())
        }
        FeedError::EventsExpired { first, lost_from } => {
            let message = "the requested events are no longer kept; seek to a later start";
            let lost_to = first.saturating_sub(1);
            Problem::new(Code::OutOfRange, "EVENTS_EXPIRED", message)
                .metadata("firstAvailable", &first.to_string())
                .metadata("lostFrom", &lost_from.to_string())
                .metadata("lostTo", &lost_to.to_string())
                .metadata("lostCount", &(first.saturating_sub(lost_from)).to_string())
        }
        FeedError::CursorInFuture { head } => {
            let message =
                "the cursor is beyond the end of the log, which has lost events or was replaced; seek to a new start";
            Problem::new(Code::OutOfRange, "CURSOR_IN_FUTURE", message).metadata("head", &head.to_string())
        }
        FeedError::EventNotFound => Problem::new(Code::NotFound, "EVENT_NOT_FOUND", "no such event"),
        FeedError::SubscriptionNotFound { name } => {
            let name = &name[..name.floor_char_boundary(MAX_NAME)];
            Problem::new(Code::NotFound, "SUBSCRIPTION_NOT_FOUND", "no such subscription").metadata("name", name)
        }
        FeedError::WrongFeed { name, feed } => {
            let message = match feed {
                FeedName::CancelIntents => "the subscription reads the intents to cancel: use CancelIntentService",
                FeedName::OrderUpdates => "the subscription reads the order updates: use OrderUpdateService",
            };
            let name = &name[..name.floor_char_boundary(MAX_NAME)];
            Problem::new(Code::FailedPrecondition, "WRONG_FEED", message)
                .metadata("name", name)
                .metadata("feed", feed.name())
        }
        FeedError::SubscriptionDiffers { etag } => {
            let message = "a subscription of this name exists, and differs from the one in the request";
            Problem::new(Code::AlreadyExists, "SUBSCRIPTION_DIFFERS", message).metadata("etag", &etag)
        }
        FeedError::Seeked { generation } => {
            Problem::new(Code::Aborted, "SUBSCRIPTION_SEEKED", "the subscription was moved; connect again")
                .metadata("generation", &generation.to_string())
        }
        FeedError::Updated { generation } => {
            Problem::new(Code::Aborted, "SUBSCRIPTION_UPDATED", "the subscription was changed; connect again")
                .metadata("generation", &generation.to_string())
        }
        FeedError::ConsumerReplaced { generation } => {
            Problem::new(Code::Aborted, "CONSUMER_REPLACED", "another stream was opened with this consumer_id")
                .metadata("generation", &generation.to_string())
        }
        FeedError::SlowConsumer => {
            Problem::new(Code::ResourceExhausted, "SLOW_CONSUMER", "the client has read nothing for a minute")
                .retry_after(Some(OVERLOADED_RETRY))
        }
        FeedError::TooManyStreams => {
            Problem::new(Code::ResourceExhausted, "TOO_MANY_STREAMS", "too many streams are open")
                .retry_after(Some(STREAMS_RETRY))
        }
        FeedError::TooManySubscriptions => {
            let message = "the caller has its maximum of subscriptions: delete unused ones";
            Problem::new(Code::ResourceExhausted, "CALLER_RATE_LIMITED", message).retry_after(Some(SUBSCRIPTIONS_RETRY))
        }
        FeedError::ShuttingDown => stopping(),
        FeedError::Store => Problem::new(Code::Unavailable, "STORE_UNAVAILABLE", "the store cannot be read or written")
            .retry_after(Some(STORE_RETRY)),
    }
}

/// Returns Walmart's first code if it is well formed, for the message.
fn walmart_code(error: &UpstreamError) -> Option<String> {
    let is_code = |code: &&String| {
        (1..=64).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    };
    error.errors.iter().map(|error| &error.code).find(is_code).cloned()
}
