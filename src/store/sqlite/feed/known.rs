//! The known deliveries by their keys (`store/keys.rs`), unique within an account.
//!
//! Deliveries are found like entries (`lookup.rs`); only the writer finds all of them, because the newest keys are in
//! no table. No index enforces uniqueness: a transaction looks a key up before writing, and there is only one writer.

use rusqlite::{OptionalExtension as _, params};

use super::super::log_tables::{self, LogTables};
use super::super::lookup;
use super::super::newest_keys::KeyedRows;
use super::super::rows::number_of;
use super::super::rows::{self, integer};
use super::super::tx::WriteTx;
use crate::domain::account::AccountId;
use crate::domain::feed::FeedName;
use crate::domain::timestamp::Timestamp;
use crate::store::keys::{self, HASH};

/// A delivery that is not known yet.
pub(super) struct NewDelivery<'a> {
    pub(super) account: i64,
    pub(super) received: Timestamp,
    /// Position in the log of the feed; `None` for a quarantined body.
    pub(super) place: Option<(FeedName, u64)>,
    pub(super) key: &'a [u8],
    /// Half the hash of the body.
    pub(super) body: [u8; HASH],
}

/// Half the hash of the first body with this key.
pub(super) fn body_of(tx: &mut WriteTx<'_>, account: i64, key: &[u8]) -> rusqlite::Result<Option<[u8; HASH]>> {
    let hash = keys::delivery_hash(key);
    for id in lookup::found(tx, KeyedRows::Deliveries, hash..=hash)? {
        let mut body = tx.sql("SELECT body FROM deliveries WHERE id = ?1 AND account = ?2 AND key = ?3")?;
        if let Some(body) = body.query_row(params![id, account, key], |row| row.get(0)).optional()? {
            return Ok(Some(body));
        }
    }
    Ok(None)
}

/// Stores a delivery with a new key, and returns its id.
pub(super) fn note(tx: &mut WriteTx<'_>, new: &NewDelivery<'_>) -> rusqlite::Result<i64> {
    let NewDelivery { account, received, place, key, body } = new;
    let id = tx.feed().next_delivery;
    tx.feed().next_delivery += 1;
    let position = |of| place.filter(|(feed, _)| *feed == of).map(|(_, seq)| integer(seq));
    let (intent, update) = (position(FeedName::CancelIntents), position(FeedName::OrderUpdates));
    let mut insert = tx.sql(
        "INSERT INTO deliveries (id, account, received, seq, update_seq, key, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    insert.execute(params![id, account, integer(received.0), intent, update, key, body])?;
    lookup::put(tx, KeyedRows::Deliveries, keys::delivery_hash(key), id);
    Ok(id)
}

/// The position of the first event with this id, of any kind.
pub(super) fn position_of(
    tx: &mut WriteTx<'_>,
    feed: FeedName,
    account: &AccountId,
    event_id: &str,
) -> rusqlite::Result<Option<u64>> {
    let Some(account) = number_of(tx.connection(), account)? else { return Ok(None) };
    let LogTables { position, .. } = log_tables::of(feed);
    let (first, last) = keys::events_of(event_id);
    let mut found = None;
    for id in lookup::found(tx, KeyedRows::Deliveries, keys::hashes_of_events(event_id))? {
        let mut seq = tx.sql(&format!(
            "SELECT {position} FROM deliveries \
             WHERE id = ?1 AND account = ?2 AND key BETWEEN ?3 AND ?4 AND {position} IS NOT NULL"
        ))?;
        let seq = seq.query_row(params![id, account, first, last], |row| rows::number(row, 0)).optional()?;
        found = [found, seq].into_iter().flatten().min();
    }
    Ok(found)
}

/// Removes the key of a dropped delivery.
pub(super) fn forget(tx: &mut WriteTx<'_>, id: i64, key: &[u8]) -> rusqlite::Result<()> {
    lookup::take_out(tx, KeyedRows::Deliveries, keys::delivery_hash(key), id)
}

#[cfg(test)]
#[path = "known_tests.rs"]
mod tests;
