//! The takeover at the start: open entries of an earlier process continue by the rule for their state.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Mutations, OutcomeHearer};
use crate::crash_point::{CrashPoint, reach};
use crate::domain::account::AccountId;
use crate::domain::ledger::machine::EntryEvent;
use crate::domain::ledger::{Entry, EntryState, OperationId};
use crate::ports::ledger::{EntryQuery, Ledger, SaveResult};
use crate::ports::upstream::WalmartApi;
use crate::service::ServiceError;

/// Entries taken over in one write.
const CHUNK: usize = 256;

/// Wait between attempts after a store failure.
const RETRY: Duration = Duration::from_secs(1);

impl<U: WalmartApi, L: Ledger> Mutations<U, L> {
    /// Takes over the open entries before any mutation begins; an entry sent by this process must not be mistaken for
    /// an entry of an earlier process. While the store fails, the takeover is retried in `tasks`, and no mutation
    /// begins. Returns after the first attempt with the number of entries taken over.
    pub async fn take_over(&self, tasks: &TaskTracker, stopping: CancellationToken) -> usize {
        self.0.taken_over.store(false, Ordering::Release);
        let mut after = OperationId(0);
        if let Some(taken) = self.try_to_take_over(&mut after).await {
            return taken;
        }
        let this = self.clone();
        tasks.spawn(async move {
            while this.try_to_take_over(&mut after).await.is_none() {
                tokio::select! {
                    biased;
                    () = stopping.cancelled() => return,
                    () = sleep(RETRY) => {}
                }
            }
        });
        0
    }

    /// Continues after the last entry taken over, because earlier entries may already be in work here. Returns `None`
    /// while the store fails.
    async fn try_to_take_over(&self, after: &mut OperationId) -> Option<usize> {
        let taken = self.take_over_after(after).await.ok()?;
        if taken > 0 {
            tracing::info!(operations = taken, "took over open operations");
        }
        self.0.taken_over.store(true, Ordering::Release);
        Some(taken)
    }

    async fn take_over_after(&self, after: &mut OperationId) -> Result<usize, ServiceError> {
        // Entries of sellers without an account stay unchanged; the store logs a warning.
        self.take_over_of(after, |entry| self.0.directory.position(&entry.account).is_some()).await
    }

    /// Takes over the open entries of accounts that this process did not have before. Nothing may use the accounts yet.
    pub(crate) async fn take_over_accounts(&self, accounts: &[AccountId]) -> Result<usize, ServiceError> {
        self.take_over_of(&mut OperationId(0), |entry| accounts.contains(&entry.account)).await
    }

    /// Plans the open entries of accounts that are back in the settings. Entries being sent are in work already.
    pub(crate) async fn resume_accounts(&self, accounts: &[AccountId]) {
        let mut query = EntryQuery {
            accounts: Some(accounts.to_vec()),
            states: vec![EntryState::Recorded, EntryState::Unknown, EntryState::NeedsOperator],
            created_before: None,
            after: OperationId(0),
            limit: CHUNK,
        };
        while !accounts.is_empty() {
            let waiting = self.until_it_works(|| self.0.ledger.list(&query)).await;
            let Some(last) = waiting.last() else { return };
            query.after = last.id;
            waiting.iter().for_each(|entry| self.follow(entry));
        }
    }

    /// Logs the open entries of accounts that were removed from the settings.
    pub(crate) async fn warn_of_removed(&self, accounts: &[String]) {
        let Ok(counts) = self.0.ledger.counts().await else { return };
        for account in accounts {
            let open = counts.iter().filter(|count| count.account.as_str() == account && count.state.is_open());
            let open: u64 = open.map(|count| count.entries).sum();
            if open > 0 {
                tracing::warn!(
                    account,
                    open,
                    "the account was removed from the settings; its open operations are left as they are, and go on when \
                     an account has its partner_id again"
                );
            }
        }
    }

    async fn take_over_of(
        &self,
        after: &mut OperationId,
        is_ours: impl Fn(&Entry) -> bool,
    ) -> Result<usize, ServiceError> {
        let mut taken = 0;
        loop {
            let open = self.0.ledger.orphans(*after, CHUNK).await?;
            let Some(last) = open.last().map(|entry| entry.id) else { break };
            let ours: Vec<_> = open.into_iter().filter(|entry| is_ours(entry)).collect();
            taken += ours.len();
            let boot = self.0.clock.boot_id();
            let changed = ours.into_iter().map(|entry| self.after(entry, EntryEvent::TakenOver { boot }));
            let changed: Vec<_> = changed.collect::<Result<_, _>>()?;
            reach(CrashPoint::L10);
            // `write_all` would wait for the store, and reads must be served meanwhile.
            let saved = self.0.ledger.save(changed.clone(), Vec::new()).await;
            reach(CrashPoint::L10);
            match saved? {
                SaveResult::Done(written) => written.iter().for_each(|entry| self.follow(entry)),
                SaveResult::Stale => drop(self.write_all(changed, OutcomeHearer::Waiters).await?),
            }
            *after = last;
        }
        Ok(taken)
    }
}

#[cfg(test)]
#[path = "takeover_tests.rs"]
mod tests;
