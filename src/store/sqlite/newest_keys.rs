//! The newest keys of rows, in memory until they move into a table.
//!
//! Such keys are scattered over an index. Written one by one into a large index, every key would change a page of its
//! own, which costs more than the rest of the row. The newest keys are therefore held in memory; their rows, which lie
//! together, restore the keys at the next start. From a certain number on, the keys move into a table in sorted order,
//! where several share a page.

use std::collections::BTreeSet;

use rusqlite::{Connection, Row, params};
use sha2::{Digest as _, Sha256};

use super::rows::CodedValue;
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

    pub(super) const fn find(self) -> &'static str {
        match self {
            Self::Entries => "SELECT entry FROM keys WHERE hash BETWEEN ?1 AND ?2",
            Self::Deliveries => "SELECT delivery FROM delivery_keys WHERE hash BETWEEN ?1 AND ?2",
        }
    }

    /// A killed process may have moved the key before.
    pub(super) const fn insert(self) -> &'static str {
        match self {
            Self::Entries => "INSERT OR IGNORE INTO keys (hash, entry) VALUES (?1, ?2)",
            Self::Deliveries => "INSERT OR IGNORE INTO delivery_keys (hash, delivery) VALUES (?1, ?2)",
        }
    }

    pub(super) const fn delete(self) -> &'static str {
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
    pub(super) added: BTreeSet<(i64, i64)>,
    /// Keys on their way into the table: the keys of all rows below `below`.
    pub(super) moving: BTreeSet<(i64, i64)>,
    /// Number of keys moved for every added key.
    pub(super) pace: usize,
    /// Rows from this id on have no keys in the table.
    pub(super) below: i64,
    /// Number of keys to move in this transaction: the added keys, times the pace.
    pub(super) due: usize,
    /// Keys removed in this transaction.
    pub(super) taken: Vec<(i64, i64)>,
    /// Whether `below` was set in this transaction.
    pub(super) began: bool,
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

    /// Moves the due keys into the table, at the end of a transaction. `next` is the id of the next row.
    pub(super) fn move_due(&mut self, connection: &Connection, of: KeyedRows, next: i64) -> rusqlite::Result<()> {
        let mut due = std::mem::take(&mut self.due);
        if self.moving.is_empty() {
            if self.added.len() < NEWEST {
                return Ok(());
            }
            self.moving = std::mem::take(&mut self.added);
            // After kills there may be more keys. A higher pace keeps the number of keys arriving meanwhile unchanged.
            self.pace = self.moving.len().div_ceil(NEWEST);
            self.below = next;
            self.began = true;
        }
        due *= self.pace;
        let mut insert = connection.prepare_cached(of.insert())?;
        while due > 0
            && let Some((hash, id)) = self.moving.pop_first()
        {
            self.taken.push((hash, id));
            insert.execute([hash, id])?;
            due -= 1;
        }
        if self.moving.is_empty() {
            let mut number = connection.prepare_cached("UPDATE numbers SET value = ?2 WHERE name = ?1")?;
            number.execute(params![of.keyed(), self.below])?;
        }
        Ok(())
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
