//! The ledger and the feeds in a SQLite file, for one process.
//!
//! One thread writes ([`writer`]), in groups; three threads read ([`reader`]): one for entries, one for lists and
//! counts, and one for the feed. Tasks hand their work to a thread and wait for the result. The file belongs to this
//! process alone ([`guard`], [`owner`]). `migrations/` defines the schema; [`writes`], [`reads`] and [`feed`] have the
//! statements.

mod checkpoint;
mod clock;
mod failure;
mod feed;
mod feed_cache;
mod guard;
mod in_hand;
mod listing;
mod log_tables;
mod lookup;

mod migrations;
mod newest_keys;
mod open;
mod owner;
mod reader;
mod reads;
mod rows;
mod sellers;
mod token_key;
mod tx;
mod writer;
mod writes;

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot, watch};

use self::guard::FileGuard;
use self::in_hand::FirstOwn;
pub use self::newest_keys::hash_of;
use self::open::OpenError;
use self::reader::Read;
use self::tx::WriteTx;
use self::writer::{OpenDatabase, WriteJob, WriterJob, WriterQueues, WriterThread};
use super::health::{StoreFailure, StoreHealth};
use super::keys::EntryKeys;
use super::{AccountConflict, StoreSettings};
use crate::domain::account::{AccountId, SellerId};
use crate::domain::feed::ByFeed;
use crate::domain::ledger::{AlertKind, AuditAlert, Entry, MutationKind, NewEntry, OperationId};
use crate::domain::timestamp::Timestamp;
use crate::ports::clock::Clock;
use crate::ports::ledger::{BeginOutcome, EntryCount, EntryQuery, Ledger, PlannedAudit, SaveResult};
use crate::ports::store_error::{StoreError, StoreErrorKind};

/// Entries dropped in one transaction, limited to keep other writes from waiting.
const TRIM: usize = 200;

/// The ledger and the feeds in a file. Cheap to clone; all clones share one store.
///
/// Dropping the last clone ends the threads after the queued work; [`SqliteLedger::close`] also waits for the end.
#[derive(Clone)]
pub struct SqliteLedger(Arc<SqliteShared>);

struct SqliteShared {
    writes: WriterQueues,
    reads: mpsc::Sender<Option<Read>>,
    lists: mpsc::Sender<Option<Read>>,
    feed_reads: mpsc::Sender<Option<Read>>,
    /// The last durable position of every log.
    heads: Heads,
    health: StoreHealth,
    first_own: Arc<FirstOwn>,
    /// Number of written groups at the last proof that the store works.
    proved: AtomicU64,
    clock: Clock,
    ends: Mutex<Option<Ends>>,
}

/// Publishes the last position of every log.
type Heads = Arc<ByFeed<watch::Sender<u64>>>;

/// Signals the end of the reading threads and of the writing thread.
type Ends = ([oneshot::Receiver<()>; 3], oneshot::Receiver<()>);

impl SqliteLedger {
    /// Opens the file, creating a missing file. Blocks, for about a second at most.
    ///
    /// A file that is full, read-only, damaged or locked is opened, too: the store fails at first, and works as soon as
    /// it can.
    ///
    /// # Errors
    /// One line for the operator: the file is in use by a different gateway, was written by a newer version, is no
    /// ledger, or cannot be created.
    pub fn open(path: &Path, settings: StoreSettings) -> Result<Self, String> {
        let guard = Arc::new(FileGuard::take(path)?);
        let health = StoreHealth::new(settings.metrics.clone());
        let database = match open::writer(path) {
            Ok(connection) => Some(OpenDatabase::new(connection, path.to_owned())),
            Err(OpenError::Refused(why)) => return Err(why),
            Err(OpenError::Failing(error)) => {
                health.fails(&error, settings.clock.now().into());
                None
            }
        };
        // When reading fails now, the heads are read with the first transaction.
        let heads = match database.as_ref().map(|database| feed_cache::heads(&database.connection)) {
            Some(Ok(heads)) => heads,
            Some(Err(error)) => {
                health.fails(&failure::of(&error), settings.clock.now().into());
                ByFeed::default()
            }
            None => ByFeed::default(),
        };
        let heads: Heads = Arc::new(ByFeed::new(|feed| watch::Sender::new(*heads.of(feed))));
        let started = |error| format!("the threads of the store cannot be started: {error}");
        let clock = settings.clock;
        let watcher =
            guard::FileWatcher::start(guard.clone(), guard::EVERY, settings.on_fatal.clone()).map_err(started)?;
        let mut writer = WriterThread::new(path.to_owned(), database, health.clone(), heads.clone(), settings);
        // Done before any read: rows of a renamed account are found by the present name.
        writer.own();
        let (writes, writer) = writer::start(writer, guard, watcher).map_err(started)?;
        let start = |name| reader::start(name, path.to_owned()).map_err(started);
        let (reads, reader) = start("store-reader")?;
        let (lists, list_reader) = start("store-lists")?;
        let (feed_reads, feed_reader) = start("store-feed")?;
        let ends = Mutex::new(Some(([reader, list_reader, feed_reader], writer)));
        let (first_own, proved) = (Arc::default(), AtomicU64::new(0));
        Ok(Self(Arc::new(SqliteShared {
            writes,
            reads,
            lists,
            feed_reads,
            heads,
            health,
            first_own,
            proved,
            clock,
            ends,
        })))
    }

    /// The present failure of the store: from a failed write until the next commit.
    pub fn failing(&self) -> Option<StoreFailure> {
        self.0.health.failing()
    }

    /// Checks whether the store works, by a write of the size of an entry; skipped when the store works and something
    /// was written since the last check. [`Self::failing`] has the result.
    pub(crate) async fn prove(&self) {
        let SqliteShared { health, proved, .. } = &*self.0;
        let written = health.written();
        if proved.swap(written, Ordering::Relaxed) == written || health.failing().is_some() {
            let _ = self.write(writes::probe).await;
            proved.store(health.written(), Ordering::Relaxed);
        }
    }

    /// Adds the accounts that the store does not know, or none of them if there are conflicts, which are returned.
    pub async fn add_accounts(&self, accounts: Vec<(AccountId, SellerId)>) -> Result<Vec<AccountConflict>, StoreError> {
        self.write(move |tx| sellers::add(tx.connection(), &accounts)).await
    }

    /// Closes the store: queued work is written, and the WAL is copied into the file. Later calls fail.
    pub async fn close(&self) {
        let ends = self.0.ends.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Readers end first, because pages in use by a reader cannot be copied.
        for reads in [&self.0.reads, &self.0.lists, &self.0.feed_reads] {
            let _ = reads.send(None).await;
        }
        let Some((readers, writer)) = ends else { return };
        for reader in readers {
            let _ = reader.await;
        }
        let _ = self.0.writes.send(WriteLane::First, WriterJob::End).await;
        let _ = writer.await;
    }

    async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&mut WriteTx<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        self.write_in(WriteLane::First, work).await
    }

    async fn write_in<T, F>(&self, lane: WriteLane, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&mut WriteTx<'_>) -> rusqlite::Result<T> + Send + 'static,
    {
        let (write, answer) = QueuedWrite::new(work);
        self.0.writes.send(lane, WriterJob::Write(Box::new(write))).await.map_err(|_| closed())?;
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    async fn read<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.read_by(&self.0.reads, |db, _| work(db)).await
    }

    async fn read_feed<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        self.read_by(&self.0.feed_reads, |db, _| work(db)).await
    }

    /// Reads with `work`, which may ask whether its caller has left, and end early.
    async fn read_by<T, F>(&self, reader: &mpsc::Sender<Option<Read>>, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection, &dyn Fn() -> bool) -> rusqlite::Result<T> + Send + 'static,
    {
        let (send, answer) = oneshot::channel();
        let read = move |connection: Result<&Connection, StoreError>| {
            // The caller left before the read started.
            if send.is_closed() {
                return;
            }
            let left = || send.is_closed();
            let result = connection
                .and_then(|connection| snapshot(connection, |db| work(db, &left)).map_err(|error| failure::of(&error)));
            // The caller may have left meanwhile.
            let _ = send.send(result);
        };
        reader.send(Some(Box::new(read))).await.map_err(|_| closed())?;
        let result = answer.await.map_err(|_| closed())?;
        if let Err(error) = &result {
            self.0.health.fails(error, self.0.clock.now().into());
        }
        result
    }
}

impl fmt::Debug for SqliteLedger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteLedger").field("failing", &self.0.health.failing()).finish_non_exhaustive()
    }
}

/// The priority of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WriteLane {
    /// The ledger, and deliveries from Walmart.
    First,
    /// Changes of subscriptions, which wait for the first lane.
    Second,
}

fn closed() -> StoreError {
    StoreError { kind: StoreErrorKind::Failed, text: "the store is closed".into() }
}

/// Runs `work` in a read transaction, which shows the database at one moment.
fn snapshot<T>(connection: &Connection, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    let transaction = connection.unchecked_transaction()?;
    let result = work(&transaction)?;
    transaction.finish()?;
    Ok(result)
}

/// A queued write with its result and the channel for the answer.
struct QueuedWrite<T, F> {
    work: F,
    result: Option<T>,
    answer: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> QueuedWrite<T, F> {
    fn new(work: F) -> (Self, oneshot::Receiver<Result<T, StoreError>>) {
        let (answer, receive) = oneshot::channel();
        (Self { work, result: None, answer }, receive)
    }
}

impl<T: Send, F: FnMut(&mut WriteTx<'_>) -> rusqlite::Result<T> + Send> WriteJob for QueuedWrite<T, F> {
    fn write(&mut self, tx: &mut WriteTx<'_>) -> rusqlite::Result<()> {
        self.result = Some((self.work)(tx)?);
        Ok(())
    }

    fn answer(self: Box<Self>, result: Result<(), StoreError>) {
        let Self { result: made, answer, .. } = *self;
        // The caller may have left; the write happens nevertheless.
        let _ = answer.send(result.and_then(|()| made.ok_or_else(closed)));
    }
}

impl Ledger for SqliteLedger {
    async fn begin(&self, new: Vec<NewEntry>, join: bool) -> Result<BeginOutcome, StoreError> {
        let Some(keys) = new.first().map(EntryKeys::of) else { return Ok(BeginOutcome::New(Vec::new())) };
        let first_own = self.0.first_own.clone();
        // Noted before the answer: the caller may have left by then.
        let begin =
            move |tx: &mut WriteTx<'_>| writes::begin(tx, &new, &keys, join).inspect(|begun| first_own.note(begun));
        self.write(begin).await
    }

    async fn save(&self, entries: Vec<Entry>, audits: Vec<PlannedAudit>) -> Result<SaveResult, StoreError> {
        self.write(move |tx| writes::save(tx, &entries, &audits)).await
    }

    async fn owe(&self, id: OperationId) -> Result<(), StoreError> {
        self.write(move |tx| writes::owe(tx, id)).await
    }

    async fn hear(&self, id: OperationId) -> Result<(), StoreError> {
        self.write(move |tx| writes::hear(tx, id)).await
    }

    async fn get(&self, id: OperationId) -> Result<Option<Entry>, StoreError> {
        self.read(move |db| reads::get(db, id)).await
    }

    async fn of_request(
        &self,
        account: &AccountId,
        kind: MutationKind,
        request_id: &str,
    ) -> Result<Vec<Entry>, StoreError> {
        let (account, id) = (account.clone(), request_id.to_owned());
        self.write(move |tx| reads::of_request(tx, &account, kind, &id)).await
    }

    async fn creation_of(&self, account: &AccountId, order_number: &str) -> Result<Option<Entry>, StoreError> {
        let (account, order_number) = (account.clone(), order_number.to_owned());
        self.write(move |tx| reads::creation_of(tx, &account, &order_number)).await
    }

    async fn orphans(&self, after: OperationId, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let first_own = self.0.first_own.get();
        self.read(move |db| in_hand::orphans(db, first_own, after, limit)).await
    }

    async fn due(&self, accounts: &[AccountId], now: Timestamp, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let accounts = accounts.to_vec();
        self.read(move |db| in_hand::due(db, &accounts, now, limit)).await
    }

    async fn in_hand(&self, after: OperationId, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let first_own = self.0.first_own.get();
        self.read(move |db| in_hand::in_hand(db, first_own, after, limit)).await
    }

    async fn which_ended(&self, ids: &[OperationId]) -> Result<Vec<OperationId>, StoreError> {
        let ids = ids.to_vec();
        self.read(move |db| in_hand::which_ended(db, &ids)).await
    }

    async fn changes_of(
        &self,
        account: &AccountId,
        kind: MutationKind,
        order_number: &str,
        since: Timestamp,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let (account, order_number) = (account.clone(), order_number.to_owned());
        self.read(move |db| reads::changes_of(db, &account, kind, &order_number, since, limit)).await
    }

    async fn list(&self, query: &EntryQuery) -> Result<Vec<Entry>, StoreError> {
        let query = query.clone();
        self.read_by(&self.0.lists, move |db, left| listing::list(db, &query, left)).await
    }

    async fn counts(&self) -> Result<Vec<EntryCount>, StoreError> {
        self.read_by(&self.0.lists, |db, _| reads::counts(db)).await
    }

    async fn due_audits(&self, now: Timestamp, limit: usize) -> Result<Vec<PlannedAudit>, StoreError> {
        self.read(move |db| reads::due_audits(db, now, limit)).await
    }

    async fn end_audit(&self, audit: PlannedAudit, found: Option<AuditAlert>) -> Result<bool, StoreError> {
        self.write(move |tx| writes::end_audit(tx, audit, found.as_ref())).await
    }

    async fn alerts(&self, operation: OperationId) -> Result<Vec<(AlertKind, Timestamp)>, StoreError> {
        self.read(move |db| reads::alerts(db, operation)).await
    }

    async fn trim(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let mut dropped = 0;
        while dropped < limit {
            let left = limit - dropped;
            // The first request is dropped regardless of its size; a small limit would otherwise stop all trimming.
            let most = if dropped == 0 { usize::MAX } else { left };
            let now = self.write(move |tx| writes::trim(tx, before, left.min(TRIM), most)).await?;
            dropped += now;
            if now == 0 {
                break;
            }
        }
        Ok(dropped)
    }
}

#[cfg(test)]
mod tests;
