//! Enters events into their logs, once.

use rusqlite::params;

use super::super::feed_cache::SPAN;
use super::super::log_tables::{self, LogTables};
use super::super::rows::integer;
use super::super::tx::WriteTx;
use super::known::{self, NewDelivery};
use crate::crash_point::{CrashPoint, reach};
use crate::domain::feed::FeedName;
use crate::domain::feed::notification::{DeliveryContent, EventIdentity, WebhookDelivery};
use crate::planted_bug::{PlantedBug, is_planted};
use crate::store::keys;

/// The result of entering an event into its feed.
pub(super) enum EnterOutcome {
    /// The event was stored at this position.
    New(u64),
    /// The event was stored before.
    Known,
    /// The identity was stored before with a different body.
    Conflict(EventIdentity),
}

/// Assigns a position to an event, once.
pub(super) fn enter(tx: &mut WriteTx<'_>, account: i64, arrival: &WebhookDelivery) -> rusqlite::Result<EnterOutcome> {
    let DeliveryContent::Event { feed, event_id, event_type, sub_event_type, message } = &arrival.content else {
        return Ok(EnterOutcome::Known);
    };
    if is_known_of_old(tx, account, event_id, arrival)? {
        return Ok(EnterOutcome::Known);
    }
    let (key, body) = (keys::delivery(arrival), keys::half(&arrival.body_hash));
    // The bug looks before the transaction instead, in `EventLog::append`.
    let looks_before = is_planted(PlantedBug::DuplicateCheckedBeforeInsert);
    let known = if looks_before { None } else { known::body_of(tx, account, &key)? };
    match known {
        None => {
            let seq = tx.feed().heads.of(*feed) + 1;
            let received = arrival.received;
            known::note(tx, &NewDelivery { account, received, place: Some((*feed, seq)), key: &key, body })?;
            push(tx, *feed, seq, account, arrival, message)?;
            Ok(EnterOutcome::New(seq))
        }
        Some(first) if first == body => Ok(EnterOutcome::Known),
        Some(_) => {
            let (event_id, event_type) = (event_id.clone(), event_type.clone());
            Ok(EnterOutcome::Conflict(EventIdentity { event_id, event_type, sub_event_type: sub_event_type.clone() }))
        }
    }
}

/// Whether the body was stored by a version that stored event ids without kinds.
fn is_known_of_old(
    tx: &mut WriteTx<'_>,
    account: i64,
    event_id: &str,
    arrival: &WebhookDelivery,
) -> rusqlite::Result<bool> {
    if !tx.feed().has_old_keys {
        return Ok(false);
    }
    let first = known::body_of(tx, account, &keys::event_id(event_id))?;
    Ok(first == Some(keys::half(&arrival.body_hash)))
}

/// Appends an event to a log.
fn push(
    tx: &mut WriteTx<'_>,
    feed: FeedName,
    seq: u64,
    account: i64,
    arrival: &WebhookDelivery,
    message: &[u8],
) -> rusqlite::Result<()> {
    let (at, received) = (integer(seq), integer(arrival.received.0));
    let LogTables { events, bodies, spans, .. } = log_tables::of(feed);
    if seq.is_multiple_of(SPAN) {
        // The span before is finished: its row is written once, and no other append writes a span.
        let mut note = tx.sql(&format!(
            "INSERT OR REPLACE INTO {spans} (span, latest) SELECT ?1, max(received) FROM {events} WHERE seq >= ?2 AND seq < ?3 \
             HAVING count(*) > 0",
        ))?;
        note.execute([integer(seq / SPAN) - 1, integer(seq - SPAN), at])?;
    }
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
    *tx.feed().heads.of_mut(feed) = seq;
    Ok(())
}
