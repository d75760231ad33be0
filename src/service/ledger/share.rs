//! Status calls for what may be left out: snapshots before cancellations, and audits. Look-ups have permits of their own in the
//! account's bucket.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How much of the limit it may take.
const PART: f64 = 0.5;

/// A bucket for one account. It starts full and holds a minute's calls.
#[derive(Debug)]
pub(super) struct Share {
    per_minute: f64,
    level: Mutex<(f64, Instant)>,
}

impl Share {
    /// Of a limit of so many calls a minute; at least one call.
    pub(super) fn of(limit_per_minute: u32) -> Self {
        let per_minute = (f64::from(limit_per_minute) * PART).max(1.0);
        Self { per_minute, level: Mutex::new((per_minute, Instant::now())) }
    }

    /// Takes a call, or tells how long it takes until there is one.
    pub(super) fn take(&self) -> Result<(), Duration> {
        self.take_above(0.0)
    }

    /// Takes a call only if more than half of the share is left: for what may be left out.
    pub(super) fn take_spare(&self) -> bool {
        self.take_above(self.per_minute / 2.0).is_ok()
    }

    fn take_above(&self, reserve: f64) -> Result<(), Duration> {
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        let (tokens, since) = *level;
        let now = Instant::now();
        let per_second = self.per_minute / 60.0;
        let tokens = (tokens + (now - since).as_secs_f64() * per_second).min(self.per_minute);
        *level = (tokens, now);
        let missing = reserve + 1.0 - tokens;
        // A wait is rounded up, so that it is not too short by a rounding.
        if missing > 1e-9 {
            return Err(Duration::from_secs_f64(missing / per_second) + Duration::from_millis(1));
        }
        level.0 = (tokens - 1.0).max(0.0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn half_of_the_limit_and_not_more() {
        let share = Share::of(20);
        let taken = std::iter::from_fn(|| share.take().ok()).count();
        assert_eq!(taken, 10);
        let wait = share.take().unwrap_err();
        assert_eq!(wait, Duration::from_millis(6001));
        tokio::time::advance(wait).await;
        assert_eq!(share.take(), Ok(()));
        assert!(share.take().is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_be_left_out_leaves_half_of_the_share() {
        let share = Share::of(20);
        assert_eq!(std::iter::repeat_with(|| share.take_spare()).take_while(|taken| *taken).count(), 5);
        assert_eq!(share.take(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn the_smallest_limit_leaves_a_call() {
        let share = Share::of(1);
        assert_eq!(share.take(), Ok(()));
        assert!(share.take().is_err());
    }
}
