//! A Walmart that answers by script, and calls to make of it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::domain::account::{AccountId, AccountIndex};
use crate::domain::effect::Effect;
use crate::domain::ledger::evidence::LookupAnswer;
use crate::domain::ledger::machine::LedgerRules;
use crate::domain::mutations::{
    AcceptedAnswer, CancelMcsReturn, CancelOrder, CancelOrderLines, CreateMcsReturn, CreateOrder,
    CreateWebhookSubscription, RefundOrderLines, RefundReturn, ShipOrderLines,
};
use crate::domain::operation::{Operation, WalmartCall};
use crate::domain::reads::{
    AcknowledgeOrder, CorrectTracking, DeleteWebhookSubscription, FetchPromise, FindOrder, GetSellerOrder,
    ListEventTypes, ListMarketplaceReturns, ListMcsReturnOrders, ListSellerOrders, ListWebhookSubscriptions, LookUp,
    LookUpMcsReturns, LookUpReturn, LookUpSellerOrder, LookUpWebhookSubscriptions, SearchOrders,
    TestWebhookSubscription, UpdateWebhookSubscription,
};
use crate::pb;
use crate::ports::call::{CallContext, CallRecord, Caller};
use crate::ports::clock::Clock;
use crate::ports::ledger::Ledger;
use crate::ports::random::Random;
use crate::ports::upstream::{ErrorKind, Reply, Upstream, UpstreamError};
use crate::service::{AccountDirectory, MutationSettings, Mutations, Resolver, ServiceError};
use crate::shutdown::OnceEvent;
use crate::store::memory::MemoryLedger;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trace::{TraceContext, Tracer};
use crate::testing::restart::Restart;

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
    /// How many there are, if that is told.
    pub(crate) total: Option<i32>,
    /// The whole body of a look-up's answer, in place of one made of the above.
    pub(crate) body: Option<Value>,
    /// What stands beside the answer.
    pub(crate) errors: Vec<pb::WalmartError>,
}

/// Answers the calls of each operation in turn; what is not scripted is a success. Ends at the call's deadline.
#[derive(Clone, Default)]
pub(crate) struct Walmart(Arc<Script>);

#[derive(Default)]
struct Script {
    answers: Mutex<Vec<(Operation, VecDeque<Answer>)>>,
    sent: Mutex<Vec<(Operation, String, Instant)>>,
    panics: AtomicUsize,
    done: AtomicUsize,
    deaf: AtomicBool,
}

impl Walmart {
    pub(crate) fn answering(self, operation: Operation, answers: impl IntoIterator<Item = Answer>) -> Self {
        self.0.answers.lock().unwrap().push((operation, answers.into_iter().collect()));
        self
    }

    /// Adds to the answers of an operation.
    pub(crate) fn push(&self, operation: Operation, answer: Answer) {
        let mut answers = self.0.answers.lock().unwrap();
        answers.iter_mut().filter(|(of, _)| *of == operation).for_each(|(_, all)| all.push_back(answer.clone()));
    }

    /// One that does not end at the deadline.
    pub(crate) fn deaf(self) -> Self {
        self.0.deaf.store(true, Ordering::SeqCst);
        self
    }

    /// One in which the n-th call from now on ends in a panic, counted from 1.
    pub(crate) fn panic_at(&self, n: usize) {
        self.0.panics.store(self.0.sent.lock().unwrap().len() + n, Ordering::SeqCst);
    }

    /// When each call of this operation began, counted from the first call of all.
    pub(crate) fn times(&self, of: Operation) -> Vec<Duration> {
        let sent = self.0.sent.lock().unwrap();
        let first = sent.first().map(|(.., time)| *time);
        sent.iter().filter(|(operation, ..)| *operation == of).map(|(.., time)| *time - first.unwrap()).collect()
    }

    /// The operations called so far.
    pub(crate) fn asked(&self) -> Vec<Operation> {
        self.0.sent.lock().unwrap().iter().map(|(operation, ..)| *operation).collect()
    }

    /// What was sent, as debug text.
    pub(crate) fn sent(&self) -> Vec<String> {
        self.0.sent.lock().unwrap().iter().map(|(_, request, _)| request.clone()).collect()
    }

    /// Calls that came to their end.
    pub(crate) fn done(&self) -> usize {
        self.0.done.load(Ordering::SeqCst)
    }

    async fn answer(
        &self,
        operation: Operation,
        request: String,
        correlation_id: Option<Uuid>,
        call: &CallContext,
    ) -> (Answer, Uuid) {
        let number = {
            let mut sent = self.0.sent.lock().unwrap();
            sent.push((operation, request, Instant::now()));
            sent.len() as u128
        };
        assert_ne!(number, self.0.panics.load(Ordering::SeqCst) as u128, "on purpose");
        let correlation_id = correlation_id.unwrap_or(Uuid::from_u128(number));
        let deaf = self.0.deaf.load(Ordering::SeqCst);
        let until = if deaf { CallContext::no_deadline(Instant::now()) } else { call.deadline };
        if tokio::time::timeout_at(until, sleep(LATENCY)).await.is_err() {
            self.0.done.fetch_add(1, Ordering::SeqCst);
            let kind = if operation.is_mutation() { ErrorKind::Unavailable } else { ErrorKind::DeadlineExceeded };
            let effect = if operation.is_mutation() { Effect::Unknown } else { Effect::None };
            return (Err(error(operation, kind, effect)), correlation_id);
        }
        self.0.done.fetch_add(1, Ordering::SeqCst);
        let mut answers = self.0.answers.lock().unwrap();
        let scripted = answers.iter_mut().find(|(of, _)| *of == operation).and_then(|(_, answers)| answers.pop_front());
        let said =
            scripted.unwrap_or_else(|| Ok(Said { request_id: format!("walmart-{number}"), ..Default::default() }));
        (said, correlation_id)
    }
}

/// A call that [`Walmart`] answers.
pub(crate) trait Scripted: WalmartCall<Request: fmt::Debug> {
    fn answered(said: Answer) -> Result<Self::Answer, UpstreamError>;
}

impl<C: Scripted> Upstream<C> for Walmart {
    async fn call(
        &self,
        account: AccountIndex,
        request: &C::Request,
        correlation_id: Option<Uuid>,
        call: &CallContext,
    ) -> Result<Reply<C::Answer>, UpstreamError> {
        let request = format!("{account:?} {request:?}");
        let (said, correlation_id) = self.answer(C::OPERATION, request, correlation_id, call).await;
        Ok(Reply { answer: C::answered(said)?, correlation_id })
    }
}

impl Scripted for FetchPromise {
    fn answered(said: Answer) -> Result<Self::Answer, UpstreamError> {
        let answer = |said: Said| {
            let shipment = pb::Fulfillment { errors: said.errors.clone(), ..Default::default() };
            let option = pb::FulfillmentOption { fulfillments: vec![shipment], ..Default::default() };
            let group = pb::FulfillmentGroup { fulfillment_options: vec![option] };
            let module = pb::FulfillmentModule { name: "ERROR".into(), fulfillment_groups: vec![group] };
            let plan = pb::FulfillmentPlan { fulfillment_modules: vec![module] };
            let payload = (!said.errors.is_empty())
                .then(|| pb::Promise { fulfillment_plans: vec![plan], ..pb::Promise::default() });
            let (status, errors) = ("SUCCESS".into(), said.errors);
            pb::FetchDeliveryPromiseResponse { status, payload, errors, ..Default::default() }
        };
        said.map(answer)
    }
}

impl Scripted for CreateOrder {
    fn answered(said: Answer) -> Result<AcceptedAnswer, UpstreamError> {
        said.map(accepted)
    }
}

impl Scripted for CancelOrder {
    fn answered(said: Answer) -> Result<AcceptedAnswer, UpstreamError> {
        said.map(accepted)
    }
}

impl Scripted for SearchOrders {
    fn answered(said: Answer) -> Result<Self::Answer, UpstreamError> {
        let Said { orders, total, errors, .. } = said?;
        let counted = |total| pb::HeaderAttributes { total_count: Some(total), ..Default::default() };
        let header = total.map(|total| pb::Header { header_attributes: Some(counted(total)) });
        Ok(pb::GetOrderStatusResponse { status: "OK".into(), payload: orders, header, errors, ..Default::default() })
    }
}

impl Scripted for FindOrder {
    fn answered(said: Answer) -> Result<Self::Answer, UpstreamError> {
        SearchOrders::answered(said)
    }
}

macro_rules! scripted {
    ($accepted:ident: $($mutation:ident),*; empty: $($read:ident),*) => {
        $(impl Scripted for $mutation {
            fn answered(said: Answer) -> Result<AcceptedAnswer, UpstreamError> {
                said.map($accepted)
            }
        })*
        $(impl Scripted for $read {
            fn answered(said: Answer) -> Result<Self::Answer, UpstreamError> {
                said.map(|_| Self::Answer::default())
            }
        })*
    };
}
scripted!(
    accepted: CancelOrderLines, ShipOrderLines, RefundOrderLines, RefundReturn, CreateMcsReturn, CancelMcsReturn,
        CreateWebhookSubscription;
    empty: ListSellerOrders, GetSellerOrder, AcknowledgeOrder, CorrectTracking, ListMarketplaceReturns,
        ListMcsReturnOrders, ListEventTypes, ListWebhookSubscriptions, UpdateWebhookSubscription,
        DeleteWebhookSubscription, TestWebhookSubscription
);

macro_rules! unread {
    ($($read:ident),*) => {
        $(impl Scripted for $read {
            fn answered(said: Answer) -> Result<LookupAnswer, UpstreamError> {
                raw(said)
            }
        })*
    };
}
unread!(LookUpSellerOrder, LookUpReturn, LookUpMcsReturns, LookUpWebhookSubscriptions);

impl Scripted for LookUp {
    fn answered(said: Answer) -> Result<Self::Answer, UpstreamError> {
        raw(said)
    }
}

/// The answer to a look-up as Walmart would send it.
fn raw(answer: Result<Said, UpstreamError>) -> Result<LookupAnswer, UpstreamError> {
    let (http_status, body) = match answer {
        Ok(Said { orders, total, body, .. }) => {
            let orders: Vec<Value> = orders.iter().map(order).collect();
            let total = total.map(|total| json!({"headerAttributes": {"totalCount": total}}));
            (200, body.unwrap_or_else(|| json!({"status": "OK", "header": total, "payload": orders})))
        }
        Err(error) if error.kind == ErrorKind::NotFound => {
            let errors = error.errors.iter().map(|error| json!({"code": error.code}));
            (400, json!({"status": "FAIL", "errors": errors.collect::<Vec<_>>()}))
        }
        Err(error) => return Err(error),
    };
    Ok(LookupAnswer { http_status, body: body.to_string().into() })
}

fn order(order: &pb::OrderStatus) -> Value {
    let lines = order.order_items.iter().map(|line| {
        let units = line.qty.as_ref().and_then(|qty| qty.measurement_value);
        json!({"sellerLineId": line.seller_line_id, "lineStatus": line.line_status, "qty": {"measurementValue": units}})
    });
    let mut json = json!({"orderItems": lines.collect::<Vec<_>>()});
    for (name, value) in [("sellerOrderId", &order.seller_order_id), ("orderNumber", &order.order_number)] {
        if !value.is_empty() {
            json[name] = value.as_str().into();
        }
    }
    json
}

fn accepted(said: Said) -> AcceptedAnswer {
    let acceptance = pb::Acceptance { request_id: said.request_id };
    AcceptedAnswer { status: "ACCEPTED".into(), acceptance, errors: said.errors, ..AcceptedAnswer::default() }
}

/// Mutations of two accounts over this Walmart, kept in memory. `status_limit` of 1 leaves no call for snapshots.
pub(crate) fn mutations(walmart: &Walmart, status_limit: u32) -> Mutations<Walmart, MemoryLedger> {
    over(walmart, MemoryLedger::new(), status_limit)
}

/// Mutations of these accounts over this Walmart, kept in memory, without snapshots.
pub(crate) fn mutations_of(walmart: &Walmart, accounts: &[&str]) -> Mutations<Walmart, MemoryLedger> {
    built(walmart, MemoryLedger::new(), accounts, 1, OnceEvent::default())
}

/// Mutations of two accounts over a ledger that is there already.
pub(crate) fn over<L: Ledger>(walmart: &Walmart, ledger: L, status_limit: u32) -> Mutations<Walmart, L> {
    built(walmart, ledger, &["acme", "other"], status_limit, OnceEvent::default())
}

/// Mutations of a process whose grace period ends with `closing`.
pub(crate) fn until<L: Ledger>(walmart: &Walmart, ledger: L, closing: OnceEvent) -> Mutations<Walmart, L> {
    built(walmart, ledger, &["acme", "other"], 20, closing)
}

fn built<L: Ledger>(
    walmart: &Walmart,
    ledger: L,
    accounts: &[&str],
    status_limit: u32,
    closing: OnceEvent,
) -> Mutations<Walmart, L> {
    let delays = [500, 1500, 5_000, 15_000, 30_000, 60_000, 120_000].map(Duration::from_millis);
    let rules =
        LedgerRules { settle_window: SETTLE, lookup_delays: delays.into(), not_after: Duration::from_secs(15 * 60) };
    let accounts = accounts.iter().map(|id| AccountId::new(*id).unwrap());
    Mutations::new(
        walmart.clone(),
        ledger,
        AccountDirectory::of_ids(accounts),
        MutationSettings { rules, status_limit, look_first_until: None, tracer: Tracer::off(), closing },
        Clock::following(UNIX_EPOCH + Duration::from_secs(1_800_000_000)),
        Random::from_seed(1),
        Arc::new(Metrics::new([])),
    )
}

/// Takes over what is open, as at the start of the next process; tells how many.
pub(crate) async fn take_over<L: Restart>(mutations: &Mutations<Walmart, L>) -> usize {
    mutations.ledger().restart();
    mutations.take_over(&TaskTracker::new(), CancellationToken::new()).await
}

/// The resolver at work, until the test ends.
pub(crate) fn resolving<L: Ledger>(mutations: &Mutations<Walmart, L>) -> DropGuard {
    let stopping = CancellationToken::new();
    let resolver = Resolver::new(mutations.clone(), Duration::from_secs(90 * 24 * 60 * 60), TaskTracker::new());
    tokio::spawn(resolver.run(stopping.clone()));
    stopping.drop_guard()
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
        says_order_exists: false,
        after_lost_attempt: false,
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
    let says_order_exists = kind == ErrorKind::Duplicate;
    Err(UpstreamError { errors, says_order_exists, ..error(operation, kind, Effect::None) })
}

/// A call that waits this long.
pub(crate) fn call(time: Duration) -> CallContext {
    let trace = TraceContext { trace_id: 1, span_id: 1, sampled: false, state: None };
    let (deadline, facts) = (Instant::now() + time, CallRecord::of(Caller::anonymous()));
    CallContext { deadline, trace, facts, purpose: Default::default() }
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
        Err(ServiceError::Expired { operation, .. }) => format!("Expired {{ operation: {operation:?} }}"),
        Err(other) => format!("{other:?}"),
    }
}
