//! The rows of a subscription, with what is needed to find the next one without walking all, and what changed of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::{Row, State};
use crate::domain::moment::SteadyTime;

/// Rows by position. Whatever changes a row goes through [`Rows::put`] and [`Rows::remove`].
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    all: BTreeMap<u64, Row>,
    /// Whether events of one key wait for each other.
    ordered: bool,
    /// Keys with unsettled events; none unless they wait for each other, and never the empty one.
    lines: HashMap<Arc<str>, Line, RandomState>,
    /// Pending, and held up by no other of its key.
    ready: BTreeSet<u64>,
    waiting: BTreeSet<u64>,
    /// When loans end, and pauses.
    times: BTreeSet<(SteadyTime, u64)>,
    borrowers: HashMap<Arc<str>, Borrower, RandomState>,
    outstanding: usize,
    parked: BTreeSet<u64>,
    unsettled: BTreeSet<u64>,
    /// Unsettled, and never redriven.
    holding: BTreeSet<u64>,
    changed: Changed,
}

/// The unsettled events of one key.
#[derive(Clone, Debug, Default)]
struct Line {
    members: BTreeSet<u64>,
    lent: usize,
    /// The one that may be lent.
    ready: Option<u64>,
}

/// What a consumer has.
#[derive(Clone, Debug, Default)]
pub(super) struct Borrower {
    pub(super) seqs: BTreeSet<u64>,
    pub(super) bytes: u64,
}

/// What differs from the store.
#[derive(Clone, Debug, Default)]
struct Changed {
    /// Rows as they stand in the store, of those that were touched.
    before: BTreeMap<u64, Option<Row>>,
    /// None of the store's rows counts any more.
    clear: bool,
}

impl Rows {
    /// As they are in the store.
    pub(super) fn load(ordered: bool, rows: Vec<Row>) -> Self {
        let mut loaded = Self { ordered, ..Self::default() };
        for row in rows {
            loaded.insert(row);
        }
        loaded
    }

    pub(super) fn get(&self, seq: u64) -> Option<&Row> {
        self.all.get(&seq)
    }

    /// Makes or replaces one.
    pub(super) fn put(&mut self, row: Row) {
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

    /// What differs from the store: whether it has to be cleared, what to put there, and what to drop from it. From now on
    /// the store is as these rows are.
    pub(super) fn take_changes(&mut self) -> (bool, Vec<Row>, Vec<u64>) {
        let Changed { before, clear } = std::mem::take(&mut self.changed);
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

    /// Positions of rows in a range.
    pub(super) fn between(&self, range: impl std::ops::RangeBounds<u64>) -> impl Iterator<Item = &Row> {
        self.all.range(range).map(|(_, row)| row)
    }

    /// The first that may be lent.
    pub(super) fn first_ready(&self) -> Option<&Row> {
        self.all.get(self.ready.first()?)
    }

    /// The first that waits for its time.
    pub(super) fn first_waiting(&self) -> Option<u64> {
        self.waiting.first().copied()
    }

    /// Whether an event of this key would have to wait for an earlier one.
    pub(super) fn holds_up(&self, key: &str) -> bool {
        self.lines.contains_key(key)
    }

    /// When the next loan or pause ends, and whose.
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

    /// The first that holds the floor.
    pub(super) fn first_holding(&self) -> Option<u64> {
        self.holding.first().copied()
    }

    pub(super) fn borrower(&self, consumer: &str) -> Option<&Borrower> {
        self.borrowers.get(consumer)
    }

    /// Whether nobody else has anything.
    pub(super) fn all_lent_to(&self, consumer: &str) -> bool {
        self.borrowers.keys().all(|borrower| &**borrower == consumer)
    }

    fn insert(&mut self, row: Row) {
        let seq = row.seq;
        match &row.state {
            State::Leased { until, consumer, .. } => {
                self.times.insert((until.steady, seq));
                self.outstanding += 1;
                let borrower = self.borrowers.entry(consumer.clone()).or_default();
                borrower.seqs.insert(seq);
                borrower.bytes += u64::from(row.size);
            }
            State::Waiting { until } => {
                self.times.insert((until.steady, seq));
                self.waiting.insert(seq);
            }
            State::Parked { .. } => {
                self.parked.insert(seq);
            }
            State::Pending { .. } | State::Acked => {}
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
        let lent = usize::from(matches!(row.state, State::Leased { .. }));
        self.all.insert(seq, row);
        if let Some(key) = line {
            let line = self.lines.entry(key.clone()).or_default();
            line.members.insert(seq);
            line.lent += lent;
            self.refresh(&key);
        }
    }

    fn take_out(&mut self, seq: u64) -> Option<Row> {
        let row = self.all.remove(&seq)?;
        match &row.state {
            State::Leased { until, consumer, .. } => {
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
            State::Waiting { until } => {
                self.times.remove(&(until.steady, seq));
                self.waiting.remove(&seq);
            }
            State::Parked { .. } => {
                self.parked.remove(&seq);
            }
            State::Pending { .. } | State::Acked => {}
        }
        self.unsettled.remove(&seq);
        self.holding.remove(&seq);
        self.ready.remove(&seq);
        if self.has_line(&row)
            && let Some(line) = self.lines.get_mut(&row.key)
        {
            line.members.remove(&seq);
            line.lent -= usize::from(matches!(row.state, State::Leased { .. }));
            self.refresh(&row.key);
        }
        Some(row)
    }

    /// Whether it stands in line behind others of its key, or others behind it.
    fn has_line(&self, row: &Row) -> bool {
        self.ordered && !row.key.is_empty() && row.state.is_unsettled()
    }

    /// Finds out anew which of a key may be lent: the first, if it is pending and none of them is on loan.
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

fn is_pending(row: &Row) -> bool {
    matches!(row.state, State::Pending { .. })
}
