//! Finds rows by keys chosen outside: entries by order numbers, request ids and contents of cancellations; deliveries
//! by event ids and bodies (`feed/known.rs`).
//!
//! Such keys are scattered over an index. Written one by one into a large index, every key would change a page of its
//! own, which costs more than the rest of the row. The newest keys are therefore held in memory; their rows, which lie
//! together, restore the keys at the next start. From a certain number on, the keys move into a table in sorted order,
//! where several share a page.
//!
//! A key is only a short hash here. Every candidate is compared with the full key in its row; a collision costs one
//! read.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use rusqlite::{Connection, Row, params};
use sha2::{Digest as _, Sha256};

use super::rows::CodedValue;
use super::tx::WriteTx;
use crate::domain::ledger::MutationKind;
use crate::store::keys;

/// Most keys in memory before they move; the same number arrives during the move. 25 bytes each. Tests use few keys, to
/// see them move.
pub(super) const NEWEST: usize = if cfg!(any(test, feature = "crash-points")) { 100 } else { 100_000 };

/// The kinds of rows. Every kind has a table of keys, and a number in the table `numbers`: the keys of rows with ids
/// from there on may not be in the table yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyedRows {
    Entries,
    Deliveries,
}

impl KeyedRows {
    const fn keyed(self) -> &'static str {
        match self {
            Self::Entries => "keyed",
            Self::Deliveries => "delivery_keyed",
        }
    }

    const fn find(self) -> &'static str {
        match self {
            Self::Entries => "SELECT entry FROM keys WHERE hash BETWEEN ?1 AND ?2",
            Self::Deliveries => "SELECT delivery FROM delivery_keys WHERE hash BETWEEN ?1 AND ?2",
        }
    }

    /// A killed process may have moved the key before.
    const fn insert(self) -> &'static str {
        match self {
            Self::Entries => "INSERT OR IGNORE INTO keys (hash, entry) VALUES (?1, ?2)",
            Self::Deliveries => "INSERT OR IGNORE INTO delivery_keys (hash, delivery) VALUES (?1, ?2)",
        }
    }

    const fn delete(self) -> &'static str {
        match self {
            Self::Entries => "DELETE FROM keys WHERE hash = ?1 AND entry = ?2",
            Self::Deliveries => "DELETE FROM delivery_keys WHERE hash = ?1 AND delivery = ?2",
        }
    }
}

/// The kind of an entry's key.
#[derive(Clone, Copy, Debug)]
pub(super) enum EntryKeyKind {
    /// The order number of a creation.
    Number,
    /// The id of a request.
    Request(MutationKind),
    /// Order number and fingerprint of a cancellation.
    Content,
}

impl EntryKeyKind {
    /// The numbers are in every database and must never change.
    fn code(self) -> u8 {
        match self {
            Self::Number => 0,
            // Two kinds existed before contents became keys.
            Self::Request(kind) if kind.code() < 2 => 1 + kind.code(),
            Self::Request(kind) => 2 + kind.code(),
            Self::Content => 3,
        }
    }

    /// Whether an entry holds this key of its account.
    fn stands(self, tx: &WriteTx<'_>, id: i64, account: i64, key: &[u8]) -> rusqlite::Result<bool> {
        let stands = match self {
            Self::Number => "SELECT 1 FROM entries WHERE id = ?1 AND account = ?2 AND number_key = ?3",
            Self::Content => "SELECT 1 FROM entries WHERE id = ?1 AND account = ?2 AND content_key = ?3",
            Self::Request(kind) => {
                let stands = "SELECT 1 FROM entries \
                              WHERE id = ?1 AND account = ?2 AND request_key = ?3 AND kind = ?4 AND freed = 0";
                return tx.sql(stands)?.exists(params![id, account, key, CodedValue(kind)]);
            }
        };
        tx.sql(stands)?.exists(params![id, account, key])
    }
}

/// The hash for finding an entry by a key.
pub(super) fn hash(by: EntryKeyKind, account: i64, key: &[u8]) -> i64 {
    hash_of(by.code(), account, key).into()
}

/// The same hash, for migrations and for programs that fill a database.
pub fn hash_of(by: u8, account: i64, key: &[u8]) -> i32 {
    let hash = Sha256::new().chain_update([by]).chain_update(account.to_be_bytes()).chain_update(key).finalize();
    i32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}

/// The keys that are not in the table yet, as hashes with the ids of their rows.
#[derive(Debug, Default)]
pub(super) struct NewestKeys {
    added: BTreeSet<(i64, i64)>,
    /// Keys on their way into the table: the keys of all rows below `below`.
    moving: BTreeSet<(i64, i64)>,
    /// Number of keys moved for every added key.
    pace: usize,
    /// Rows from this id on have no keys in the table.
    below: i64,
    /// Number of keys to move in this transaction: the added keys, times the pace.
    due: usize,
    /// Keys removed in this transaction.
    taken: Vec<(i64, i64)>,
    /// Whether `below` was set in this transaction.
    began: bool,
}

impl NewestKeys {
    /// Reads the keys of entries, and of the remains of trimmed entries, that are not known to have moved. A killed
    /// process may have moved some of the keys.
    pub(super) fn of_entries(connection: &Connection, next_entry: i64) -> rusqlite::Result<Self> {
        let mut newest = Self { below: next_entry, ..Self::default() };
        let keyed = first_not_known(connection, KeyedRows::Entries)?;
        let mut entries = connection.prepare(
            "SELECT id, account, number_key, content_key, request_key, kind FROM entries NOT INDEXED WHERE id >= ?1",
        )?;
        let mut entries = entries.query([keyed])?;
        while let Some(row) = entries.next()? {
            newest.note(row, EntryKeyKind::Number, 2)?;
            newest.note(row, EntryKeyKind::Content, 3)?;
            newest.note(row, EntryKeyKind::Request(row.get::<_, CodedValue<MutationKind>>(5)?.0), 4)?;
        }
        let mut trimmed = connection.prepare("SELECT id, account, number_key FROM trimmed WHERE id >= ?1")?;
        let mut trimmed = trimmed.query([keyed])?;
        while let Some(row) = trimmed.next()? {
            newest.note(row, EntryKeyKind::Number, 2)?;
        }
        Ok(newest)
    }

    /// The same for deliveries.
    pub(super) fn of_deliveries(connection: &Connection, next_delivery: i64) -> rusqlite::Result<Self> {
        let mut newest = Self { below: next_delivery, ..Self::default() };
        let keyed = first_not_known(connection, KeyedRows::Deliveries)?;
        let mut deliveries = connection.prepare("SELECT id, key FROM deliveries NOT INDEXED WHERE id >= ?1")?;
        let mut deliveries = deliveries.query([keyed])?;
        while let Some(row) = deliveries.next()? {
            newest.added.insert((keys::delivery_hash(row.get_ref(1)?.as_blob()?), row.get(0)?));
        }
        Ok(newest)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.added.len() + self.moving.len()
    }

    /// Clears what belongs to the previous transaction.
    pub(super) fn begin(&mut self) {
        (self.due, self.began) = (0, false);
        self.taken.clear();
    }

    /// The keys after a rollback, which saves a failing store from reading all keys at every attempt. Surplus keys are
    /// harmless. Returns `None` when the keys must be read again: ids of rolled-back rows may be assigned again,
    /// including `below`.
    pub(super) fn rolled_back(mut self) -> Option<Self> {
        self.added.extend(self.taken.drain(..));
        (!self.began).then_some(self)
    }

    /// Notes the key in this column, if present.
    fn note(&mut self, row: &Row<'_>, by: EntryKeyKind, column: usize) -> rusqlite::Result<()> {
        if let Some(key) = row.get_ref(column)?.as_blob_or_null()? {
            self.added.insert((hash(by, row.get(1)?, key), row.get(0)?));
        }
        Ok(())
    }
}

/// The first row that is not known to have its keys in the table.
fn first_not_known(connection: &Connection, of: KeyedRows) -> rusqlite::Result<i64> {
    let mut keyed = connection.prepare_cached("SELECT value FROM numbers WHERE name = ?1")?;
    keyed.query_row([of.keyed()], |row| row.get(0))
}

/// Rows that may have keys with these hashes, or the remains of such rows, in the order of their ids.
pub(super) fn found(tx: &mut WriteTx<'_>, of: KeyedRows, hashes: RangeInclusive<i64>) -> rusqlite::Result<Vec<i64>> {
    let (first, last) = hashes.into_inner();
    let NewestKeys { added, moving, .. } = tx.newest(of);
    let places = (first, i64::MIN)..=(last, i64::MAX);
    let mut found = Vec::from_iter(added.range(places.clone()).chain(moving.range(places)).map(|(_, id)| *id));
    let mut keys = tx.sql(of.find())?;
    for id in keys.query_map([first, last], |row| row.get(0))? {
        found.push(id?);
    }
    found.sort_unstable();
    // A killed process may have moved keys that are held in memory again.
    found.dedup();
    Ok(found)
}

/// Adds the key of a new row.
pub(super) fn put(tx: &mut WriteTx<'_>, of: KeyedRows, hash: i64, id: i64) {
    let newest = tx.newest(of);
    newest.added.insert((hash, id));
    newest.due += 1;
}

/// Removes the key of a row.
pub(super) fn take_out(tx: &mut WriteTx<'_>, of: KeyedRows, hash: i64, id: i64) -> rusqlite::Result<()> {
    let place = (hash, id);
    let newest = tx.newest(of);
    if newest.added.remove(&place) || newest.moving.remove(&place) {
        newest.taken.push(place);
    }
    if id >= newest.below {
        return Ok(());
    }
    tx.sql(of.delete())?.execute([hash, id]).map(drop)
}

/// Moves the due keys into the table, at the end of a transaction. `next` is the id of the next row.
pub(super) fn move_due(tx: &mut WriteTx<'_>, of: KeyedRows, next: i64) -> rusqlite::Result<()> {
    let newest = tx.newest(of);
    let mut due = std::mem::take(&mut newest.due);
    if newest.moving.is_empty() {
        if newest.added.len() < NEWEST {
            return Ok(());
        }
        newest.moving = std::mem::take(&mut newest.added);
        // After kills there may be more keys. A higher pace keeps the number of keys arriving meanwhile unchanged.
        newest.pace = newest.moving.len().div_ceil(NEWEST);
        newest.below = next;
        newest.began = true;
    }
    due *= newest.pace;
    let mut insert = tx.sql(of.insert())?;
    while due > 0
        && let Some((hash, id)) = tx.newest(of).moving.pop_first()
    {
        tx.newest(of).taken.push((hash, id));
        insert.execute([hash, id])?;
        due -= 1;
    }
    if tx.newest(of).moving.is_empty() {
        let below = tx.newest(of).below;
        tx.number(of.keyed(), below)?;
    }
    Ok(())
}

/// Entries that may have this key, or the remains of such entries, in the order of their ids.
pub(super) fn candidates(
    tx: &mut WriteTx<'_>,
    by: EntryKeyKind,
    account: i64,
    key: &[u8],
) -> rusqlite::Result<Vec<i64>> {
    let hash = hash(by, account, key);
    found(tx, KeyedRows::Entries, hash..=hash)
}

/// The first of these entries that holds the key.
pub(super) fn standing(
    tx: &WriteTx<'_>,
    candidates: &[i64],
    by: EntryKeyKind,
    account: i64,
    key: &[u8],
) -> rusqlite::Result<Option<i64>> {
    for id in candidates {
        if by.stands(tx, *id, account, key)? {
            return Ok(Some(*id));
        }
    }
    Ok(None)
}

/// Adds a key of a new entry.
pub(super) fn add(tx: &mut WriteTx<'_>, by: EntryKeyKind, account: i64, key: &[u8], id: i64) {
    put(tx, KeyedRows::Entries, hash(by, account, key), id);
}

/// Removes a key of an entry.
pub(super) fn remove(
    tx: &mut WriteTx<'_>,
    by: EntryKeyKind,
    account: i64,
    key: &[u8],
    id: i64,
) -> rusqlite::Result<()> {
    take_out(tx, KeyedRows::Entries, hash(by, account, key), id)
}

#[cfg(test)]
#[path = "lookup_tests.rs"]
mod tests;
