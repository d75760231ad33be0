//! How far the work of a call has come, as all callers that wait for it are told.

use std::sync::Arc;

use crate::domain::ledger::{Entry, EntryState};
use crate::ports::upstream::{AcceptedAnswer, Reply, UpstreamError};

/// How far the work of a call has come.
#[derive(Clone)]
pub(super) enum Progress {
    /// Walmart has just accepted the only batch, and that is in the ledger.
    Accepted(Arc<Reply<AcceptedAnswer>>),
    /// These entries are in the ledger.
    Kept {
        batches: Arc<Vec<Batch>>,
        /// Whether all of them were there before.
        before: bool,
    },
    /// The call was answered so long ago that only the answer is left.
    Trimmed(Arc<[u8]>),
}

#[derive(Clone)]
pub(super) struct Batch {
    pub(super) entry: Entry,
    /// Why the outcome is not known, if this work has lost it.
    pub(super) lost: Option<Box<UpstreamError>>,
}

impl Progress {
    /// All of these entries were there before.
    pub(super) fn before(entries: Vec<Entry>) -> Self {
        let batches = entries.into_iter().map(|entry| Batch { entry, lost: None }).collect();
        Self::Kept { batches: Arc::new(batches), before: true }
    }

    /// Whether nothing of it was sent, so that its id may be used again.
    pub(super) fn is_free(&self) -> bool {
        match self {
            Self::Kept { batches, .. } => batches.iter().all(|batch| batch.entry.state == EntryState::NotSent),
            Self::Accepted(_) | Self::Trimmed(_) => false,
        }
    }
}
