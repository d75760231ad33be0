//! Entries that somebody works on. However the work ends, by a panic too, none of them is left in nobody's hands.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::{Mutations, Parts};
use crate::domain::ledger::machine::EntryEvent;
use crate::domain::ledger::{EntryState, OperationId};
use crate::ports::ledger::Ledger;
use crate::ports::upstream::WalmartApi;

/// When an entry is looked at whose work ended in a bug. Not at once: it may end so again.
const AFTER_A_BUG: Duration = Duration::from_secs(10);

/// Entries in hand. What has not been laid down when this is dropped is treated as if the process had ended.
pub(in crate::service) struct InHand {
    owner: Arc<dyn PickUp>,
    ids: Vec<OperationId>,
}

/// Takes back entries whose work broke off.
trait PickUp: Send + Sync {
    fn pick_up(self: Arc<Self>, ids: Vec<OperationId>, runtime: &Handle);
}

impl InHand {
    /// Takes these in hand.
    pub(in crate::service) fn new<U: WalmartApi, L: Ledger>(
        mutations: &Mutations<U, L>,
        ids: impl IntoIterator<Item = OperationId>,
    ) -> Self {
        Self { owner: mutations.0.clone(), ids: ids.into_iter().collect() }
    }

    /// Takes over what another guard holds.
    pub(super) fn absorb(&mut self, mut other: Self) {
        self.ids.append(&mut other.ids);
    }

    /// This entry is final, on the agenda, or somebody else's.
    pub(in crate::service) fn lay_down(&mut self, id: OperationId) {
        self.ids.retain(|held| *held != id);
    }

    /// All of them are.
    pub(in crate::service) fn lay_down_all(mut self) {
        self.ids.clear();
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        let ids = std::mem::take(&mut self.ids);
        // Without a runtime the process is at its end; the next one takes them over.
        if !ids.is_empty()
            && let Ok(runtime) = Handle::try_current()
        {
            self.owner.clone().pick_up(ids, &runtime);
        }
    }
}

impl<U: WalmartApi, L: Ledger> PickUp for Parts<U, L> {
    fn pick_up(self: Arc<Self>, ids: Vec<OperationId>, runtime: &Handle) {
        let mutations = Mutations(self);
        runtime.spawn(async move { mutations.pick_up(ids).await });
    }
}

impl<U: WalmartApi, L: Ledger> Mutations<U, L> {
    /// Nobody works on these any more. One that was being sent may have been carried out.
    async fn pick_up(&self, ids: Vec<OperationId>) {
        for id in ids {
            let Some(entry) = self.until_it_works(|| self.0.ledger.get(id)).await else { continue };
            if !entry.state.is_open() {
                continue;
            }
            tracing::error!(operation = %id, state = entry.state.name(), "the work on an operation broke off");
            if entry.state == EntryState::Sending
                && let Ok(entry) = self.after(entry, EntryEvent::TakenOver { boot: self.boot_id() })
            {
                // The machine takes over any open state.
                let _ = self.write(&entry).await;
            } else {
                self.0.agenda.put(id, self.moment().plus(AFTER_A_BUG));
            }
        }
    }
}
