//! A ledger in memory: a simple model of the port, for tests of the use cases and for the simulation.
//!
//! Every query scans all entries in the order of their ids, which rules out an index that disagrees with the entries.
//! Tests compare the durable store with this model.

mod replicas;

use std::collections::{BTreeMap, BTreeSet};
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use self::replicas::{Lives, MemoryReplica};
use super::{is_in_hand, kept, made};
use crate::domain::account::AccountId;
use crate::domain::effect::Effect;
use crate::domain::ledger::{
    AlertKind, AuditAlert, Entry, EntryState, Fingerprint, MutationKind, NewEntry, OperationId,
};
use crate::domain::timestamp::Timestamp;
use crate::ports::ledger::{BeginConflict, BeginOutcome, EntryCount, EntryQuery, Ledger, PlannedAudit, SaveResult};
use crate::ports::store_error::StoreError;

/// Keeps everything until the process ends, and never fails. Cheap to clone; all clones share one ledger.
#[derive(Clone, Default)]
pub struct MemoryLedger {
    tables: Arc<Mutex<LedgerTables>>,
    /// This process, if the ledger has several at a time.
    replica: Option<Arc<MemoryReplica>>,
}

impl MemoryLedger {
    /// An empty ledger in memory.
    pub fn new() -> Self {
        Self::default()
    }

    fn as_replica(&self, replica: MemoryReplica) -> Self {
        Self { tables: self.tables.clone(), replica: Some(Arc::new(replica)) }
    }

    fn lock(&self) -> MutexGuard<'_, LedgerTables> {
        // No code under the lock can panic between two changes that belong together.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for MemoryLedger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryLedger").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct LedgerTables {
    lives: Lives,
    last: u64,
    entries: BTreeMap<u64, Entry>,
    /// Fingerprint and answer of every trimmed successful creation, by account and order number.
    trimmed: BTreeMap<(AccountId, Arc<str>), (Fingerprint, Bytes)>,
    audits: BTreeSet<(Timestamp, OperationId)>,
    alerts: BTreeMap<u64, Vec<(AlertKind, Timestamp)>>,
}

impl Ledger for MemoryLedger {
    async fn begin(&self, new: Vec<NewEntry>, join: bool) -> Result<BeginOutcome, StoreError> {
        let Some(first) = new.first() else { return Ok(BeginOutcome::New(Vec::new())) };
        let mut tables = self.lock();
        if let Some(begun) = tables.standing(first, join) {
            if let BeginOutcome::Existing { by: BeginConflict::Content, entries } = &begun {
                // The joining caller gets the outcome, which is no longer owed.
                entries.iter().for_each(|entry| tables.heard(entry.id));
            }
            return Ok(begun);
        }
        let life = tables.lives.of(self.replica.as_deref());
        Ok(BeginOutcome::New(new.into_iter().map(|new| tables.make(new, life)).collect()))
    }

    async fn save(&self, entries: Vec<Entry>, audits: Vec<PlannedAudit>) -> Result<SaveResult, StoreError> {
        let mut tables = self.lock();
        let mut seen = BTreeSet::new();
        let current = |entry: &Entry| {
            let stored = tables.entries.get(&entry.id.0);
            stored.is_some_and(|stored| stored.fence == entry.fence && stored.state.is_open())
        };
        if !entries.iter().all(|entry| current(entry) && seen.insert(entry.id)) {
            return Ok(SaveResult::Stale);
        }
        tables.audits.extend(audits.into_iter().map(|audit| (audit.time, audit.operation)));
        let life = tables.lives.of(self.replica.as_deref());
        Ok(SaveResult::Done(entries.into_iter().filter_map(|entry| tables.change(entry, life)).collect()))
    }

    async fn owe(&self, id: OperationId) -> Result<(), StoreError> {
        let mut tables = self.lock();
        if let Some(entry) = tables.entries.get_mut(&id.0)
            && !entry.state.is_open()
            && !entry.kind.is_by_order_number()
        {
            entry.is_owed = true;
        }
        Ok(())
    }

    async fn hear(&self, id: OperationId) -> Result<(), StoreError> {
        self.lock().heard(id);
        Ok(())
    }

    async fn get(&self, id: OperationId) -> Result<Option<Entry>, StoreError> {
        Ok(self.lock().entries.get(&id.0).cloned())
    }

    async fn of_request(
        &self,
        account: &AccountId,
        kind: MutationKind,
        request_id: &str,
    ) -> Result<Vec<Entry>, StoreError> {
        let tables = self.lock();
        Ok(tables.newest_of_request(account, kind, request_id).map(|entry| tables.whole(entry)).unwrap_or_default())
    }

    async fn creation_of(&self, account: &AccountId, order_number: &str) -> Result<Option<Entry>, StoreError> {
        Ok(self.lock().holder_of_number(account, order_number).cloned())
    }

    async fn changes_of(
        &self,
        account: &AccountId,
        kind: MutationKind,
        order_number: &str,
        since: Timestamp,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let tables = self.lock();
        let is_meant = |entry: &&Entry| {
            (&entry.account, entry.kind, &*entry.order_number) == (account, kind, order_number)
                && !kind.is_by_order_number()
                && entry.effect != Effect::None
                && (entry.state.is_open() || entry.updated >= since)
        };
        Ok(tables.entries.values().rev().filter(is_meant).take(limit).cloned().collect())
    }

    async fn orphans(&self, after: OperationId, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let tables = self.lock();
        let left = |entry: &&Entry| entry.state.is_open() && tables.lives.is_orphan(entry.id.0, self.replica.is_some());
        Ok(tables.after(after).filter(left).take(limit).cloned().collect())
    }

    async fn due(&self, accounts: &[AccountId], now: Timestamp, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let tables = self.lock();
        let time = |entry: &Entry| entry.next.filter(|_| !is_in_hand(entry.state, entry.next)).map(|next| next.wall);
        let is_due = |entry: &&Entry| {
            let is_theirs = entry.state.is_open() && accounts.contains(&entry.account);
            is_theirs && time(entry).is_some_and(|time| time <= now)
        };
        let mut due: Vec<_> = tables.entries.values().filter(is_due).cloned().collect();
        due.sort_by_key(|entry| (time(entry), entry.id));
        due.truncate(limit);
        Ok(due)
    }

    async fn in_hand(&self, after: OperationId, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let mut tables = self.lock();
        let life = tables.lives.of(self.replica.as_deref());
        let in_hand = tables.after(after).filter(|entry| tables.lives.is_in_hand_of(entry.id.0, life));
        Ok(in_hand.take(limit).cloned().collect())
    }

    async fn which_ended(&self, ids: &[OperationId]) -> Result<Vec<OperationId>, StoreError> {
        let tables = self.lock();
        let has_ended = |id: &&OperationId| tables.entries.get(&id.0).is_none_or(|entry| !entry.state.is_open());
        Ok(ids.iter().filter(has_ended).copied().collect())
    }

    async fn list(&self, query: &EntryQuery) -> Result<Vec<Entry>, StoreError> {
        let tables = self.lock();
        let matching = tables.after(query.after).filter(|entry| {
            query.accounts.as_ref().is_none_or(|accounts| accounts.contains(&entry.account))
                && (query.states.is_empty() || query.states.contains(&entry.state))
                && query.created_before.is_none_or(|before| entry.created < before)
        });
        Ok(matching.take(query.limit).cloned().collect())
    }

    async fn counts(&self) -> Result<Vec<EntryCount>, StoreError> {
        let tables = self.lock();
        let mut counts: BTreeMap<(&AccountId, u8), EntryCount> = BTreeMap::new();
        for Entry { account, state, created, .. } in tables.entries.values() {
            let count = counts.entry((account, *state as u8)).or_insert_with(|| EntryCount {
                account: account.clone(),
                state: *state,
                entries: 0,
                oldest: state.is_open().then_some(*created),
            });
            count.entries += 1;
        }
        Ok(counts.into_values().collect())
    }

    async fn due_audits(&self, now: Timestamp, limit: usize) -> Result<Vec<PlannedAudit>, StoreError> {
        let tables = self.lock();
        let due = tables.audits.iter().take_while(|(time, _)| *time <= now).take(limit);
        Ok(due.map(|(time, operation)| PlannedAudit { operation: *operation, time: *time }).collect())
    }

    async fn end_audit(&self, audit: PlannedAudit, found: Option<AuditAlert>) -> Result<bool, StoreError> {
        let mut tables = self.lock();
        tables.audits.remove(&(audit.time, audit.operation));
        let Some(alert) = found else { return Ok(false) };
        let alerts = tables.alerts.entry(alert.operation.0).or_default();
        let new = alerts.iter().all(|(kind, _)| *kind != alert.kind);
        if new {
            alerts.push((alert.kind, alert.time));
        }
        Ok(new)
    }

    async fn alerts(&self, operation: OperationId) -> Result<Vec<(AlertKind, Timestamp)>, StoreError> {
        let mut alerts = self.lock().alerts.get(&operation.0).cloned().unwrap_or_default();
        alerts.sort_by_key(|(kind, time)| (*time, *kind as u8));
        Ok(alerts)
    }

    async fn trim(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let mut tables = self.lock();
        let old = |entry: &Entry| !entry.state.is_open() && entry.updated < before;
        let ids: Vec<_> = tables.entries.values().filter(|entry| old(entry)).map(|entry| entry.id).collect();
        let mut dropped = 0;
        for id in ids.into_iter().take(limit) {
            // The entry was dropped with an earlier entry of its request.
            let Some(entry) = tables.entries.get(&id.0) else { continue };
            let whole = tables.whole(entry);
            if !whole.iter().all(old) {
                continue;
            }
            if dropped > 0 && dropped + whole.len() > limit {
                break;
            }
            dropped += whole.len();
            whole.into_iter().for_each(|entry| tables.remove(entry));
        }
        Ok(dropped)
    }
}

impl LedgerTables {
    /// Entries that conflict with a new request, by the steps of [`Ledger::begin`].
    fn standing(&self, new: &NewEntry, join: bool) -> Option<BeginOutcome> {
        let NewEntry { account, kind, order_number, request_id, fingerprint, .. } = new;
        let existing = |by, entries| Some(BeginOutcome::Existing { by, entries });
        if let Some(entry) = request_id.as_deref().and_then(|id| self.newest_of_request(account, *kind, id)) {
            let entries = self.whole(entry);
            if !entries.iter().all(Entry::frees_request_id) {
                return existing(BeginConflict::RequestId, entries);
            }
        }
        if kind.is_by_order_number() {
            if let Some(entry) = self.holder_of_number(account, order_number) {
                return existing(BeginConflict::OrderNumber, self.whole(entry));
            }
            let (fingerprint, answer) = self.trimmed.get(&(account.clone(), order_number.clone()))?;
            Some(BeginOutcome::Trimmed { fingerprint: *fingerprint, answer: answer.to_vec() })
        } else {
            let same = |entry: &&Entry| {
                (entry.state.is_open() || entry.is_owed)
                    && (entry.kind, &entry.account) == (*kind, account)
                    && (&entry.order_number, &entry.fingerprint) == (order_number, fingerprint)
            };
            let entry = self.entries.values().filter(|_| join).find(same)?;
            existing(BeginConflict::Content, self.whole(entry))
        }
    }

    /// Clears the debt of an owed outcome.
    fn heard(&mut self, id: OperationId) {
        if let Some(entry) = self.entries.get_mut(&id.0) {
            entry.is_owed = false;
        }
    }

    /// An entry of the newest request with this id.
    fn newest_of_request(&self, account: &AccountId, kind: MutationKind, request_id: &str) -> Option<&Entry> {
        self.entries.values().rev().find(|entry| {
            entry.request_id.as_deref() == Some(request_id) && (entry.kind, &entry.account) == (kind, account)
        })
    }

    /// The creation that holds the order number.
    fn holder_of_number(&self, account: &AccountId, order_number: &str) -> Option<&Entry> {
        self.entries.values().find(|entry| {
            entry.kind.is_by_order_number()
                && entry.state.holds_order_number()
                && (&entry.account, &*entry.order_number) == (account, order_number)
        })
    }

    /// Entries after this id, in the order of their ids.
    fn after(&self, id: OperationId) -> impl Iterator<Item = &Entry> {
        self.entries.range(id.0.saturating_add(1)..).map(|(_, entry)| entry)
    }

    /// All entries of the request of this entry. The entries were created together and have consecutive ids.
    fn whole(&self, one: &Entry) -> Vec<Entry> {
        let first = one.id.0 - u64::from(one.batch);
        self.entries.range(first..first + u64::from(one.batches)).map(|(_, entry)| entry.clone()).collect()
    }

    fn make(&mut self, new: NewEntry, life: u64) -> Entry {
        self.last += 1;
        let entry = made(new, OperationId(self.last));
        self.lives.made(&entry, life);
        self.entries.insert(self.last, entry.clone());
        entry
    }

    /// Replaces an entry, except its identity.
    fn change(&mut self, entry: Entry, life: u64) -> Option<Entry> {
        let stored = self.entries.get_mut(&entry.id.0)?;
        let made = mem::replace(stored, entry);
        stored.fence = made.fence + 1;
        stored.account = made.account;
        stored.kind = made.kind;
        stored.order_number = made.order_number;
        stored.request_id = made.request_id;
        stored.batch = made.batch;
        stored.batches = made.batches;
        stored.fingerprint = made.fingerprint;
        stored.created = made.created;
        stored.correlation_id = made.correlation_id;
        let changed = kept(stored.clone());
        stored.clone_from(&changed);
        self.lives.written(&changed, life);
        Some(changed)
    }

    /// Removes an entry. Fingerprint and answer of a successful creation stay.
    fn remove(&mut self, entry: Entry) {
        self.entries.remove(&entry.id.0);
        self.lives.gone(entry.id.0);
        self.alerts.remove(&entry.id.0);
        if entry.kind.is_by_order_number() && entry.state == EntryState::Succeeded {
            self.trimmed.insert((entry.account, entry.order_number), (entry.fingerprint, entry.answer));
        }
    }
}
