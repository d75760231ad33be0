//! The callers that wait for an entry to become final.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;
use tokio::time::Instant;

use crate::domain::ledger::OperationId;

/// The waits by entry, at most one for an open entry. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct CompletionWaiters(Arc<Mutex<Waits>>);

/// A `watch` channel would wake its receivers in random order. With `Notify` callers are answered in the order of their
/// arrival, and a simulation can be replayed.
type Waits = HashMap<OperationId, EntryWait, RandomState>;

/// The wait for one entry, which several callers may share.
#[derive(Debug)]
struct EntryWait {
    ended: Arc<Notify>,
    /// The latest deadline of the callers.
    until: Instant,
}

/// One wait, which misses no change after its registration.
#[derive(Debug)]
pub(super) struct Completion(OwnedNotified);

impl CompletionWaiters {
    /// Registers a wait of a caller with this deadline. The caller must read the entry afterwards, because the entry may
    /// have become final just before.
    pub(super) fn begin(&self, id: OperationId, deadline: Instant) -> Completion {
        let mut waits = self.lock();
        let wait = waits.entry(id).or_insert_with(|| EntryWait { ended: Arc::default(), until: deadline });
        wait.until = wait.until.max(deadline);
        Completion(wait.ended.clone().notified_owned())
    }

    /// Ends all waits for this entry.
    pub(super) fn end(&self, id: OperationId) {
        let ended = self.lock().remove(&id);
        if let Some(ended) = ended {
            ended.ended.notify_waiters();
        }
    }

    /// The time until which a caller waits for this entry; `None` when none does.
    pub(super) fn waited_for_until(&self, id: OperationId) -> Option<Instant> {
        self.lock().get(&id).filter(|wait| Arc::strong_count(&wait.ended) > 1).map(|wait| wait.until)
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

    const LATER: std::time::Duration = std::time::Duration::from_secs(1);

    #[tokio::test]
    async fn all_waits_for_one_entry_end_and_no_other() {
        let waiting = CompletionWaiters::default();
        let now = Instant::now();
        let (one, two) = (waiting.begin(OperationId(1), now + LATER), waiting.begin(OperationId(1), now));
        let other = waiting.begin(OperationId(2), now);
        assert_eq!(waiting.waited_for_until(OperationId(1)), Some(now + LATER));
        waiting.end(OperationId(1));
        tokio::join!(one.ended(), two.ended());
        assert!(futures_util::FutureExt::now_or_never(other.ended()).is_none());
        // What ended before is not remembered: the entry tells.
        assert!(futures_util::FutureExt::now_or_never(waiting.begin(OperationId(1), now).ended()).is_none());
        assert_eq!(waiting.waited_for_until(OperationId(1)), None);
    }
}
