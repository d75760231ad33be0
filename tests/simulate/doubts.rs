//! Every doubt gets its turn: Walmart is asked about it when that was planned, whatever the gateway is asked meanwhile.

use std::time::Duration;

use crate::book::Book;
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
    let crowds: [Crowd; ACCOUNTS.len()] = std::array::from_fn(|account| Crowd::of(&state.book, account));
    for (id, record) in state.book.records() {
        let Some(doubt) = record.doubt else { continue };
        let due = next_look(plan, doubt.since, doubt.asked).max(started);
        let in_doubt = crowds[record.account].in_doubt_after(due);
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

/// The doubts of an account.
struct Crowd {
    open: usize,
    /// When the others were settled, rising.
    settled: Vec<Duration>,
}

impl Crowd {
    fn of(book: &Book, account: usize) -> Self {
        let of_account = || book.records().map(|(_, record)| record).filter(|record| record.account == account);
        let open = of_account().filter(|record| record.doubt.is_some()).count();
        let settled = of_account().filter(|record| record.doubt.is_none()).map(|record| record.settled);
        let mut settled: Vec<_> = settled.collect();
        settled.sort();
        Self { open, settled }
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
    let last = settings.lookup_delays.last().copied().unwrap_or_default();
    let repeat = last.max(settings.settle_window.mul_f64(2.5)).min(seconds(300));
    next.unwrap_or(asked + repeat)
}
