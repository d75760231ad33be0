//! Every answer of Walmart's and every error of the gateway's as callers see it, in two text files to read.
//!
//! The answers go through the real reading, judging and telling: `codec`, `classify`, the service's error, `status`.

use std::time::Duration;

use order_gateway::domain::account::AccountId;
use order_gateway::domain::effect::Effect;
use order_gateway::domain::feed::{FeedName, LogId};
use order_gateway::domain::mutations::{CancelOrder, CreateOrder};
use order_gateway::domain::operation::Operation;
use order_gateway::domain::reads::{FetchPromise, SearchOrders};
use order_gateway::domain::rules::{FieldFaults, FieldPath};
use order_gateway::grpc::status;
use order_gateway::pb;
use order_gateway::ports::call::{CallContext, CallRecord, Caller};
use order_gateway::ports::upstream::{ErrorKind, UpstreamError};
use order_gateway::service::feed::{FaultKind, FeedError, StreamEnd};
use order_gateway::service::{AccountError, ServiceError};
use order_gateway::telemetry::trace::TraceContext;
use order_gateway::upstream::classify::classify;
use order_gateway::upstream::codec::{AnswerError, OperationCodec};
use order_gateway::upstream::failure::{AttemptFailure, LostAnswer, NotSent};
use order_gateway::upstream::headers::RateLimitHeaders;
use order_gateway::wire::error;
use prost::Message;
use tonic::Status;
use tonic_types::pb as rpc;
use uuid::Uuid;

/// A call of account `acme`.
pub fn call() -> CallContext {
    let trace = TraceContext { trace_id: 1, span_id: 1, sampled: false, state: None };
    let facts = CallRecord::of(Caller::anonymous());
    facts.set_account(&AccountId::new("acme").unwrap());
    CallContext { deadline: tokio::time::Instant::now(), trace, facts, purpose: Default::default() }
}

/// What is in a status. Panics when a detail is unknown or there twice, or the reason is no reason.
pub struct Told {
    pub code: tonic::Code,
    pub info: rpc::ErrorInfo,
    pub details: Vec<&'static str>,
    pub faults: Option<rpc::BadRequest>,
    pub retry: Option<rpc::RetryInfo>,
    pub quota: Option<rpc::QuotaFailure>,
    pub upstream: Option<pb::UpstreamError>,
}

pub fn told(status: &Status) -> Told {
    let message = rpc::Status::decode(status.details()).unwrap();
    assert_eq!((message.code, message.message.as_str()), (status.code() as i32, status.message()));
    assert!(message.encoded_len() <= status::MAX_SIZE, "{}", message.encoded_len());
    let mut told = Told {
        code: status.code(),
        info: rpc::ErrorInfo::default(),
        details: Vec::new(),
        faults: None,
        retry: None,
        quota: None,
        upstream: None,
    };
    for detail in &message.details {
        let value = detail.value.as_slice();
        let name = match detail.type_url.strip_prefix("type.googleapis.com/").unwrap() {
            "google.rpc.ErrorInfo" => {
                told.info = rpc::ErrorInfo::decode(value).unwrap();
                "ErrorInfo"
            }
            "google.rpc.BadRequest" => {
                told.faults = Some(rpc::BadRequest::decode(value).unwrap());
                "BadRequest"
            }
            "google.rpc.RetryInfo" => {
                told.retry = Some(rpc::RetryInfo::decode(value).unwrap());
                "RetryInfo"
            }
            "google.rpc.QuotaFailure" => {
                told.quota = Some(rpc::QuotaFailure::decode(value).unwrap());
                "QuotaFailure"
            }
            "ordergateway.v1.UpstreamError" => {
                told.upstream = Some(pb::UpstreamError::decode(value).unwrap());
                "UpstreamError"
            }
            other => panic!("{other}"),
        };
        assert!(!told.details.contains(&name), "{name} twice");
        told.details.push(name);
    }
    let reason = told.info.reason.as_bytes();
    let inner = |b: &u8| b.is_ascii_uppercase() || b.is_ascii_digit() || *b == b'_';
    assert!(reason.len() >= 3 && reason.len() <= 63 && reason.iter().all(inner), "{}", told.info.reason);
    assert!(reason[0].is_ascii_uppercase() && *reason.last().unwrap() != b'_', "{}", told.info.reason);
    assert_eq!(told.info.domain, "ordergateway.v1");
    for key in told.info.metadata.keys() {
        assert!(key.len() <= 64 && key.chars().all(char::is_alphanumeric), "{key}");
        assert!(key.starts_with(char::is_lowercase), "{key}");
    }
    told
}

/// One line of the table.
fn line(status: &Status) -> String {
    let told = told(status);
    let mut line = format!("{:?} {}", told.code, told.info.reason);
    for detail in told.details.iter().filter(|name| **name != "ErrorInfo") {
        line += &format!(" +{detail}");
    }
    if let Some(delay) = told.retry.and_then(|retry| retry.retry_delay) {
        line += &format!(" retry={}s", delay.seconds);
    }
    if let Some(quota) = told.quota {
        line += &format!(" quota={}", quota.violations[0].subject);
    }
    if let Some(upstream) = told.upstream {
        line += &format!(" effect={} http={}", upstream.effect().as_str_name(), upstream.http_status);
    }
    let mut keys: Vec<_> = told.info.metadata.keys().map(String::as_str).collect();
    keys.sort_unstable();
    line + &format!(" [{}]", keys.join(","))
}

fn told_of(operation: Operation, failure: AttemptFailure) -> String {
    let verdict = classify(operation, &failure);
    let http_status = failure.status().unwrap_or(0);
    let body = if let AttemptFailure::Refused { body, .. } = failure { body } else { Default::default() };
    let error = UpstreamError {
        operation,
        kind: verdict.kind,
        effect: verdict.effect,
        http_status,
        errors: body.errors,
        omitted: body.omitted,
        says_order_exists: false,
        after_lost_attempt: false,
        retry_after: verdict.retry_after,
        correlation_id: Uuid::from_u128(1),
    };
    let retry = format!("{:?}:", verdict.retry);
    format!("retry {retry:<12} {}", line(&status::failure(error.into(), "", &call())))
}

/// As the transport does it: the status first, then the body.
fn answered<X: OperationCodec>(status: u16, body: &str) -> String {
    let hint = RateLimitHeaders::default();
    if !(200..300).contains(&status) {
        return told_of(X::OPERATION, AttemptFailure::Refused { status, body: error::read(body.as_bytes()), hint });
    }
    match X::read(status, body.as_bytes()) {
        Ok(_) => "a usable answer".into(),
        Err(AnswerError::Failed(body)) => told_of(X::OPERATION, AttemptFailure::Refused { status, body, hint }),
        Err(AnswerError::Unreadable) => told_of(X::OPERATION, AttemptFailure::Unreadable { status, hint, cut: false }),
    }
}

/// Name and body of every shape in the fact sheet, and of some that Walmart does not mean to send.
const SHAPES: [(&str, &str); 28] = [
    ("accepted", r#"{"status":"ACCEPTED","header":null,"payload":{"requestId":"1"},"errors":[]}"#),
    ("found", r#"{"status":"OK","payload":[{"sellerOrderId":"1"}]}"#),
    ("promised", r#"{"status":"SUCCESS","payload":{"offers":[]}}"#),
    ("found nothing", r#"{"status":"OK","payload":[]}"#),
    ("no id", r#"{"status":"ACCEPTED","payload":{}}"#),
    (
        "E1",
        r#"{"errors":{"error":[{"code":"INVALID_REQUEST_CONTENT.GMP_ORDER_API","info":"Request content is invalid."}]}}"#,
    ),
    (
        "E1 wrong state",
        r#"{"errors":{"error":[{"code":"INVALID_REQUEST_CONTENT.GMP_ORDER_API","description":"Line 1 is already SHIPPED"}]}}"#,
    ),
    (
        "E1 outage",
        r#"{"errors":{"error":[{"code":"INVALID_REQUEST.GMP_ORDER_API","field":"data","info":"Request invalid."}]}}"#,
    ),
    ("E1 not found", r#"{"errors":{"error":[{"code":"CONTENT_NOT_FOUND.GMP_ORDER_API","severity":"INFO"}]}}"#),
    ("E1b", r#"{"errors":{"error":{"code":"INVALID_REQUEST_PARAM"}}}"#),
    ("E2", r#"{"error":[{"code":"SYSTEM_ERROR.GMP_GATEWAY_API","category":"SYSTEM"}]}"#),
    ("E2 token", r#"{"error":[{"code":"INVALID_TOKEN.GMP_GATEWAY_API"}]}"#),
    ("E3", r#"{"errors":[{"code":500,"message":"limit must not exceed 200"}]}"#),
    ("E4", r#"{"status":"FAIL","errors":[{"code":"INVALID_MCS_REQUEST"}]}"#),
    (
        "E4 not found",
        r#"{"status":"FAIL","errors":[{"code":"404.WSAAS.100","description":"Data not found in WSAAS"}]}"#,
    ),
    ("E4 sandbox not found", r#"{"status":"FAIL","errors":[{"code":"OS_NOT_FOUND_ERROR"}]}"#),
    (
        "E4 duplicate",
        r#"{"status":"FAIL","errors":[{"code":"INVALID_MCS_REQUEST","description":"order already exists"}]}"#,
    ),
    ("E2 no route", r#"{"error":[{"code":"CONTENT_NOT_FOUND.GMP_GATEWAY_API"}]}"#),
    ("E2 threshold", r#"{"error":[{"code":"REQUEST_THRESHOLD_VIOLATED.GMP_GATEWAY_API"}]}"#),
    (
        "E4 duplicate sku",
        r#"{"status":"FAIL","errors":[{"code":"INVALID_MCS_REQUEST","field":"orderItems","description":"duplicate SKU"}]}"#,
    ),
    ("E4 no errors", r#"{"status":"FAIL"}"#),
    ("E6", "<e:errors xmlns:e='w'><e:error><e:code>INVALID_REQUEST_HEADER.GMP_ORDER_API</e:code></e:error></e:errors>"),
    ("E7", r#"{"type":"about:blank","title":"Bad Request","status":400,"detail":"lineNumber is required"}"#),
    ("E8 empty", ""),
    ("E8 text", "upstream connect error"),
    ("E8 html", "<html><body><h1>Service Unavailable</h1></body></html>"),
    ("cut off", r#"{"status":"ACCEPTED","payload":{"requestId":"#),
    ("null", "null"),
];
const STATUSES: [u16; 24] = [
    200, 202, 206, 301, 400, 401, 403, 404, 405, 406, 408, 409, 413, 415, 422, 423, 429, 500, 502, 503, 504, 520, 521,
    599,
];

#[test]
fn every_operation_status_and_shape() {
    type Answered = fn(u16, &str) -> String;
    let operations: [(&str, Answered); 4] = [
        ("promise", answered::<FetchPromise>),
        ("create", answered::<CreateOrder>),
        ("cancel", answered::<CancelOrder>),
        ("status", answered::<SearchOrders>),
    ];
    let mut table = String::new();
    for (operation, answered) in operations {
        for status in STATUSES {
            // Shapes with the same answer stand in one row.
            let mut rows: Vec<(String, Vec<&str>)> = Vec::new();
            for (shape, body) in SHAPES {
                let told = answered(status, body);
                match rows.iter_mut().find(|(row, _)| *row == told) {
                    Some((_, shapes)) => shapes.push(shape),
                    None => rows.push((told, vec![shape])),
                }
            }
            for (told, shapes) in rows {
                let shapes = if shapes.len() == SHAPES.len() { "any".into() } else { shapes.join(", ") };
                table += &format!("{operation} {status}: {shapes}\n    {told}\n");
            }
        }
        table.push('\n');
    }
    insta::assert_snapshot!(table);
}

#[test]
fn every_way_to_have_no_answer() {
    let wait = Duration::from_secs(7);
    let mut table = String::new();
    for operation in Operation::ALL {
        for reason in [
            NotSent::Connect,
            NotSent::TokenUnavailable(wait),
            NotSent::TokenLimited(wait),
            NotSent::CredentialsRefused(wait),
            NotSent::RateLimited(wait),
            NotSent::CircuitOpen(wait),
            NotSent::Overloaded,
            NotSent::Deadline,
        ] {
            table += &format!("{operation} {reason:?}\n    {}\n", told_of(operation, AttemptFailure::NotSent(reason)));
        }
        for lost in [LostAnswer::TimedOut, LostAnswer::Interrupted, LostAnswer::Deadline] {
            table += &format!("{operation} {lost:?}\n    {}\n", told_of(operation, AttemptFailure::Lost(lost)));
        }
    }
    insta::assert_snapshot!(table);
}

pub const KINDS: [ErrorKind; 10] = [
    ErrorKind::Rejected,
    ErrorKind::WrongState,
    ErrorKind::NotFound,
    ErrorKind::Duplicate,
    ErrorKind::CredentialsRefused,
    ErrorKind::RateLimited,
    ErrorKind::Overloaded,
    ErrorKind::CircuitOpen,
    ErrorKind::Unavailable,
    ErrorKind::DeadlineExceeded,
];

pub fn upstream_error(operation: Operation, kind: ErrorKind, effect: Effect) -> UpstreamError {
    UpstreamError {
        operation,
        kind,
        effect,
        http_status: 0,
        errors: Vec::new(),
        omitted: 0,
        says_order_exists: false,
        after_lost_attempt: false,
        retry_after: None,
        correlation_id: Uuid::from_u128(1),
    }
}

#[test]
fn every_kind_and_effect_of_every_operation() {
    let mut table = String::new();
    for operation in Operation::ALL {
        for kind in KINDS {
            for effect in [Effect::None, Effect::Applied, Effect::Unknown] {
                let error = upstream_error(operation, kind, effect);
                let told = line(&status::failure(error.into(), "", &call()));
                table += &format!("{operation} {kind:?} {effect:?}\n    {told}\n");
            }
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn every_error_that_is_not_walmarts() {
    let mut faults = FieldFaults::default();
    faults.add(&FieldPath::Top("payload"), "is required");
    let (operation, correlation_id) = (Operation::Create, Uuid::from_u128(1));
    let pending =
        ServiceError::OutcomePending { operation, retry_after: Duration::from_secs(5), correlation_id, cause: None };
    let second = Duration::from_secs(1);
    let service = [
        ServiceError::Invalid(faults),
        ServiceError::Account(AccountError::NotAllowed),
        ServiceError::Account(AccountError::NotFound),
        ServiceError::OrderNotFound { operation: Operation::Status, correlation_id: Uuid::from_u128(1) },
        pending,
        ServiceError::Expired { operation, correlation_id },
        ServiceError::RequestIdReused,
        ServiceError::OrderNumberUsed,
        ServiceError::ReturnIdUsed,
        ServiceError::SubscriptionExists { ids: vec!["s-1".into()], correlation_id: Uuid::from_u128(1) },
        ServiceError::Store,
        ServiceError::Internal,
    ];
    let mut all: Vec<_> = service.map(|error| status::failure(error, "mine", &call())).into();
    // Calls about operations have no request of their own.
    let of_operators = [ServiceError::OperationNotFound, ServiceError::OperationClosed];
    all.extend(of_operators.map(|error| status::failure(error, "", &call())));
    all.extend(feed_errors().map(|error| status::failure(ServiceError::Feed(error), "", &call())));
    let last = Some(LogId(0xc0ff_ee00_u128 << 96).cursor(142));
    all.extend(stream_errors().map(|error| status::stream_end(StreamEnd { error, last }, &call())));
    all.extend([
        status::caller_unauthenticated(),
        status::service_not_allowed("FulfillmentService"),
        status::caller_rate_limited(second),
        status::overloaded(second),
        status::too_many_watches(),
        status::deadline_exceeded(None),
        status::deadline_exceeded(Some(Uuid::from_u128(1))),
        status::shutting_down(),
        status::internal(),
    ]);
    let table: String = all.iter().map(|status| format!("{}\n    {:?}\n", line(status), status.message())).collect();
    insta::assert_snapshot!(table);
}

/// Of calls on the feed.
fn feed_errors() -> impl Iterator<Item = FeedError> {
    let faulty = |kind| {
        let mut faults = FieldFaults::default();
        faults.add(&FieldPath::Top("start").field("after_cursor"), "is wrong");
        FeedError::Faulty(kind, faults)
    };
    let kinds = [FaultKind::Cursor, FaultKind::Filter, FaultKind::Lease, FaultKind::Bounds];
    kinds.map(faulty).into_iter().chain([
        FeedError::LogChanged { ours: "c0ffee00".repeat(4), theirs: "0badcafe".into(), first: 10, head: 20 },
        FeedError::EventsExpired { first: 10, lost_from: 4 },
        FeedError::CursorInFuture { head: 20 },
        FeedError::EventNotFound,
        FeedError::SubscriptionNotFound { name: "oms".into() },
        FeedError::WrongFeed { name: "oms".into(), feed: FeedName::CancelIntents },
        FeedError::WrongFeed { name: "erp".into(), feed: FeedName::OrderUpdates },
        FeedError::SubscriptionDiffers { etag: "1.2".into() },
        FeedError::TooManyStreams,
        FeedError::TooManySubscriptions,
    ])
}

/// That end streams.
fn stream_errors() -> impl Iterator<Item = FeedError> {
    let generation = 2;
    [
        FeedError::Seeked { generation },
        FeedError::Updated { generation },
        FeedError::ConsumerReplaced { generation },
        FeedError::EventsExpired { first: 10, lost_from: 4 },
        FeedError::SubscriptionNotFound { name: "oms".into() },
        FeedError::SlowConsumer,
        FeedError::ShuttingDown,
        FeedError::Store,
    ]
    .into_iter()
}
