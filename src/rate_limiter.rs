//! A limit of events per second: a bucket of tokens which starts full and refills evenly.

use std::time::Duration;

use tokio::time::Instant;

/// The tokens left of a rate. Callers share it behind a lock.
#[derive(Debug)]
pub(crate) struct RateLimiter {
    per_second: f64,
    burst: f64,
    tokens: f64,
    filled: Instant,
}

impl RateLimiter {
    /// Allows `per_second` events, and as many at once, at least one. A rate of 0 or less allows none.
    pub(crate) fn new(per_second: f64, now: Instant) -> Self {
        let per_second = per_second.max(0.0);
        let burst = if per_second > 0.0 { per_second.max(1.0) } else { 0.0 };
        Self { per_second, burst, tokens: burst, filled: now }
    }

    /// Takes a token, or returns the time until there is one.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let elapsed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + elapsed * self.per_second).min(self.burst);
        self.filled = now.max(self.filled);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        let wait = Duration::try_from_secs_f64((1.0 - self.tokens) / self.per_second).unwrap_or(Duration::MAX);
        Err(wait.clamp(Duration::from_millis(1), Duration::from_secs(3600)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refills_evenly_and_never_beyond_a_seconds_worth() {
        let start = Instant::now();
        let mut limiter = RateLimiter::new(4.0, start);
        let taken = |limiter: &mut RateLimiter, now| (0..10).filter(|_| limiter.take(now).is_ok()).count();
        assert_eq!(taken(&mut limiter, start), 4);
        assert_eq!(limiter.take(start), Err(Duration::from_millis(250)));
        assert_eq!(taken(&mut limiter, start + Duration::from_millis(250)), 1);
        assert_eq!(taken(&mut limiter, start + Duration::from_secs(3600)), 4);
        assert!(limiter.take(start).is_err(), "a clock behind gives nothing");
    }

    #[test]
    fn a_slow_rate_allows_one_at_a_time_and_no_rate_allows_none() {
        let start = Instant::now();
        let mut slow = RateLimiter::new(0.5, start);
        assert_eq!((slow.take(start), slow.take(start)), (Ok(()), Err(Duration::from_secs(2))));
        for rate in [0.0, -1.0, f64::NAN] {
            assert_eq!(RateLimiter::new(rate, start).take(start), Err(Duration::from_secs(3600)), "{rate}");
        }
    }
}
