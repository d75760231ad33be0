//! Limits the rate of access log lines. Without a limit, a flood of refused calls could fill the disk.

use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::metrics::counter::Counter;
use tokio::time::Instant;

use crate::rate_limiter::RateLimiter;

/// Lines per second, far more than a reader can follow.
const PER_SECOND: u32 = 200;

/// The lines left. Clones share them.
#[derive(Clone, Debug)]
pub struct AccessLineLimit {
    lines: Arc<Mutex<RateLimiter>>,
    left_out: Counter,
}

impl AccessLineLimit {
    /// Starts with a second's worth of lines; `left_out` counts lines beyond the limit.
    pub fn new(left_out: Counter) -> Self {
        Self { lines: Arc::new(Mutex::new(RateLimiter::new(PER_SECOND.into(), Instant::now()))), left_out }
    }

    /// Whether a line may be written. Counts the line if not.
    pub fn take(&self) -> bool {
        let taken = self.lines.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now()).is_ok();
        if !taken {
            self.left_out.inc();
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn so_many_in_each_second_and_the_rest_is_counted() {
        let lines = AccessLineLimit::new(Counter::default());
        let take = || (0..1000).filter(|_| lines.clone().take()).count() as u32;
        assert_eq!((take(), take(), lines.left_out.get()), (PER_SECOND, 0, 1800));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(take(), PER_SECOND);
    }
}
