//! How a delivery is stored.

use rusqlite::{OptionalExtension as _, params};

use super::super::rows::integer;
use super::super::tx::Tx;
use super::tables::{self, LogTables};
use crate::crash_point::{CrashPoint, reach};
use crate::domain::feed::FeedName;
use crate::domain::feed::notification::{Arrival, Content};
use crate::ports::event_log::Appended;
use crate::store::keys;

pub(super) fn append(tx: &mut Tx<'_>, arrival: &Arrival) -> rusqlite::Result<Appended> {
    let account = tx.account(&arrival.account)?;
    let (key, body) = (keys::delivery(arrival), keys::half(&arrival.body_hash));
    let received = integer(arrival.received.0);
    let place = match &arrival.content {
        Content::Event { feed, .. } => Some((*feed, tx.feed().heads.of(*feed) + 1)),
        Content::Unreadable { .. } => None,
    };
    let position = |of| place.filter(|(feed, _)| *feed == of).map(|(_, seq)| integer(seq));
    let mut insert = tx.sql(
        "INSERT INTO deliveries (account, received, seq, update_seq, key, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
         ON CONFLICT (account, key) DO NOTHING RETURNING id",
    )?;
    let (intent, update) = (position(FeedName::CancelIntents), position(FeedName::OrderUpdates));
    let id = insert
        .query_row(params![account, received, intent, update, key, body], |row| row.get::<_, i64>(0))
        .optional()?;
    let Some(id) = id else { return again(tx, account, &key, arrival) };
    match &arrival.content {
        Content::Event { message, .. } => {
            if let Some((feed, seq)) = place {
                push(tx, feed, seq, account, arrival, message)?;
            }
        }
        Content::Unreadable { reason } => {
            let mut insert = tx.sql(
                "INSERT INTO quarantine (id, received, account, reason, body_hash, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?;
            insert.execute(params![id, received, account, reason, arrival.body_hash, &arrival.raw[..]])?;
        }
    }
    tx.rows += 1;
    Ok(Appended::Stored { seq: place.map(|(_, seq)| seq) })
}

/// The next event of a log.
fn push(
    tx: &mut Tx<'_>,
    feed: FeedName,
    seq: u64,
    account: i64,
    arrival: &Arrival,
    message: &[u8],
) -> rusqlite::Result<()> {
    let (at, received) = (integer(seq), integer(arrival.received.0));
    let LogTables { bodies, spans, .. } = tables::of(feed);
    match feed {
        FeedName::CancelIntents => {
            let mut insert = tx.sql("INSERT INTO events (seq, received, message) VALUES (?1, ?2, ?3)")?;
            insert.execute(params![at, received, message])?;
        }
        FeedName::OrderUpdates => {
            let mut insert = tx.sql("INSERT INTO updates (seq, received, account, message) VALUES (?1, ?2, ?3, ?4)")?;
            insert.execute(params![at, received, account, message])?;
        }
    }
    reach(CrashPoint::W3);
    let mut insert = tx.sql(&format!("INSERT INTO {bodies} (seq, body) VALUES (?1, ?2)"))?;
    insert.execute(params![at, &arrival.raw[..]])?;
    if let Some(span) = tx.feed().span(feed, seq, arrival.received) {
        let mut note = tx.sql(&format!(
            "INSERT INTO {spans} (span, earliest) VALUES (?1, ?2) \
             ON CONFLICT DO UPDATE SET earliest = min(earliest, excluded.earliest)",
        ))?;
        note.execute([integer(span), received])?;
    }
    *tx.feed().heads.of_mut(feed) = seq;
    Ok(())
}

/// One of this key was stored before.
fn again(tx: &mut Tx<'_>, account: i64, key: &[u8], arrival: &Arrival) -> rusqlite::Result<Appended> {
    let hash = keys::half(&arrival.body_hash);
    let mut first = tx.sql("SELECT id, body = ?3 FROM deliveries WHERE account = ?1 AND key = ?2")?;
    let (id, same): (i64, bool) = first.query_row(params![account, key, hash], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if same {
        return Ok(Appended::Duplicate);
    }
    let mut record = tx.sql(
        "INSERT INTO conflicts (received, delivery, body_hash, body) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
    )?;
    let recorded = record.execute(params![integer(arrival.received.0), id, hash, &arrival.raw[..]])?;
    tx.rows += recorded as u64;
    Ok(Appended::Conflict)
}
