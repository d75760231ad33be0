//! What the use cases need of Walmart.

use std::future::Future;
use std::time::Duration;

use uuid::Uuid;

use super::call::CallContext;
use crate::domain::account::AccountIndex;
use crate::domain::effect::Effect;
use crate::domain::ledger::evidence::LookupAnswer;
use crate::domain::operation::Operation;
use crate::pb;

/// Walmart, one method for each of its operations. Every method sends what it is given, retries what the classification
/// table (`upstream::classify`) allows, ends before the call's deadline, and keeps to the account's limits.
pub trait Upstream: Clone + Send + Sync + 'static {
    /// Fetches a delivery promise. The answer's own fields of the gateway (`correlation_id`, `cache`) are left unset.
    fn fetch_promise(
        &self,
        account: AccountIndex,
        request: &pb::FetchDeliveryPromiseRequest,
        call: &CallContext,
    ) -> impl Future<Output = Result<Reply<pb::FetchDeliveryPromiseResponse>, UpstreamError>> + Send;

    /// Creates an order. After an error with [`Effect::Unknown`] it may exist. `correlation_id` is sent with every attempt.
    fn create_order(
        &self,
        account: AccountIndex,
        request: &pb::CreateOrderRequest,
        correlation_id: Uuid,
        call: &CallContext,
    ) -> impl Future<Output = Result<Reply<Accepted>, UpstreamError>> + Send;

    /// Cancels lines; the caller keeps to Walmart's 100 lines a request. `correlation_id` is sent with every attempt.
    fn cancel_order(
        &self,
        account: AccountIndex,
        request: &pb::CancelOrderRequest,
        correlation_id: Uuid,
        call: &CallContext,
    ) -> impl Future<Output = Result<Reply<Accepted>, UpstreamError>> + Send;

    /// Searches orders. An order number that Walmart does not know is [`ErrorKind::NotFound`] or an
    /// empty list, as Walmart has it; an answer that shows neither an order nor its absence is [`ErrorKind::Unavailable`].
    fn order_status(
        &self,
        account: AccountIndex,
        request: &pb::GetOrderStatusRequest,
        call: &CallContext,
    ) -> impl Future<Output = Result<Reply<pb::GetOrderStatusResponse>, UpstreamError>> + Send;

    /// Searches orders for the ledger: every complete HTTP answer as it came, a 404 as well as a 200. Errors are answers
    /// about the call itself (credentials, rate limits, locks, overload), 5xx, timeouts and broken connections, after the
    /// usual retries. An error is never evidence.
    fn look_up(
        &self,
        account: AccountIndex,
        request: &pb::GetOrderStatusRequest,
        call: &CallContext,
    ) -> impl Future<Output = Result<Reply<LookupAnswer>, UpstreamError>> + Send;
}

/// A readable answer.
#[derive(Clone, Debug)]
pub struct Reply<A> {
    /// What Walmart said.
    pub answer: A,
    /// The `WM_QOS.CORRELATION_ID` of the call.
    pub correlation_id: Uuid,
}

/// Walmart took on a create or cancel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Accepted {
    /// The status text, "ACCEPTED".
    pub status: String,
    /// The envelope's header, if any.
    pub header: Option<pb::Header>,
    /// Walmart's id of the acceptance.
    pub acceptance: pb::Acceptance,
    /// Errors that Walmart sent beside it: may repeat personal data of the request.
    pub errors: Vec<pb::WalmartError>,
}

/// Why there is no usable answer.
#[derive(Clone, Debug)]
pub struct UpstreamError {
    /// The operation that failed.
    pub operation: Operation,
    /// What kind of failure the caller has to deal with.
    pub kind: ErrorKind,
    /// Whether Walmart may have acted.
    pub effect: Effect,
    /// HTTP status of the last attempt that was answered; 0 when none was.
    pub http_status: u16,
    /// Walmart's errors, as sent: may repeat personal data of the request.
    pub errors: Vec<pb::WalmartError>,
    /// How many more errors there were.
    pub omitted: usize,
    /// Whether Walmart spoke of the order number of a creation as taken, in any of its wordings, be it in one of several
    /// errors or by the status 409. After an attempt whose outcome is not known it is a hint that the order is there, never
    /// a refusal; [`ErrorKind::Duplicate`] is the narrower judgement that the caller is told when nothing was in doubt.
    pub says_order_exists: bool,
    /// When to try again, where that is known.
    pub retry_after: Option<Duration>,
    /// The `WM_QOS.CORRELATION_ID` of the call.
    pub correlation_id: Uuid,
}

impl UpstreamError {
    /// A failure to which Walmart said nothing.
    pub fn unanswered(operation: Operation, kind: ErrorKind, effect: Effect, correlation_id: Uuid) -> Self {
        Self {
            operation,
            kind,
            effect,
            http_status: 0,
            errors: Vec::new(),
            omitted: 0,
            says_order_exists: false,
            retry_after: None,
            correlation_id,
        }
    }
}

/// Kinds of failure, each a row of the contract's error table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Walmart refused the request.
    Rejected,
    /// Walmart refused it because the order or line is in the wrong state.
    WrongState,
    /// Walmart's order service does not know what the request names. A gateway's 404 is `Unavailable`.
    NotFound,
    /// Walmart calls the order number a duplicate: by its field or words, not those of a SKU, line or plan, or by 409.
    Duplicate,
    /// Walmart refuses the account's credentials, or what they may do.
    CredentialsRefused,
    /// The account's calls of this operation are used up.
    RateLimited,
    /// Too many calls are under way.
    Overloaded,
    /// The operation failed so often that it is not tried for a while.
    CircuitOpen,
    /// No answer, or none that can be used.
    Unavailable,
    /// The deadline left no time for (another) attempt.
    DeadlineExceeded,
}
