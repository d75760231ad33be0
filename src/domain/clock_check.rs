//! Detects a wall clock that was set, by comparison with the steady clock: within one process, and with the record that
//! the previous process left.

use std::fmt;
use std::time::Duration;

use crate::domain::moment::{BootId, Moment};

/// Largest difference between the wall clock and the steady clock that still counts as normal. A larger difference
/// means that the wall clock was set.
pub(crate) const TOLERANCE: Duration = Duration::from_secs(5);

/// NTP slews a clock by at most 1 ms in 2 s. Slewing within this rate is no step, even where the corrections add up.
const SLEW: u32 = 500;

/// Longest gap that is accepted after a reboot. The time for which the machine was off cannot be measured; a longer gap
/// is treated like a wrong clock.
pub(crate) const LONGEST_GAP: Duration = Duration::from_hours(1);

/// Milliseconds by which the wall clock was set; negative when the clock was set back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallStep(pub i64);

impl WallStep {
    /// The step in seconds.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1000.0
    }
}

impl fmt::Display for WallStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:+.3} s", self.seconds())
    }
}

/// Compares the two clocks at intervals and reports steps of the wall clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StepDetector {
    /// Moment of the last comparison.
    seen: Moment,
    /// Milliseconds by which the wall clock is ahead of its expected reading. Small steps add up in this sum, unless
    /// NTP could have slewed as far.
    ahead: i64,
}

impl StepDetector {
    /// Starts from a reading of two clocks that are believed.
    pub(crate) const fn new(now: Moment) -> Self {
        Self { seen: now, ahead: 0 }
    }

    /// Compares the clocks again. Returns the step if the wall clock was set; the new reading is believed from then on.
    pub(crate) fn look(&mut self, now: Moment) -> Option<WallStep> {
        let passed = now.steady.since(self.seen.steady);
        let wall = signed(now.wall.since(self.seen.wall)) - signed(self.seen.wall.since(now.wall));
        let slewed = signed(passed / SLEW);
        self.ahead = self.ahead.saturating_add(wall).saturating_sub(signed(passed));
        self.seen = now;
        if self.ahead.unsigned_abs() > millis(TOLERANCE) + slewed.unsigned_abs() {
            return Some(WallStep(std::mem::take(&mut self.ahead)));
        }
        self.ahead -= self.ahead.clamp(-slewed, slewed);
        None
    }
}

/// The reading of the clocks that one process stores for the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockRecord {
    /// Moment at which the record was written.
    pub moment: Moment,
    /// Boot of the machine at that time.
    pub boot: BootId,
    /// Remaining pause of trimming at that time.
    pub pause_left: Duration,
}

/// The result of comparing the clocks of a new process with the record of the previous process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinceRecord {
    /// The clocks continue from the record.
    Believed {
        /// Remaining pause of trimming; zero when trimming is not paused.
        pause_left: Duration,
    },
    /// The wall clock was set between the two processes.
    Stepped(WallStep),
    /// The machine was rebooted, and the wall clock is far ahead of the record: either the machine was off for long, or
    /// the clock is wrong. The two cases cannot be told apart.
    Doubtful {
        /// Time between the record and the new process, by the wall clock.
        gap: Duration,
    },
}

impl ClockRecord {
    /// Compares the record with a process that starts at `now` on `boot`.
    pub fn compare(&self, boot: BootId, now: Moment) -> SinceRecord {
        if self.boot == boot && self.moment.steady <= now.steady {
            return match StepDetector::new(self.moment).look(now) {
                Some(step) => SinceRecord::Stepped(step),
                None => {
                    let passed = now.steady.since(self.moment.steady);
                    SinceRecord::Believed { pause_left: self.pause_left.saturating_sub(passed) }
                }
            };
        }
        let back = self.moment.wall.since(now.wall);
        let gap = now.wall.since(self.moment.wall);
        if back > TOLERANCE {
            SinceRecord::Stepped(WallStep(-signed(back)))
        } else if gap > LONGEST_GAP {
            SinceRecord::Doubtful { gap }
        } else {
            SinceRecord::Believed { pause_left: self.pause_left }
        }
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn signed(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::moment::SteadyTime;
    use crate::domain::timestamp::Timestamp;

    const SECOND: Duration = Duration::from_secs(1);
    const HOUR: Duration = Duration::from_hours(1);
    const DAY: Duration = Duration::from_hours(24);
    const BOOT: BootId = BootId([1; 16]);
    const OTHER: BootId = BootId([2; 16]);
    const START: Moment = Moment { wall: Timestamp(1_800_000_000_000), steady: SteadyTime(7_200_000) };

    /// `passed` later, with the wall clock set by so many milliseconds.
    fn later(from: Moment, passed: Duration, step: i64) -> Moment {
        let after = from.plus(passed);
        Moment { wall: Timestamp(after.wall.0.saturating_add_signed(step)), ..after }
    }

    #[test]
    fn a_step_of_more_than_five_seconds_is_told_once() {
        for step in [90_000, 5_010, -5_010, -3_600_000, 40 * 86_400_000] {
            let mut detector = StepDetector::new(START);
            assert_eq!(detector.look(later(START, SECOND, 0)), None);
            let stepped = later(START, 2 * SECOND, step);
            assert_eq!(detector.look(stepped), Some(WallStep(step)));
            assert_eq!(detector.look(later(stepped, SECOND, 0)), None);
            let back = later(stepped, 2 * SECOND, -step);
            assert_eq!(detector.look(back), Some(WallStep(-step)));
        }
        for step in [4_999, -4_999] {
            assert_eq!(StepDetector::new(START).look(later(START, SECOND, step)), None);
        }
    }

    #[test]
    fn small_steps_add_up_and_ntp_does_not() {
        let walk = |each: i64, looks: usize| {
            let (mut detector, mut now) = (StepDetector::new(START), START);
            (0..looks).find_map(|_| {
                now = later(now, SECOND, each);
                detector.look(now)
            })
        };
        assert_eq!(walk(3_000, 10), Some(WallStep(5_998)));
        assert_eq!(walk(-3_000, 10), Some(WallStep(-5_998)));
        // As fast as NTP may be, for a day.
        assert_eq!(walk(2, 86_400), None);
        assert_eq!(walk(-2, 86_400), None);
    }

    #[test]
    fn a_process_goes_on_where_the_last_one_was_on_the_same_boot() {
        let record = ClockRecord { moment: START, boot: BOOT, pause_left: HOUR };
        let told = |boot, now| record.compare(boot, now);
        let believed = |pause_left| SinceRecord::Believed { pause_left };
        assert_eq!(told(BOOT, later(START, HOUR / 4, 0)), believed(HOUR * 3 / 4));
        assert_eq!(told(BOOT, later(START, 40 * DAY, 0)), believed(Duration::ZERO));
        assert_eq!(told(BOOT, later(START, SECOND, 90_000)), SinceRecord::Stepped(WallStep(90_000)));
        assert_eq!(told(BOOT, later(START, HOUR, -3_600_000)), SinceRecord::Stepped(WallStep(-3_600_000)));
    }

    #[test]
    fn after_another_boot_only_a_short_gap_is_believed() {
        let record = ClockRecord { moment: START, boot: BOOT, pause_left: HOUR };
        let after = |wall| Moment { wall, steady: SteadyTime(9_000) };
        let told = |wall| record.compare(OTHER, after(wall));
        assert_eq!(told(START.wall.plus(HOUR)), SinceRecord::Believed { pause_left: HOUR });
        assert_eq!(told(START.wall.minus(TOLERANCE)), SinceRecord::Believed { pause_left: HOUR });
        assert_eq!(told(START.wall.minus(HOUR)), SinceRecord::Stepped(WallStep(-3_600_000)));
        assert_eq!(told(START.wall.plus(40 * DAY)), SinceRecord::Doubtful { gap: 40 * DAY });
        // The same boot id and an earlier steady time: a machine restored from an image.
        assert_eq!(record.compare(BOOT, after(START.wall.plus(2 * HOUR))), SinceRecord::Doubtful { gap: 2 * HOUR });
    }
}
