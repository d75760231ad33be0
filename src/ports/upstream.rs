//! Walmart's calls, as needed by the use cases.

use std::future::Future;
use std::time::Duration;

use uuid::Uuid;

use super::call::CallContext;
use crate::domain::account::AccountIndex;
use crate::domain::effect::Effect;
pub use crate::domain::mutations::AcceptedAnswer;
use crate::domain::operation::{Operation, WalmartCall, operations};
use crate::domain::{mutations, reads};
use crate::pb;

/// One of Walmart's calls. The implementation retries as far as the classification table (`upstream::classify`) allows,
/// ends before the deadline of the call, and obeys the account's limits.
pub trait Upstream<C: WalmartCall>: Clone + Send + Sync + 'static {
    /// Sends the request. After an error with [`Effect::Unknown`] a mutation may have been carried out.
    /// `correlation_id` is sent with every attempt; `None` generates a new id.
    fn call(
        &self,
        account: AccountIndex,
        request: &C::Request,
        correlation_id: Option<Uuid>,
        call: &CallContext,
    ) -> impl Future<Output = Result<Reply<C::Answer>, UpstreamError>> + Send;
}

macro_rules! walmart {
    (
        reads { $($(#[$read_doc:meta])* $read:ident: [$($read_type:ident),*] $read_facts:tt)* }
        mutations { $($(#[$doc:meta])* $mutation:ident: [$type:ident] $facts:tt)* }
    ) => {
        /// All of Walmart's calls together.
        pub trait WalmartApi: $($(Upstream<reads::$read_type> +)*)* $(Upstream<mutations::$type> +)* {}

        impl<T: $($(Upstream<reads::$read_type> +)*)* $(Upstream<mutations::$type> +)*> WalmartApi for T {}
    };
}
operations!(walmart);

/// A readable answer from Walmart.
#[derive(Clone, Debug)]
pub struct Reply<A> {
    /// The content of the answer.
    pub answer: A,
    /// The `WM_QOS.CORRELATION_ID` of the call.
    pub correlation_id: Uuid,
}

/// A call without a usable answer.
#[derive(Clone, Debug)]
pub struct UpstreamError {
    /// The operation that failed.
    pub operation: Operation,
    /// The kind of failure.
    pub kind: ErrorKind,
    /// Whether Walmart may have acted.
    pub effect: Effect,
    /// HTTP status of the last answered attempt; 0 without an answer.
    pub http_status: u16,
    /// Walmart's errors, unredacted: the texts may repeat personal data of the request.
    pub errors: Vec<pb::WalmartError>,
    /// Number of further errors, counted only.
    pub omitted: usize,
    /// Whether Walmart reports the order number of a creation as taken, in any known wording: in one of several errors,
    /// or by the status 409. After an attempt with unknown outcome, the report is a hint of presence and never a
    /// refusal. [`ErrorKind::Duplicate`] is the narrower judgement, for calls without an unknown outcome.
    pub says_order_exists: bool,
    /// Whether an earlier attempt of the call may have been carried out, before the last one ended with this error.
    pub after_lost_attempt: bool,
    /// Time until a retry makes sense, where known.
    pub retry_after: Option<Duration>,
    /// The `WM_QOS.CORRELATION_ID` of the call.
    pub correlation_id: Uuid,
}

impl UpstreamError {
    /// A failure without an answer from Walmart.
    pub(crate) fn unanswered(operation: Operation, kind: ErrorKind, effect: Effect, correlation_id: Uuid) -> Self {
        Self {
            operation,
            kind,
            effect,
            http_status: 0,
            errors: Vec::new(),
            omitted: 0,
            says_order_exists: false,
            after_lost_attempt: false,
            retry_after: None,
            correlation_id,
        }
    }
}

/// Kinds of failure, with a row of the contract's error table for every kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Walmart refused the request.
    Rejected,
    /// Walmart refused the request, because the order or line is in the wrong state.
    WrongState,
    /// Walmart's order service does not know the order named in the request. A gateway's 404 is `Unavailable`.
    NotFound,
    /// Walmart calls the order number a duplicate, by field or wording (not of a SKU, line or plan), or by the status
    /// 409.
    Duplicate,
    /// Walmart refuses the account's credentials or permissions.
    CredentialsRefused,
    /// The account's calls of this operation are used up.
    RateLimited,
    /// Too many calls are in flight.
    Overloaded,
    /// The circuit is open after repeated failures of the operation.
    CircuitOpen,
    /// No answer, or an unusable one.
    Unavailable,
    /// The deadline left no time for an attempt.
    DeadlineExceeded,
}
