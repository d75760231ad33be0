//! Moments that outlive the process, in whole milliseconds since 1970.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A time of day. Stores keep timestamps, and a difference between two of them may span a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The time later by `span`; saturates at the largest time.
    pub(crate) fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(millis(span)))
    }

    /// The time earlier by `span`; saturates at 1970.
    pub(crate) fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(millis(span)))
    }

    /// Time from `earlier` to `self`; zero when `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

impl From<SystemTime> for Timestamp {
    /// Converts times before 1970 to 1970.
    fn from(time: SystemTime) -> Self {
        Self(millis(time.duration_since(UNIX_EPOCH).unwrap_or_default()))
    }
}

impl From<Timestamp> for SystemTime {
    /// Converts times outside the range of the machine to 1970.
    fn from(time: Timestamp) -> Self {
        UNIX_EPOCH.checked_add(Duration::from_millis(time.0)).unwrap_or(UNIX_EPOCH)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: Timestamp = Timestamp(u64::MAX);

    #[test]
    fn spans_count_whole_milliseconds_and_stay_in_range() {
        let [second, odd] = [Duration::from_secs(1), Duration::from_micros(1_999)];
        assert_eq!(Timestamp(5).plus(second), Timestamp(1_005));
        assert_eq!(Timestamp(5).plus(odd), Timestamp(6));
        assert_eq!(Timestamp(5).plus(Duration::MAX), END);
        assert_eq!(END.plus(second), END);
        assert_eq!(Timestamp(1_005).minus(second), Timestamp(5));
        assert_eq!(Timestamp(5).minus(odd), Timestamp(4));
        assert_eq!(Timestamp(5).minus(second), Timestamp(0));
        assert_eq!(END.minus(Duration::MAX), Timestamp(0));
    }

    #[test]
    fn time_between_two_moments_is_never_negative() {
        assert_eq!(Timestamp(1_005).since(Timestamp(5)), Duration::from_secs(1));
        assert_eq!(Timestamp(5).since(Timestamp(5)), Duration::ZERO);
        assert_eq!(Timestamp(5).since(Timestamp(6)), Duration::ZERO);
        assert_eq!(END.since(Timestamp(0)), Duration::from_millis(u64::MAX));
    }

    #[test]
    fn the_machines_time_comes_back_to_the_millisecond() {
        for moment in [Timestamp(0), Timestamp(1), Timestamp(1_763_774_400_123)] {
            let time = SystemTime::from(moment);
            assert_eq!(time, UNIX_EPOCH + Duration::from_millis(moment.0));
            assert_eq!(Timestamp::from(time + Duration::from_micros(999)), moment);
        }
        assert_eq!(Timestamp::from(UNIX_EPOCH - Duration::from_millis(1)), Timestamp(0));
    }
}
