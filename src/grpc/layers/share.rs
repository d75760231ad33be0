//! A client's own share of the gateway: calls at a time and calls a second.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::room::{Room, Taken};

/// When to come back to a client's limit of calls at a time; nothing tells when one of its calls will end.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// The limits of one client and what is used of them.
#[derive(Debug)]
pub struct Share {
    max_concurrent: Option<Room>,
    per_second: Option<Bucket>,
}

impl Share {
    /// `per_second` is also the burst, but at least 1. `None`: no limit. A limit of 0 lets nothing in.
    pub fn new(max_concurrent: Option<usize>, per_second: Option<f64>, now: Instant) -> Self {
        Self {
            max_concurrent: max_concurrent.map(Room::new),
            per_second: per_second.map(|rate| Bucket::new(rate, now)),
        }
    }

    /// Lets one call in; `Some` place where calls at a time are limited. Else says when to come back.
    pub(super) fn take(&self, now: Instant) -> Result<Option<Taken>, Duration> {
        let place = match &self.max_concurrent {
            Some(places) => Some(places.take(1).ok_or(RETRY_AFTER)?),
            None => None,
        };
        if let Some(bucket) = &self.per_second {
            bucket.take(now)?;
        }
        Ok(place)
    }
}

#[derive(Debug)]
struct Bucket {
    rate: f64,
    burst: f64,
    state: Mutex<(f64, Instant)>,
}

impl Bucket {
    fn new(rate: f64, now: Instant) -> Self {
        let rate = rate.max(0.0);
        let burst = if rate > 0.0 { rate.max(1.0) } else { 0.0 };
        Self { rate, burst, state: Mutex::new((burst, now)) }
    }

    fn take(&self, now: Instant) -> Result<(), Duration> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (tokens, at) = *state;
        let elapsed = now.saturating_duration_since(at).as_secs_f64();
        let tokens = (tokens + elapsed * self.rate).min(self.burst);
        let left = tokens - 1.0;
        *state = (if left >= 0.0 { left } else { tokens }, now.max(at));
        if left >= 0.0 {
            return Ok(());
        }
        let wait = Duration::try_from_secs_f64(-left / self.rate).unwrap_or(Duration::MAX);
        Err(wait.clamp(Duration::from_millis(1), Duration::from_secs(3600)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refills_by_the_second_and_says_when() {
        let start = Instant::now();
        let share = Share::new(None, Some(4.0), start);
        for _ in 0..4 {
            assert!(share.take(start).is_ok());
        }
        assert_eq!(share.take(start).unwrap_err(), Duration::from_millis(250));
        let later = start + Duration::from_millis(250);
        assert!(share.take(later).is_ok());
        assert!(share.take(later).is_err());
        // An hour of rest earns no more than a second's worth.
        let rested = start + Duration::from_secs(3600);
        assert_eq!((0..10).filter(|_| share.take(rested).is_ok()).count(), 4);
    }

    #[test]
    fn slow_and_zero_rates() {
        let start = Instant::now();
        let slow = Share::new(None, Some(0.5), start);
        assert!(slow.take(start).is_ok());
        assert_eq!(slow.take(start).unwrap_err(), Duration::from_secs(2));
        assert_eq!(Share::new(None, Some(0.0), start).take(start).unwrap_err(), Duration::from_secs(3600));
    }

    #[test]
    fn places_come_back() {
        let share = Share::new(Some(1), None, Instant::now());
        let place = share.take(Instant::now()).unwrap();
        assert!(place.is_some());
        assert_eq!(share.take(Instant::now()).unwrap_err(), RETRY_AFTER);
        drop(place);
        assert!(share.take(Instant::now()).is_ok());
    }
}
