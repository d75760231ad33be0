//! Whether the wall clock can be believed: it is compared with the steady clock, within the process and with what an earlier
//! process kept.

use std::fmt;
use std::time::Duration;

use crate::domain::moment::{BootId, Moment};

/// A wall clock that differs by more from where the steady clock says it should be was set.
pub const TOLERANCE: Duration = Duration::from_secs(5);

/// NTP moves a clock that is a little off by at most 1 ms in 2 s. What it moves so is no step, also when it adds up.
const SLEW: u32 = 500;

/// After another boot nobody knows how long the machine was off. A gap of more than this is as good as a wrong clock.
pub const LONGEST_GAP: Duration = Duration::from_hours(1);

/// By how many milliseconds the wall clock was set; negative: back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WallStep(pub i64);

impl WallStep {
    /// In seconds.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1000.0
    }
}

impl fmt::Display for WallStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:+.3} s", self.seconds())
    }
}

/// Compares the two clocks from one look to the next.
#[derive(Clone, Copy, Debug)]
pub struct StepDetector {
    /// The last look.
    seen: Moment,
    /// By how many milliseconds the wall clock was ahead of where it was expected to be. Small steps add up to a large one
    /// here, unless they are slow enough for NTP.
    ahead: i64,
}

impl StepDetector {
    /// Begins with clocks that are believed.
    pub const fn new(now: Moment) -> Self {
        Self { seen: now, ahead: 0 }
    }

    /// The next look: by how much the wall clock was set, if it was. From then on it is believed as it is.
    pub fn look(&mut self, now: Moment) -> Option<WallStep> {
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

/// What a process keeps for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockRecord {
    /// When it was kept.
    pub moment: Moment,
    /// On which boot.
    pub boot: BootId,
    /// How much longer trimming paused then.
    pub pause_left: Duration,
}

/// What the clocks of a new process are worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SinceRecord {
    /// They go on from where the last process saw them. A pause of trimming lasts so much longer.
    Believed {
        /// Zero when trimming does not pause.
        pause_left: Duration,
    },
    /// The wall clock was set meanwhile.
    Stepped(WallStep),
    /// The machine was started anew, and its wall clock is so much later that either it was off for long, or the clock is
    /// wrong: nobody can say.
    Doubtful {
        /// By how much.
        gap: Duration,
    },
}

impl ClockRecord {
    /// Compares a process that begins `now`, on `boot`, with the last one.
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
