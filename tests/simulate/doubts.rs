//! Every doubt gets its turn: Walmart is asked about it when that was planned, whatever the gateway is asked meanwhile.

use std::time::Duration;

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
    for (id, record) in state.book.records() {
        let Some(doubt) = record.doubt else { continue };
        let due = next_look(plan, doubt.since, doubt.asked).max(started);
        // Also those that were settled meanwhile had their turn.
        let in_doubt = state.book.records().filter(|(_, other)| other.account == record.account);
        let in_doubt = in_doubt.filter(|(_, other)| other.doubt.is_some() || other.settled > due).count() as u32;
        // Half of the calls is for look-ups.
        let turn = seconds(60) * (in_doubt + 1) / (plan.settings.status_limit / 2).max(1);
        let latest = due + turn + SLACK;
        let slowed = state.book.slowed(record.account).is_some_and(|time| time + LULL >= now);
        if now > latest && !slowed && !impeded(plan, due.saturating_sub(LULL), now) {
            let (account, waits) = (ACCOUNTS[record.account], (now - due).as_secs());
            let number = &record.number;
            return Some(format!("the doubt about {id} ({account}/{number}) waits for its look-up for {waits} s"));
        }
    }
    None
}

/// When Walmart is to be asked next, by the plan of the settings.
fn next_look(plan: &Plan, since: Duration, asked: Duration) -> Duration {
    let settings = &plan.settings;
    let delays = settings.lookup_delays.iter().map(|delay| since + *delay);
    // One that is asked just before its time is not asked twice.
    let next = delays.into_iter().find(|time| *time > asked + millis(500));
    let last = settings.lookup_delays.last().copied().unwrap_or_default();
    let repeat = last.max(settings.settle_window.mul_f64(2.5)).min(seconds(300));
    next.unwrap_or(asked + repeat)
}
