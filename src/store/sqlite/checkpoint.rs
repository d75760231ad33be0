//! Checkpoints: what the log holds is copied into the database, so that the log begins anew.

use rusqlite::Connection;
use tokio::time::Instant;

use crate::crash_point::{CrashPoint, reach};
use crate::telemetry::metrics::StoreMetrics;

/// Pages in the log at which it is copied. Many commits share what they change, so few and large is less work.
const PAGES: i64 = 4000;

/// Pages in the log at which readers are waited for, so that it can begin anew: under reads without a pause there is no
/// moment at which it could by itself.
const LONG: i64 = 4 * PAGES;

/// Commits, and writes, after which it is looked how long the log is: to look costs as much as a small write, and most add
/// a few pages only.
const LOOK_AFTER_COMMITS: usize = 16;
const LOOK_AFTER_WRITES: usize = 100;

/// When the next is due.
#[derive(Default)]
pub(super) struct Checkpoints {
    /// Not before the log has so many pages: somebody reads what it has, and keeps it from being copied.
    held: i64,
    /// Commits and writes since it was last looked how long the log is.
    unseen: (usize, usize),
}

impl Checkpoints {
    /// Copies the log when enough of it is not copied. `writes`: how many the commit had.
    pub(super) fn after_commit(
        &mut self,
        connection: &Connection,
        writes: usize,
        metrics: &StoreMetrics,
    ) -> rusqlite::Result<()> {
        self.unseen = (self.unseen.0 + 1, self.unseen.1 + writes);
        if self.unseen.0 < LOOK_AFTER_COMMITS && self.unseen.1 < LOOK_AFTER_WRITES {
            return Ok(());
        }
        self.unseen = (0, 0);
        let (all, copied) = pages(connection, "NOOP")?;
        if all - copied < PAGES || all < self.held {
            return Ok(());
        }
        let started = Instant::now();
        let (all, copied) = pages(connection, if all < LONG { "PASSIVE" } else { "RESTART" })?;
        // The pages are in the file, and the log still has them: it begins anew with the next commit.
        reach(CrashPoint::L11);
        self.held = if copied < all { all + PAGES } else { 0 };
        metrics.checkpoints.observe(started.elapsed().as_secs_f64());
        Ok(())
    }

    /// At the end: all of the log, which leaves an empty one. What is left out is found there at the next start.
    pub(super) fn last(&mut self, connection: &Connection) {
        if let Err(error) = pages(connection, "TRUNCATE") {
            tracing::warn!(%error, "the store's log was not copied at the end");
        }
    }
}

/// Pages of the log, and how many of them are copied.
fn pages(connection: &Connection, mode: &str) -> rusqlite::Result<(i64, i64)> {
    let mut checkpoint = connection.prepare_cached(&format!("PRAGMA wal_checkpoint({mode})"))?;
    checkpoint.query_row([], |row| Ok((row.get(1)?, row.get(2)?)))
}
