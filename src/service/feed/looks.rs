//! When a dispatcher has to ask the store, and when it may leave it alone.
//!
//! Of most events a subscription wants none. To tell the store of each that it has passed them would make every webhook cost a
//! write for each subscription with a stream: with 80 of them, 200 webhooks a second took seconds each. So a dispatcher that
//! finds nothing to lend only moves on in its own memory, and tells the store now and then. After a crash it looks at those
//! events again.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::feed::subscription::Fresh;
use crate::domain::moment::SteadyTime;
use crate::ports::random::Random;

/// Positions that may be passed before the store is told.
const FAR: u64 = 4096;
/// Time that may pass before the store is told, at least; at most twice as long, so that not all are told at once.
const LATE: Duration = Duration::from_secs(10);
/// For each dispatcher of the process, the pause of one after it has looked at the log and found nothing to lend: the more of
/// them there are, the more events each looks at in one go.
const PACE: Duration = Duration::from_micros(20);
const LONGEST_PACE: Duration = Duration::from_millis(20);

/// What a dispatcher knows of its last look at the store.
#[derive(Debug)]
pub(super) struct Looks {
    /// Something other than the log has changed: streams, verdicts, the time.
    asked: bool,
    /// What is there could not be lent. Only what sets `asked` can change that.
    is_stuck: bool,
    /// The position up to which the store knows that all was looked at.
    stored: u64,
    /// When the store must be told, since positions were passed.
    late_at: Option<Instant>,
    rest_until: Option<Instant>,
    /// When a loan or a pause ends next.
    due: Option<SteadyTime>,
}

impl Looks {
    /// None was made yet.
    pub(super) fn new(stored: u64) -> Self {
        Self { asked: true, is_stuck: false, stored, late_at: None, rest_until: None, due: None }
    }

    /// The next look has to ask the store.
    pub(super) fn ask(&mut self) {
        self.asked = true;
    }

    /// When to ask the store by time alone.
    pub(super) fn due(&self) -> Option<SteadyTime> {
        self.due
    }

    /// When to tell the store what was passed.
    pub(super) fn late_at(&self) -> Option<Instant> {
        self.late_at
    }

    /// Until when new events are left alone.
    pub(super) fn rest_until(&self) -> Option<Instant> {
        self.rest_until
    }

    /// Whether positions were passed of which the store does not know.
    pub(super) fn is_behind(&self, fresh: &Fresh) -> bool {
        fresh.upto > self.stored
    }

    /// Whether the store has to be asked, with these events read.
    pub(super) fn need_store(&mut self, fresh: &Fresh, random: &Random) -> bool {
        let now = Instant::now();
        if self.is_behind(fresh) && self.late_at.is_none() {
            self.late_at = Some(now + LATE + random.up_to(LATE));
        }
        self.asked
            || (!fresh.events.is_empty() && !self.is_stuck)
            || fresh.upto.saturating_sub(self.stored) >= FAR
            || self.late_at.is_some_and(|late| late <= now)
    }

    /// Nothing was there to lend. `dispatchers`: how many there are.
    pub(super) fn rest(&mut self, dispatchers: usize) {
        let pace = PACE.saturating_mul(u32::try_from(dispatchers).unwrap_or(u32::MAX)).min(LONGEST_PACE);
        self.rest_until = Some(Instant::now() + pace);
    }

    /// The store was asked, and has this as its position. `is_stuck`: events are left, and nobody has room for them.
    pub(super) fn told(&mut self, stored: u64, is_stuck: bool, due: Option<SteadyTime>) {
        *self = Self { asked: false, is_stuck, due, ..Self::new(stored) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::feed::subscription::FreshEvent;
    use crate::domain::timestamp::Timestamp;

    fn passed(upto: u64) -> Fresh {
        Fresh { after: 0, upto, events: Vec::new() }
    }

    fn matching(upto: u64) -> Fresh {
        let event = FreshEvent { seq: upto, key: "k".into(), size: 1, received: Timestamp(0) };
        Fresh { events: vec![event], ..passed(upto) }
    }

    #[tokio::test(start_paused = true)]
    async fn the_store_is_asked_for_what_can_be_lent_and_told_of_the_rest_now_and_then() {
        let random = Random::from_seed(1);
        let mut looks = Looks::new(0);
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
        let mut looks = Looks::new(0);
        looks.told(0, true, None);
        assert!(!looks.need_store(&matching(1), &random) && !looks.need_store(&matching(50), &random));
        looks.ask();
        assert!(looks.need_store(&matching(50), &random));
    }

    #[tokio::test(start_paused = true)]
    async fn the_more_there_are_the_longer_each_rests() {
        let mut looks = Looks::new(0);
        for (dispatchers, pause) in [(1, PACE), (100, PACE * 100), (1_000, LONGEST_PACE), (usize::MAX, LONGEST_PACE)] {
            looks.rest(dispatchers);
            assert_eq!(looks.rest_until().unwrap() - Instant::now(), pause);
        }
        looks.told(0, false, None);
        assert_eq!(looks.rest_until(), None, "where there is something to lend nobody rests");
    }
}
