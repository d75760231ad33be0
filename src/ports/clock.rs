//! Wall-clock time, passed in so that tests control it. Spans are measured with `tokio::time::Instant`, which tests pause.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Tells the time of day.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Source);

#[derive(Clone, Copy, Debug)]
enum Source {
    System,
    Follows { start: SystemTime, since: Instant },
}

impl Clock {
    /// The machine's clock.
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// Starts at `start` and moves with tokio's clock, also while that one is paused and advanced by a test.
    pub fn following(start: SystemTime) -> Self {
        Self(Source::Follows { start, since: Instant::now() })
    }

    /// The time of day.
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    pub fn now(&self) -> SystemTime {
        match self.0 {
            Source::System => SystemTime::now(),
            Source::Follows { start, since } => start + since.elapsed(),
        }
    }

    /// Milliseconds since 1970; 0 before.
    pub fn epoch_millis(&self) -> u64 {
        u64::try_from(self.now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis()).unwrap_or(u64::MAX)
    }

    /// What the time of day will be at `instant`.
    pub fn at(&self, instant: Instant) -> SystemTime {
        let now = Instant::now();
        self.now() + instant.saturating_duration_since(now) - now.saturating_duration_since(instant)
    }
}
