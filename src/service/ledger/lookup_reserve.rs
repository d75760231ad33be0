//! The part of an account's status calls reserved for optional reads: snapshots before cancellations, and audits.
//! Look-ups have permits of their own in the account's bucket.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The reserved part of the account's limit.
const PART: f64 = 0.5;

/// A token bucket of one account. The bucket starts full and holds the calls of one minute.
#[derive(Debug)]
pub(super) struct LookupReserve {
    per_minute: f64,
    level: Mutex<(f64, Instant)>,
}

impl LookupReserve {
    /// The reserve of an account with this many calls a minute; at least one call.
    pub(super) fn of(limit_per_minute: u32) -> Self {
        let per_minute = (f64::from(limit_per_minute) * PART).max(1.0);
        Self { per_minute, level: Mutex::new((per_minute, Instant::now())) }
    }

    /// Takes one call, or returns the time until the next call.
    pub(super) fn take(&self) -> Result<(), Duration> {
        self.take_above(0.0)
    }

    /// Takes one call only while more than half of the reserve is left, for reads that may be skipped.
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
        // Rounded up, because a wait rounded down would end before the call is available.
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
        let share = LookupReserve::of(20);
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
        let share = LookupReserve::of(20);
        assert_eq!(std::iter::repeat_with(|| share.take_spare()).take_while(|taken| *taken).count(), 5);
        assert_eq!(share.take(), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn the_smallest_limit_leaves_a_call() {
        let share = LookupReserve::of(1);
        assert_eq!(share.take(), Ok(()));
        assert!(share.take().is_err());
    }
}
