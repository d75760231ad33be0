//! The writer thread. While one group of writes is committed, further writes are queued; the queue becomes the next
//! group: one transaction with one fsync for any number of writes. The thread never waits for a group to grow.
//!
//! Writes come in two lanes. Callers and Walmart wait for writes of the ledger and of deliveries, which go first.
//! Changes of subscriptions follow in the same transaction, for [`BUDGET`]; the rest begins the next transaction.
//! Without the budget, an order would wait for all leases and verdicts queued before.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::Heads;
use super::WriteLane;
use super::checkpoint::WalCheckpoints;
use super::failure;
use super::guard::{FileGuard, FileWatcher};
use super::open::{self, OpenError};
use super::owner::{self, OwnerError};
use super::tx::{CacheRemains, WriteTx, WriterCache};
use crate::domain::timestamp::Timestamp;
use crate::ports::clock::Clock;
use crate::ports::store_error::{StoreError, StoreErrorKind};
use crate::store::StoreSettings;
use crate::store::health::StoreHealth;

/// Most queued writes. Further callers wait for a place, and may leave meanwhile.
const QUEUE: usize = 4096;

/// Most writes in one transaction, limited to keep the first write from waiting for the last.
const GROUP: usize = 1024;

/// Time for changes of subscriptions in one transaction while further writes may be waiting. At least one change is
/// made.
pub(super) const BUDGET: Duration = Duration::from_millis(5);

/// A write with the channel for its answer.
pub(super) trait WriteJob: Send {
    /// Writes within a transaction. Called again when the transaction was rolled back.
    fn write(&mut self, tx: &mut WriteTx<'_>) -> rusqlite::Result<()>;

    /// Sends the result to the caller.
    fn answer(self: Box<Self>, result: Result<(), StoreError>);
}

pub(super) enum WriterJob {
    Write(Box<dyn WriteJob>),
    /// Accepts no further writes; queued writes are finished.
    End,
}

/// The queues of the writer.
#[derive(Clone, Debug)]
pub(super) struct WriterQueues {
    first: mpsc::Sender<WriterJob>,
    second: mpsc::Sender<WriterJob>,
}

impl WriterQueues {
    /// Queues a job, once there is a place. Fails when the thread accepts no more jobs.
    pub(super) async fn send(&self, lane: WriteLane, job: WriterJob) -> Result<(), WriterClosed> {
        let queue = match lane {
            WriteLane::First => &self.first,
            WriteLane::Second => &self.second,
        };
        queue.send(job).await.map_err(|_| WriterClosed)
    }
}

/// The writer has ended or is about to end.
#[derive(Debug)]
pub(super) struct WriterClosed;

/// The queues of the writer, and the signal of its end after the file was closed.
pub(super) type Handles = (WriterQueues, oneshot::Receiver<()>);

/// The queued writes of both lanes.
struct PendingWrites {
    first: mpsc::Receiver<WriterJob>,
    second: mpsc::Receiver<WriterJob>,
    /// Writes of the second lane for which a transaction had no time.
    left: VecDeque<Box<dyn WriteJob>>,
}

impl PendingWrites {
    /// Takes the next group, with the first lane at its beginning, and the number of writes of the first lane. Waits
    /// for a write; empty at the end.
    fn group(&mut self, runtime: &Runtime) -> (Vec<Box<dyn WriteJob>>, usize) {
        let mut group = Vec::new();
        if self.left.is_empty() {
            let (first, second) = (&mut self.first, &mut self.second);
            let next = runtime.block_on(async {
                tokio::select! {
                    biased;
                    Some(job) = first.recv() => Some((WriteLane::First, job)),
                    Some(job) = second.recv() => Some((WriteLane::Second, job)),
                    else => None,
                }
            });
            let Some((lane, job)) = next else { return (group, 0) };
            // Yield once: on one core, tasks ready to queue a write can then do so and share this fsync. Returns at
            // once when no task is ready.
            std::thread::yield_now();
            match (lane, job) {
                (WriteLane::First, WriterJob::Write(write)) => group.push(write),
                (WriteLane::Second, WriterJob::Write(write)) => self.left.push_back(write),
                (_, WriterJob::End) => self.close(),
            }
        }
        while group.len() < GROUP
            && let Ok(job) = self.first.try_recv()
        {
            match job {
                WriterJob::Write(write) => group.push(write),
                WriterJob::End => self.close(),
            }
        }
        while self.left.len() < GROUP
            && let Ok(WriterJob::Write(write)) = self.second.try_recv()
        {
            self.left.push_back(write);
        }
        let first = group.len();
        group.extend(self.left.drain(..));
        (group, first)
    }

    /// Accepts no further writes; queued writes are finished.
    fn close(&mut self) {
        self.first.close();
        self.second.close();
    }

    fn is_over(&self) -> bool {
        self.left.is_empty() && self.first.is_closed() && self.first.is_empty() && self.second.is_empty()
    }
}

/// Starts the thread, which holds the file until it ends.
pub(super) fn start(writer: WriterThread, guard: Arc<FileGuard>, watcher: FileWatcher) -> std::io::Result<Handles> {
    let (first, first_queue) = mpsc::channel(QUEUE);
    let (second, second_queue) = mpsc::channel(QUEUE);
    let (ended, end) = oneshot::channel();
    // The runtime is used only for waiting on the two queues.
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let waiting = PendingWrites { first: first_queue, second: second_queue, left: VecDeque::new() };
    let run = move || {
        writer.run(waiting, &runtime);
        // The file may be taken by a different process only from here on.
        drop(watcher);
        drop(guard);
        // The receiver may be gone.
        let _ = ended.send(());
    };
    std::thread::Builder::new().name("store-writer".into()).spawn(run)?;
    Ok((WriterQueues { first, second }, end))
}

pub(super) struct WriterThread {
    path: PathBuf,
    /// `None` when the file could not be opened; every group tries again.
    database: Option<OpenDatabase>,
    health: StoreHealth,
    /// The published heads of the feeds' logs.
    heads: Heads,
    /// The epoch of this process, once raised.
    epoch: Option<i64>,
    settings: StoreSettings,
}

pub(super) struct OpenDatabase {
    pub(super) connection: Connection,
    /// Whether the database was taken for this process since it was opened.
    owned: bool,
    /// The cache; `None` after a rollback.
    memory: Option<WriterCache>,
    /// The parts of the cache that survived a rollback.
    left: CacheRemains,
    checkpoints: WalCheckpoints,
}

impl OpenDatabase {
    pub(super) fn new(connection: Connection, path: PathBuf) -> Self {
        Self {
            connection,
            owned: false,
            memory: None,
            left: CacheRemains::default(),
            checkpoints: WalCheckpoints::of(path),
        }
    }
}

impl WriterThread {
    pub(super) fn new(
        path: PathBuf,
        database: Option<OpenDatabase>,
        health: StoreHealth,
        heads: Heads,
        settings: StoreSettings,
    ) -> Self {
        Self { path, database, health, heads, epoch: None, settings }
    }

    /// Takes the database for this process, if it is open. A failure is noted, and the first group tries again.
    pub(super) fn own(&mut self) {
        if self.database.is_some()
            && let Err(failed) = self.owned()
        {
            self.health.fails(&failed.error, self.now());
        }
    }

    fn run(mut self, mut waiting: PendingWrites, runtime: &Runtime) {
        while !waiting.is_over() {
            let (group, first) = waiting.group(runtime);
            if !group.is_empty() {
                waiting.left = self.write(group, first);
            }
        }
        if let Some(database) = &mut self.database {
            database.checkpoints.last(&database.connection);
        }
    }

    /// Writes the group, or every write alone when one of them causes the failure. `first` is the number of writes of
    /// the first lane. Returns the writes for which there was no time.
    fn write(&mut self, mut group: Vec<Box<dyn WriteJob>>, first: usize) -> VecDeque<Box<dyn WriteJob>> {
        let (result, done) = self.commit(&mut group, first);
        let left = group.split_off(done);
        match result {
            Err(CommitFailure { of_one: true, .. }) if group.len() > 1 => {
                for mut write in group {
                    let (result, _) = self.commit(std::slice::from_mut(&mut write), 1);
                    self.answer([write], result);
                }
            }
            result => self.answer(group, result),
        }
        if let Some(database) = &mut self.database {
            let after = database.checkpoints.after_commit(&database.connection, done, &self.settings.metrics);
            if let Err(error) = after {
                self.fatal(&error);
                self.health.fails(&failure::of(&error), self.now());
            }
        }
        left.into()
    }

    fn answer(&self, group: impl IntoIterator<Item = Box<dyn WriteJob>>, result: Result<CommitChanges, CommitFailure>) {
        match &result {
            Ok(CommitChanges(true)) => self.health.works(self.now()),
            Ok(CommitChanges(false)) => {}
            Err(failed) => self.health.fails(&failed.error, self.now()),
        }
        let result = result.map(drop).map_err(|failed| failed.error);
        group.into_iter().for_each(|write| write.answer(result.clone()));
    }

    /// Commits the group, or as much as there is time for, and returns the number of writes done, at least one.
    fn commit(
        &mut self,
        group: &mut [Box<dyn WriteJob>],
        first: usize,
    ) -> (Result<CommitChanges, CommitFailure>, usize) {
        let mut done = 0;
        let result = self.try_commit(group, first, &mut done);
        // After a failure all writes are answered, or tried one by one.
        let done = if result.is_ok() { done } else { group.len() };
        (result, done)
    }

    fn try_commit(
        &mut self,
        group: &mut [Box<dyn WriteJob>],
        first: usize,
        done: &mut usize,
    ) -> Result<CommitChanges, CommitFailure> {
        let started = Instant::now();
        let (metrics, heads) = (self.settings.metrics.clone(), self.heads.clone());
        let clock = self.settings.clock;
        let (database, epoch) = self.owned()?;
        let before = database.connection.total_changes();
        let rows = match transaction(database, epoch, clock, group, first, done) {
            Ok(rows) => rows,
            Err(OwnerError::Succeeded) => {
                // Nothing was written. The process ends before any caller gets an answer.
                let _ = database.connection.execute_batch("ROLLBACK");
                return Err(self.succeeded());
            }
            Err(OwnerError::Failed(error)) => {
                if let Some(memory) = database.memory.take() {
                    database.left = memory.rolled_back();
                }
                if !database.connection.is_autocommit()
                    && let Err(error) = database.connection.execute_batch("ROLLBACK")
                {
                    // The connection cannot be used any more; the next group opens the file again.
                    tracing::error!(%error, "the store could not be rolled back");
                    self.database = None;
                }
                self.fatal(&error);
                return Err(CommitFailure { of_one: failure::is_of_one(&error), error: failure::of(&error) });
            }
        };
        let wrote = CommitChanges(database.connection.total_changes() != before);
        if let Some(memory) = &database.memory {
            for (feed, known) in heads.iter() {
                let head = *memory.feed.heads.of(feed);
                known.send_if_modified(|known| std::mem::replace(known, head) != head);
            }
        }
        metrics.commits.observe(started.elapsed().as_secs_f64());
        metrics.writes.inc_by(*done as u64);
        metrics.rows.inc_by(rows);
        Ok(wrote)
    }

    /// The database, opened and taken for this process, and its epoch.
    fn owned(&mut self) -> Result<(&mut OpenDatabase, i64), CommitFailure> {
        if !self.database.as_ref().is_some_and(|database| database.owned) {
            self.epoch = Some(self.take()?);
        }
        match (&mut self.database, self.epoch) {
            (Some(database), Some(epoch)) => Ok((database, epoch)),
            _ => Err(CommitFailure::closed()),
        }
    }

    fn take(&mut self) -> Result<i64, CommitFailure> {
        let (known, accounts) = (self.epoch, self.settings.accounts.clone());
        let database = self.database()?;
        match owner::take(&mut database.connection, known, &accounts) {
            Ok(epoch) => {
                database.owned = true;
                Ok(epoch)
            }
            Err(OwnerError::Succeeded) => Err(self.succeeded()),
            Err(OwnerError::Failed(error)) => {
                self.fatal(&error);
                Err(CommitFailure { of_one: false, error: failure::of(&error) })
            }
        }
    }

    /// Ends the process after a different process has taken the file, before any further work.
    fn succeeded(&self) -> CommitFailure {
        let text = format!(
            "the store {} was taken by another order-gateway, so this process ends: run one process for each file",
            self.path.display()
        );
        (self.settings.on_fatal)(&text);
        CommitFailure { of_one: false, error: StoreError { kind: StoreErrorKind::Failed, text } }
    }

    fn database(&mut self) -> Result<&mut OpenDatabase, CommitFailure> {
        if self.database.is_none() {
            let connection = open::writer(&self.path).map_err(|error| {
                let error = match error {
                    OpenError::Failing(error) => error,
                    OpenError::Refused(text) => StoreError { kind: StoreErrorKind::Failed, text },
                };
                CommitFailure { of_one: false, error }
            })?;
            self.database = Some(OpenDatabase::new(connection, self.path.clone()));
        }
        self.database.as_mut().ok_or_else(CommitFailure::closed)
    }

    /// Ends the process after a failed fsync: the content of the disk is unknown, and no caller may get an answer.
    fn fatal(&self, error: &rusqlite::Error) {
        if failure::is_fatal(error) {
            (self.settings.on_fatal)(&format!("the store {} could not be synced: {error}", self.path.display()));
        }
    }

    fn now(&self) -> Timestamp {
        self.settings.clock.now().into()
    }
}

struct CommitFailure {
    /// Whether the rest of the group may succeed without this write.
    of_one: bool,
    error: StoreError,
}

impl CommitFailure {
    fn closed() -> Self {
        let error = StoreError { kind: StoreErrorKind::Failed, text: "the store is closed".into() };
        Self { of_one: false, error }
    }
}

/// Whether a transaction changed the database.
struct CommitChanges(bool);

/// Writes the group, or as much as there is time for, and returns the number of changed rows. `done` is set to the
/// number of writes done.
fn transaction(
    database: &mut OpenDatabase,
    epoch: i64,
    clock: Clock,
    group: &mut [Box<dyn WriteJob>],
    first: usize,
    done: &mut usize,
) -> Result<u64, OwnerError> {
    let OpenDatabase { connection, memory, left, .. } = database;
    let run = |sql: &str| connection.prepare_cached(sql)?.execute([]).map(drop);
    run("BEGIN IMMEDIATE")?;
    owner::check(connection, epoch)?;
    let memory = match memory {
        Some(memory) => memory,
        none => none.insert(WriterCache::read(connection, std::mem::take(left), clock)?),
    };
    let mut tx = WriteTx::new(connection, memory);
    let mut until = None;
    for (nth, write) in group.iter_mut().enumerate() {
        if nth > first && until.is_some_and(|until| Instant::now() >= until) {
            break;
        }
        if nth == first {
            until = Some(Instant::now() + BUDGET);
        }
        write.write(&mut tx)?;
        *done = nth + 1;
    }
    tx.finish()?;
    let rows = tx.rows;
    run("COMMIT")?;
    Ok(rows)
}
