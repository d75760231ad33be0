//! Checkpoints: pages of the WAL are copied into the database, after which the WAL can restart.
//!
//! A thread of its own copies most of the pages, because a checkpoint ends with an fsync of pages all over the file,
//! and no commit should wait for that. Only few pages are written meanwhile; the writer copies these between two
//! commits, when the WAL can restart.

use std::io;
use std::path::PathBuf;
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::time::Instant;

use super::open;
use crate::crash_point::{CrashPoint, reach};
use crate::telemetry::metrics::StoreMetrics;

/// Pages in the WAL that start a checkpoint. Many commits change the same pages; few large checkpoints are less work.
const PAGES: i64 = 4000;

/// Pages in the WAL from which the writer waits for copies and readers, to let the WAL restart. Under constant reads or
/// writes no free moment would come.
const LONG: i64 = 4 * PAGES;

/// Commits and writes between checks of the WAL's length. A check costs as much as a small write, and most writes add
/// only a few pages.
const LOOK_AFTER_COMMITS: usize = 16;
const LOOK_AFTER_WRITES: usize = 100;

/// The state of the checkpoints.
pub(super) struct WalCheckpoints {
    path: PathBuf,
    /// The running copy beside the writer.
    copying: Option<JoinHandle<rusqlite::Result<()>>>,
    /// Whether a copy has finished; the writer copies the rest, if the rest is small.
    rest: bool,
    /// Length of the WAL before which no checkpoint is tried, because a reader keeps pages from being copied.
    held: i64,
    /// Commits and writes since the last check of the length.
    unseen: (usize, usize),
}

impl WalCheckpoints {
    /// Checkpoints of the database in this file.
    pub(super) fn of(path: PathBuf) -> Self {
        Self { path, copying: None, rest: false, held: 0, unseen: (0, 0) }
    }

    /// Checks the WAL after a commit of `writes` writes, and copies pages if enough are uncopied.
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

    /// Copies the remaining pages, which restarts the WAL with the next commit.
    fn finish(&mut self, connection: &Connection, all: i64, metrics: &StoreMetrics) -> rusqlite::Result<()> {
        let started = Instant::now();
        let (all, copied) = pages(connection, if all < LONG { "PASSIVE" } else { "RESTART" })?;
        reach(CrashPoint::L11);
        self.rest = false;
        self.held = if copied < all { all + PAGES } else { 0 };
        metrics.checkpoints.observe(started.elapsed().as_secs_f64());
        Ok(())
    }

    /// Waits for the running copy.
    fn wait(&mut self) -> rusqlite::Result<()> {
        let Some(copy) = self.copying.take() else { return Ok(()) };
        self.rest = true;
        // A panic in the copying thread is no reason for a panic here: the WAL is complete, and the next attempt copies
        // it.
        copy.join().unwrap_or(Ok(()))
    }

    /// Copies and truncates the whole WAL at the end of the process. Uncopied pages are found in the WAL at the next
    /// start.
    pub(super) fn last(&mut self, connection: &Connection) {
        if let Err(error) = self.wait().and_then(|()| pages(connection, "TRUNCATE")) {
            tracing::warn!(%error, "the store's log was not copied at the end");
        }
    }
}

/// Copies the present pages of the WAL, beside the writer.
fn copy(path: PathBuf, metrics: StoreMetrics) -> io::Result<JoinHandle<rusqlite::Result<()>>> {
    std::thread::Builder::new().name("store-copier".into()).spawn(move || {
        let started = Instant::now();
        pages(&open::copier(&path)?, "PASSIVE")?;
        // The pages are in the file, and still in the WAL.
        reach(CrashPoint::L11);
        metrics.checkpoints.observe(started.elapsed().as_secs_f64());
        Ok(())
    })
}

/// Number of pages in the WAL, and of copied pages.
fn pages(connection: &Connection, mode: &str) -> rusqlite::Result<(i64, i64)> {
    let mut checkpoint = connection.prepare_cached(&format!("PRAGMA wal_checkpoint({mode})"))?;
    checkpoint.query_row([], |row| Ok((row.get(1)?, row.get(2)?)))
}
