//! What is told to the log at a bounded rate: whoever can reach a listener could fill it otherwise. The metrics count every
//! one.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Between two lines about one problem.
const EVERY: Duration = Duration::from_secs(60);

/// When each problem of somebody was told last, and how often it came since.
#[derive(Debug, Default)]
pub struct LogThrottle(Mutex<Vec<ThrottleEntry>>);

#[derive(Debug)]
struct ThrottleEntry {
    problem: &'static str,
    at: Instant,
    untold: u64,
}

impl LogThrottle {
    /// Tells of a problem, unless it was told of within the last minute. `tell` hears how often it came, this time and
    /// those that were not told.
    pub fn note(&self, problem: &'static str, tell: impl FnOnce(u64)) {
        let now = Instant::now();
        let times = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match all.iter_mut().find(|told| told.problem == problem) {
                Some(told) if now.duration_since(told.at) < EVERY => {
                    told.untold += 1;
                    return;
                }
                Some(told) => {
                    told.at = now;
                    std::mem::take(&mut told.untold) + 1
                }
                None => {
                    all.push(ThrottleEntry { problem, at: now, untold: 0 });
                    1
                }
            }
        };
        tell(times);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_problem_is_told_once_a_minute_with_its_count() {
        let throttle = LogThrottle::default();
        let mut told = Vec::new();
        for (problem, wait) in [("a", 0), ("a", 59), ("b", 0), ("a", 1), ("a", 0), ("b", 58), ("b", 1)] {
            tokio::time::advance(Duration::from_secs(wait)).await;
            let at = told.len();
            throttle.note(problem, |times| told.push((problem, wait, at, times)));
        }
        assert_eq!(told, [("a", 0, 0, 1), ("b", 0, 1, 1), ("a", 1, 2, 2), ("b", 1, 3, 2)]);
    }
}
