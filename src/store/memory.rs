//! A ledger that ends with the process: for the tests of the use cases, and to measure what the durable one costs.
//!
//! It forgets: of the calls whose entries are final it keeps about the last [`MAX_FINAL`] entries, and nothing of older
//! ones, not even the order number of a creation.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::mem;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use foldhash::fast::RandomState;

use super::memory_keys::{Hash, Hashes, of_number, of_request};
use super::{kept, made};
use crate::domain::account::AccountId;
use crate::domain::ledger::{Alert, AlertKind, Entry, Fingerprint, Kind, NewEntry, OperationId, State};
use crate::domain::timestamp::Timestamp;
use crate::ports::ledger::{Audit, Begun, Count, Ledger, Match, Query, Saved, StoreError};

/// Final entries that are kept; those that became final first go first, with the others of their call. So few that they
/// stay in the processor's caches: eighty times as many took a tenth of a creation's time.
const MAX_FINAL: usize = 250;

/// Keeps nothing beyond the process; never fails. Cheap to clone, all clones are one ledger.
#[derive(Clone, Default)]
pub struct MemoryLedger(Arc<Mutex<Tables>>);

impl MemoryLedger {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        // Nothing in here can panic between two changes that belong together.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for MemoryLedger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryLedger").finish_non_exhaustive()
    }
}

type Map<K, V> = HashMap<K, V, RandomState>;

#[derive(Default)]
struct Tables {
    last: u64,
    /// Boxed: rows are large, and the map moves them when one goes.
    entries: BTreeMap<u64, Box<Row>>,
    open: BTreeSet<u64>,
    /// Final entries in the order in which they became so; some may be gone by now.
    closed: VecDeque<u64>,
    /// An entry of the newest request of this id.
    requests: Map<Hash, u64>,
    /// The creation that holds the number.
    numbers: Map<Hash, u64>,
    /// Open cancellations.
    contents: Map<Hash, BTreeSet<u64>>,
    trimmed: Map<Hash, (Fingerprint, Bytes)>,
    audits: BTreeSet<(Timestamp, OperationId)>,
    alerts: Map<u64, Vec<(AlertKind, Timestamp)>>,
}

struct Row {
    entry: Entry,
    keys: Hashes,
}

impl Ledger for MemoryLedger {
    async fn begin(&self, new: Vec<NewEntry>, join: bool) -> Result<Begun, StoreError> {
        let Some(first) = new.first() else { return Ok(Begun::New(Vec::new())) };
        let keys = Hashes::of(first);
        let mut tables = self.lock();
        if let Some(begun) = tables.standing(keys, join) {
            return Ok(begun);
        }
        Ok(Begun::New(new.into_iter().map(|new| tables.make(new, keys)).collect()))
    }

    async fn save(&self, entries: Vec<Entry>, audits: Vec<Audit>) -> Result<Saved, StoreError> {
        let mut tables = self.lock();
        let mut seen = BTreeSet::new();
        let current = |entry: &Entry| {
            let stored = tables.entries.get(&entry.id.0).map(|row| &row.entry);
            stored.is_some_and(|stored| stored.fence == entry.fence && stored.state.is_open())
        };
        if !entries.iter().all(|entry| current(entry) && seen.insert(entry.id)) {
            return Ok(Saved::Stale);
        }
        tables.audits.extend(audits.into_iter().map(|audit| (audit.time, audit.operation)));
        Ok(Saved::Done(entries.into_iter().filter_map(|entry| tables.change(entry)).collect()))
    }

    async fn get(&self, id: OperationId) -> Result<Option<Entry>, StoreError> {
        Ok(self.lock().entries.get(&id.0).map(|row| row.entry.clone()))
    }

    async fn of_request(&self, account: &AccountId, kind: Kind, request_id: &str) -> Result<Vec<Entry>, StoreError> {
        let key = of_request(account, kind, request_id);
        let tables = self.lock();
        Ok(tables.requests.get(&key).map(|id| tables.whole(*id)).unwrap_or_default())
    }

    async fn creation_of(&self, account: &AccountId, order_number: &str) -> Result<Option<Entry>, StoreError> {
        let key = of_number(account, order_number);
        let tables = self.lock();
        let row = tables.numbers.get(&key).and_then(|id| tables.entries.get(id));
        Ok(row.map(|row| row.entry.clone()))
    }

    async fn open(&self, after: OperationId, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let tables = self.lock();
        let ids = tables.open.range(after.0.saturating_add(1)..).take(limit);
        Ok(ids.filter_map(|id| tables.entries.get(id)).map(|row| row.entry.clone()).collect())
    }

    async fn list(&self, query: &Query) -> Result<Vec<Entry>, StoreError> {
        let tables = self.lock();
        let entries = tables.entries.range(query.after.0.saturating_add(1)..).map(|(_, row)| &row.entry);
        let matching = entries.filter(|entry| {
            query.accounts.contains(&entry.account)
                && (query.states.is_empty() || query.states.contains(&entry.state))
                && query.created_before.is_none_or(|before| entry.created < before)
        });
        Ok(matching.take(query.limit).cloned().collect())
    }

    async fn counts(&self) -> Result<Vec<Count>, StoreError> {
        let tables = self.lock();
        let mut counts: BTreeMap<(&AccountId, u8), Count> = BTreeMap::new();
        for row in tables.entries.values() {
            let Entry { account, state, created, .. } = &row.entry;
            let count = counts.entry((account, *state as u8)).or_insert_with(|| Count {
                account: account.clone(),
                state: *state,
                entries: 0,
                oldest: state.is_open().then_some(*created),
            });
            count.entries += 1;
        }
        Ok(counts.into_values().collect())
    }

    async fn due_audits(&self, now: Timestamp, limit: usize) -> Result<Vec<Audit>, StoreError> {
        let tables = self.lock();
        let due = tables.audits.iter().take_while(|(time, _)| *time <= now).take(limit);
        Ok(due.map(|(time, operation)| Audit { operation: *operation, time: *time }).collect())
    }

    async fn end_audit(&self, audit: Audit, found: Option<Alert>) -> Result<bool, StoreError> {
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
        let ids: Vec<_> = tables.entries.values().filter(|row| old(&row.entry)).map(|row| row.entry.id).collect();
        let mut dropped = 0;
        for id in ids.into_iter().take(limit) {
            let whole = tables.whole(id.0);
            if !whole.iter().all(old) {
                continue;
            }
            if dropped > 0 && dropped + whole.len() > limit {
                break;
            }
            dropped += whole.len();
            whole.iter().for_each(|entry| tables.drop_entry(entry.id.0));
        }
        Ok(dropped)
    }
}

impl Tables {
    /// What stands against a new request with these keys.
    fn standing(&self, keys: Hashes, join: bool) -> Option<Begun> {
        let existing = |by, entries| Some(Begun::Existing { by, entries });
        if let Some(id) = keys.request.and_then(|key| self.requests.get(&key)) {
            let entries = self.whole(*id);
            if entries.iter().any(|entry| entry.state != State::NotSent) {
                return existing(Match::RequestId, entries);
            }
        }
        if let Some(key) = keys.number {
            if let Some(id) = self.numbers.get(&key) {
                return existing(Match::OrderNumber, self.whole(*id));
            }
            if let Some((fingerprint, answer)) = self.trimmed.get(&key) {
                return Some(Begun::Trimmed { fingerprint: *fingerprint, answer: answer.to_vec() });
            }
        }
        let key = keys.content.filter(|_| join)?;
        let id = self.contents.get(&key)?.first()?;
        existing(Match::Content, self.whole(*id))
    }

    /// All entries of the request of which this is one.
    fn whole(&self, id: u64) -> Vec<Entry> {
        self.entries.range(self.call_of(id)).map(|(_, row)| row.entry.clone()).collect()
    }

    /// Their ids: they were made together, so these follow one another. None if it is gone.
    fn call_of(&self, id: u64) -> Range<u64> {
        let Some(one) = self.entries.get(&id).map(|row| &row.entry) else { return 0..0 };
        let first = id - u64::from(one.batch);
        first..first + u64::from(one.batches)
    }

    fn make(&mut self, new: NewEntry, keys: Hashes) -> Entry {
        self.last += 1;
        let entry = made(new, OperationId(self.last));
        if let Some(key) = keys.request {
            self.requests.insert(key, self.last);
        }
        self.hold(self.last, keys);
        self.entries.insert(self.last, Box::new(Row { entry: entry.clone(), keys }));
        entry
    }

    /// What an open entry is found by.
    fn hold(&mut self, id: u64, keys: Hashes) {
        if let Some(key) = keys.number {
            self.numbers.insert(key, id);
        }
        self.open.insert(id);
        if let Some(key) = keys.content {
            self.contents.entry(key).or_default().insert(id);
        }
    }

    fn free_number(&mut self, id: u64, keys: Hashes) {
        if let Some(key) = keys.number.filter(|key| self.numbers.get(key) == Some(&id)) {
            self.numbers.remove(&key);
        }
    }

    /// It is final now.
    fn close(&mut self, id: u64, state: State, keys: Hashes) {
        if !state.holds_order_number() {
            self.free_number(id, keys);
        }
        self.open.remove(&id);
        if let Some(key) = keys.content
            && let Some(ids) = self.contents.get_mut(&key)
        {
            ids.remove(&id);
            if ids.is_empty() {
                self.contents.remove(&key);
            }
        }
        self.closed.push_back(id);
        // Two for one, so that what was put off is made up for.
        for _ in 0..2 {
            if self.closed.len() > MAX_FINAL {
                self.forget_oldest();
            }
        }
    }

    /// Drops the call whose entry became final first, or puts it off while it has open ones.
    fn forget_oldest(&mut self) {
        let Some(oldest) = self.closed.pop_front() else { return };
        let call = self.call_of(oldest);
        if self.entries.range(call.clone()).any(|(_, row)| row.entry.state.is_open()) {
            self.closed.push_back(oldest);
            return;
        }
        call.for_each(|id| drop(self.remove(id)));
    }

    /// Its identity stays as it was made.
    fn change(&mut self, entry: Entry) -> Option<Entry> {
        let row = self.entries.get_mut(&entry.id.0)?;
        let (stored, keys) = (&mut row.entry, row.keys);
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
        if !changed.state.is_open() {
            self.close(changed.id.0, changed.state, keys);
        }
        Some(changed)
    }

    /// Of a creation that succeeded something stays.
    fn drop_entry(&mut self, id: u64) {
        let Some(row) = self.remove(id) else { return };
        let Row { entry, keys } = *row;
        if let Some(key) = keys.number.filter(|_| entry.state == State::Succeeded) {
            self.trimmed.insert(key, (entry.fingerprint, entry.answer));
        }
    }

    fn remove(&mut self, id: u64) -> Option<Box<Row>> {
        let row = self.entries.remove(&id)?;
        let keys = row.keys;
        self.free_number(id, keys);
        // Only where no newer request has taken the id.
        if let Some(key) = keys.request.filter(|key| self.requests.get(key) == Some(&id)) {
            self.requests.remove(&key);
        }
        self.alerts.remove(&id);
        Some(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{acme, cancel, create, made, time};

    async fn close(ledger: &MemoryLedger, entry: &Entry, state: State) {
        let entry = Entry { state, updated: time(1), ..entry.clone() };
        assert!(matches!(ledger.save(vec![entry], Vec::new()).await, Ok(Saved::Done(_))));
    }

    async fn created(ledger: &MemoryLedger, number: usize) -> OperationId {
        let new = create(&format!("order {number}"), None);
        let entry = made(ledger.begin(vec![new], false).await.unwrap()).remove(0);
        close(ledger, &entry, State::Succeeded).await;
        entry.id
    }

    #[tokio::test]
    async fn the_oldest_final_entries_go_and_open_calls_stay_whole() {
        let ledger = MemoryLedger::new();
        let first = created(&ledger, 0).await;
        let batches = made(ledger.begin(cancel("open", "request", 2), false).await.unwrap());
        close(&ledger, &batches[0], State::Succeeded).await;
        for number in 1..MAX_FINAL - 1 {
            created(&ledger, number).await;
        }
        assert!(ledger.get(first).await.unwrap().is_some());
        // One more than are kept: the first goes.
        let last = created(&ledger, MAX_FINAL).await;
        assert_eq!(ledger.get(first).await.unwrap(), None);
        assert_eq!(ledger.creation_of(&acme(), "order 0").await.unwrap(), None);
        assert!(matches!(ledger.begin(vec![create("order 0", None)], false).await, Ok(Begun::New(_))));
        // The call with an open entry would be next, and is put off.
        created(&ledger, MAX_FINAL + 1).await;
        assert_eq!(ledger.of_request(&acme(), Kind::Cancel, "request").await.unwrap().len(), 2);
        assert!(ledger.get(last).await.unwrap().is_some());
        for number in 0..2 * MAX_FINAL {
            created(&ledger, 2 * MAX_FINAL + number).await;
        }
        assert_eq!(ledger.of_request(&acme(), Kind::Cancel, "request").await.unwrap().len(), 2);
        let tables = ledger.lock();
        assert!(tables.entries.len() <= MAX_FINAL + 2, "{}", tables.entries.len());
        assert_eq!((tables.closed.len(), tables.open.len()), (MAX_FINAL, 2));
        assert!(tables.numbers.len() <= MAX_FINAL + 1 && tables.trimmed.is_empty());
    }
}
