//! What one simulation comes to, in numbers: for runs that show a bound.

use std::time::Duration;

use crate::book::Reads;
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
}

impl Figures {
    pub(crate) fn of(world: &World) -> Self {
        let orders = world.orders();
        let state = world.state();
        let records = || state.book.records().map(|(_, record)| record);
        let is_open = records().any(|record| record.doubt.is_some());
        let orders_made = orders.values().sum();
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
        }
    }
}
