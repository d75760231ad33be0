//! One instant on two clocks: the wall clock, which people and NTP set, and the steady clock, which never steps.
//!
//! Two questions are asked about time, and the answers differ while the clocks disagree:
//!
//! - **Has a window passed?** Settle windows and retention are guards. A window has passed only when the two clocks
//!   agree ([`Moment::window_has_passed`]), which means that a wall clock jumping ahead never ends a window early.
//! - **Is an action due, or too late?** Look-ups, heartbeats and wake-ups are due, and `not_after` is over, as soon as
//!   either clock is past the time ([`Moment::is_due`], [`Moment::is_over`]), which means that a wall clock jumping
//!   back never delays an action.
//!
//! Subscription leases must neither end early nor last long, and are therefore measured by the steady clock alone.

use std::time::Duration;

use crate::domain::timestamp::Timestamp;
use crate::planted_bug::{PlantedBug, is_planted};

/// Milliseconds since the start of the machine, including time asleep. Comparable only within one boot ([`BootId`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SteadyTime(pub u64);

impl SteadyTime {
    /// The time later by `span`; saturates at the largest time.
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(millis(span)))
    }

    /// The time earlier by `span`; saturates at the start of the machine.
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(millis(span)))
    }

    /// Time from `earlier` to `self`; zero when `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// Identifies the boot from which a [`SteadyTime`] counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BootId(pub [u8; 16]);

/// One instant on the wall clock and the steady clock. Moments have no order, because the two clocks may order a pair
/// of moments differently.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Moment {
    /// The time of day, for display and for values that outlive a boot.
    pub wall: Timestamp,
    /// Time since the machine's start.
    pub steady: SteadyTime,
}

impl Moment {
    /// The moment later by `span` on the two clocks.
    pub fn plus(self, span: Duration) -> Self {
        Self { wall: self.wall.plus(span), steady: self.steady.plus(span) }
    }

    /// Time since `earlier` by the clock with the smaller difference: the time that has certainly passed.
    pub fn at_least_since(self, earlier: Self) -> Duration {
        self.wall.since(earlier.wall).min(self.steady.since(earlier.steady))
    }

    /// Time since `earlier` by the clock with the larger difference: the time that may have passed.
    pub fn at_most_since(self, earlier: Self) -> Duration {
        self.wall.since(earlier.wall).max(self.steady.since(earlier.steady))
    }

    /// Whether a window of `span` that began at `since` has passed, by the wall clock and by the steady clock. For
    /// guards: settle windows and retention.
    pub fn window_has_passed(since: Self, span: Duration, now: Self) -> bool {
        if is_planted(PlantedBug::WindowByWallClock) {
            return now.wall.since(since.wall) >= span;
        }
        now.at_least_since(since) >= span
    }

    /// Whether an action planned for this moment is due: either clock has reached the moment. For wake-ups: look-ups
    /// and heartbeats.
    pub fn is_due(self, now: Self) -> bool {
        now.wall >= self.wall || now.steady >= self.steady
    }

    /// Whether this moment, a last moment allowed, is over: either clock has passed the moment. For `not_after`.
    pub fn is_over(self, now: Self) -> bool {
        now.wall > self.wall || now.steady > self.steady
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const HOUR: Duration = Duration::from_secs(3_600);
    const START: Moment = Moment { wall: Timestamp(1_800_000_000_000), steady: SteadyTime(7_200_000) };

    /// `passed` after `START` by the steady clock, while the wall clock was set ahead or back.
    fn stepped(passed: Duration, ahead: Duration, back: Duration) -> Moment {
        let after = START.plus(passed);
        Moment { wall: after.wall.plus(ahead).minus(back), ..after }
    }

    #[test]
    fn both_clocks_move_together_and_stay_in_range() {
        let later = START.plus(SECOND);
        assert_eq!(later, Moment { wall: Timestamp(1_800_000_001_000), steady: SteadyTime(7_201_000) });
        assert_eq!(later.steady.minus(SECOND), START.steady);
        assert_eq!(START.steady.minus(3 * HOUR), SteadyTime(0));
        let end = Moment { wall: Timestamp(u64::MAX), steady: SteadyTime(u64::MAX) };
        assert_eq!(START.plus(Duration::MAX), end);
        assert_eq!(SteadyTime(5).plus(Duration::from_micros(1_999)), SteadyTime(6));
        assert_eq!(SteadyTime(5).since(SteadyTime(6)), Duration::ZERO);
    }

    #[test]
    fn while_the_clocks_agree_all_questions_have_one_answer() {
        let until = START.plus(HOUR);
        let [before, at, after] = [HOUR - SECOND, HOUR, HOUR + SECOND].map(|passed| START.plus(passed));
        for (now, passed, over) in [(before, false, false), (at, true, false), (after, true, true)] {
            assert_eq!(Moment::window_has_passed(START, HOUR, now), passed);
            assert_eq!(until.is_due(now), passed);
            assert_eq!(until.is_over(now), over);
            assert_eq!(now.at_least_since(START), now.at_most_since(START));
        }
    }

    #[test]
    fn a_step_ahead_ends_no_window_but_makes_due() {
        let now = stepped(SECOND, HOUR, Duration::ZERO);
        assert!(!Moment::window_has_passed(START, HOUR, now));
        assert!(START.plus(HOUR).is_due(now));
        assert!(START.plus(HOUR).is_over(now));
        assert_eq!((now.at_least_since(START), now.at_most_since(START)), (SECOND, HOUR + SECOND));
        assert!(Moment::window_has_passed(START, HOUR, stepped(HOUR, HOUR, Duration::ZERO)));
    }

    #[test]
    fn a_step_back_delays_nothing_that_is_due_and_keeps_windows_open() {
        let now = stepped(2 * SECOND, Duration::ZERO, HOUR);
        assert!(START.plus(SECOND).is_due(now));
        assert!(START.plus(SECOND).is_over(now));
        assert!(!Moment::window_has_passed(START, SECOND, now));
        assert_eq!((now.at_least_since(START), now.at_most_since(START)), (Duration::ZERO, 2 * SECOND));
        assert!(Moment::window_has_passed(START, SECOND, stepped(HOUR + SECOND, Duration::ZERO, HOUR)));
    }
}
