//! Finds entries by what callers chose: order numbers, ids of requests, contents of cancellations.
//!
//! Such keys lie all over an index. Written one by one into a large one, each would change a page of its own, which costs
//! more than all the rest of an entry. So the newest are held in memory; the rows of their entries, which lie together, have
//! them for the next start. When there are enough they move into the table `keys` in its order, where several share a page.
//!
//! Here a key is a short hash only. Whatever is found by one is asked for the key itself, which is in its row: two that share
//! a hash by chance cost a look and nothing else.

use std::collections::BTreeSet;

use rusqlite::{Connection, Row, params};
use sha2::{Digest as _, Sha256};

use super::rows::Coded;
use super::tx::Tx;
use crate::domain::ledger::MutationKind;

/// Keys in memory before they move; while they do, as many come. 25 bytes each. Tests have few, so that they see them move.
const NEWEST: usize = if cfg!(any(test, feature = "crash-points")) { 100 } else { 100_000 };

/// What a key is of.
#[derive(Clone, Copy, Debug)]
pub(super) enum By {
    /// The order number of a creation.
    Number,
    /// A request's id.
    Request(MutationKind),
    /// Order number and fingerprint of a cancellation.
    Content,
}

impl By {
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
    fn stands(self, tx: &Tx<'_>, id: i64, account: i64, key: &[u8]) -> rusqlite::Result<bool> {
        let stands = match self {
            Self::Number => "SELECT 1 FROM entries WHERE id = ?1 AND account = ?2 AND number_key = ?3",
            Self::Content => "SELECT 1 FROM entries WHERE id = ?1 AND account = ?2 AND content_key = ?3",
            Self::Request(kind) => {
                let stands = "SELECT 1 FROM entries \
                              WHERE id = ?1 AND account = ?2 AND request_key = ?3 AND kind = ?4 AND freed = 0";
                return tx.sql(stands)?.exists(params![id, account, key, Coded(kind)]);
            }
        };
        tx.sql(stands)?.exists(params![id, account, key])
    }
}

/// What a key is found by.
pub(super) fn hash(by: By, account: i64, key: &[u8]) -> i32 {
    hash_of(by.code(), account, key)
}

/// The same, for migrations and for programs that fill a database.
pub fn hash_of(by: u8, account: i64, key: &[u8]) -> i32 {
    let hash = Sha256::new().chain_update([by]).chain_update(account.to_be_bytes()).chain_update(key).finalize();
    i32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]])
}

/// Keys that are not in the table: their hashes, and the entries that have them.
#[derive(Debug, Default)]
pub(super) struct Newest {
    added: BTreeSet<(i32, i64)>,
    /// On their way into the table: all of the entries below `below`, until they have moved.
    moving: BTreeSet<(i32, i64)>,
    /// Entries from here on have none in the table.
    below: i64,
    /// That are to move in this transaction: as many as were added.
    due: usize,
    /// Taken out in this transaction.
    taken: Vec<(i32, i64)>,
    /// `below` is of this transaction.
    began: bool,
}

impl Newest {
    /// Finds them in the rows of the entries that were not known to have moved (`keyed`), and of what is left of such
    /// entries. A process that was killed may have moved some of them.
    pub(super) fn read(connection: &Connection, keyed: i64, next_entry: i64) -> rusqlite::Result<Self> {
        let mut newest = Self { below: next_entry, ..Self::default() };
        let mut entries = connection.prepare(
            "SELECT id, account, number_key, content_key, request_key, kind FROM entries NOT INDEXED WHERE id >= ?1",
        )?;
        let mut entries = entries.query([keyed])?;
        while let Some(row) = entries.next()? {
            newest.note(row, By::Number, 2)?;
            newest.note(row, By::Content, 3)?;
            newest.note(row, By::Request(row.get::<_, Coded<MutationKind>>(5)?.0), 4)?;
        }
        let mut trimmed = connection.prepare("SELECT id, account, number_key FROM trimmed WHERE id >= ?1")?;
        let mut trimmed = trimmed.query([keyed])?;
        while let Some(row) = trimmed.next()? {
            newest.note(row, By::Number, 2)?;
        }
        Ok(newest)
    }

    /// A transaction begins.
    pub(super) fn begin(&mut self) {
        (self.due, self.began) = (0, false);
        self.taken.clear();
    }

    /// What is left after a rollback, so that a store that fails does not read all of it again with each try. Keys too many
    /// do no harm. `None` when it has to be read: numbers of entries that were taken may be taken again, `below` among them.
    pub(super) fn rolled_back(mut self) -> Option<Self> {
        self.added.extend(self.taken.drain(..));
        (!self.began).then_some(self)
    }

    /// Notes the key in this column, if there is one.
    fn note(&mut self, row: &Row<'_>, by: By, column: usize) -> rusqlite::Result<()> {
        if let Some(key) = row.get_ref(column)?.as_blob_or_null()? {
            self.added.insert((hash(by, row.get(1)?, key), row.get(0)?));
        }
        Ok(())
    }
}

/// Entries that may have this key, or what is left of them, in the order of their ids.
pub(super) fn candidates(tx: &mut Tx<'_>, by: By, account: i64, key: &[u8]) -> rusqlite::Result<Vec<i64>> {
    let hash = hash(by, account, key);
    let Newest { added, moving, .. } = tx.newest();
    let of_hash = (hash, i64::MIN)..=(hash, i64::MAX);
    let mut found = Vec::from_iter(added.range(of_hash.clone()).chain(moving.range(of_hash)).map(|(_, id)| *id));
    let mut keys = tx.sql("SELECT entry FROM keys WHERE hash = ?1")?;
    for id in keys.query_map([hash], |row| row.get(0))? {
        found.push(id?);
    }
    found.sort_unstable();
    // A process that was killed may have moved what is held in memory again now.
    found.dedup();
    Ok(found)
}

/// The first of these entries that stands by the key.
pub(super) fn standing(
    tx: &Tx<'_>,
    candidates: &[i64],
    by: By,
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
pub(super) fn add(tx: &mut Tx<'_>, by: By, account: i64, key: &[u8], id: i64) {
    let newest = tx.newest();
    newest.added.insert((hash(by, account, key), id));
    newest.due += 1;
}

/// The entry is no longer found by this key.
pub(super) fn remove(tx: &mut Tx<'_>, by: By, account: i64, key: &[u8], id: i64) -> rusqlite::Result<()> {
    let place = (hash(by, account, key), id);
    let newest = tx.newest();
    if newest.added.remove(&place) || newest.moving.remove(&place) {
        newest.taken.push(place);
    }
    if id >= newest.below {
        return Ok(());
    }
    tx.sql("DELETE FROM keys WHERE hash = ?1 AND entry = ?2")?.execute(params![place.0, place.1]).map(drop)
}

/// Moves what is due into the table. At the end of a transaction.
pub(super) fn move_due(tx: &mut Tx<'_>, next_entry: i64) -> rusqlite::Result<()> {
    let newest = tx.newest();
    let mut due = std::mem::take(&mut newest.due);
    if newest.moving.is_empty() {
        if newest.added.len() < NEWEST {
            return Ok(());
        }
        newest.moving = std::mem::take(&mut newest.added);
        newest.below = next_entry;
        newest.began = true;
    }
    // A process that was killed may have moved it before.
    let mut insert = tx.sql("INSERT OR IGNORE INTO keys (hash, entry) VALUES (?1, ?2)")?;
    while due > 0
        && let Some((hash, entry)) = tx.newest().moving.pop_first()
    {
        tx.newest().taken.push((hash, entry));
        insert.execute(params![hash, entry])?;
        due -= 1;
    }
    if tx.newest().moving.is_empty() {
        let below = tx.newest().below;
        tx.number("keyed", below)?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "lookup_tests.rs"]
mod tests;
