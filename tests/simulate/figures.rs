//! What one simulation comes to, in numbers: for runs that show a bound.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use order_gateway::domain::ledger::EntryState;

use crate::book::{Reads, Record};
use crate::world::World;

/// Totals over all accounts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    /// Mutations whose outcome was unknown at any time.
    pub(crate) doubts: usize,
    /// When the last doubt ended. `None` while one is open.
    pub(crate) settled: Option<Duration>,
    /// Callers that have a final answer, and how many of those answers are a yes.
    pub(crate) answered: usize,
    pub(crate) accepted: usize,
    /// When the last of them got it.
    pub(crate) last_answer: Duration,
    pub(crate) reads: Reads,
    /// Requests that were sent for a mutation beyond its first.
    pub(crate) sent_again: usize,
    /// Orders that Walmart has, and how many of them are one too many.
    pub(crate) orders: usize,
    pub(crate) doubled: usize,
    /// Of each kind of mutation, by the name of its call.
    pub(crate) kinds: BTreeMap<&'static str, KindFigures>,
    /// Lists that were read to their end, page by page.
    pub(crate) lists: u64,
}

/// What became of the mutations of one kind.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KindFigures {
    /// Requests to Walmart that the ledger has a row of.
    pub(crate) begun: usize,
    pub(crate) carried_out: usize,
    pub(crate) in_doubt: usize,
    pub(crate) sent_again: usize,
    pub(crate) refused: usize,
    pub(crate) by_operator: usize,
}

impl KindFigures {
    fn add_record(&mut self, record: &Record) {
        self.begun += 1;
        self.carried_out += record.effects;
        self.in_doubt += usize::from(record.was_in_doubt());
        self.sent_again += record.sent_again();
        self.refused += usize::from(record.state == EntryState::Rejected);
        self.by_operator += usize::from(record.by_operator);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.begun += other.begun;
        self.carried_out += other.carried_out;
        self.in_doubt += other.in_doubt;
        self.sent_again += other.sent_again;
        self.refused += other.refused;
        self.by_operator += other.by_operator;
    }
}

impl fmt::Display for KindFigures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { begun, carried_out, in_doubt, sent_again, refused, by_operator } = self;
        write!(
            f,
            "{begun} begun, {carried_out} carried out, {in_doubt} in doubt, {sent_again} sent again, {refused} refused, \
             {by_operator} decided by an operator"
        )
    }
}

impl Figures {
    pub(crate) fn of(world: &World) -> Self {
        let orders = world.orders();
        let state = world.state();
        let records = || state.book.records().map(|(_, record)| record);
        let is_open = records().any(|record| record.doubt.is_some());
        let orders_made = orders.values().sum();
        let mut kinds: BTreeMap<&'static str, KindFigures> = BTreeMap::new();
        records().for_each(|record| kinds.entry(record.kind.operation().name()).or_default().add_record(record));
        Self {
            doubts: records().filter(|record| record.was_in_doubt()).count(),
            settled: (!is_open).then(|| records().map(|record| record.settled).max().unwrap_or_default()),
            answered: state.told.final_answers().count(),
            accepted: state.told.final_answers().filter(|answer| answer.is_yes).count(),
            last_answer: state.told.final_answers().map(|answer| answer.at).max().unwrap_or_default(),
            reads: state.book.reads(),
            sent_again: records().map(|record| record.sent_again()).sum(),
            orders: orders_made,
            doubled: orders_made - orders.len(),
            kinds,
            lists: state.lists,
        }
    }
}
