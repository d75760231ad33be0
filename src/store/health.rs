//! The health of a store, for the probes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::timestamp::Timestamp;
use crate::ports::store_error::StoreError;
use crate::telemetry::metrics::StoreMetrics;

/// The last failure, until a later write commits. Cheap to clone; all clones share one state.
#[derive(Clone)]
pub(crate) struct StoreHealth {
    failing: Arc<Mutex<Option<StoreFailure>>>,
    /// Number of groups written.
    written: Arc<AtomicU64>,
    metrics: StoreMetrics,
}

/// A store that is failing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreFailure {
    /// Time of the first failure.
    pub since: Timestamp,
    /// The last error of the store.
    pub error: StoreError,
}

impl StoreHealth {
    pub(super) fn new(metrics: StoreMetrics) -> Self {
        Self { failing: Arc::default(), written: Arc::default(), metrics }
    }

    /// The present failure; `None` while the store works.
    pub(crate) fn failing(&self) -> Option<StoreFailure> {
        self.lock().clone()
    }

    /// Notes a failure, and logs once for every kind of failure.
    pub(super) fn fails(&self, error: &StoreError, now: Timestamp) {
        self.metrics.failures.inc();
        let mut failing = self.lock();
        let same = failing.as_ref().is_some_and(|failing| failing.error.kind == error.kind);
        if !same {
            tracing::error!(error = error.text, "{}: nothing is sent that needs the ledger", error.kind);
        }
        let since = failing.as_ref().map_or(now, |failing| failing.since);
        *failing = Some(StoreFailure { since, error: error.clone() });
        self.metrics.failing.set(1);
    }

    /// The number of groups written.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Notes a committed write. A read, or a transaction without changes, is no proof that the store works.
    pub(super) fn works(&self, now: Timestamp) {
        self.written.fetch_add(1, Ordering::Relaxed);
        if let Some(failing) = self.lock().take() {
            let seconds = now.since(failing.since).as_secs();
            tracing::info!(seconds, "the store works again");
            self.metrics.failing.set(0);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<StoreFailure>> {
        // Every change assigns the whole value.
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
