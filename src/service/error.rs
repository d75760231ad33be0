//! How a use case can fail.

use std::time::Duration;

use uuid::Uuid;

use super::AccountError;
use super::feed::FeedError;
use crate::domain::effect::Effect;
use crate::domain::ledger::{Entry, EntryState};
use crate::domain::operation::Operation;
use crate::domain::rules::Faults;
use crate::ports::ledger::StoreError;
use crate::ports::upstream::{ErrorKind, UpstreamError};

/// Why a call failed; `grpc::status` makes the answer of it.
#[derive(Clone, Debug)]
pub enum ServiceError {
    /// The request fails validation; every fault is listed.
    Invalid(Faults),
    /// The account cannot be used.
    Account(AccountError),
    /// Walmart's answer, or the lack of one. Personal data is already taken out of its texts.
    Upstream(Box<UpstreamError>),
    /// Whether a mutation was carried out is not known yet. Nothing is sent again before that is settled.
    OutcomePending {
        /// What was asked.
        operation: Operation,
        /// When to ask again.
        retry_after: Duration,
        /// The `WM_QOS.CORRELATION_ID` of its attempts.
        correlation_id: Uuid,
        /// What is known of the attempt, if one was made by this call.
        cause: Option<Box<UpstreamError>>,
    },
    /// Walmart's list has no order of the number that was asked for.
    OrderNotFound {
        /// The `WM_QOS.CORRELATION_ID` of the search.
        correlation_id: Uuid,
    },
    /// It was given up, and certainly had no effect.
    Expired {
        /// What was asked.
        operation: Operation,
        /// The `WM_QOS.CORRELATION_ID` of its attempts.
        correlation_id: Uuid,
    },
    /// The caller used this `request_id` for something else.
    RequestIdReused,
    /// The ledger has another order with this number.
    OrderNumberUsed,
    /// The ledger cannot be read or written; nothing was sent.
    Store,
    /// No such operation, or none that this caller may see.
    OperationNotFound,
    /// The operation is final.
    OperationClosed,
    /// The feed's own failures.
    Feed(FeedError),
    /// A bug.
    Internal,
}

/// When to ask again for an outcome that is not known yet.
const OUTCOME_RETRY: Duration = Duration::from_secs(5);
/// The same, when a person has to look into it.
const OPERATOR_RETRY: Duration = Duration::from_secs(300);

/// The stack below ends at the deadline by itself and knows more than a wait here does, so it goes first. The deadline is
/// earlier than the caller's by a margin that has room for this.
pub(super) const SLACK: Duration = Duration::from_millis(10);

/// The deadline passed before anything was sent for the call, or while it waited for the upstream call of another.
pub(super) fn timed_out(operation: Operation, correlation_id: Uuid) -> ServiceError {
    let (kind, effect) = (ErrorKind::DeadlineExceeded, Effect::None);
    ServiceError::Upstream(Box::new(UpstreamError::unanswered(operation, kind, effect, correlation_id)))
}

/// It is not known yet what became of a mutation that goes on.
pub(super) fn pending(operation: Operation, correlation_id: Uuid) -> ServiceError {
    let cause = UpstreamError::unanswered(operation, ErrorKind::Unavailable, Effect::Unknown, correlation_id);
    ServiceError::OutcomePending { operation, retry_after: OUTCOME_RETRY, correlation_id, cause: Some(Box::new(cause)) }
}

/// The same of an entry of the ledger that is open.
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
    /// The store has counted and logged it.
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
    /// The `WM_QOS.CORRELATION_ID` of the call to Walmart that failed, or that was not made; `None` where there was none to
    /// make.
    pub fn correlation_id(&self) -> Option<Uuid> {
        let id = match self {
            Self::Upstream(error) => error.correlation_id,
            Self::OutcomePending { correlation_id, .. }
            | Self::OrderNotFound { correlation_id }
            | Self::Expired { correlation_id, .. } => *correlation_id,
            _ => return None,
        };
        (!id.is_nil()).then_some(id)
    }

    /// Adds the faults that `check` found to those already found, so that the caller hears of all at once.
    pub fn with_faults(self, check: Result<(), Faults>) -> Self {
        match (self, check) {
            (Self::Invalid(mut faults), Err(more)) => {
                faults.extend(more);
                Self::Invalid(faults)
            }
            (error, _) => error,
        }
    }

    /// Whether a read that ended so, because its own deadline was short, may go better for a caller with more time.
    pub fn more_time_may_help(&self) -> bool {
        matches!(
            self,
            Self::Upstream(error)
                if matches!(error.kind, ErrorKind::DeadlineExceeded | ErrorKind::RateLimited | ErrorKind::Unavailable)
        )
    }
}
