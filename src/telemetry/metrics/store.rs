//! Metrics of the store.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::SECONDS;

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
    /// Size of the write-ahead log, in bytes; SQLite only.
    pub wal: Gauge,
    /// Failed groups of writes, and failed reads.
    pub failures: Counter,
    /// Acknowledged commits that a failover of Postgres lost.
    pub commits_lost: Counter,
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
        let commits_lost = counter("commits_lost", "Acknowledged commits that a failover of Postgres lost");
        let wal = Gauge::default();
        let help = "Size of the write-ahead log of the SQLite store, without room kept for later";
        r.register_with_unit("order_gateway_store_wal", help, Unit::Bytes, wal.clone());
        let failing = Gauge::default();
        r.register("order_gateway_store_failing", "1 while the store fails", failing.clone());
        Self { commits, writes, rows, checkpoints, wal, failures, commits_lost, failing }
    }
}
