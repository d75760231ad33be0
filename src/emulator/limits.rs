//! Walmart's token buckets: one per account and operation, refilled gradually, and reported in the headers of every
//! answer.
//!
//! A drained bucket of 20 a minute gains a call every 3 seconds, not 20 at the next minute. Source: Walmart's published
//! table, and behaviour reported by clients.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use crate::domain::operation::Operation;

/// The level of a bucket, for the answer's headers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct BucketLevel {
    /// Calls left, for `x-current-token-count`.
    pub(crate) left: u64,
    /// Time at which the count next grows (now, for a full bucket), for `X-Next-Replenishment-Time`.
    pub(crate) next: Timestamp,
}

/// The buckets of all accounts.
#[derive(Debug)]
pub(crate) struct TokenBuckets {
    scale: f64,
    buckets: HashMap<(String, Operation), TokenBucket>,
}

#[derive(Clone, Copy, Debug)]
struct TokenBucket {
    tokens: f64,
    filled: Timestamp,
}

impl TokenBuckets {
    /// `scale` multiplies the published table. A bucket holds at least one call at any scale.
    pub(crate) fn new(scale: f64) -> Self {
        Self { scale, buckets: HashMap::new() }
    }

    /// Takes a call from the bucket, or fails when it is empty. Returns the level afterwards.
    pub(crate) fn take(
        &mut self,
        account: &str,
        operation: Operation,
        now: Timestamp,
    ) -> Result<BucketLevel, BucketLevel> {
        let capacity = self.capacity(operation);
        let bucket = self.refilled(account, operation, now);
        let taken = if bucket.tokens >= 1.0 { Ok(bucket.tokens - 1.0) } else { Err(bucket.tokens) };
        let (Ok(tokens) | Err(tokens)) = taken;
        self.buckets.insert((account.to_owned(), operation), TokenBucket { tokens, filled: now });
        let level = level(tokens, capacity, now);
        if taken.is_ok() { Ok(level) } else { Err(level) }
    }

    /// Returns the level without taking a call.
    pub(crate) fn peek(&self, account: &str, operation: Operation, now: Timestamp) -> BucketLevel {
        level(self.refilled(account, operation, now).tokens, self.capacity(operation), now)
    }

    fn capacity(&self, operation: Operation) -> f64 {
        let scaled = f64::from(operation.published_limit()) * self.scale;
        if scaled.is_finite() { scaled.clamp(1.0, 1e12) } else { 1e12 }
    }

    fn refilled(&self, account: &str, operation: Operation, now: Timestamp) -> TokenBucket {
        let capacity = self.capacity(operation);
        let Some(bucket) = self.buckets.get(&(account.to_owned(), operation)) else {
            return TokenBucket { tokens: capacity, filled: now };
        };
        let seconds = now.duration_since(bucket.filled).as_secs_f64().max(0.0);
        // A millionth makes up for rounding in binary fractions: a call is available exactly at the announced time.
        let tokens = bucket.tokens + seconds * capacity / 60.0 + 1e-6;
        TokenBucket { tokens: tokens.min(capacity), filled: now }
    }
}

fn level(tokens: f64, capacity: f64, now: Timestamp) -> BucketLevel {
    let left = tokens.floor();
    let missing = if tokens >= capacity { 0.0 } else { (left + 1.0).min(capacity) - tokens };
    // Rounded up to whole milliseconds, the unit of the header: a caller that waits for the announced time finds a
    // call.
    let wait = SignedDuration::from_millis((missing * 60_000.0 / capacity).ceil() as i64);
    BucketLevel { left: left as u64, next: now.saturating_add(wait).unwrap_or(now) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::from_millisecond(1_800_000_000_000 + ms).unwrap()
    }

    #[test]
    fn twenty_calls_and_then_one_every_three_seconds() {
        let mut limits = TokenBuckets::new(1.0);
        for left in (0..20).rev() {
            assert_eq!(limits.take("a", Operation::Promise, at(0)).unwrap().left, left);
        }
        let empty = limits.take("a", Operation::Promise, at(0)).unwrap_err();
        assert_eq!(empty, BucketLevel { left: 0, next: at(3000) });
        assert!(limits.take("a", Operation::Promise, at(2998)).is_err());
        assert!(limits.take("a", Operation::Promise, at(3000)).is_ok());
        assert!(limits.take("a", Operation::Promise, at(3001)).is_err());
        assert_eq!(limits.peek("a", Operation::Promise, at(70_000)).left, 20);
    }

    #[test]
    fn buckets_are_apart_by_account_and_operation() {
        let mut limits = TokenBuckets::new(0.05);
        assert!(limits.take("a", Operation::Promise, at(0)).is_ok());
        assert!(limits.take("a", Operation::Promise, at(0)).is_err());
        assert!(limits.take("b", Operation::Promise, at(0)).is_ok());
        assert_eq!(limits.take("a", Operation::Create, at(0)).unwrap().left, 29);
    }

    #[test]
    fn odd_scales_still_give_a_bucket() {
        for scale in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e300, 1e-300] {
            assert!(TokenBuckets::new(scale).take("a", Operation::Create, at(0)).is_ok(), "{scale}");
        }
    }
}
