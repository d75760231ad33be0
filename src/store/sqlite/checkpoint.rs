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

/// Size of the WAL from which it is logged as too long, in bytes. From [`LONG`] on, which is less, each commit waits for
/// its copy: a WAL that grows further is held by a reader, or its copy fails.
const TOO_LONG: i64 = 64 * 1024 * 1024;

/// Bytes of the header of each page in the WAL.
const PAGE_HEADER: i64 = 24;

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
    /// Bytes that a page takes in the WAL; 0 until known.
    page: i64,
    growth: WalGrowth,
}

impl WalCheckpoints {
    /// Checkpoints of the database in this file.
    pub(super) fn of(path: PathBuf) -> Self {
        Self { path, copying: None, rest: false, held: 0, unseen: (0, 0), page: 0, growth: WalGrowth::default() }
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
        self.note_length(connection, all, metrics)?;
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

    fn note_length(&mut self, connection: &Connection, all: i64, metrics: &StoreMetrics) -> rusqlite::Result<()> {
        if self.page == 0 {
            let size: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
            self.page = size + PAGE_HEADER;
        }
        let bytes = all * self.page;
        metrics.wal.set(bytes);
        match self.growth.note(bytes) {
            Some(LengthNews::TooLong) => tracing::warn!(
                bytes,
                "the store's write-ahead log grows: a reader holds it, or the disk does not take its copy"
            ),
            Some(LengthNews::Short) => tracing::info!(bytes, "the store's write-ahead log is short again"),
            None => {}
        }
        Ok(())
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

/// What is logged about the length of the WAL: that it is too long, again whenever it has doubled, and that it is short
/// again.
#[derive(Debug, Default)]
struct WalGrowth {
    /// The length that was logged last, in bytes.
    told: Option<i64>,
}

#[derive(Debug, PartialEq, Eq)]
enum LengthNews {
    TooLong,
    Short,
}

impl WalGrowth {
    fn note(&mut self, bytes: i64) -> Option<LengthNews> {
        match self.told {
            None if bytes >= TOO_LONG => {
                self.told = Some(bytes);
                Some(LengthNews::TooLong)
            }
            Some(told) if bytes >= told.saturating_mul(2) => {
                self.told = Some(bytes);
                Some(LengthNews::TooLong)
            }
            // A restart leaves a few pages; half of the limit is no coming and going about it.
            Some(_) if bytes < TOO_LONG / 2 => {
                self.told = None;
                Some(LengthNews::Short)
            }
            _ => None,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_told_at_the_limit_at_each_doubling_and_at_its_end() {
        const MIB: i64 = 1024 * 1024;
        let mut growth = WalGrowth::default();
        let mut told = Vec::new();
        for mib in [1, 63, 64, 65, 127, 130, 200, 260, 100, 33, 31, 1, 63, 70, 5] {
            if let Some(news) = growth.note(mib * MIB) {
                told.push((mib, news));
            }
        }
        let expected =
            [64, 130, 260, 31, 70, 5].map(|mib| (mib, if mib < 64 { LengthNews::Short } else { LengthNews::TooLong }));
        assert_eq!(told, expected);
    }
}
