//! The background loop of the ledger: unknown outcomes are looked up, recorded entries are sent again, and old entries
//! are trimmed.
//!
//! One loop reads the due queue; due entries are processed in tasks (`look_up`, `resend`), with one look-up task for
//! every account. An entry in work is not in the queue, which keeps two tasks from working on the same entry.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{DeskId, Mutations, POSTPONED, WorkGuard};
use crate::domain::ledger::{Entry, EntryState, OperationId};
use crate::domain::mutations::settlement_of;
use crate::domain::timestamp::Timestamp;
use crate::ports::ledger::{EntryCount, Ledger};
use crate::ports::upstream::WalmartApi;
use crate::service::ClockWatch;

/// Entries read in one round.
const ROUND: usize = 256;
/// Resends in flight at once.
const AT_ONCE: usize = 16;
/// Interval between checks for due audits.
const AUDITS_EVERY: Duration = Duration::from_secs(15);
/// Interval between trimmings, and entries dropped in one write.
const TRIM_EVERY: Duration = Duration::from_secs(60 * 60);
const TRIM_AT_ONCE: usize = 500;
/// Interval between updates of the gauges.
const COUNT_EVERY: Duration = Duration::from_secs(10);

/// The background loop of the ledger. Cheap to clone.
pub struct Resolver<U, L> {
    pub(super) mutations: Mutations<U, L>,
    retention: Duration,
    /// Decides whether entries may be dropped by age; `None` always allows it.
    clock_watch: Option<ClockWatch>,
    pub(super) tasks: TaskTracker,
    pub(super) at_once: Arc<Semaphore>,
    /// Signals the end of the process. Waiting look-ups end at once, because the next process can repeat them.
    pub(super) stopping: CancellationToken,
}

impl<U, L> Clone for Resolver<U, L> {
    fn clone(&self) -> Self {
        Self {
            mutations: self.mutations.clone(),
            retention: self.retention,
            clock_watch: self.clock_watch.clone(),
            tasks: self.tasks.clone(),
            at_once: self.at_once.clone(),
            stopping: self.stopping.clone(),
        }
    }
}

impl<U: WalmartApi, L: Ledger> Resolver<U, L> {
    /// Works on `mutations`, in `tasks`. Final entries are trimmed after `retention`.
    pub fn new(mutations: Mutations<U, L>, retention: Duration, tasks: TaskTracker) -> Self {
        let (at_once, stopping) = (Arc::new(Semaphore::new(AT_ONCE)), CancellationToken::new());
        Self { mutations, retention, clock_watch: None, tasks, at_once, stopping }
    }

    /// Pauses trimming while `clock_watch` does not believe the wall clock.
    pub fn with_clock_watch(self, clock_watch: ClockWatch) -> Self {
        Self { clock_watch: Some(clock_watch), ..self }
    }

    /// The time for trimming; `None` while trimming is paused.
    pub(super) fn trim_time(&self) -> Option<Timestamp> {
        match &self.clock_watch {
            Some(watch) => watch.trim_time().map(|now| now.wall),
            None => Some(self.mutations.now()),
        }
    }

    /// Works until `stopping`. Running work continues among the tasks.
    pub async fn run(self, stopping: CancellationToken) {
        let this = Self { stopping, ..self };
        this.work().await;
    }

    async fn work(&self) {
        let stopping = &self.stopping;
        let start = Instant::now();
        let (mut audits, mut trim, mut count) = (start + AUDITS_EVERY, start + AUDITS_EVERY, start);
        let mut auditing: Option<JoinHandle<()>> = None;
        loop {
            let due = self.mutations.0.due_queue.time_left(self.mutations.moment());
            let due = due.map_or(count, |wait| Instant::now() + wait);
            tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                () = self.mutations.0.due_queue.changed() => {}
                () = sleep_until(due.min(audits).min(trim).min(count)) => {}
            }
            // The panic hook has logged the panic, and the guard recovers the entries.
            let _ = AssertUnwindSafe(self.round()).catch_unwind().await;
            let now = Instant::now();
            if now >= audits {
                audits = now + AUDITS_EVERY;
                // A slow round of audits must not run twice at once.
                if auditing.as_ref().is_none_or(JoinHandle::is_finished) {
                    let this = self.clone();
                    auditing = Some(self.tasks.spawn(async move { this.audit().await }));
                }
            }
            if now >= trim {
                trim = now + TRIM_EVERY;
                let this = self.clone();
                let stopping = stopping.clone();
                self.tasks.spawn(async move { this.trim(stopping).await });
            }
            if now >= count {
                count = now + COUNT_EVERY;
                self.count().await;
            }
        }
    }

    /// Takes the due entries out of the queue and starts their work.
    async fn round(&self) {
        let mut look_ups: BTreeMap<DeskId, Vec<Entry>> = BTreeMap::new();
        let mut sends: BTreeMap<(Arc<str>, OperationId), Vec<Entry>> = BTreeMap::new();
        let due = self.mutations.0.due_queue.take_due(self.mutations.moment(), ROUND);
        let mut guard = WorkGuard::new(&self.mutations, due.iter().copied());
        for id in due {
            let entry = match self.mutations.ledger().get(id).await {
                Ok(Some(entry)) => entry,
                Ok(None) => continue,
                Err(_) => {
                    self.put_back(id, POSTPONED);
                    guard.release(id);
                    continue;
                }
            };
            let Some(account) = self.mutations.directory().position(&entry.account) else { continue };
            match entry.state {
                EntryState::Unknown | EntryState::NeedsOperator => {
                    let desk = DeskId::new(account, settlement_of(entry.kind).probe(&entry).operation());
                    look_ups.entry(desk).or_default().push(entry);
                }
                EntryState::Recorded => {
                    let request = entry.request_id.clone().unwrap_or_default();
                    // The batches of one request must be sent in order.
                    let group = if entry.batches > 1 { OperationId(0) } else { entry.id };
                    sends.entry((request, group)).or_default().push(entry);
                }
                // The entry is in work elsewhere, or final.
                EntryState::Sending
                | EntryState::Succeeded
                | EntryState::Rejected
                | EntryState::NotSent
                | EntryState::Expired => {}
            }
        }
        for (desk, entries) in look_ups {
            self.look_up(desk, entries);
        }
        for entries in sends.into_values() {
            let (this, held) = (self.clone(), self.hold(&entries));
            self.tasks.spawn(async move { this.send(entries, held).await });
        }
        guard.release_all();
    }

    pub(super) fn hold(&self, entries: &[Entry]) -> WorkGuard {
        WorkGuard::new(&self.mutations, entries.iter().map(|entry| entry.id))
    }

    pub(super) fn put_back(&self, id: OperationId, wait: Duration) {
        self.mutations.0.due_queue.put(id, self.mutations.moment().plus(wait));
    }

    async fn trim(&self, stopping: CancellationToken) {
        let Some(now) = self.trim_time() else { return };
        let before = now.minus(self.retention);
        loop {
            let trimmed = self.mutations.ledger().trim(before, TRIM_AT_ONCE).await;
            if trimmed != Ok(TRIM_AT_ONCE) || stopping.is_cancelled() {
                return;
            }
        }
    }

    async fn count(&self) {
        // The gauges keep their values while the store fails.
        if let Ok(counts) = self.mutations.ledger().counts().await {
            self.set_gauges(&counts);
        }
    }
}

impl<U, L> Resolver<U, L> {
    fn set_gauges(&self, counts: &[EntryCount]) {
        let metrics = &self.mutations.0.metrics.ledger;
        for state in EntryState::ALL.into_iter().filter(|state| state.is_open()) {
            let of_state = counts.iter().filter(|count| count.state == state);
            metrics.set_open(state, of_state.map(|count| count.entries).sum());
        }
        let oldest = counts.iter().filter_map(|count| count.oldest).min();
        let now = Timestamp::from(self.mutations.0.clock.now());
        let age = oldest.map_or(0, |oldest| now.since(oldest).as_secs());
        metrics.oldest_open.set(i64::try_from(age).unwrap_or(i64::MAX));
    }
}

#[cfg(test)]
#[path = "resolver_tests/mod.rs"]
mod tests;
