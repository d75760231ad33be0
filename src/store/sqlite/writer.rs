//! The thread that writes. It takes whatever was handed over while it was writing the last group, and writes that as the
//! next: one transaction, one sync, however many wait. It never waits for more.

use std::path::PathBuf;
use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::Heads;
use super::checkpoint::Checkpoints;
use super::failure;
use super::guard::{FileGuard, Watcher};
use super::lookup::Newest;
use super::open::{self, OpenError};
use super::owner::{self, OwnerError};
use super::tx::{Memory, Tx};
use crate::domain::timestamp::Timestamp;
use crate::ports::clock::Clock;
use crate::ports::ledger::{StoreError, StoreTrouble};
use crate::store::Settings;
use crate::store::health::Health;

/// Writes that may wait. Whoever comes then waits for a place, and may still leave.
const QUEUE: usize = 4096;

/// Writes in one transaction at most, so that the first need not wait long for the last.
const GROUP: usize = 1024;

/// A write, handed over with the place where its answer goes.
pub(super) trait Write: Send {
    /// May be called again after its transaction was rolled back.
    fn write(&mut self, tx: &mut Tx<'_>) -> rusqlite::Result<()>;

    /// Tells what became of it.
    fn answer(self: Box<Self>, result: Result<(), StoreError>);
}

pub(super) enum Job {
    Write(Box<dyn Write>),
    /// No more is taken; what was handed over before is written.
    End,
}

/// The ways to the thread: its queue, and the end of it, when the file is closed.
pub(super) type Handles = (mpsc::Sender<Job>, oneshot::Receiver<()>);

/// Starts the thread, which keeps the file until it ends.
pub(super) fn start(writer: Writer, guard: Arc<FileGuard>, watcher: Watcher) -> std::io::Result<Handles> {
    let (send, receive) = mpsc::channel(QUEUE);
    let (ended, end) = oneshot::channel();
    let run = move || {
        writer.run(receive);
        // Only now may another process have the file.
        drop(watcher);
        drop(guard);
        // Nobody need wait for it.
        let _ = ended.send(());
    };
    std::thread::Builder::new().name("store-writer".into()).spawn(run)?;
    Ok((send, end))
}

pub(super) struct Writer {
    path: PathBuf,
    /// `None` for a store that could not be opened; it is tried again with every group.
    database: Option<Database>,
    health: Health,
    /// Of the feeds' logs.
    heads: Heads,
    /// Of this process, once it has raised it.
    epoch: Option<i64>,
    settings: Settings,
}

pub(super) struct Database {
    pub(super) connection: Connection,
    /// Whether it was taken for this process since it was opened.
    owned: bool,
    /// `None` after a rollback, of which `newest` is left.
    memory: Option<Memory>,
    newest: Option<Newest>,
    checkpoints: Checkpoints,
}

impl Database {
    pub(super) fn new(connection: Connection, path: PathBuf) -> Self {
        Self { connection, owned: false, memory: None, newest: None, checkpoints: Checkpoints::of(path) }
    }
}

impl Writer {
    pub(super) fn new(
        path: PathBuf,
        database: Option<Database>,
        health: Health,
        heads: Heads,
        settings: Settings,
    ) -> Self {
        Self { path, database, health, heads, epoch: None, settings }
    }

    /// Takes the database for this process, if it could be opened. What keeps it from that is told, and it is tried again with
    /// the first group.
    pub(super) fn own(&mut self) {
        if self.database.is_some()
            && let Err(failed) = self.owned()
        {
            self.health.fails(&failed.error, self.now());
        }
    }

    fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        while let Some(first) = queue.blocking_recv() {
            // Those who are ready to hand something over do so first, where there is no core for both: a sync then serves
            // more of them. Returns at once when there is nobody.
            std::thread::yield_now();
            let mut group = Vec::new();
            let mut next = Some(first);
            while let Some(job) = next {
                match job {
                    Job::Write(write) => group.push(write),
                    Job::End => queue.close(),
                }
                next = if group.len() < GROUP { queue.try_recv().ok() } else { None };
            }
            if !group.is_empty() {
                self.write(group);
            }
        }
        if let Some(database) = &mut self.database {
            database.checkpoints.last(&database.connection);
        }
    }

    /// Writes all of them, or each alone when one of them is what fails.
    fn write(&mut self, mut group: Vec<Box<dyn Write>>) {
        let written = group.len();
        match self.commit(&mut group) {
            Err(Failed { of_one: true, .. }) if group.len() > 1 => {
                for mut write in group {
                    let result = self.commit(std::slice::from_mut(&mut write));
                    self.answer([write], result);
                }
            }
            result => self.answer(group, result),
        }
        if let Some(database) = &mut self.database {
            let done = database.checkpoints.after_commit(&database.connection, written, &self.settings.metrics);
            if let Err(error) = done {
                self.fatal(&error);
                self.health.fails(&failure::of(&error), self.now());
            }
        }
    }

    fn answer(&self, group: impl IntoIterator<Item = Box<dyn Write>>, result: Result<Wrote, Failed>) {
        match &result {
            Ok(Wrote(true)) => self.health.works(self.now()),
            Ok(Wrote(false)) => {}
            Err(failed) => self.health.fails(&failed.error, self.now()),
        }
        let result = result.map(drop).map_err(|failed| failed.error);
        group.into_iter().for_each(|write| write.answer(result.clone()));
    }

    fn commit(&mut self, group: &mut [Box<dyn Write>]) -> Result<Wrote, Failed> {
        let started = Instant::now();
        let (metrics, heads) = (self.settings.metrics.clone(), self.heads.clone());
        let clock = self.settings.clock;
        let (database, epoch) = self.owned()?;
        let before = database.connection.total_changes();
        let rows = match transaction(database, epoch, clock, group) {
            Ok(rows) => rows,
            Err(OwnerError::Succeeded) => {
                // Nothing was written. The process ends before anybody hears of it.
                let _ = database.connection.execute_batch("ROLLBACK");
                return Err(self.succeeded());
            }
            Err(OwnerError::Failed(error)) => {
                if let Some(memory) = database.memory.take() {
                    database.newest = memory.rolled_back();
                }
                if !database.connection.is_autocommit()
                    && let Err(error) = database.connection.execute_batch("ROLLBACK")
                {
                    // It cannot be used again; the next group opens the file anew.
                    tracing::error!(%error, "the store could not be rolled back");
                    self.database = None;
                }
                self.fatal(&error);
                return Err(Failed { of_one: failure::is_of_one(&error), error: failure::of(&error) });
            }
        };
        let wrote = Wrote(database.connection.total_changes() != before);
        if let Some(memory) = &database.memory {
            for (feed, known) in heads.iter() {
                let head = *memory.feed.heads.of(feed);
                known.send_if_modified(|known| std::mem::replace(known, head) != head);
            }
        }
        metrics.commits.observe(started.elapsed().as_secs_f64());
        metrics.writes.inc_by(group.len() as u64);
        metrics.rows.inc_by(rows);
        Ok(wrote)
    }

    /// The database, opened and taken for this process, and the epoch that it must still have.
    fn owned(&mut self) -> Result<(&mut Database, i64), Failed> {
        if !self.database.as_ref().is_some_and(|database| database.owned) {
            self.epoch = Some(self.take()?);
        }
        match (&mut self.database, self.epoch) {
            (Some(database), Some(epoch)) => Ok((database, epoch)),
            _ => Err(Failed::closed()),
        }
    }

    fn take(&mut self) -> Result<i64, Failed> {
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
                Err(Failed { of_one: false, error: failure::of(&error) })
            }
        }
    }

    /// Another process has taken the file: this one ends at once, before it begins anything more.
    fn succeeded(&self) -> Failed {
        let text = format!(
            "the store {} was taken by another order-gateway, so this process ends: run one process for each file",
            self.path.display()
        );
        (self.settings.on_fatal)(&text);
        Failed { of_one: false, error: StoreError { kind: StoreTrouble::Failed, text } }
    }

    fn database(&mut self) -> Result<&mut Database, Failed> {
        if self.database.is_none() {
            let connection = open::writer(&self.path).map_err(|error| {
                let error = match error {
                    OpenError::Failing(error) => error,
                    OpenError::Refused(text) => StoreError { kind: StoreTrouble::Failed, text },
                };
                Failed { of_one: false, error }
            })?;
            self.database = Some(Database::new(connection, self.path.clone()));
        }
        self.database.as_mut().ok_or_else(Failed::closed)
    }

    /// A failed sync ends the process: what the disk holds is not known, so nobody may be told anything.
    fn fatal(&self, error: &rusqlite::Error) {
        if failure::is_fatal(error) {
            (self.settings.on_fatal)(&format!("the store {} could not be synced: {error}", self.path.display()));
        }
    }

    fn now(&self) -> Timestamp {
        self.settings.clock.now().into()
    }
}

struct Failed {
    /// Whether the others of the group may be written without it.
    of_one: bool,
    error: StoreError,
}

impl Failed {
    fn closed() -> Self {
        let error = StoreError { kind: StoreTrouble::Failed, text: "the store is closed".into() };
        Self { of_one: false, error }
    }
}

/// Whether a transaction changed anything.
struct Wrote(bool);

/// Writes the group; tells how many entries were made or changed.
fn transaction(
    database: &mut Database,
    epoch: i64,
    clock: Clock,
    group: &mut [Box<dyn Write>],
) -> Result<u64, OwnerError> {
    let Database { connection, memory, newest, .. } = database;
    let run = |sql: &str| connection.prepare_cached(sql)?.execute([]).map(drop);
    run("BEGIN IMMEDIATE")?;
    owner::check(connection, epoch)?;
    let memory = match memory {
        Some(memory) => memory,
        none => none.insert(Memory::read(connection, newest.take(), clock)?),
    };
    let mut tx = Tx::new(connection, memory);
    for write in group {
        write.write(&mut tx)?;
    }
    tx.finish()?;
    let rows = tx.rows;
    run("COMMIT")?;
    Ok(rows)
}
