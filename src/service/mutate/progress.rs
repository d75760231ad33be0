//! The progress of a call's work, shared by all callers that wait for the work.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::ledger::{Entry, EntryState};
use crate::domain::mutations::ShownObject;
use crate::ports::upstream::{AcceptedAnswer, Reply, UpstreamError};
use crate::service::ledger::answer;

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
    /// What the messages have no place for in the answer, if this work made the attempt. The ledger does not keep it.
    pub(super) unmapped: BTreeMap<String, String>,
}

impl BatchProgress {
    /// Progress without an attempt of this work.
    pub(super) const fn of(entry: Entry) -> Self {
        Self { entry, lost: None, unmapped: BTreeMap::new() }
    }
}

impl CallProgress {
    /// Progress of a call with existing entries.
    pub(super) fn before(entries: Vec<Entry>) -> Self {
        let batches = entries.into_iter().map(BatchProgress::of).collect();
        Self::Kept { batches: Arc::new(batches), before: true }
    }

    /// Whether this call made exactly these subscriptions, as far as its answer names those that it made.
    pub(super) fn has_made(&self, subscriptions: &[String]) -> bool {
        let Self::Kept { batches, .. } = self else { return false };
        let made = batches.iter().filter(|batch| batch.entry.state == EntryState::Succeeded);
        let mut shown = made.filter_map(|batch| Some(answer::read_acceptance(&batch.entry.answer).ok()?.answer.shown));
        match shown.next() {
            Some(ShownObject::Webhooks(made)) => {
                let is_made = |id: &String| made.iter().any(|one| one.subscription_id() == id);
                subscriptions.len() == made.len() && subscriptions.iter().all(is_made)
            }
            // Found by a look-up, after its answer was lost.
            Some(_) => true,
            None => false,
        }
    }

    /// Whether the request id is free for a new call.
    pub(super) fn is_free(&self) -> bool {
        match self {
            Self::Kept { batches, .. } => batches.iter().all(|batch| batch.entry.frees_request_id()),
            Self::Accepted(_) | Self::Trimmed(_) => false,
        }
    }
}
