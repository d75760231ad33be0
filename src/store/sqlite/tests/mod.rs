//! What only a store in a file does.

mod open;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::domain::ledger::EntryState;
use crate::telemetry::metrics::{Metrics, TextFormat};
use crate::testing::store::{acme, cancel, create, made, settings, time};

pub(super) struct Place {
    folder: TempDir,
}

impl Place {
    pub(super) fn new() -> Self {
        Self { folder: TempDir::new().unwrap() }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.beside("db")
    }

    pub(super) fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What a process leaves that is killed now: the file and its log, never closed.
    pub(super) fn killed(&self) -> Self {
        let killed = Self::new();
        for name in ["db", "db-wal"] {
            std::fs::copy(self.beside(name), killed.beside(name)).unwrap();
        }
        killed
    }

    pub(super) fn open(&self) -> SqliteLedger {
        SqliteLedger::open(&self.path(), settings()).unwrap()
    }

    pub(super) fn refusal(&self) -> String {
        let why = SqliteLedger::open(&self.path(), settings()).unwrap_err();
        assert_eq!(why.lines().count(), 1, "{why}");
        why
    }

    /// Another program's connection.
    pub(super) fn other(&self) -> Connection {
        Connection::open(self.path()).unwrap()
    }
}

pub(super) async fn begin(ledger: &SqliteLedger, number: &str) -> Entry {
    made(ledger.begin(vec![create(number, None)], false).await.unwrap()).remove(0)
}

pub(super) async fn trouble(ledger: &SqliteLedger, number: &str) -> StoreErrorKind {
    ledger.begin(vec![create(number, None)], false).await.unwrap_err().kind
}

/// Tries as the gateway does, until it works.
pub(super) async fn works(ledger: &SqliteLedger) {
    while ledger.failing().is_some() {
        ledger.prove().await;
    }
}

#[tokio::test]
async fn all_is_there_after_closing_and_opening_again() {
    let place = Place::new();
    let ledger = place.open();
    let entries = made(ledger.begin(cancel("A", "r", 2), false).await.unwrap());
    ledger.save(Vec::new(), vec![PlannedAudit { operation: entries[0].id, time: time(1) }]).await.unwrap();
    let counts = ledger.counts().await.unwrap();
    ledger.close().await;
    let wal = std::fs::metadata(place.beside("db-wal")).map_or(0, |file| file.len());
    assert_eq!(wal, 0);
    let ledger = place.open();
    assert_eq!(ledger.of_request(&acme(), MutationKind::Cancel, "r").await.unwrap(), entries);
    assert_eq!(ledger.due_audits(time(1), 9).await.unwrap().len(), 1);
    assert_eq!(ledger.counts().await.unwrap(), counts);
    assert!(begin(&ledger, "B").await.id > entries[1].id);
    ledger.close().await;
}

#[tokio::test]
async fn a_copy_made_while_it_ran_has_all_that_was_answered() {
    let place = Place::new();
    let ledger = place.open();
    let entry = begin(&ledger, "A").await;
    let killed = place.killed();
    let after = killed.open();
    assert_eq!(after.get(entry.id).await.unwrap(), Some(entry));
    after.close().await;
    ledger.close().await;
}

#[tokio::test]
async fn what_waits_is_written_before_it_closes_and_nothing_after() {
    let place = Place::new();
    let ledger = place.open();
    let calls: Vec<_> = (0..50)
        .map(|call| {
            let ledger = ledger.clone();
            tokio::spawn(async move { ledger.begin(vec![create(&call.to_string(), None)], false).await })
        })
        .collect();
    tokio::task::yield_now().await;
    ledger.close().await;
    let mut written = 0;
    for call in calls {
        written += u64::from(call.await.unwrap().is_ok());
    }
    assert_eq!(ledger.begin(vec![create("late", None)], false).await.unwrap_err().kind, StoreErrorKind::Failed);
    assert_eq!(ledger.get(OperationId(1)).await.unwrap_err().kind, StoreErrorKind::Failed);
    let ledger = place.open();
    assert_eq!(ledger.counts().await.unwrap().first().map_or(0, |count| count.entries), written);
    assert_eq!(written, 50);
    ledger.close().await;
}

#[tokio::test]
async fn a_full_store_takes_nothing_and_works_when_there_is_room() {
    let place = Place::new();
    let ledger = place.open();
    let before = begin(&ledger, "before").await;
    let limit = |pages: i64| {
        ledger.write(move |tx| {
            tx.sql(&format!("PRAGMA max_page_count = {pages}"))?.query_row([], |row| row.get::<_, i64>(0))
        })
    };
    // Pages that a migration left free would have room for what is tried.
    let fill = ledger.write(|tx| {
        tx.sql("CREATE TABLE filler (page BLOB)")?.execute([])?;
        while tx.sql("PRAGMA freelist_count")?.query_row([], |row| row.get::<_, i64>(0))? > 0 {
            tx.sql("INSERT INTO filler VALUES (zeroblob(4000))")?.execute([])?;
        }
        tx.rows += 1;
        Ok(())
    });
    fill.await.unwrap();
    // As many as there are.
    limit(1).await.unwrap();
    let large = NewEntry { body: vec![1; 1 << 20].into(), ..create("large", None) };
    let error = ledger.begin(vec![large.clone()], false).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Full);
    let failing = ledger.failing().unwrap();
    assert_eq!((failing.error.kind, failing.error.to_string().starts_with("the store is full: ")), (error.kind, true));
    // A call that writes nothing proves nothing, and a try of the size of an entry does not fit either.
    let again = ledger.begin(vec![create("before", None)], false).await.unwrap();
    assert!(matches!(again, BeginOutcome::Existing { .. }), "{again:?}");
    assert!(ledger.failing().is_some());
    ledger.prove().await;
    assert!(ledger.failing().is_some());
    // Reads go on, and nothing of it was written.
    assert_eq!(ledger.get(before.id).await.unwrap(), Some(before.clone()));
    assert_eq!(ledger.creation_of(&acme(), "large").await.unwrap(), None);
    assert_eq!(ledger.counts().await.unwrap()[0].entries, 1);
    limit(1_000_000).await.unwrap();
    works(&ledger).await;
    let after = made(ledger.begin(vec![large], false).await.unwrap()).remove(0);
    assert!(after.id > before.id);
    ledger.close().await;
}

#[tokio::test]
async fn a_store_that_may_not_be_written_fails_and_is_read() {
    let place = Place::new();
    let ledger = place.open();
    let entry = begin(&ledger, "A").await;
    let query_only = |on: bool| ledger.write(move |tx| tx.sql(&format!("PRAGMA query_only = {on}"))?.execute([]));
    // The commit of this very group fails already.
    let _ = query_only(true).await;
    assert_eq!(trouble(&ledger, "B").await, StoreErrorKind::ReadOnly);
    assert_eq!(ledger.failing().unwrap().error.kind, StoreErrorKind::ReadOnly);
    assert_eq!(ledger.get(entry.id).await.unwrap(), Some(entry));
    ledger.close().await;
}

#[tokio::test]
async fn a_locked_store_fails_and_works_when_it_is_let_go() {
    let place = Place::new();
    let ledger = place.open();
    let entry = begin(&ledger, "A").await;
    let other = place.other();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(trouble(&ledger, "B").await, StoreErrorKind::Busy);
    assert_eq!(ledger.failing().unwrap().error.kind, StoreErrorKind::Busy);
    assert_eq!(ledger.get(entry.id).await.unwrap(), Some(entry));
    other.execute_batch("COMMIT").unwrap();
    works(&ledger).await;
    begin(&ledger, "B").await;
    ledger.close().await;
}

#[tokio::test]
async fn a_store_locked_at_the_start_works_when_it_is_let_go() {
    let place = Place::new();
    place.open().close().await;
    let other = place.other();
    other.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").unwrap();
    let ledger = place.open();
    assert_eq!(ledger.failing().unwrap().error.kind, StoreErrorKind::Busy);
    drop(other);
    works(&ledger).await;
    begin(&ledger, "A").await;
    ledger.close().await;
}

#[tokio::test]
async fn one_bad_write_does_not_spoil_its_group() {
    let place = Place::new();
    let ledger = place.open();
    let good = || ledger.begin(vec![create("good", None)], false);
    let bad = ledger.write(|tx| {
        let changed = tx.sql("UPDATE numbers SET value = 77 WHERE name = 'tried'")?.execute([])?;
        tx.sql("INSERT INTO numbers VALUES ('tried', 1)")?.execute([])?;
        Ok(changed)
    });
    // Handed over together: the first holds the writer up, so that the others are one group.
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let mut held = Some(held);
    let first = ledger.write(move |_| {
        let _ = held.take().map(|held| held.recv());
        Ok(())
    });
    let release = async { hold.send(()).unwrap() };
    let (first, good, bad, last, ()) =
        tokio::join!(biased; first, good(), bad, ledger.begin(vec![create("last", None)], false), release);
    first.unwrap();
    assert_eq!(bad.unwrap_err().kind, StoreErrorKind::Failed);
    assert_eq!((made(good.unwrap()).len(), made(last.unwrap()).len()), (1, 1));
    let tried: i64 =
        place.other().query_row("SELECT value FROM numbers WHERE name = 'tried'", [], |row| row.get(0)).unwrap();
    assert_eq!(tried, 0);
    let count = &ledger.counts().await.unwrap()[0];
    assert_eq!((count.state, count.entries), (EntryState::Sending, 2));
    ledger.close().await;
}

#[tokio::test]
async fn what_waits_together_is_synced_together() {
    let place = Place::new();
    let metrics = Metrics::new([]);
    let settings = StoreSettings { metrics: metrics.store.clone(), ..settings() };
    let ledger = SqliteLedger::open(&place.path(), settings).unwrap();
    let figure = |name: &str| -> u64 {
        let text = metrics.encode(TextFormat::Plain).unwrap();
        let line =
            text.lines().find_map(|line| line.strip_prefix(&format!("order_gateway_store_{name} ")).map(str::to_owned));
        line.unwrap().parse().unwrap()
    };
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let mut held = Some(held);
    let first = ledger.write(move |_| {
        let _ = held.take().map(|held| held.recv());
        Ok(())
    });
    let numbers = Vec::from_iter((0..100).map(|number| number.to_string()));
    let rest = futures_util::future::join_all(numbers.iter().map(|number| begin(&ledger, number)));
    let release = async { hold.send(()).unwrap() };
    let (first, entries, ()) = tokio::join!(biased; first, rest, release);
    first.unwrap();
    assert!(entries.is_sorted_by(|a, b| a.id < b.id));
    assert_eq!((figure("writes_total"), figure("rows_total")), (101, 100));
    // The first alone, unless the thread was late and took it with the others.
    assert!(figure("commit_seconds_count") <= 2);
    ledger.close().await;
}

#[tokio::test]
async fn the_log_is_copied_and_does_not_grow_without_end() {
    let place = Place::new();
    let ledger = place.open();
    // As large as a message can be.
    let large = |number: u32| NewEntry { body: vec![1; 1 << 20].into(), ..create(&number.to_string(), None) };
    let mut longest = 0;
    for number in 0..200 {
        let entries = made(ledger.begin(vec![large(number)], false).await.unwrap());
        let end = Entry { state: EntryState::Rejected, body: Bytes::new(), ..entries[0].clone() };
        assert!(matches!(ledger.save(vec![end], Vec::new()).await.unwrap(), SaveResult::Done(_)));
        longest = longest.max(std::fs::metadata(place.beside("db-wal")).unwrap().len());
    }
    // 16,000 pages, and what may come before it is looked at again.
    assert!(longest < 96 << 20, "{longest}");
    // Pages of bodies that are gone are used again.
    ledger.close().await;
    assert!(std::fs::metadata(place.path()).unwrap().len() < 8 << 20);
}

#[tokio::test]
async fn a_body_is_gone_from_the_file_when_its_entry_is_final() {
    let place = Place::new();
    let ledger = place.open();
    let secret = b"Jane Doe, 1 Main Street";
    let new = NewEntry { body: secret.to_vec().into(), snapshot: secret.to_vec(), ..create("A", None) };
    let entries = made(ledger.begin(vec![new], false).await.unwrap());
    let holds = |name: &str| {
        let bytes = std::fs::read(place.folder.path().join(name)).unwrap();
        bytes.windows(secret.len()).any(|window| window == secret)
    };
    assert!(holds("db-wal"));
    let end = Entry { state: EntryState::Succeeded, body: Bytes::new(), snapshot: Vec::new(), ..entries[0].clone() };
    assert!(matches!(ledger.save(vec![end], Vec::new()).await.unwrap(), SaveResult::Done(_)));
    ledger.close().await;
    assert!(!holds("db"));
}

#[test]
fn only_a_failed_sync_is_fatal() {
    let of = |code| rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
    for code in [rusqlite::ffi::SQLITE_IOERR_FSYNC, rusqlite::ffi::SQLITE_IOERR_DIR_FSYNC] {
        assert!(failure::is_fatal(&of(code)));
    }
    for code in [rusqlite::ffi::SQLITE_IOERR_WRITE, rusqlite::ffi::SQLITE_FULL, rusqlite::ffi::SQLITE_BUSY] {
        assert!(!failure::is_fatal(&of(code)));
    }
}

#[tokio::test]
async fn a_failed_sync_ends_the_process_before_anybody_hears_of_it() {
    let place = Place::new();
    let ended = Arc::new(AtomicBool::new(false));
    let seen = ended.clone();
    let settings = StoreSettings { on_fatal: Arc::new(move |_| seen.store(true, Ordering::SeqCst)), ..settings() };
    let ledger = SqliteLedger::open(&place.path(), settings).unwrap();
    let sync = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR_FSYNC);
    let failed = ledger.write::<(), _>(move |_| Err(rusqlite::Error::SqliteFailure(sync, None))).await;
    assert!(ended.load(Ordering::SeqCst));
    failed.unwrap_err();
    ledger.close().await;
}

#[tokio::test]
async fn what_was_written_just_now_need_not_be_proved() {
    let place = Place::new();
    let ledger = place.open();
    let probes = || -> i64 { place.other().query_row("SELECT count(*) FROM probe", [], |row| row.get(0)).unwrap() };
    begin(&ledger, "A").await;
    ledger.prove().await;
    assert_eq!(probes(), 0);
    ledger.prove().await;
    assert_eq!(probes(), 1);
    ledger.close().await;
}

#[tokio::test]
#[expect(
    clippy::disallowed_methods,
    reason = "the writer is a thread of its own, and a write that takes long is what is tested"
)]
#[expect(clippy::async_yields_async, reason = "what is handed over is waited for at the end")]
async fn the_ledger_and_deliveries_go_before_subscriptions() {
    use std::sync::mpsc;
    use std::time::Duration;

    let place = Place::new();
    let ledger = place.open();
    let (said, order) = mpsc::channel::<String>();
    let write = |lane, name: String, first: Option<mpsc::Receiver<()>>, takes: Duration| {
        let (ledger, said) = (ledger.clone(), said.clone());
        async move {
            let work = move |_: &mut WriteTx<'_>| {
                if let Some(go) = &first {
                    go.recv().unwrap();
                }
                std::thread::sleep(takes);
                said.send(name.clone()).unwrap();
                Ok(())
            };
            ledger.write_in(lane, work).await.unwrap();
        }
    };
    // What is handed over while the first one is being written is one group.
    let (go, gate) = mpsc::channel();
    let mut tasks = vec![tokio::spawn(write(WriteLane::First, "gate".into(), Some(gate), Duration::ZERO))];
    let handed_over = async |lane, name: &str, first, takes| {
        let task = tokio::spawn(write(lane, name.to_owned(), first, takes));
        // Until it stands in the queue, which has room.
        tokio::task::yield_now().await;
        task
    };
    tokio::task::yield_now().await;
    let (go_on, slow) = mpsc::channel();
    // This one takes all the time that there is for its kind in a transaction.
    tasks.push(handed_over(WriteLane::Second, "slow", Some(slow), writer::BUDGET).await);
    for number in 0..3 {
        tasks.push(handed_over(WriteLane::Second, &format!("second {number}"), None, Duration::ZERO).await);
    }
    tasks.push(handed_over(WriteLane::First, "first", None, Duration::ZERO).await);
    go.send(()).unwrap();
    assert_eq!(order.recv().unwrap(), "gate");
    assert_eq!(order.recv().unwrap(), "first", "it was handed over last");
    // The slow one is being written, or waits for the next group.
    tasks.push(handed_over(WriteLane::First, "late", None, Duration::ZERO).await);
    go_on.send(()).unwrap();
    drop(said);
    for task in tasks {
        task.await.unwrap();
    }
    let rest: Vec<String> = order.iter().collect();
    assert_eq!(
        rest,
        ["slow", "late", "second 0", "second 1", "second 2"],
        "none is left out, and none overtakes its like"
    );
    ledger.close().await;
}
