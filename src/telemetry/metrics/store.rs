//! Metrics of the store.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Histogram buckets in seconds. A commit is an fsync, which takes from tens of microseconds to seconds.
const SECONDS: [f64; 12] = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5];

/// Commits and failures. Cheap to clone; all clones count together.
#[derive(Clone, Debug)]
pub struct StoreMetrics {
    /// Duration of a commit with all writes of the group, in seconds; an fsync each.
    pub commits: Histogram,
    /// Committed writes. Divided by commits, the average group size.
    pub writes: Counter,
    /// Ledger entries created or changed.
    pub rows: Counter,
    /// Duration of a checkpoint, in seconds.
    pub checkpoints: Histogram,
    /// Failed groups of writes, and failed reads.
    pub failures: Counter,
    /// 1 while the store fails, else 0.
    pub failing: Gauge,
}

impl StoreMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let mut seconds = |name: &str, help: &str| {
            let histogram = Histogram::new(SECONDS);
            r.register_with_unit(format!("order_gateway_store_{name}"), help, Unit::Seconds, histogram.clone());
            histogram
        };
        let commits = seconds("commit", "Duration of commits to the store, one sync each");
        let checkpoints = seconds("checkpoint", "Duration of checkpoints of the store");
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::default();
            r.register(format!("order_gateway_store_{name}"), help, counter.clone());
            counter
        };
        let writes = counter("writes", "Writes committed to the store");
        let rows = counter("rows", "Entries of the ledger made or changed");
        let failures = counter("failures", "Groups of writes, and reads, that the store could not do");
        let failing = Gauge::default();
        r.register("order_gateway_store_failing", "1 while the store fails", failing.clone());
        Self { commits, writes, rows, checkpoints, failures, failing }
    }
}
