//! Limits the retries of an account, so that retries do not make an outage worse.
//!
//! Two limits apply together. A bucket of 500 tokens, from which a retry takes 14 (5 if throttled), and to which a
//! success adds 1. And a window: retries are at most a tenth of the first attempts of the last ten seconds, or two
//! per second if few calls are made.

use tokio::time::Instant;

const BUCKET: u32 = 500;
const COST: u32 = 14;
const THROTTLED_COST: u32 = 5;
const SHARE: f64 = 0.1;
const FLOOR_PER_SECOND: f64 = 2.0;
const WINDOW: usize = 10;

/// A retry budget. Time is passed in and must not run backwards.
#[derive(Debug)]
pub(crate) struct RetryBudget {
    tokens: u32,
    /// A slot for each of the last ten seconds.
    slots: [BudgetSlot; WINDOW],
    start: Instant,
    second: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct BudgetSlot {
    firsts: u32,
    retries: u32,
}

impl RetryBudget {
    /// Creates a full budget.
    pub(crate) fn new(now: Instant) -> Self {
        Self { tokens: BUCKET, slots: Default::default(), start: now, second: 0 }
    }

    /// Counts the first attempt of a call.
    pub(crate) fn first_attempt(&mut self, now: Instant) {
        self.slot(now).firsts += 1;
    }

    /// Refunds a token after a success.
    pub(crate) fn success(&mut self) {
        self.tokens = (self.tokens + 1).min(BUCKET);
    }

    /// Pays for a retry. Returns false if the budget does not allow a retry.
    pub(crate) fn try_retry(&mut self, now: Instant, throttled: bool) -> bool {
        let cost = if throttled { THROTTLED_COST } else { COST };
        self.slot(now);
        let (firsts, retries) = self.slots.iter().fold((0u32, 0u32), |(f, r), s| (f + s.firsts, r + s.retries));
        let allowed = (f64::from(firsts) * SHARE).max(FLOOR_PER_SECOND * WINDOW as f64);
        if self.tokens < cost || f64::from(retries) + 1.0 > allowed {
            return false;
        }
        self.tokens -= cost;
        self.slot(now).retries += 1;
        true
    }

    /// Returns the slot of the current second, and clears slots which have expired since the last call.
    fn slot(&mut self, now: Instant) -> &mut BudgetSlot {
        let second = now.saturating_duration_since(self.start).as_secs().max(self.second);
        let passed = (second - self.second).min(WINDOW as u64);
        for back in 0..passed {
            self.slots[(second - back) as usize % WINDOW] = BudgetSlot::default();
        }
        self.second = second;
        &mut self.slots[second as usize % WINDOW]
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn the_bucket_empties_and_successes_fill_it() {
        let start = Instant::now();
        let mut budget = RetryBudget::new(start);
        // 1,000 first attempts a second keep the share out of the way.
        let mut spent = 0;
        for second in 0..60 {
            (0..1000).for_each(|_| budget.first_attempt(after(start, second)));
            spent += (0..10).filter(|_| budget.try_retry(after(start, second), false)).count();
        }
        assert_eq!(spent, 35, "500 / 14");
        (0..14).for_each(|_| budget.success());
        assert!(budget.try_retry(after(start, 60), false));
        assert!(!budget.try_retry(after(start, 60), false));
        assert!(budget.try_retry(after(start, 60), true), "throttled ones cost less: 500 - 35 * 14 = 10 are left");
    }

    #[test]
    fn few_calls_may_retry_twice_a_second() {
        let start = Instant::now();
        let mut budget = RetryBudget::new(start);
        budget.first_attempt(start);
        assert_eq!((0..100).filter(|_| budget.try_retry(start, true)).count(), 20);
        assert_eq!((0..100).filter(|_| budget.try_retry(after(start, 9), true)).count(), 0);
        assert_eq!((0..100).filter(|_| budget.try_retry(after(start, 10), true)).count(), 20);
    }

    #[test]
    fn many_calls_may_retry_a_tenth() {
        let start = Instant::now();
        let mut budget = RetryBudget::new(start);
        (0..1000).for_each(|_| budget.first_attempt(start));
        assert_eq!((0..1000).filter(|_| budget.try_retry(start, true)).count(), 100);
        assert!(!budget.try_retry(after(start, 5), true));
    }
}
