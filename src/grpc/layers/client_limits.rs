//! Limits of one client: calls and streams at a time, and calls per second. No client may use the whole gateway, unless
//! the settings say so.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::quota::{Quota, QuotaPermit};
use crate::rate_limiter::RateLimiter;

/// Advice to a client with too many calls at a time: the end of a running call cannot be predicted.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Limits of a client, as the settings have them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct ClientLimitSettings {
    /// Unary calls in flight.
    pub(crate) calls: usize,
    /// Open streams at a time.
    pub(crate) streams: usize,
    /// Calls and streams together; `None` for no further limit.
    pub(crate) max_concurrent: Option<usize>,
    /// Calls per second, and the burst, which is at least 1. `None` for no limit; 0 refuses every call.
    pub(crate) per_second: Option<f64>,
}

/// The limits of a client, and the permits and tokens in use.
#[derive(Debug)]
pub(crate) struct ClientLimits {
    settings: ClientLimitSettings,
    calls: Quota,
    streams: Quota,
    max_concurrent: Option<Quota>,
    per_second: Option<Mutex<RateLimiter>>,
}

/// The permits of a call: of its kind, and of calls and streams together.
pub(super) type ClientPermits = (QuotaPermit, Option<QuotaPermit>);

impl ClientLimits {
    /// Starts with all permits free and a full bucket.
    pub(crate) fn new(limits: ClientLimitSettings, now: Instant) -> Self {
        Self {
            settings: limits,
            calls: Quota::new(limits.calls),
            streams: Quota::new(limits.streams),
            max_concurrent: limits.max_concurrent.map(Quota::new),
            per_second: limits.per_second.map(|rate| Mutex::new(RateLimiter::new(rate, now))),
        }
    }

    /// The limits of the settings.
    pub(super) fn settings(&self) -> ClientLimitSettings {
        self.settings
    }

    /// Admits a call, or returns the time to wait.
    pub(super) fn take(&self, streaming: bool, now: Instant) -> Result<ClientPermits, Duration> {
        let room = if streaming { &self.streams } else { &self.calls };
        let permit = room.try_acquire(1).ok_or(RETRY_AFTER)?;
        let concurrent = match &self.max_concurrent {
            Some(permits) => Some(permits.try_acquire(1).ok_or(RETRY_AFTER)?),
            None => None,
        };
        if let Some(limiter) = &self.per_second {
            limiter.lock().unwrap_or_else(PoisonError::into_inner).take(now)?;
        }
        Ok((permit, concurrent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(max_concurrent: Option<usize>, per_second: Option<f64>, now: Instant) -> ClientLimits {
        ClientLimits::new(ClientLimitSettings { calls: 100, streams: 100, max_concurrent, per_second }, now)
    }

    #[test]
    fn refills_by_the_second_and_says_when() {
        let start = Instant::now();
        let share = share(None, Some(4.0), start);
        for _ in 0..4 {
            assert!(share.take(false, start).is_ok());
        }
        assert_eq!(share.take(false, start).unwrap_err(), Duration::from_millis(250));
        let later = start + Duration::from_millis(250);
        assert!(share.take(false, later).is_ok());
        assert!(share.take(false, later).is_err());
        // An hour of rest earns no more than a second's worth.
        let rested = start + Duration::from_secs(3600);
        assert_eq!((0..10).filter(|_| share.take(false, rested).is_ok()).count(), 4);
    }

    #[test]
    fn slow_and_zero_rates() {
        let start = Instant::now();
        let slow = share(None, Some(0.5), start);
        assert!(slow.take(false, start).is_ok());
        assert_eq!(slow.take(false, start).unwrap_err(), Duration::from_secs(2));
        assert_eq!(share(None, Some(0.0), start).take(false, start).unwrap_err(), Duration::from_secs(3600));
    }

    #[test]
    fn places_come_back() {
        let share = share(Some(1), None, Instant::now());
        let permit = share.take(false, Instant::now()).unwrap();
        assert_eq!(share.take(true, Instant::now()).unwrap_err(), RETRY_AFTER);
        drop(permit);
        assert!(share.take(true, Instant::now()).is_ok());
    }

    #[test]
    fn calls_and_streams_have_places_of_their_own() {
        let now = Instant::now();
        let limits = ClientLimitSettings { calls: 2, streams: 3, max_concurrent: None, per_second: None };
        let share = ClientLimits::new(limits, now);
        for (streaming, most) in [(false, 2), (true, 3)] {
            let taken: Vec<_> = std::iter::from_fn(|| share.take(streaming, now).ok()).take(9).collect();
            assert_eq!(taken.len(), most);
            assert_eq!(share.take(streaming, now).unwrap_err(), RETRY_AFTER);
        }
        assert!(share.take(false, now).is_ok() && share.take(true, now).is_ok(), "they are free again");
    }
}
