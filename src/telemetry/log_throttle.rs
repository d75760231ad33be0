//! Limits the rate of log lines about repeated problems, because anyone able to reach a listener could fill the log.
//! Metrics count every occurrence.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Minimum time between two lines about the same problem.
const EVERY: Duration = Duration::from_secs(60);

/// The last line of each problem, and the occurrences since.
#[derive(Debug, Default)]
pub struct LogThrottle(Mutex<Vec<ThrottleEntry>>);

#[derive(Debug)]
struct ThrottleEntry {
    problem: &'static str,
    at: Instant,
    untold: u64,
}

impl LogThrottle {
    /// Logs a problem through `tell`, at most once a minute. `tell` gets the number of occurrences since the last
    /// line, including this one.
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
