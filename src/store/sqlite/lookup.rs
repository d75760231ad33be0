//! Finds rows by keys chosen outside: entries by order numbers, request ids and contents of cancellations; deliveries
//! by event ids and bodies (`feed/known.rs`).
//!
//! A key is found by a short hash. Every candidate is compared with the full key in its row; a collision costs one
//! read.

use std::ops::RangeInclusive;

use rusqlite::params;

use super::newest_keys::{EntryKeyKind, KeyedRows, NewestKeys, hash};
use super::rows::CodedValue;
use super::tx::WriteTx;

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
        if stands(by, tx, *id, account, key)? {
            return Ok(Some(*id));
        }
    }
    Ok(None)
}

/// Adds a key of a new entry.
pub(super) fn add(tx: &mut WriteTx<'_>, by: EntryKeyKind, account: i64, key: &[u8], id: i64) {
    put(tx, KeyedRows::Entries, hash(by, account, key), id);
}

/// Adds a key that an older entry had before.
pub(super) fn add_again(
    tx: &mut WriteTx<'_>,
    by: EntryKeyKind,
    account: i64,
    key: &[u8],
    id: i64,
) -> rusqlite::Result<()> {
    let hash = hash(by, account, key);
    if id >= tx.newest(KeyedRows::Entries).below {
        put(tx, KeyedRows::Entries, hash, id);
        return Ok(());
    }
    tx.sql(KeyedRows::Entries.insert())?.execute([hash, id]).map(drop)
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

/// Whether an entry holds this key of its account.
fn stands(by: EntryKeyKind, tx: &WriteTx<'_>, id: i64, account: i64, key: &[u8]) -> rusqlite::Result<bool> {
    let stands = match by {
        EntryKeyKind::Number => "SELECT 1 FROM entries WHERE id = ?1 AND account = ?2 AND number_key = ?3",
        EntryKeyKind::Content => "SELECT 1 FROM entries WHERE id = ?1 AND account = ?2 AND content_key = ?3",
        EntryKeyKind::Request(kind) => {
            let stands = "SELECT 1 FROM entries \
                          WHERE id = ?1 AND account = ?2 AND request_key = ?3 AND kind = ?4 AND freed = 0";
            return tx.sql(stands)?.exists(params![id, account, key, CodedValue(kind)]);
        }
    };
    tx.sql(stands)?.exists(params![id, account, key])
}

#[cfg(test)]
#[path = "lookup_tests.rs"]
mod tests;
