//! Guards for entries in work. When the work ends early, also by a panic, the guard returns its entries to the queue.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::{Mutations, MutationsShared};
use crate::domain::ledger::machine::EntryEvent;
use crate::domain::ledger::{EntryState, OperationId};
use crate::ports::ledger::Ledger;
use crate::ports::upstream::WalmartApi;

/// Delay of an entry whose work ended in a bug. A retry at once could fail the same way in a tight loop.
const AFTER_A_BUG: Duration = Duration::from_secs(10);

/// The entries of one piece of work. Entries not released when the guard is dropped are recovered as after the end of a
/// process.
pub(in crate::service) struct WorkGuard {
    owner: Arc<dyn RecoverWork>,
    ids: Vec<OperationId>,
}

/// Recovers entries of interrupted work.
trait RecoverWork: Send + Sync {
    fn recover(self: Arc<Self>, ids: Vec<OperationId>, runtime: &Handle);
}

impl WorkGuard {
    /// Guards the entries with these ids.
    pub(in crate::service) fn new<U: WalmartApi, L: Ledger>(
        mutations: &Mutations<U, L>,
        ids: impl IntoIterator<Item = OperationId>,
    ) -> Self {
        Self { owner: mutations.0.clone(), ids: ids.into_iter().collect() }
    }

    /// Takes over the entries of a second guard.
    pub(super) fn absorb(&mut self, mut other: Self) {
        self.ids.append(&mut other.ids);
    }

    /// Releases an entry that is final, queued, or in work elsewhere.
    pub(in crate::service) fn release(&mut self, id: OperationId) {
        self.ids.retain(|held| *held != id);
    }

    /// Releases all entries of the guard.
    pub(in crate::service) fn release_all(mut self) {
        self.ids.clear();
    }
}

impl Drop for WorkGuard {
    fn drop(&mut self) {
        let ids = std::mem::take(&mut self.ids);
        // Without a runtime the process is ending; the next process takes over the entries.
        if !ids.is_empty()
            && let Ok(runtime) = Handle::try_current()
        {
            self.owner.clone().recover(ids, &runtime);
        }
    }
}

impl<U: WalmartApi, L: Ledger> RecoverWork for MutationsShared<U, L> {
    fn recover(self: Arc<Self>, ids: Vec<OperationId>, runtime: &Handle) {
        let mutations = Mutations(self);
        runtime.spawn(async move { mutations.recover(ids).await });
    }
}

impl<U: WalmartApi, L: Ledger> Mutations<U, L> {
    /// Recovers entries without running work. An entry in state `Sending` may have been carried out.
    async fn recover(&self, ids: Vec<OperationId>) {
        for id in ids {
            let Some(entry) = self.until_it_works(|| self.0.ledger.get(id)).await else { continue };
            if !entry.state.is_open() {
                continue;
            }
            tracing::error!(operation = %id, state = entry.state.name(), "the work on an operation ended early; the operation is recovered");
            if entry.state == EntryState::Sending
                && let Ok(entry) = self.after(entry, EntryEvent::TakenOver { boot: self.boot_id() })
            {
                // The machine accepts a takeover in every open state.
                let _ = self.write(&entry).await;
            } else {
                self.0.due_queue.put(id, self.moment().plus(AFTER_A_BUG));
            }
        }
    }
}
