//! What the benchmarks of the store share.

#[allow(dead_code, reason = "not of every benchmark")]
pub(crate) mod fill;

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use order_gateway::telemetry::metrics::{Metrics, TextFormat};
use tokio::time::Instant;

/// Writes whose sync is timed.
const SYNCS: usize = 101;

/// How long the disk takes to make a page at the end of a file durable: the median of many.
pub(crate) fn sync_time(folder: &Path) -> io::Result<Duration> {
    let mut file = File::create(folder.join("sync"))?;
    let mut times = Vec::with_capacity(SYNCS);
    for _ in 0..SYNCS {
        let started = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        times.push(started.elapsed());
    }
    times.sort();
    Ok(times[times.len() / 2])
}

/// Commits so far; every one is one sync.
#[allow(dead_code, reason = "not of every benchmark")]
pub(crate) fn commits(metrics: &Metrics) -> f64 {
    let text = metrics.encode(TextFormat::Plain).unwrap_or_default();
    let count = text.lines().find_map(|line| line.strip_prefix("order_gateway_store_commit_seconds_count "));
    count.and_then(|count| count.parse().ok()).unwrap_or_default()
}
