//! Decides when a dispatcher visits the store.
//!
//! Most events do not match a subscription. Storing every scanned position would cost every webhook a write for every
//! subscription with a stream: with 80 subscriptions, 200 webhooks a second took seconds each. A dispatcher without
//! matching events therefore advances in memory only, and stores its position at intervals. After a crash the
//! dispatcher scans those events again.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::feed::subscription::FreshEvents;
use crate::domain::moment::SteadyTime;
use crate::ports::random::Random;

/// Positions that may be scanned before the store is updated.
const FAR: u64 = 4096;
/// Shortest time before the store is updated. A random addition of at most the same length spreads the updates of many
/// dispatchers.
const LATE: Duration = Duration::from_secs(10);
/// Pause of a dispatcher after a scan without a match, for every dispatcher in the process: with many dispatchers every
/// scan covers more events.
const PACE: Duration = Duration::from_micros(20);
const LONGEST_PACE: Duration = Duration::from_millis(20);

/// The state of a dispatcher's store visits.
#[derive(Debug)]
pub(super) struct VisitSchedule {
    /// Whether a change besides the log requires a visit: streams, verdicts, or the time.
    asked: bool,
    /// Whether the events read could not be leased. Only changes that set `asked` can help.
    is_stuck: bool,
    /// The scanned position in the store.
    stored: u64,
    /// Time at which the store must be updated with scanned positions.
    late_at: Option<Instant>,
    rest_until: Option<Instant>,
    /// Time at which the next lease or pause ends.
    due: Option<SteadyTime>,
}

impl VisitSchedule {
    /// The state before the first visit.
    pub(super) fn new(stored: u64) -> Self {
        Self { asked: true, is_stuck: false, stored, late_at: None, rest_until: None, due: None }
    }

    /// Requires a visit at the next step.
    pub(super) fn ask(&mut self) {
        self.asked = true;
    }

    /// Time at which a visit is due without any other change.
    pub(super) fn due(&self) -> Option<SteadyTime> {
        self.due
    }

    /// Time at which the store must be updated with scanned positions.
    pub(super) fn late_at(&self) -> Option<Instant> {
        self.late_at
    }

    /// End of the pause during which new events are ignored.
    pub(super) fn rest_until(&self) -> Option<Instant> {
        self.rest_until
    }

    /// Whether positions were scanned that the store does not have.
    pub(super) fn is_behind(&self, fresh: &FreshEvents) -> bool {
        fresh.upto > self.stored
    }

    /// Whether a visit is required, given the events read.
    pub(super) fn need_store(&mut self, fresh: &FreshEvents, random: &Random) -> bool {
        let now = Instant::now();
        if self.is_behind(fresh) && self.late_at.is_none() {
            self.late_at = Some(now + LATE + random.up_to(LATE));
        }
        self.asked
            || (!fresh.events.is_empty() && !self.is_stuck)
            || fresh.upto.saturating_sub(self.stored) >= FAR
            || self.late_at.is_some_and(|late| late <= now)
    }

    /// Starts a pause after a scan without a match. `dispatchers` is the number of dispatchers in the process.
    pub(super) fn rest(&mut self, dispatchers: usize) {
        let pace = PACE.saturating_mul(u32::try_from(dispatchers).unwrap_or(u32::MAX)).min(LONGEST_PACE);
        self.rest_until = Some(Instant::now() + pace);
    }

    /// Notes a visit. `stored` is the scanned position in the store, and `is_stuck` means that events are left without
    /// a free window.
    pub(super) fn told(&mut self, stored: u64, is_stuck: bool, due: Option<SteadyTime>) {
        *self = Self { asked: false, is_stuck, due, ..Self::new(stored) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::feed::subscription::FreshEvent;
    use crate::domain::timestamp::Timestamp;

    fn passed(upto: u64) -> FreshEvents {
        FreshEvents { after: 0, upto, events: Vec::new() }
    }

    fn matching(upto: u64) -> FreshEvents {
        let event = FreshEvent { seq: upto, key: "k".into(), size: 1, received: Timestamp(0) };
        FreshEvents { events: vec![event], ..passed(upto) }
    }

    #[tokio::test(start_paused = true)]
    async fn the_store_is_asked_for_what_can_be_lent_and_told_of_the_rest_now_and_then() {
        let random = Random::from_seed(1);
        let mut looks = VisitSchedule::new(0);
        assert!(looks.need_store(&passed(0), &random), "the first time");
        looks.told(0, false, None);
        assert!(!looks.need_store(&passed(0), &random));
        assert!(!looks.need_store(&passed(1), &random) && looks.is_behind(&passed(1)));
        assert!(looks.need_store(&matching(2), &random));
        looks.told(2, false, None);
        assert!(!looks.is_behind(&passed(2)));
        assert!(looks.need_store(&passed(2 + FAR), &random), "it is far ahead of the store");
        looks.told(2, false, None);
        assert_eq!(looks.late_at(), None);
        assert!(!looks.need_store(&passed(3), &random));
        let late = looks.late_at().unwrap() - Instant::now();
        assert!((LATE..=LATE * 2).contains(&late), "{late:?}");
        tokio::time::advance(late - Duration::from_millis(1)).await;
        assert!(!looks.need_store(&passed(9), &random));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(looks.need_store(&passed(9), &random));
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_has_room_for_waits_until_something_else_changes() {
        let random = Random::from_seed(1);
        let mut looks = VisitSchedule::new(0);
        looks.told(0, true, None);
        assert!(!looks.need_store(&matching(1), &random) && !looks.need_store(&matching(50), &random));
        looks.ask();
        assert!(looks.need_store(&matching(50), &random));
    }

    #[tokio::test(start_paused = true)]
    async fn the_more_there_are_the_longer_each_rests() {
        let mut looks = VisitSchedule::new(0);
        for (dispatchers, pause) in [(1, PACE), (100, PACE * 100), (1_000, LONGEST_PACE), (usize::MAX, LONGEST_PACE)] {
            looks.rest(dispatchers);
            assert_eq!(looks.rest_until().unwrap() - Instant::now(), pause);
        }
        looks.told(0, false, None);
        assert_eq!(looks.rest_until(), None, "where there is something to lend nobody rests");
    }
}
