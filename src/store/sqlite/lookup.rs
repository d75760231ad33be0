//! Finds rows by keys that others chose: entries by order numbers, ids of requests and contents of cancellations, deliveries by
//! ids of events and by bodies (`feed/known.rs`).
//!
//! Such keys lie all over an index. Written one by one into a large one, each would change a page of its own, which costs
//! more than all the rest of a row. So the newest are held in memory; their rows, which lie together, have
//! them for the next start. When there are enough they move into a table in its order, where several share a page.
//!
//! Here a key is a short hash only. Whatever is found by one is asked for the key itself, which is in its row: two that share
//! a hash by chance cost a look and nothing else.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use rusqlite::{Connection, Row, params};
use sha2::{Digest as _, Sha256};

use super::rows::CodedValue;
use super::tx::WriteTx;
use crate::domain::ledger::MutationKind;
use crate::store::keys;

/// Keys in memory before they move; while they do, as many come. 25 bytes each. Tests have few, so that they see them move.
pub(super) const NEWEST: usize = if cfg!(any(test, feature = "crash-points")) { 100 } else { 100_000 };

/// What is found. Each has a table of keys, and a number in the table of numbers: rows with ids from there on may not be in it
/// yet.
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

    /// A process that was killed may have moved it before.
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

/// What a key of an entry is of.
#[derive(Clone, Copy, Debug)]
pub(super) enum EntryKeyKind {
    /// The order number of a creation.
    Number,
    /// A request's id.
    Request(MutationKind),
    /// Order number and fingerprint of a cancellation.
    Content,
}

impl EntryKeyKind {
    /// The numbers are in every database: they never change.
    fn code(self) -> u8 {
        match self {
            Self::Number => 0,
            // Two kinds were there before contents were keys.
            Self::Request(kind) if kind.code() < 2 => 1 + kind.code(),
            Self::Request(kind) => 2 + kind.code(),
            Self::Content => 3,
        }
    }

    /// Whether an entry stands by this key of its account.
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

/// What a key of an entry is found by.
pub(super) fn hash(by: EntryKeyKind, account: i64, key: &[u8]) -> i64 {
    hash_of(by.code(), account, key).into()
}

/// The same, for migrations and for programs that fill a database.
pub fn hash_of(by: u8, account: i64, key: &[u8]) -> i32 {
    let hash = Sha256::new().chain_update([by]).chain_update(account.to_be_bytes()).chain_update(key).finalize();
    i32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}

/// Keys that are not in the table: their hashes, and the rows that have them.
#[derive(Debug, Default)]
pub(super) struct NewestKeys {
    added: BTreeSet<(i64, i64)>,
    /// On their way into the table: all of the rows below `below`, until they have moved.
    moving: BTreeSet<(i64, i64)>,
    /// How many move for each that comes.
    pace: usize,
    /// Rows from here on have none in the table.
    below: i64,
    /// That are to move in this transaction: as many as were added, times the pace.
    due: usize,
    /// Taken out in this transaction.
    taken: Vec<(i64, i64)>,
    /// `below` is of this transaction.
    began: bool,
}

impl NewestKeys {
    /// Finds those of the entries that were not known to have moved, and of what is left of such entries. A process that was
    /// killed may have moved some of them.
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

    /// The same of deliveries.
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

    /// A transaction begins.
    pub(super) fn begin(&mut self) {
        (self.due, self.began) = (0, false);
        self.taken.clear();
    }

    /// What is left after a rollback, so that a store that fails does not read all of it again with each try. Keys too many
    /// do no harm. `None` when it has to be read: numbers of rows that were taken may be taken again, `below` among them.
    pub(super) fn rolled_back(mut self) -> Option<Self> {
        self.added.extend(self.taken.drain(..));
        (!self.began).then_some(self)
    }

    /// Notes the key in this column, if there is one.
    fn note(&mut self, row: &Row<'_>, by: EntryKeyKind, column: usize) -> rusqlite::Result<()> {
        if let Some(key) = row.get_ref(column)?.as_blob_or_null()? {
            self.added.insert((hash(by, row.get(1)?, key), row.get(0)?));
        }
        Ok(())
    }
}

/// The first row that was not known to have its keys in the table.
fn first_not_known(connection: &Connection, of: KeyedRows) -> rusqlite::Result<i64> {
    let mut keyed = connection.prepare_cached("SELECT value FROM numbers WHERE name = ?1")?;
    keyed.query_row([of.keyed()], |row| row.get(0))
}

/// Rows that may have keys with these hashes, or what is left of them, in the order of their ids.
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
    // A process that was killed may have moved what is held in memory again now.
    found.dedup();
    Ok(found)
}

/// From now on the row, a new one, is found by a key with this hash.
pub(super) fn put(tx: &mut WriteTx<'_>, of: KeyedRows, hash: i64, id: i64) {
    let newest = tx.newest(of);
    newest.added.insert((hash, id));
    newest.due += 1;
}

/// The row is no longer found by it.
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

/// Moves what is due into the table. At the end of a transaction. `next`: the id of the next row.
pub(super) fn move_due(tx: &mut WriteTx<'_>, of: KeyedRows, next: i64) -> rusqlite::Result<()> {
    let newest = tx.newest(of);
    let mut due = std::mem::take(&mut newest.due);
    if newest.moving.is_empty() {
        if newest.added.len() < NEWEST {
            return Ok(());
        }
        newest.moving = std::mem::take(&mut newest.added);
        // After kills there may be more of them. They move faster, so that no more come meanwhile than at other times.
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

/// Entries that may have this key, or what is left of them, in the order of their ids.
pub(super) fn candidates(
    tx: &mut WriteTx<'_>,
    by: EntryKeyKind,
    account: i64,
    key: &[u8],
) -> rusqlite::Result<Vec<i64>> {
    let hash = hash(by, account, key);
    found(tx, KeyedRows::Entries, hash..=hash)
}

/// The first of these entries that stands by the key.
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

/// From now on the entry, a new one, is found by this key.
pub(super) fn add(tx: &mut WriteTx<'_>, by: EntryKeyKind, account: i64, key: &[u8], id: i64) {
    put(tx, KeyedRows::Entries, hash(by, account, key), id);
}

/// The entry is no longer found by this key.
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
