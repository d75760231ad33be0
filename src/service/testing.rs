//! A Walmart that answers by script, and calls to make of it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::Value;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::ServiceError;
use crate::domain::account::AccountIndex;
use crate::domain::effect::Effect;
use crate::domain::operation::Operation;
use crate::pb;
use crate::ports::call::{CallContext, CallFacts, Caller};
use crate::ports::upstream::{Accepted, ErrorKind, Reply, Upstream, UpstreamError};
use crate::telemetry::trace::TraceContext;

pub(crate) const ACME: AccountIndex = AccountIndex(0);
/// Time that each scripted answer takes.
pub(crate) const LATENCY: Duration = Duration::from_secs(1);
pub(crate) const SETTLE: Duration = Duration::from_secs(120);

/// What Walmart answers to one call.
pub(crate) type Answer = Result<Said, UpstreamError>;

/// A success, whatever the operation.
#[derive(Clone, Default)]
pub(crate) struct Said {
    pub(crate) request_id: String,
    pub(crate) orders: Vec<pb::OrderStatus>,
}

/// Answers the calls of each operation in turn; what is not scripted is a success. Ends at the call's deadline.
#[derive(Clone, Default)]
pub(crate) struct Walmart(Arc<Script>);

#[derive(Default)]
struct Script {
    answers: Mutex<Vec<(Operation, VecDeque<Answer>)>>,
    sent: Mutex<Vec<(Operation, String)>>,
    done: AtomicUsize,
    deaf: AtomicBool,
}

impl Walmart {
    pub(crate) fn answering(self, operation: Operation, answers: impl IntoIterator<Item = Answer>) -> Self {
        self.0.answers.lock().unwrap().push((operation, answers.into_iter().collect()));
        self
    }

    /// One that does not end at the deadline.
    pub(crate) fn deaf(self) -> Self {
        self.0.deaf.store(true, Ordering::SeqCst);
        self
    }

    /// The operations called so far.
    pub(crate) fn asked(&self) -> Vec<Operation> {
        self.0.sent.lock().unwrap().iter().map(|(operation, _)| *operation).collect()
    }

    /// What was sent, as debug text.
    pub(crate) fn sent(&self) -> Vec<String> {
        self.0.sent.lock().unwrap().iter().map(|(_, request)| request.clone()).collect()
    }

    /// Calls that came to their end.
    pub(crate) fn done(&self) -> usize {
        self.0.done.load(Ordering::SeqCst)
    }

    async fn answer(
        &self,
        operation: Operation,
        request: String,
        call: &CallContext,
    ) -> Result<(Said, Uuid), UpstreamError> {
        let number = {
            let mut sent = self.0.sent.lock().unwrap();
            sent.push((operation, request));
            sent.len() as u128
        };
        let deaf = self.0.deaf.load(Ordering::SeqCst);
        let until = if deaf { CallContext::no_deadline(Instant::now()) } else { call.deadline };
        if tokio::time::timeout_at(until, sleep(LATENCY)).await.is_err() {
            self.0.done.fetch_add(1, Ordering::SeqCst);
            let kind = if operation.is_mutation() { ErrorKind::Unavailable } else { ErrorKind::DeadlineExceeded };
            let effect = if operation.is_mutation() { Effect::Unknown } else { Effect::None };
            return Err(error(operation, kind, effect));
        }
        self.0.done.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.0.answers.lock().unwrap();
        let scripted = answers.iter_mut().find(|(of, _)| *of == operation).and_then(|(_, answers)| answers.pop_front());
        scripted
            .unwrap_or_else(|| Ok(Said { request_id: format!("walmart-{number}"), ..Default::default() }))
            .map(|said| (said, Uuid::from_u128(number)))
    }
}

impl Upstream for Walmart {
    async fn fetch_promise(
        &self,
        account: AccountIndex,
        request: &pb::FetchDeliveryPromiseRequest,
        call: &CallContext,
    ) -> Result<Reply<pb::FetchDeliveryPromiseResponse>, UpstreamError> {
        let (_, correlation_id) = self.answer(Operation::Promise, format!("{account:?} {request:?}"), call).await?;
        let answer = pb::FetchDeliveryPromiseResponse { status: "SUCCESS".into(), ..Default::default() };
        Ok(Reply { answer, correlation_id })
    }

    async fn create_order(
        &self,
        account: AccountIndex,
        request: &pb::CreateOrderRequest,
        call: &CallContext,
    ) -> Result<Reply<Accepted>, UpstreamError> {
        self.answer(Operation::Create, format!("{account:?} {request:?}"), call).await.map(accepted)
    }

    async fn cancel_order(
        &self,
        account: AccountIndex,
        request: &pb::CancelOrderRequest,
        call: &CallContext,
    ) -> Result<Reply<Accepted>, UpstreamError> {
        self.answer(Operation::Cancel, format!("{account:?} {request:?}"), call).await.map(accepted)
    }

    async fn order_status(
        &self,
        account: AccountIndex,
        request: &pb::GetOrderStatusRequest,
        call: &CallContext,
    ) -> Result<Reply<pb::GetOrderStatusResponse>, UpstreamError> {
        let (said, correlation_id) = self.answer(Operation::Status, format!("{account:?} {request:?}"), call).await?;
        let answer = pb::GetOrderStatusResponse { status: "OK".into(), payload: said.orders, ..Default::default() };
        Ok(Reply { answer, correlation_id })
    }
}

fn accepted((said, correlation_id): (Said, Uuid)) -> Reply<Accepted> {
    let acceptance = pb::Acceptance { request_id: said.request_id };
    Reply { answer: Accepted { status: "ACCEPTED".into(), header: None, acceptance }, correlation_id }
}

/// A success that lists one order.
pub(crate) fn found(number: &str) -> Answer {
    Ok(Said {
        orders: vec![pb::OrderStatus { seller_order_id: number.into(), ..Default::default() }],
        ..Default::default()
    })
}

/// A failure with one error of Walmart's.
pub(crate) fn error(operation: Operation, kind: ErrorKind, effect: Effect) -> UpstreamError {
    UpstreamError {
        operation,
        kind,
        effect,
        http_status: 500,
        errors: Vec::new(),
        omitted: 0,
        retry_after: None,
        correlation_id: Uuid::from_u128(99),
    }
}

/// The answer was lost.
pub(crate) fn lost(operation: Operation) -> Answer {
    Err(error(operation, ErrorKind::Unavailable, Effect::Unknown))
}

pub(crate) fn refused(operation: Operation, kind: ErrorKind, code: &str, description: &str) -> Answer {
    let errors = vec![pb::WalmartError { code: code.into(), description: description.into(), ..Default::default() }];
    Err(UpstreamError { errors, ..error(operation, kind, Effect::None) })
}

/// A call that waits this long.
pub(crate) fn call(time: Duration) -> CallContext {
    let trace = TraceContext { trace_id: 1, span_id: 1, sampled: false, state: None };
    let (caller, facts) = (Caller::anonymous(), Arc::new(CallFacts::default()));
    CallContext { deadline: Instant::now() + time, trace, caller, facts }
}

/// A sample body of Walmart's as a request.
pub(crate) fn sample<T: Message + Default>(name: &str, body: &str) -> T {
    let pool = DescriptorPool::decode(pb::FILE_DESCRIPTOR_SET).unwrap();
    let descriptor = pool.get_message_by_name(&format!("ordergateway.v1.{name}")).unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    DynamicMessage::deserialize(descriptor, body).unwrap().transcode_to().unwrap()
}

/// A result in short: the reason's kind, or OK.
pub(crate) fn kind<T>(result: &Result<T, ServiceError>) -> String {
    match result {
        Ok(_) => "OK".into(),
        Err(ServiceError::Upstream(error)) => format!("{:?}", error.kind),
        Err(ServiceError::OutcomePending { .. }) => "Pending".into(),
        Err(ServiceError::OrderNotFound { .. }) => "OrderNotFound".into(),
        Err(other) => format!("{other:?}"),
    }
}
