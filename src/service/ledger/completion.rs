//! The callers that wait for an entry to become final.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

use crate::domain::ledger::OperationId;

/// The waits by entry, at most one for an open entry. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct CompletionWaiters(Arc<Mutex<Waits>>);

/// A `watch` channel would wake its receivers in random order. With `Notify` callers are answered in the order of their
/// arrival, and a simulation can be replayed.
type Waits = HashMap<OperationId, Arc<Notify>, RandomState>;

/// One wait, which misses no change after its registration.
#[derive(Debug)]
pub(super) struct Completion(OwnedNotified);

impl CompletionWaiters {
    /// Registers a wait. The caller must read the entry afterwards, because the entry may have become final just
    /// before.
    pub(super) fn begin(&self, id: OperationId) -> Completion {
        Completion(self.lock().entry(id).or_default().clone().notified_owned())
    }

    /// Ends all waits for this entry.
    pub(super) fn end(&self, id: OperationId) {
        let ended = self.lock().remove(&id);
        if let Some(ended) = ended {
            ended.notify_waiters();
        }
    }

    /// Whether any caller waits for this entry.
    pub(super) fn is_waited_for(&self, id: OperationId) -> bool {
        self.lock().get(&id).is_some_and(|waits| Arc::strong_count(waits) > 1)
    }

    /// Whether no caller waits.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Waits> {
        // A panic cannot leave a half-written map: every change is one insert or remove.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Completion {
    /// Waits until the entry is final.
    pub(super) async fn ended(self) {
        self.0.await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_waits_for_one_entry_end_and_no_other() {
        let waiting = CompletionWaiters::default();
        let (one, two) = (waiting.begin(OperationId(1)), waiting.begin(OperationId(1)));
        let other = waiting.begin(OperationId(2));
        waiting.end(OperationId(1));
        tokio::join!(one.ended(), two.ended());
        assert!(futures_util::FutureExt::now_or_never(other.ended()).is_none());
        // What ended before is not remembered: the entry tells.
        assert!(futures_util::FutureExt::now_or_never(waiting.begin(OperationId(1)).ended()).is_none());
    }
}
