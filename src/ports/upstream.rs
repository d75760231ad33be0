//! What the use cases need of Walmart.

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

/// Walmart, as far as one of its calls goes. A call retries what the classification table (`upstream::classify`) allows, ends
/// before its deadline, and keeps to the account's limits.
pub trait Upstream<C: WalmartCall>: Clone + Send + Sync + 'static {
    /// Sends the request. After an error with [`Effect::Unknown`] a mutation may have been carried out. `correlation_id` is
    /// sent with every attempt; without one the call gets a new one.
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
        /// Walmart with all of its calls.
        pub trait WalmartApi: $($(Upstream<reads::$read_type> +)*)* $(Upstream<mutations::$type> +)* {}

        impl<T: $($(Upstream<reads::$read_type> +)*)* $(Upstream<mutations::$type> +)*> WalmartApi for T {}
    };
}
operations!(walmart);

/// A readable answer.
#[derive(Clone, Debug)]
pub struct Reply<A> {
    /// What Walmart said.
    pub answer: A,
    /// The `WM_QOS.CORRELATION_ID` of the call.
    pub correlation_id: Uuid,
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
