//! Sends recorded entries again that certainly had no effect.

use super::POSTPONED;
use super::resolver::Resolver;
use super::{SaveOutcome, WorkGuard};
use crate::crash_point::{CrashPoint, reach};
use crate::domain::account::AccountIndex;
use crate::domain::ledger::machine::EntryEvent;
use crate::domain::ledger::{Entry, EntryState};
use crate::ports::call::{CallContext, CallPurpose};
use crate::ports::ledger::Ledger;
use crate::ports::upstream::WalmartApi;

impl<U: WalmartApi, L: Ledger> Resolver<U, L> {
    pub(super) async fn send(&self, mut entries: Vec<Entry>, mut held: WorkGuard) {
        let Ok(_permit) = self.at_once.acquire().await else { return };
        entries.sort_by_key(|entry| entry.batch);
        for entry in entries {
            let id = entry.id;
            if !self.is_its_turn(&entry).await {
                self.put_back(id, POSTPONED);
                held.release(id);
            } else if self.send_one(entry).await.is_some() {
                held.release(id);
            }
            // An entry not released failed by a bug, which was already logged; the guard recovers the entry.
        }
    }

    /// Whether the earlier batches of the request have left: batches are sent in order.
    async fn is_its_turn(&self, entry: &Entry) -> bool {
        let Some(request_id) = entry.request_id.as_deref().filter(|_| entry.batch > 0) else { return true };
        match self.mutations.ledger().of_request(&entry.account, entry.kind, request_id).await {
            Ok(all) => !all.iter().any(|other| {
                other.batch < entry.batch && matches!(other.state, EntryState::Recorded | EntryState::Sending)
            }),
            Err(_) => false,
        }
    }

    pub(super) async fn send_one(&self, entry: Entry) -> Option<()> {
        let mutations = &self.mutations;
        let account = mutations.directory().position(&entry.account)?;
        if entry.not_after.is_over(mutations.moment()) {
            let expired = mutations.after(entry, EntryEvent::TimeUp).ok()?;
            mutations.write(&expired).await.ok()?;
            return Some(());
        }
        let call = mutations.background_call("ledger resend", Some(&entry), CallPurpose::Resend);
        call.scope(self.resend(entry, account, &call.context)).await
    }

    async fn resend(&self, entry: Entry, account: AccountIndex, call: &CallContext) -> Option<()> {
        let mutations = &self.mutations;
        let entry = match mutations.looked_up_first(entry, account, call).await.ok()? {
            Ok(entry) => entry,
            Err(closed) => {
                mutations.write(&closed).await.ok()?;
                return Some(());
            }
        };
        reach(CrashPoint::L2);
        let entry = mutations.after(entry, EntryEvent::Send).ok()?;
        // A lost save means that an operator, or the call that began the operation, changed the entry first and now
        // owns the entry. Sending here, too, would carry out the mutation twice.
        let SaveOutcome::Won(entry) = mutations.write(&entry).await.ok()? else { return Some(()) };
        mutations.0.metrics.ledger.resends.inc();
        let Some(attempt) = mutations.attempt_again(&entry, account, call).await else {
            tracing::error!(operation = %entry.id, "the stored request of an operation cannot be decoded");
            return None;
        };
        let entry = mutations.after(entry, attempt.event).ok()?;
        mutations.write(&entry).await.ok()?;
        reach(CrashPoint::L7);
        Some(())
    }
}
