//! Whether a store works, for the probes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::timestamp::Timestamp;
use crate::ports::ledger::StoreError;
use crate::telemetry::metrics::StoreMetrics;

/// Knows the last trouble until something could be written again. Cheap to clone, all clones are one.
#[derive(Clone)]
pub struct Health {
    failing: Arc<Mutex<Option<Failing>>>,
    /// Groups that were written.
    written: Arc<AtomicU64>,
    metrics: StoreMetrics,
}

/// A store that does not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failing {
    /// Since when.
    pub since: Timestamp,
    /// Why; the last error.
    pub error: StoreError,
}

impl Health {
    pub(super) fn new(metrics: StoreMetrics) -> Self {
        Self { failing: Arc::default(), written: Arc::default(), metrics }
    }

    /// `None` while it works.
    pub fn failing(&self) -> Option<Failing> {
        self.lock().clone()
    }

    /// Tells the log once for each kind of trouble.
    pub(super) fn fails(&self, error: &StoreError, now: Timestamp) {
        self.metrics.failures.inc();
        let mut failing = self.lock();
        let same = failing.as_ref().is_some_and(|failing| failing.error.kind == error.kind);
        if !same {
            tracing::error!(error = error.text, "{}: nothing is sent that needs the ledger", error.kind);
        }
        let since = failing.as_ref().map_or(now, |failing| failing.since);
        *failing = Some(Failing { since, error: error.clone() });
        self.metrics.failing.set(1);
    }

    /// How often something was written.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Something was written. What only read, or found that there was nothing to write, proves nothing.
    pub(super) fn works(&self, now: Timestamp) {
        self.written.fetch_add(1, Ordering::Relaxed);
        if let Some(failing) = self.lock().take() {
            let seconds = now.since(failing.since).as_secs();
            tracing::info!(seconds, "the store works again");
            self.metrics.failing.set(0);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Failing>> {
        // Changed whole.
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
