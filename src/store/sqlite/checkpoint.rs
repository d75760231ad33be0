//! Checkpoints: what the log holds is copied into the database, so that the log begins anew.
//!
//! Most of it by a thread of its own, for a copy ends with a sync of pages that lie all over the file, and nobody's commit
//! should wait for that. What was written meanwhile is little; the writer copies that, and between two commits of its own the log
//! can begin anew.

use std::io;
use std::path::PathBuf;
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::time::Instant;

use super::open;
use crate::crash_point::{CrashPoint, reach};
use crate::telemetry::metrics::StoreMetrics;

/// Pages in the log at which it is copied. Many commits share what they change, so few and large is less work.
const PAGES: i64 = 4000;

/// Pages in the log at which copies and readers are waited for, so that it can begin anew: under reads or writes without a
/// pause there is no moment at which it could by itself.
const LONG: i64 = 4 * PAGES;

/// Commits, and writes, after which it is looked how long the log is: to look costs as much as a small write, and most add
/// a few pages only.
const LOOK_AFTER_COMMITS: usize = 16;
const LOOK_AFTER_WRITES: usize = 100;

/// When the next is due.
pub(super) struct Checkpoints {
    path: PathBuf,
    /// The copy that is being made beside the writer.
    copying: Option<JoinHandle<rusqlite::Result<()>>>,
    /// Much of the log was copied; the rest, if it is not as much again, is the writer's.
    rest: bool,
    /// Not before the log has so many pages: somebody reads what it has, and keeps it from being copied.
    held: i64,
    /// Commits and writes since it was last looked how long the log is.
    unseen: (usize, usize),
}

impl Checkpoints {
    /// Of the database in this file.
    pub(super) fn of(path: PathBuf) -> Self {
        Self { path, copying: None, rest: false, held: 0, unseen: (0, 0) }
    }

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
        let (mut all, mut copied) = pages(connection, "NOOP")?;
        if self.copying.as_ref().is_some_and(|copy| copy.is_finished() || all >= LONG) {
            self.wait()?;
            (all, copied) = pages(connection, "NOOP")?;
        }
        if self.copying.is_some() || all < self.held {
            return Ok(());
        }
        match all - copied {
            left if all >= LONG || (self.rest && left < PAGES) => self.finish(connection, all, metrics),
            left if left >= PAGES => {
                match copy(self.path.clone(), metrics.clone()) {
                    Ok(copy) => self.copying = Some(copy),
                    Err(error) => {
                        tracing::warn!(%error, "no thread can be started to copy the store's log");
                        return self.finish(connection, all, metrics);
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Copies what there is, so that the log begins anew with the next commit.
    fn finish(&mut self, connection: &Connection, all: i64, metrics: &StoreMetrics) -> rusqlite::Result<()> {
        let started = Instant::now();
        let (all, copied) = pages(connection, if all < LONG { "PASSIVE" } else { "RESTART" })?;
        reach(CrashPoint::L11);
        self.rest = false;
        self.held = if copied < all { all + PAGES } else { 0 };
        metrics.checkpoints.observe(started.elapsed().as_secs_f64());
        Ok(())
    }

    /// Waits for the copy that is being made.
    fn wait(&mut self) -> rusqlite::Result<()> {
        let Some(copy) = self.copying.take() else { return Ok(()) };
        self.rest = true;
        // A panic there is no reason for one here: the log is whole, and copied at the next try.
        copy.join().unwrap_or(Ok(()))
    }

    /// At the end: all of the log, which leaves an empty one. What is left out is found there at the next start.
    pub(super) fn last(&mut self, connection: &Connection) {
        if let Err(error) = self.wait().and_then(|()| pages(connection, "TRUNCATE")) {
            tracing::warn!(%error, "the store's log was not copied at the end");
        }
    }
}

/// Copies what the log holds now, beside the writer.
fn copy(path: PathBuf, metrics: StoreMetrics) -> io::Result<JoinHandle<rusqlite::Result<()>>> {
    std::thread::Builder::new().name("store-copier".into()).spawn(move || {
        let started = Instant::now();
        pages(&open::copier(&path)?, "PASSIVE")?;
        // The pages are in the file, and the log still has them.
        reach(CrashPoint::L11);
        metrics.checkpoints.observe(started.elapsed().as_secs_f64());
        Ok(())
    })
}

/// Pages of the log, and how many of them are copied.
fn pages(connection: &Connection, mode: &str) -> rusqlite::Result<(i64, i64)> {
    let mut checkpoint = connection.prepare_cached(&format!("PRAGMA wal_checkpoint({mode})"))?;
    checkpoint.query_row([], |row| Ok((row.get(1)?, row.get(2)?)))
}
