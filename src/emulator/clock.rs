//! The emulator's clock: a time source passed in, and advanced by `POST /_emulator/v1/clock/advance`.

use std::fmt;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

/// The source of the emulator's time.
#[derive(Clone)]
pub struct EmulatorClock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl EmulatorClock {
    /// Uses any source, for example a fixed time in a test.
    pub fn new(source: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(source))
    }

    /// Uses the machine's time of day.
    pub fn wall() -> Self {
        #[expect(clippy::disallowed_methods, reason = "an emulator alone in its process has no other clock")]
        Self::new(Timestamp::now)
    }

    /// Starts at `start` and follows tokio's clock: a test's paused clock then drives tokens, limits and windows too.
    pub fn tokio(start: Timestamp) -> Self {
        let began = tokio::time::Instant::now();
        Self::new(move || {
            let elapsed = SignedDuration::try_from(began.elapsed()).unwrap_or(SignedDuration::MAX);
            start.saturating_add(elapsed).unwrap_or(Timestamp::MAX)
        })
    }

    fn read(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for EmulatorClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// A clock, and the time by which it was advanced.
#[derive(Debug)]
pub(crate) struct AdjustedClock {
    source: EmulatorClock,
    ahead: SignedDuration,
}

impl AdjustedClock {
    pub(crate) fn new(source: EmulatorClock) -> Self {
        Self { source, ahead: SignedDuration::ZERO }
    }

    /// The time in whole milliseconds, as in Walmart's answers.
    pub(crate) fn now(&self) -> Timestamp {
        whole_milliseconds(self.source.read().saturating_add(self.ahead).unwrap_or(Timestamp::MAX))
    }

    /// The time of the source, without the advance.
    pub(crate) fn now_unmoved(&self) -> Timestamp {
        whole_milliseconds(self.source.read())
    }

    /// Advances the clock and returns the new time. Refuses to go back, or to within a century of the calendar's end:
    /// later additions to the time must not overflow.
    pub(crate) fn advance(&mut self, by: SignedDuration) -> Result<Timestamp, &'static str> {
        if by.is_negative() {
            return Err("time only moves forward");
        }
        let ahead = self.ahead.checked_add(by).ok_or("that is too far")?;
        let century = SignedDuration::from_hours(100 * 366 * 24);
        let end = self.source.read().checked_add(ahead).and_then(|t| t.checked_add(century));
        end.map_err(|_| "that is past the end of the calendar")?;
        self.ahead = ahead;
        Ok(self.now())
    }
}

fn whole_milliseconds(time: Timestamp) -> Timestamp {
    Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advances_and_never_leaves_the_calendar() {
        let start: Timestamp = "2026-11-01T00:00:00Z".parse().unwrap();
        let mut clock = AdjustedClock::new(EmulatorClock::new(move || start));
        assert_eq!(clock.advance(SignedDuration::from_mins(61)).unwrap().to_string(), "2026-11-01T01:01:00Z");
        assert!(clock.advance(SignedDuration::from_secs(-1)).is_err());
        assert!(clock.advance(SignedDuration::MAX).is_err());
        assert!(clock.advance(SignedDuration::from_hours(24 * 366 * 9000)).is_err());
        assert_eq!(clock.now().to_string(), "2026-11-01T01:01:00Z");
    }

    #[test]
    fn tells_whole_milliseconds() {
        let clock = AdjustedClock::new(EmulatorClock::new(|| "2026-11-01T00:00:00.123456789Z".parse().unwrap()));
        assert_eq!(clock.now().to_string(), "2026-11-01T00:00:00.123Z");
    }

    #[tokio::test(start_paused = true)]
    async fn follows_tokios_clock() {
        let clock = EmulatorClock::tokio("2026-11-01T00:00:00Z".parse().unwrap());
        tokio::time::advance(std::time::Duration::from_secs(90)).await;
        assert_eq!(clock.read().to_string(), "2026-11-01T00:01:30Z");
    }
}
