//! Opens the file: permissions, checks, and settings of SQLite.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use tokio::time::Instant;

use super::{failure, migrations};
use crate::planted_bug::{PlantedBug, is_planted};
use crate::ports::store_error::{StoreError, StoreErrorKind};

/// Marks the file of an order gateway: "OGW1".
pub(super) const APPLICATION: i32 = 0x4f47_5731;

/// The first version of SQLite without the fault by which a checkpoint could lose a WAL that was just reset.
const OLDEST: i32 = 3_051_003;

/// Page size of a new database, SQLite's own default. Scattered keys dirty a page each, which favours small pages.
const PAGE: u32 = 4096;

/// Longest wait for a different process that holds the file.
const BUSY: Duration = Duration::from_secs(1);

/// Longest check for damage at the start. A larger file is checked in part; damage beyond is found when read, and the
/// store then fails.
const CHECK: Duration = Duration::from_millis(250);

/// A failure to open the file.
#[derive(Debug)]
pub(super) enum OpenError {
    /// This process must not use the file; one line for the operator.
    Refused(String),
    /// The file cannot be used now.
    Failing(StoreError),
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failing(failure::of(&error))
    }
}

/// The writing connection to a database, migrated to the latest version.
pub(super) fn writer(path: &Path) -> Result<Connection, OpenError> {
    let shown = path.display();
    let refused = |text: String| Err(OpenError::Refused(format!("the store {shown} {text}")));
    if rusqlite::version_number() < OLDEST {
        return refused(format!("needs SQLite 3.51.3 or later, and this is {}", rusqlite::version()));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = match Connection::open_with_flags(path, flags) {
        Ok(connection) => connection,
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::CannotOpen) => {
            return refused("cannot be opened: its directory must exist and be writable".into());
        }
        Err(error) => return Err(error.into()),
    };
    connection.busy_timeout(BUSY)?;
    // Nothing is written before the owner of the file is known.
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (application, version) = (number("application_id")?, number("user_version")?);
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let new = tables == 0 && version == 0;
    if !new && application != i64::from(APPLICATION) {
        return refused("is a database of another program".into());
    }
    if version > migrations::LATEST {
        let latest = migrations::LATEST;
        return refused(format!("was written by a newer order-gateway (schema {version}, this one knows {latest})"));
    }
    if connection.is_readonly("main")? {
        let text = format!("{shown} may not be written");
        return Err(OpenError::Failing(StoreError { kind: StoreErrorKind::ReadOnly, text }));
    }
    if new {
        connection.pragma_update(None, "page_size", PAGE)?;
    } else {
        check(&mut connection)?;
    }
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if mode != "wal" {
        return refused("is on a file system that has no write-ahead log".into());
    }
    for (pragma, value) in [
        ("synchronous", if is_planted(PlantedBug::SynchronousOff) { "OFF" } else { "FULL" }),
        // Erased bodies are overwritten where that costs no further page.
        ("secure_delete", "FAST"),
        // The writer decides about checkpoints.
        ("wal_autocheckpoint", "0"),
        // Bytes of the WAL file that are kept after a checkpoint.
        ("journal_size_limit", "67108864"),
        // KiB, negative. SQLite walks the whole page cache at a commit whose deletes reordered pages, which those of
        // `bodies` do at nearly every commit: with 16 MiB that took 2.4 % of a CreateOrder's CPU time
        // (`perf` with 256 callers: 1.6 of 67 us).
        ("cache_size", "-4096"),
        ("trusted_schema", "OFF"),
    ] {
        connection.pragma_update_and_check(None, pragma, value, |_| Ok(())).or_else(none_is_well)?;
    }
    migrations::run(&mut connection, APPLICATION, version)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// A read-only connection to an existing database.
pub(super) fn reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// A connection that copies the WAL into the file.
pub(super) fn copier(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

/// Some pragmas return their new value, and some return nothing.
fn none_is_well(error: rusqlite::Error) -> rusqlite::Result<()> {
    if error == rusqlite::Error::QueryReturnedNoRows { Ok(()) } else { Err(error) }
}

/// Checks the file for damage, within a time limit.
fn check(connection: &mut Connection) -> Result<(), OpenError> {
    let end = Instant::now() + CHECK;
    connection.progress_handler(10_000, Some(move || Instant::now() > end))?;
    let found = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    connection.progress_handler(0, None::<fn() -> bool>)?;
    match found {
        Ok(found) if found == "ok" => Ok(()),
        Ok(text) => Err(OpenError::Failing(StoreError { kind: StoreErrorKind::Corrupt, text })),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => {
            tracing::info!(seconds = CHECK.as_secs_f64(), "the store is large; a part of it was checked for damage");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
