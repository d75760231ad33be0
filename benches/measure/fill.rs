//! Databases that have ledgers of many entries, and the numbers of the orders in them.

use std::fs::File;
use std::path::Path;

use clap::ValueEnum;
use order_gateway::store::sqlite::hash_of;
use rusqlite::functions::FunctionFlags;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// How callers number their orders.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Numbers {
    /// Each is greater than the one before, so they lie side by side in an index.
    Rising,
    /// All over the place, so each lies on a page of its own.
    Scattered,
}

/// No prime factor of the scattered ones' span, so that no two are equal.
const STEP: i64 = 387_420_489_013;
/// Rising numbers are below; the scattered ones have the rest of twelve digits.
const SCATTERED: i64 = 100_000_000_000;
const SPAN: i64 = 900_000_000_000;
/// Entries whose keys the gateway holds in memory before they move into its index.
const NEWEST: i64 = 100_000;

impl Numbers {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rising => "rising",
            Self::Scattered => "scattered",
        }
    }

    /// The number of the `n`-th order, of at most twelve digits.
    pub(crate) fn nth(self, n: u64) -> u64 {
        match self {
            Self::Rising => n,
            Self::Scattered => {
                let place = u128::from(n) * STEP.unsigned_abs() as u128 % SPAN.unsigned_abs() as u128;
                SCATTERED.unsigned_abs() + u64::try_from(place).unwrap_or_default()
            }
        }
    }
}

/// Makes the new database of a store one in which so many orders of an account have been created: half of them with rising
/// numbers, half with scattered ones, all of twelve digits. They are the first `entries` of each kind; those after them
/// are free.
pub(crate) fn fill(path: &Path, account: &str, entries: i64) -> Result<()> {
    let db = rusqlite::Connection::open(path)?;
    db.execute_batch("PRAGMA synchronous = OFF; PRAGMA cache_size = -1000000; PRAGMA wal_autocheckpoint = 100000;")?;
    db.execute("INSERT INTO accounts (id, name) VALUES (1, ?1)", [account])?;
    let part = 500_000;
    for first in (1..=entries).step_by(part as usize) {
        let last = (first + part - 1).min(entries);
        db.execute(
            "WITH RECURSIVE n (id) AS (SELECT ?1 UNION ALL SELECT id + 1 FROM n WHERE id < ?2) \
             INSERT INTO entries (id, fence, account, kind, state, effect, attempts, batch, batches, created, updated, \
             not_after, number_key, freed, correlation_id, fingerprint, order_number, answer, last_error, resolution) \
             SELECT id, 1, 1, 0, 4, 1, 1, 0, 1, 1800000000000 + id, 1800000001000 + id, 1800000900000 + id, \
             CAST(number AS BLOB), 0, randomblob(16), randomblob(33), number, randomblob(200), '', '' \
             FROM (SELECT id, printf('%012d', iif(id % 2, id, ?3 + id * ?4 % ?5)) AS number FROM n)",
            [first, last, SCATTERED, STEP, SPAN],
        )?;
    }
    db.create_scalar_function("key_hash", 3, FunctionFlags::SQLITE_DETERMINISTIC, |row| {
        Ok(hash_of(row.get(0)?, row.get(1)?, row.get_raw(2).as_blob()?))
    })?;
    // The newest are left for the gateway to move, which is what goes on all the time in a ledger that is used.
    let keyed = (entries - NEWEST).max(0) + 1;
    db.execute(
        "INSERT INTO keys SELECT key_hash(0, account, number_key) AS hash, id FROM entries WHERE id < ?1 ORDER BY hash, id",
        [keyed],
    )?;
    db.execute("UPDATE numbers SET value = ?1 WHERE name = 'keyed'", [keyed])?;
    db.execute("INSERT INTO entry_spans SELECT id / 1024, min(created) FROM entries GROUP BY id / 1024", [])?;
    db.execute("INSERT INTO counts VALUES (1, 4, ?1)", [entries])?;
    db.execute("INSERT INTO succeeded SELECT account, id FROM entries", [])?;
    db.execute("UPDATE numbers SET value = ?1 + 1 WHERE name IN ('next_entry', 'counted')", [entries])?;
    db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
    drop(db);
    // Or what is measured first waits for all of it.
    Ok(File::options().write(true).open(path)?.sync_all()?)
}
