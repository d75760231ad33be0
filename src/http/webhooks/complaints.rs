//! What is told to the log at a bounded rate: whoever can reach the listener could fill it otherwise. The metrics count
//! every one.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Between two lines about one problem.
const EVERY: Duration = Duration::from_secs(60);

/// When each problem of an account was told last.
#[derive(Debug, Default)]
pub(super) struct Complaints(Mutex<Vec<(&'static str, Instant)>>);

impl Complaints {
    /// Tells of a problem, unless it was told of within the last minute.
    pub(super) fn note(&self, problem: &'static str, tell: impl FnOnce()) {
        let now = Instant::now();
        {
            let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match told.iter_mut().find(|(name, _)| *name == problem) {
                Some((_, last)) if now.duration_since(*last) < EVERY => return,
                Some((_, last)) => *last = now,
                None => told.push((problem, now)),
            }
        }
        tell();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_problem_is_told_once_a_minute() {
        let complaints = Complaints::default();
        let mut told = Vec::new();
        for (problem, wait) in [("a", 0), ("a", 59), ("b", 0), ("a", 1), ("a", 0), ("b", 58), ("b", 1)] {
            tokio::time::advance(Duration::from_secs(wait)).await;
            let at = told.len();
            complaints.note(problem, || told.push((problem, wait, at)));
        }
        assert_eq!(told, [("a", 0, 0), ("b", 0, 1), ("a", 1, 2), ("b", 1, 3)]);
    }
}
