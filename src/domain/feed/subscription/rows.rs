//! The rows of a subscription, indexed for finding the next row without a scan, and a record of changes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::{EventRow, RowState};
use crate::domain::moment::SteadyTime;
use crate::planted_bug::{PlantedBug, is_planted};

/// Rows by position. All changes go through [`RowIndex::put`] and [`RowIndex::remove`].
#[derive(Clone, Debug, Default)]
pub(super) struct RowIndex {
    all: BTreeMap<u64, EventRow>,
    /// Whether events of one key are ordered.
    ordered: bool,
    /// Keys with unsettled events; filled only for ordered subscriptions, and never with the empty key.
    lines: HashMap<Arc<str>, KeyQueue, RandomState>,
    /// Pending rows without a block by their key.
    ready: BTreeSet<u64>,
    waiting: BTreeSet<u64>,
    /// Expiry of leases and pauses.
    times: BTreeSet<(SteadyTime, u64)>,
    borrowers: HashMap<Arc<str>, ConsumerLeases, RandomState>,
    outstanding: usize,
    parked: BTreeSet<u64>,
    unsettled: BTreeSet<u64>,
    /// Unsettled rows that were never redriven.
    holding: BTreeSet<u64>,
    changed: RowChanges,
}

/// The unsettled events of one key.
#[derive(Clone, Debug, Default)]
struct KeyQueue {
    members: BTreeSet<u64>,
    lent: usize,
    /// Position of the row that may be leased.
    ready: Option<u64>,
}

/// The leases of a consumer.
#[derive(Clone, Debug, Default)]
pub(super) struct ConsumerLeases {
    pub(super) seqs: BTreeSet<u64>,
    pub(super) bytes: u64,
}

/// The difference from the store.
#[derive(Clone, Debug, Default)]
struct RowChanges {
    /// Touched rows, as stored.
    before: BTreeMap<u64, Option<EventRow>>,
    /// Whether all stored rows are to be dropped.
    clear: bool,
}

impl RowIndex {
    /// Builds the index of stored rows.
    pub(super) fn load(ordered: bool, rows: Vec<EventRow>) -> Self {
        let mut loaded = Self { ordered, ..Self::default() };
        for row in rows {
            loaded.insert(row);
        }
        loaded
    }

    pub(super) fn get(&self, seq: u64) -> Option<&EventRow> {
        self.all.get(&seq)
    }

    /// Adds or replaces a row.
    pub(super) fn put(&mut self, row: EventRow) {
        let before = self.take_out(row.seq);
        self.changed.before.entry(row.seq).or_insert(before);
        self.insert(row);
    }

    pub(super) fn remove(&mut self, seq: u64) {
        if let Some(row) = self.take_out(seq) {
            self.changed.before.entry(seq).or_insert(Some(row));
        }
    }

    pub(super) fn clear(&mut self) {
        let mut changed = std::mem::take(&mut self.changed);
        let stored = |seq: &u64| changed.before.get(seq).is_none_or(Option::is_some);
        changed.clear |= self.all.keys().any(stored) || changed.before.values().any(Option::is_some);
        changed.before.clear();
        *self = Self { ordered: self.ordered, changed, ..Self::default() };
    }

    /// Takes the difference from the store: whether to drop all stored rows, the rows to write, and the positions to
    /// drop. The store then equals these rows.
    pub(super) fn take_changes(&mut self) -> (bool, Vec<EventRow>, Vec<u64>) {
        let RowChanges { before, clear } = std::mem::take(&mut self.changed);
        let (mut put, mut drop) = (Vec::new(), Vec::new());
        for (seq, before) in before {
            match self.all.get(&seq) {
                Some(row) if before.as_ref() != Some(row) => put.push(row.clone()),
                None if before.is_some() => drop.push(seq),
                _ => {}
            }
        }
        (clear, put, drop)
    }

    /// Rows in a range of positions.
    pub(super) fn between(&self, range: impl std::ops::RangeBounds<u64>) -> impl Iterator<Item = &EventRow> {
        self.all.range(range).map(|(_, row)| row)
    }

    /// The first row that may be leased.
    pub(super) fn first_ready(&self) -> Option<&EventRow> {
        self.all.get(self.ready.first()?)
    }

    /// Position of the first row waiting for its time.
    pub(super) fn first_waiting(&self) -> Option<u64> {
        self.waiting.first().copied()
    }

    /// Whether an event of this key would wait for an earlier event.
    pub(super) fn holds_up(&self, key: &str) -> bool {
        if is_planted(PlantedBug::TwoLeasesPerKey) {
            return self.lines.get(key).is_some_and(|line| line.ready.is_some());
        }
        self.lines.contains_key(key)
    }

    /// The next expiry of a lease or pause, with its position.
    pub(super) fn next_time(&self) -> Option<(SteadyTime, u64)> {
        self.times.first().copied()
    }

    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    pub(super) fn outstanding(&self) -> usize {
        self.outstanding
    }

    pub(super) fn parked(&self) -> &BTreeSet<u64> {
        &self.parked
    }

    pub(super) fn unsettled(&self) -> &BTreeSet<u64> {
        &self.unsettled
    }

    /// Position of the first row that holds the floor.
    pub(super) fn first_holding(&self) -> Option<u64> {
        self.holding.first().copied()
    }

    pub(super) fn borrower(&self, consumer: &str) -> Option<&ConsumerLeases> {
        self.borrowers.get(consumer)
    }

    /// Whether no other consumer has a lease.
    pub(super) fn all_lent_to(&self, consumer: &str) -> bool {
        self.borrowers.keys().all(|borrower| &**borrower == consumer)
    }

    fn insert(&mut self, row: EventRow) {
        let seq = row.seq;
        match &row.state {
            RowState::Leased { until, consumer, .. } => {
                self.times.insert((until.steady, seq));
                self.outstanding += 1;
                let borrower = self.borrowers.entry(consumer.clone()).or_default();
                borrower.seqs.insert(seq);
                borrower.bytes += u64::from(row.size);
            }
            RowState::Waiting { until } => {
                self.times.insert((until.steady, seq));
                self.waiting.insert(seq);
            }
            RowState::Parked { .. } => {
                self.parked.insert(seq);
            }
            RowState::Pending { .. } | RowState::Acked => {}
        }
        if row.state.is_unsettled() {
            self.unsettled.insert(seq);
            if !row.redriven {
                self.holding.insert(seq);
            }
        }
        let line = self.has_line(&row).then(|| row.key.clone());
        if line.is_none() && is_pending(&row) {
            self.ready.insert(seq);
        }
        let lent = usize::from(matches!(row.state, RowState::Leased { .. }));
        self.all.insert(seq, row);
        if let Some(key) = line {
            let line = self.lines.entry(key.clone()).or_default();
            line.members.insert(seq);
            line.lent += lent;
            self.refresh(&key);
        }
    }

    fn take_out(&mut self, seq: u64) -> Option<EventRow> {
        let row = self.all.remove(&seq)?;
        match &row.state {
            RowState::Leased { until, consumer, .. } => {
                self.times.remove(&(until.steady, seq));
                self.outstanding -= 1;
                if let Some(borrower) = self.borrowers.get_mut(consumer) {
                    borrower.seqs.remove(&seq);
                    borrower.bytes -= u64::from(row.size);
                    if borrower.seqs.is_empty() {
                        self.borrowers.remove(consumer);
                    }
                }
            }
            RowState::Waiting { until } => {
                self.times.remove(&(until.steady, seq));
                self.waiting.remove(&seq);
            }
            RowState::Parked { .. } => {
                self.parked.remove(&seq);
            }
            RowState::Pending { .. } | RowState::Acked => {}
        }
        self.unsettled.remove(&seq);
        self.holding.remove(&seq);
        self.ready.remove(&seq);
        if self.has_line(&row)
            && let Some(line) = self.lines.get_mut(&row.key)
        {
            line.members.remove(&seq);
            line.lent -= usize::from(matches!(row.state, RowState::Leased { .. }));
            self.refresh(&row.key);
        }
        Some(row)
    }

    /// Whether the row is queued with other rows of its key.
    fn has_line(&self, row: &EventRow) -> bool {
        let unblocked = is_planted(PlantedBug::RetryUnblocksKey) && matches!(row.state, RowState::Waiting { .. });
        self.ordered && !row.key.is_empty() && row.state.is_unsettled() && !unblocked
    }

    /// Finds the row of a key that may be leased: the first row, if pending and no row of the key is leased.
    fn refresh(&mut self, key: &Arc<str>) {
        let Some(line) = self.lines.get_mut(key) else { return };
        let pending = |seq: &u64| self.all.get(seq).is_some_and(is_pending);
        let ready = line.members.first().copied().filter(|seq| line.lent == 0 && pending(seq));
        if let Some(seq) = std::mem::replace(&mut line.ready, ready) {
            self.ready.remove(&seq);
        }
        self.ready.extend(ready);
        if line.members.is_empty() {
            self.lines.remove(key);
        }
    }
}

fn is_pending(row: &EventRow) -> bool {
    matches!(row.state, RowState::Pending { .. })
}
