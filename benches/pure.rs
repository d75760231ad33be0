//! Time of the pure parts, one call each: `cargo bench --bench pure`. A part that is added gets one line in `main`.

#[allow(dead_code)]
#[path = "side_by_side/envelope.rs"]
mod envelope;

use std::hint::black_box;

use criterion::{BatchSize, Criterion};
use order_gateway::domain::effect::Effect;
use order_gateway::domain::operation::Operation;
use order_gateway::domain::rules::{check_order, check_promise};
use order_gateway::grpc::status;
use order_gateway::pb;
use order_gateway::ports::call::{CallContext, CallPurpose, CallRecord, Caller};
use order_gateway::ports::upstream::{ErrorKind, UpstreamError};
use order_gateway::service::ServiceError;
use order_gateway::telemetry::trace::TraceContext;
use order_gateway::upstream::classify::classify;
use order_gateway::upstream::failure::AttemptFailure;
use order_gateway::upstream::headers::RateLimitHeaders;
use order_gateway::wire::error;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::envelope::{Answer, Question};

/// The gateway's own allocator: most of the time below is spent in it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CREATE: &str = include_str!("samples/create_request.json");
const PROMISE: &str = include_str!("samples/promise_request.json");
const PROMISE_ANSWER: &str = include_str!("samples/promise_answer.json");
const ACCEPTANCE_ANSWER: &str = include_str!("samples/acceptance_answer.json");
const STATUS_ANSWER: &str = include_str!("samples/status_answer.json");

/// A refusal as Walmart sends it, with three errors.
const REFUSAL: &str = include_str!("samples/refusal_answer.json");

type Outcome = Result<(), serde_json::Error>;

fn main() -> Outcome {
    let mut c = Criterion::default().configure_from_args();
    encode::<pb::Order>(&mut c, "encode/create", CREATE)?;
    encode::<pb::PromiseRequest>(&mut c, "encode/promise", PROMISE)?;
    decode::<pb::Promise>(&mut c, "decode/promise", PROMISE_ANSWER)?;
    decode::<pb::Acceptance>(&mut c, "decode/acceptance", ACCEPTANCE_ANSWER)?;
    decode::<Vec<pb::OrderStatus>>(&mut c, "decode/status", STATUS_ANSWER)?;
    validate(&mut c)?;
    errors(&mut c);
    c.final_summary();
    Ok(())
}

/// A message to the bytes that Walmart gets.
fn encode<P: Serialize + DeserializeOwned>(c: &mut Criterion, name: &str, sample: &str) -> Outcome {
    let sample: Answer<P> = serde_json::from_str(sample)?;
    let question = Question { header: sample.header.as_ref(), payload: sample.payload.as_ref() };
    serde_json::to_vec(&question)?;
    c.bench_function(name, |b| b.iter(|| serde_json::to_vec(black_box(&question))));
    Ok(())
}

/// The bytes that Walmart sent to a message.
fn decode<P: DeserializeOwned>(c: &mut Criterion, name: &str, sample: &str) -> Outcome {
    serde_json::from_str::<Answer<P>>(sample)?;
    c.bench_function(name, |b| b.iter(|| serde_json::from_slice::<Answer<P>>(black_box(sample.as_bytes()))));
    Ok(())
}

/// The rules of requests that have no fault.
fn validate(c: &mut Criterion) -> Outcome {
    let create: Answer<pb::Order> = serde_json::from_str(CREATE)?;
    let create = pb::CreateOrderRequest { payload: create.payload, ..Default::default() };
    assert_eq!(check_order(&create), Ok(()));
    c.bench_function("validate/create", |b| b.iter(|| check_order(black_box(&create))));
    let promise: Answer<pb::PromiseRequest> = serde_json::from_str(PROMISE)?;
    let promise = pb::FetchDeliveryPromiseRequest { payload: promise.payload, ..Default::default() };
    assert_eq!(check_promise(&promise), Ok(()));
    c.bench_function("validate/promise", |b| b.iter(|| check_promise(black_box(&promise))));
    Ok(())
}

/// From the bytes of a refusal to the status that the caller gets.
fn errors(c: &mut Criterion) {
    let body = error::read(REFUSAL.as_bytes());
    assert_eq!(body.errors.len(), 3);
    c.bench_function("errors/read", |b| b.iter(|| error::read(black_box(REFUSAL.as_bytes()))));
    let failure = AttemptFailure::Refused { status: 400, body: body.clone(), hint: RateLimitHeaders::default() };
    c.bench_function("errors/classify", |b| b.iter(|| classify(Operation::Create, black_box(&failure))));
    let trace = TraceContext { trace_id: 1, span_id: 1, sampled: false, state: None };
    let call = CallContext {
        deadline: tokio::time::Instant::now(),
        trace,
        facts: CallRecord::of(Caller::anonymous()),
        purpose: CallPurpose::Caller,
    };
    let error = ServiceError::from(UpstreamError {
        operation: Operation::Create,
        kind: ErrorKind::Rejected,
        effect: Effect::None,
        http_status: 400,
        errors: body.errors,
        omitted: 0,
        retry_after: None,
        says_order_exists: false,
        after_lost_attempt: false,
        correlation_id: uuid::Uuid::from_u128(1),
    });
    c.bench_function("errors/status", |b| {
        b.iter_batched(|| error.clone(), |error| status::failure(error, "", &call), BatchSize::SmallInput);
    });
}
