//! A bound on the lines of the access log: whoever is refused a hundred thousand times a second must not fill a disk.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::time::Instant;

/// Lines in each second, far more than anybody reads.
const PER_SECOND: u32 = 200;

/// The lines that may still be written. Clones share them.
#[derive(Clone, Debug)]
pub struct AccessLineLimit {
    /// Since when, and how many are left.
    now: Arc<Mutex<(Instant, u32)>>,
    left_out: Counter,
}

impl AccessLineLimit {
    /// Counts those that are not written in `left_out`.
    pub fn new(left_out: Counter) -> Self {
        Self { now: Arc::new(Mutex::new((Instant::now(), PER_SECOND))), left_out }
    }

    /// Whether one more may be written.
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
