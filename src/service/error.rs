//! The errors of the use cases.

use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::feed_error::FeedError;
use crate::domain::effect::Effect;
use crate::domain::ledger::{Entry, EntryState};
use crate::domain::operation::Operation;
use crate::domain::rules::FieldFaults;
use crate::ports::store_error::StoreError;
use crate::ports::upstream::{ErrorKind, UpstreamError};

/// A failure to find an account for a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountError {
    /// The caller may not use the account, or may not know whether the account exists.
    NotAllowed,
    /// The account does not exist. Only callers allowed every account get this error.
    NotFound,
}

/// The failure of a call; `grpc::status` makes the gRPC status.
#[derive(Clone, Debug)]
pub enum ServiceError {
    /// The request fails validation; every fault is listed.
    Invalid(FieldFaults),
    /// The account cannot be used.
    Account(AccountError),
    /// Walmart's error, or a missing answer. The texts are already redacted.
    Upstream(Box<UpstreamError>),
    /// The outcome of a mutation is unknown. No further attempt is made before the outcome is settled.
    OutcomePending {
        /// Operation of the call.
        operation: Operation,
        /// Time until a repeated call makes sense.
        retry_after: Duration,
        /// The `WM_QOS.CORRELATION_ID` of the attempts.
        correlation_id: Uuid,
        /// The upstream error of this call's attempt, if this call made one.
        cause: Option<Box<UpstreamError>>,
    },
    /// Walmart's answer shows that the object does not exist.
    OrderNotFound {
        /// Operation of the call.
        operation: Operation,
        /// The `WM_QOS.CORRELATION_ID` of the search.
        correlation_id: Uuid,
    },
    /// The mutation was given up, and certainly had no effect.
    Expired {
        /// Operation of the call.
        operation: Operation,
        /// The `WM_QOS.CORRELATION_ID` of the attempts.
        correlation_id: Uuid,
    },
    /// The caller used this `request_id` for different content.
    RequestIdReused,
    /// The ledger has a different order with this number.
    OrderNumberUsed,
    /// The ledger has a different return with this id of the seller's.
    ReturnIdUsed,
    /// Walmart has an ACTIVE subscription of the type and URL, or one is being made with other content.
    SubscriptionExists {
        /// Walmart's ids of the subscriptions; empty while one is being made.
        ids: Vec<String>,
        /// The `WM_QOS.CORRELATION_ID` of the read.
        correlation_id: Uuid,
    },
    /// The ledger cannot be read or written; no request was sent.
    Store,
    /// No such operation exists, or the caller may not see the operation.
    OperationNotFound,
    /// The operation is final.
    OperationClosed,
    /// A failure of the feed.
    Feed(FeedError),
    /// A bug in the gateway.
    Internal,
}

/// Time until a repeated call makes sense while the outcome is unknown.
const OUTCOME_RETRY: Duration = Duration::from_secs(5);
/// The same, while the decision of an operator is needed.
const OPERATOR_RETRY: Duration = Duration::from_secs(300);

/// Head start of the upstream stack at the deadline. The stack ends by itself at the deadline and reports more detail
/// than a timeout here; waits above therefore end later by this time. The margin before the caller's own deadline has
/// room for it.
pub(super) const SLACK: Duration = Duration::from_millis(10);

/// Whether shared work failed only because the caller that began it had less time, until `began_until`, than a caller that
/// has until `deadline`.
pub(super) fn had_too_little_time<T>(
    result: &Result<T, ServiceError>,
    began_until: Instant,
    deadline: Instant,
) -> bool {
    let more_may_help = result.as_ref().is_err_and(ServiceError::more_time_may_help);
    more_may_help && began_until < deadline && Instant::now() < deadline
}

/// The error of a call whose deadline passed before a request was sent, or while waiting for the upstream call of a
/// different caller.
pub(super) fn timed_out(operation: Operation, correlation_id: Uuid) -> ServiceError {
    let (kind, effect) = (ErrorKind::DeadlineExceeded, Effect::None);
    ServiceError::Upstream(Box::new(UpstreamError::unanswered(operation, kind, effect, correlation_id)))
}

/// The error of a mutation that continues with an unknown outcome.
pub(super) fn pending(operation: Operation, correlation_id: Uuid) -> ServiceError {
    let cause = UpstreamError::unanswered(operation, ErrorKind::Unavailable, Effect::Unknown, correlation_id);
    ServiceError::OutcomePending { operation, retry_after: OUTCOME_RETRY, correlation_id, cause: Some(Box::new(cause)) }
}

/// The same for an open entry of the ledger.
pub(super) fn pending_entry(entry: &Entry) -> ServiceError {
    let operation = entry.kind.operation();
    let needs_operator = entry.state == EntryState::NeedsOperator;
    let retry_after = if needs_operator { OPERATOR_RETRY } else { OUTCOME_RETRY };
    let cause = (entry.effect == Effect::Unknown).then(|| {
        let (kind, effect) = (ErrorKind::Unavailable, Effect::Unknown);
        Box::new(UpstreamError::unanswered(operation, kind, effect, entry.correlation_id))
    });
    ServiceError::OutcomePending { operation, retry_after, correlation_id: entry.correlation_id, cause }
}

impl From<StoreError> for ServiceError {
    /// The store has counted and logged the error.
    fn from(_: StoreError) -> Self {
        Self::Store
    }
}

impl From<FeedError> for ServiceError {
    fn from(error: FeedError) -> Self {
        Self::Feed(error)
    }
}

impl From<UpstreamError> for ServiceError {
    fn from(error: UpstreamError) -> Self {
        if error.operation.is_mutation() && error.effect == Effect::Unknown {
            let UpstreamError { operation, correlation_id, .. } = error;
            let cause = Some(Box::new(error));
            return Self::OutcomePending { operation, retry_after: OUTCOME_RETRY, correlation_id, cause };
        }
        Self::Upstream(Box::new(error))
    }
}

impl ServiceError {
    /// The `WM_QOS.CORRELATION_ID` of the failed or planned upstream call; `None` without such a call.
    pub fn correlation_id(&self) -> Option<Uuid> {
        let id = match self {
            Self::Upstream(error) => error.correlation_id,
            Self::OutcomePending { correlation_id, .. }
            | Self::OrderNotFound { correlation_id, .. }
            | Self::SubscriptionExists { correlation_id, .. }
            | Self::Expired { correlation_id, .. } => *correlation_id,
            _ => return None,
        };
        (!id.is_nil()).then_some(id)
    }

    /// Adds the faults of a further check, to report all faults at once.
    pub(crate) fn with_faults(self, check: Result<(), FieldFaults>) -> Self {
        match (self, check) {
            (Self::Invalid(mut faults), Err(more)) => {
                faults.extend(more);
                Self::Invalid(faults)
            }
            (error, _) => error,
        }
    }

    /// Whether a read that failed at its own short deadline may succeed for a caller with more time.
    fn more_time_may_help(&self) -> bool {
        matches!(
            self,
            Self::Upstream(error)
                if matches!(error.kind, ErrorKind::DeadlineExceeded | ErrorKind::RateLimited | ErrorKind::Unavailable)
        )
    }
}
