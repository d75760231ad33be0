//! Every doubt gets its turn: Walmart is asked about it when that was planned, whatever the gateway is asked meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use order_gateway::domain::ledger::EntryState;

use crate::book::Record;
use crate::draw::{millis, seconds};
use crate::plan::{ACCOUNTS, Plan};
use crate::simulation::impeded;
use crate::world::World;

/// Faults of reads, and what Walmart said of its limits, are not felt any more after this time.
const LULL: Duration = seconds(6 * 60);
/// What a look-up may take beside waiting for its turn.
const SLACK: Duration = seconds(20);

/// A doubt that nobody has asked Walmart about, although nothing stood in the way.
pub(crate) fn overdue(world: &World, now: Duration) -> Option<String> {
    let plan = world.plan();
    let state = world.state();
    let started = state.book.started();
    let mut crowds: BTreeMap<(usize, &str), Crowd> = BTreeMap::new();
    for (_, record) in state.book.records() {
        crowds.entry((record.account, record.probe().name())).or_default().add(record);
    }
    crowds.values_mut().for_each(|crowd| crowd.settled.sort());
    for (id, record) in state.book.records() {
        let Some(doubt) = record.doubt else { continue };
        let planned = next_look(plan, doubt.since, doubt.asked);
        // What was left to an operator, as refunds are, is looked up at the longest pause.
        let left = record.state == EntryState::NeedsOperator;
        let due = if left { planned.max(doubt.asked + repeat(plan)) } else { planned }.max(started);
        let probe = record.probe();
        let in_doubt = crowds.get(&(record.account, probe.name())).map_or(0, |crowd| crowd.in_doubt_after(due));
        // Half of the calls is for look-ups.
        let turn = seconds(60) * (in_doubt + 1) / (plan.settings.limit(probe) / 2).max(1);
        let latest = due + turn + SLACK;
        let slowed = state.book.slowed(record.account).is_some_and(|time| time + LULL >= now);
        if now > latest && !slowed && !impeded(plan, probe, due.saturating_sub(LULL), now) {
            let (account, waits) = (ACCOUNTS[record.account], (now - due).as_secs());
            let number = &record.number;
            return Some(format!("the doubt about {id} ({account}/{number}) waits for its look-up for {waits} s"));
        }
    }
    None
}

/// The doubts of an account that are looked up by one call of Walmart's.
#[derive(Default)]
struct Crowd {
    open: usize,
    /// When the others were settled, rising.
    settled: Vec<Duration>,
}

impl Crowd {
    fn add(&mut self, record: &Record) {
        if record.doubt.is_some() {
            self.open += 1;
        } else {
            self.settled.push(record.settled);
        }
    }

    /// Those that are open, and those that were settled later than `due`: they had their turn, too.
    fn in_doubt_after(&self, due: Duration) -> u32 {
        let later = self.settled.len() - self.settled.partition_point(|settled| *settled <= due);
        (self.open + later) as u32
    }
}

/// When Walmart is to be asked next, by the plan of the settings.
fn next_look(plan: &Plan, since: Duration, asked: Duration) -> Duration {
    let settings = &plan.settings;
    let delays = settings.lookup_delays.iter().map(|delay| since + *delay);
    // One that is asked just before its time is not asked twice.
    let next = delays.into_iter().find(|time| *time > asked + millis(500));
    next.unwrap_or(asked + repeat(plan))
}

/// The pause between look-ups after the last planned one.
fn repeat(plan: &Plan) -> Duration {
    let last = plan.settings.lookup_delays.last().copied().unwrap_or_default();
    last.max(plan.settings.settle_window.mul_f64(2.5)).min(seconds(300))
}
