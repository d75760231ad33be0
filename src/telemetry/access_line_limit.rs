//! Limits the rate of access log lines. Without a limit, a flood of refused calls could fill the disk.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::time::Instant;

/// Lines per second, far more than a reader can follow.
const PER_SECOND: u32 = 200;

/// The quota of lines in the current second. Clones share the quota.
#[derive(Clone, Debug)]
pub struct AccessLineLimit {
    /// The start of the current second, and the lines left.
    now: Arc<Mutex<(Instant, u32)>>,
    left_out: Counter,
}

impl AccessLineLimit {
    /// Creates a full quota; `left_out` counts lines above the quota.
    pub fn new(left_out: Counter) -> Self {
        Self { now: Arc::new(Mutex::new((Instant::now(), PER_SECOND))), left_out }
    }

    /// Takes a line from the quota. Returns false, and counts the line, if the quota is used up.
    pub fn take(&self) -> bool {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if now.0.elapsed() >= Duration::from_secs(1) {
            *now = (Instant::now(), PER_SECOND);
        }
        let Some(left) = now.1.checked_sub(1) else {
            self.left_out.inc();
            return false;
        };
        now.1 = left;
        true
    }
}

#[cfg(test)]
mod tests {
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
