//! Counts failed exports, and logs an outage once until the collector works again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The state of the exports, by signal. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ExportOutages {
    /// State of the span export.
    pub traces: Arc<ExportOutage>,
    /// State of the metrics export.
    pub metrics: Arc<ExportOutage>,
}

/// The state of a signal's exports.
#[derive(Debug)]
pub struct ExportOutage {
    signal: &'static str,
    is_failing: AtomicBool,
    failed: AtomicU64,
    lost: AtomicU64,
    /// The value of `lost` at the last successful export.
    lost_before: AtomicU64,
}

impl ExportOutage {
    pub(super) fn new(signal: &'static str) -> Self {
        let zero = AtomicU64::default;
        Self { signal, is_failing: AtomicBool::new(false), failed: zero(), lost: zero(), lost_before: zero() }
    }

    /// Number of failed exports.
    pub fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Number of spans or values lost for good.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Records a failed export with a loss of `pieces` spans or values.
    pub(super) fn export_failed(&self, why: &str, pieces: usize) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        self.lose(pieces);
        self.begin(why);
    }

    /// Records a span lost because the queue was full.
    pub(super) fn overflow(&self) {
        self.lose(1);
        self.begin("the queue is full: the collector is too slow");
    }

    /// Records a successful export. Ends the outage, unless more was lost since the last success.
    pub(super) fn worked(&self) {
        let lost = self.lost();
        let steady = self.lost_before.swap(lost, Ordering::AcqRel) == lost;
        if self.is_failing.load(Ordering::Acquire) && steady && self.is_failing.swap(false, Ordering::AcqRel) {
            tracing::info!(signal = self.signal, lost, "the collector takes {} again", self.signal);
        }
    }

    /// Records the end of the process. `in_time` is false if queued data was not exported.
    pub(super) fn ended(&self, in_time: bool) {
        if !in_time {
            self.failed.fetch_add(1, Ordering::Relaxed);
            self.begin("the last export did not finish in time");
        }
    }

    fn lose(&self, pieces: usize) {
        self.lost.fetch_add(pieces as u64, Ordering::Relaxed);
    }

    fn begin(&self, why: &str) {
        // Load before the swap: most lost spans come through here, and a load is cheaper.
        if !self.is_failing.load(Ordering::Acquire) && !self.is_failing.swap(true, Ordering::AcqRel) {
            let signal = self.signal;
            tracing::warn!(
                signal,
                error = why,
                "the collector does not take {signal}; logged once until it does again"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::logs::LogLines;

    /// The lines that are logged meanwhile: level and error.
    fn logged(work: impl FnOnce(&ExportOutage)) -> Vec<(String, String)> {
        let logged = LogLines::default();
        tracing::dispatcher::with_default(&logged.json(), || work(&ExportOutage::new("traces")));
        let line = |line: serde_json::Value| {
            (line["level"].as_str().unwrap().to_owned(), line["error"].as_str().unwrap_or_default().to_owned())
        };
        logged.parsed().into_iter().map(line).collect()
    }

    fn lines(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(level, error)| ((*level).to_owned(), (*error).to_owned())).collect()
    }

    #[test]
    fn an_outage_is_said_once_and_its_end_once() {
        let said = logged(|outage| {
            outage.worked();
            (0..3).for_each(|_| outage.export_failed("UNAVAILABLE", 10));
            assert_eq!((outage.failed(), outage.lost()), (3, 30));
            // The first one that succeeds had losses before it: it may go on like this.
            outage.worked();
            outage.worked();
            outage.worked();
            outage.export_failed("TIMED_OUT", 1);
            outage.ended(false);
        });
        assert_eq!(said, lines(&[("WARN", "UNAVAILABLE"), ("INFO", ""), ("WARN", "TIMED_OUT")]));
    }

    #[test]
    fn a_collector_that_is_too_slow_is_said_once() {
        let said = logged(|outage| {
            for _ in 0..5 {
                outage.overflow();
                outage.worked();
            }
            assert_eq!((outage.failed(), outage.lost()), (0, 5));
        });
        assert_eq!(said, lines(&[("WARN", "the queue is full: the collector is too slow")]));
    }

    #[test]
    fn an_end_in_time_says_nothing() {
        assert_eq!(logged(|outage| outage.ended(true)), []);
    }
}
