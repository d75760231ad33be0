//! The thread that writes. It takes whatever was handed over while it was writing the last group, and writes that as the
//! next: one transaction, one sync, however many wait. It never waits for more.

use std::fs::File;
use std::path::PathBuf;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::checkpoint::Checkpoints;
use super::failure;
use super::lookup::Newest;
use super::open::{self, OpenError};
use super::tx::{Memory, Tx};
use crate::domain::timestamp::Timestamp;
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

/// Starts the thread. `connection` is `None` for a store that could not be opened; it is tried again with every group.
pub(super) fn start(
    path: PathBuf,
    lock: File,
    connection: Option<Connection>,
    health: Health,
    head: watch::Sender<u64>,
    settings: Settings,
) -> std::io::Result<Handles> {
    let (send, receive) = mpsc::channel(QUEUE);
    let (ended, end) = oneshot::channel();
    let database = connection.map(|connection| Database::new(connection, path.clone()));
    let writer = Writer { path, database, health, head, settings };
    let run = move || {
        writer.run(receive);
        // Only now may another process have the file.
        drop(lock);
        // Nobody need wait for it.
        let _ = ended.send(());
    };
    std::thread::Builder::new().name("store-writer".into()).spawn(run)?;
    Ok((send, end))
}

struct Writer {
    path: PathBuf,
    database: Option<Database>,
    health: Health,
    /// Of the feed's log.
    head: watch::Sender<u64>,
    settings: Settings,
}

struct Database {
    connection: Connection,
    /// `None` after a rollback, of which `newest` is left.
    memory: Option<Memory>,
    newest: Option<Newest>,
    checkpoints: Checkpoints,
}

impl Database {
    fn new(connection: Connection, path: PathBuf) -> Self {
        Self { connection, memory: None, newest: None, checkpoints: Checkpoints::of(path) }
    }
}

impl Writer {
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

    fn answer(&self, group: impl IntoIterator<Item = Box<dyn Write>>, result: Result<(), Failed>) {
        let result = result.map_err(|failed| failed.error);
        match &result {
            Ok(()) => self.health.works(self.now()),
            Err(error) => self.health.fails(error, self.now()),
        }
        group.into_iter().for_each(|write| write.answer(result.clone()));
    }

    fn commit(&mut self, group: &mut [Box<dyn Write>]) -> Result<(), Failed> {
        let started = Instant::now();
        let metrics = self.settings.metrics.clone();
        let database = self.database()?;
        let rows = match transaction(database, group) {
            Ok(rows) => rows,
            Err(error) => {
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
        if let Some(memory) = &database.memory {
            let head = memory.feed.head;
            self.head.send_if_modified(|known| std::mem::replace(known, head) != head);
        }
        metrics.commits.observe(started.elapsed().as_secs_f64());
        metrics.writes.inc_by(group.len() as u64);
        metrics.rows.inc_by(rows);
        Ok(())
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
        let closed = || StoreError { kind: StoreTrouble::Failed, text: "the store is closed".into() };
        self.database.as_mut().ok_or_else(|| Failed { of_one: false, error: closed() })
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

/// Writes the group; tells how many entries were made or changed.
fn transaction(database: &mut Database, group: &mut [Box<dyn Write>]) -> rusqlite::Result<u64> {
    let Database { connection, memory, newest, .. } = database;
    let run = |sql: &str| connection.prepare_cached(sql)?.execute([]).map(drop);
    run("BEGIN IMMEDIATE")?;
    let memory = match memory {
        Some(memory) => memory,
        none => none.insert(Memory::read(connection, newest.take())?),
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
