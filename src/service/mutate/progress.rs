//! The progress of a call's work, shared by all callers that wait for the work.

use std::sync::Arc;

use crate::domain::ledger::Entry;
use crate::ports::upstream::{AcceptedAnswer, Reply, UpstreamError};

/// The progress of a call's work.
#[derive(Clone)]
pub(super) enum CallProgress {
    /// Walmart accepted the only batch, and the ledger has the acceptance.
    Accepted(Arc<Reply<AcceptedAnswer>>),
    /// The ledger has these entries.
    Kept {
        batches: Arc<Vec<BatchProgress>>,
        /// Whether all entries existed before the call.
        before: bool,
    },
    /// The call was answered and trimmed; only the answer is left.
    Trimmed(Arc<[u8]>),
}

#[derive(Clone)]
pub(super) struct BatchProgress {
    pub(super) entry: Entry,
    /// The upstream error behind an unknown outcome, if this work made the attempt.
    pub(super) lost: Option<Box<UpstreamError>>,
}

impl CallProgress {
    /// Progress of a call with existing entries.
    pub(super) fn before(entries: Vec<Entry>) -> Self {
        let batches = entries.into_iter().map(|entry| BatchProgress { entry, lost: None }).collect();
        Self::Kept { batches: Arc::new(batches), before: true }
    }

    /// Whether the request id is free for a new call.
    pub(super) fn is_free(&self) -> bool {
        match self {
            Self::Kept { batches, .. } => batches.iter().all(|batch| batch.entry.frees_request_id()),
            Self::Accepted(_) | Self::Trimmed(_) => false,
        }
    }
}
