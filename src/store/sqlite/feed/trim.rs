//! Trims old rows of the feeds.

use super::super::feed_cache::SPAN;
use super::super::log_tables::{self, LogTables};
use super::super::rows::{integer, number, size, time};
use super::super::tx::WriteTx;
use super::{known, reads, subscriptions};
use crate::crash_point::{CrashPoint, reach};
use crate::domain::feed::FeedName;
use crate::domain::feed::subscription::Subscription;
use crate::domain::timestamp::Timestamp;
use crate::planted_bug::{PlantedBug, is_planted};
use crate::ports::event_log::{TrimOutcome, TrimTimes};

/// SQL condition for deliveries with a stored event; ?2 and ?3 are the first positions of the two logs.
const IS_KEPT: &str = "(ifnull(seq >= ?2, 0) OR ifnull(update_seq >= ?3, 0))";

/// Drops at most `limit` rows.
pub(super) fn trim(tx: &mut WriteTx<'_>, times: TrimTimes, limit: usize) -> rusqlite::Result<TrimOutcome> {
    let mut trimmed = TrimOutcome::default();
    for feed in FeedName::ALL {
        events(tx, feed, times, limit - trimmed.rows, &mut trimmed)?;
    }
    trimmed.quarantined = front(tx, "quarantine", times.held, limit - trimmed.rows)?;
    trimmed.rows += trimmed.quarantined;
    trimmed.rows += ids(tx, times.ids, limit - trimmed.rows)?;
    trimmed.rows += front(tx, "intent_lines", times.ids, limit - trimmed.rows)?;
    tx.rows += trimmed.rows as u64;
    Ok(trimmed)
}

/// Trims a log from the front, except the last event.
fn events(
    tx: &mut WriteTx<'_>,
    feed: FeedName,
    times: TrimTimes,
    limit: usize,
    trimmed: &mut TrimOutcome,
) -> rusqlite::Result<()> {
    let LogTables { events, bodies, spans, .. } = log_tables::of(feed);
    let mut old = Vec::new();
    {
        let mut front = tx.sql(&format!(
            "SELECT seq, received FROM {events} WHERE seq < (SELECT max(seq) FROM {events}) ORDER BY seq LIMIT ?1"
        ))?;
        let mut front = front.query([size(limit)])?;
        while let Some(event) = front.next()? {
            let (seq, received) = (number(event, 0)?, time(event, 1)?);
            if received >= times.free {
                break;
            }
            old.push((seq, received));
        }
    }
    let Some((before, _)) = old.first().copied() else { return Ok(()) };
    let all = subscriptions::needs(tx, feed)?;
    let holds = |one: &&Subscription| one.head().config.hold_retention && !is_planted(PlantedBug::RetentionPastFloor);
    let holding = all.iter().filter(holds);
    let needed_after = holding.map(Subscription::needs_after).min().unwrap_or(u64::MAX);
    let goes = old.iter().take_while(|(seq, received)| *seq <= needed_after || *received < times.held);
    let Some((last, _)) = goes.clone().last() else { return Ok(()) };
    let gone = goes.count();
    let first = last + 1;
    tx.sql(&format!("DELETE FROM {events} WHERE seq < ?1"))?.execute([integer(first)])?;
    reach(CrashPoint::F6);
    tx.sql(&format!("DELETE FROM {bodies} WHERE seq < ?1"))?.execute([integer(first)])?;
    tx.sql(&format!("DELETE FROM {spans} WHERE span < ?1"))?.execute([integer(first / SPAN)])?;
    *trimmed.events.of_mut(feed) = gone;
    trimmed.rows += gone;
    for one in all {
        let name = &one.head().name;
        if one.has_lost(first) && !one.has_lost(before) {
            trimmed.lost.push(name.clone());
        }
        if subscriptions::has_before(tx, one.head().id, first)? {
            let mut forget = |whole: &mut Subscription| whole.trimmed(first);
            trimmed.parked += subscriptions::change(tx, name, &mut forget)?.unwrap_or(0);
        }
    }
    Ok(())
}

/// Trims event ids, except the last id and the ids of stored events. The last event of a log may stay for years, and
/// must not keep later ids from being trimmed.
fn ids(tx: &mut WriteTx<'_>, before: Timestamp, limit: usize) -> rusqlite::Result<usize> {
    let first = |feed| reads::first(tx.connection(), feed).map(integer);
    let (intent, update) = (first(FeedName::CancelIntents)?, first(FeedName::OrderUpdates)?);
    let mut front = tx.sql(&format!(
        "SELECT id, received, {IS_KEPT} FROM deliveries WHERE id < (SELECT max(id) FROM deliveries) ORDER BY id"
    ))?;
    let mut front = front.query([integer(0), intent, update])?;
    let (mut last, mut gone) = (None, 0);
    // The scan ends at the first id that has not expired, with or without a stored event: nearly all ids have stored
    // events, and there may be millions.
    while gone < limit
        && let Some(row) = front.next()?
        && time(row, 1)? < before
    {
        if !row.get::<_, bool>(2)? {
            (last, gone) = (Some(number(row, 0)?), gone + 1);
        }
    }
    let Some(last) = last else { return Ok(0) };
    let mut delete = tx.sql(&format!("DELETE FROM deliveries WHERE id <= ?1 AND NOT {IS_KEPT} RETURNING id, key"))?;
    let gone = delete.query_map([integer(last), intent, update], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let gone = gone.collect::<rusqlite::Result<Vec<(i64, Vec<u8>)>>>()?;
    for (id, key) in &gone {
        known::forget(tx, *id, key)?;
    }
    Ok(gone.len())
}

/// Trims a table whose rows are in the order of their receipt, from the front, up to the first row that has not expired.
fn front(tx: &WriteTx<'_>, table: &str, before: Timestamp, limit: usize) -> rusqlite::Result<usize> {
    let mut front = tx.sql(&format!("SELECT id, received FROM {table} ORDER BY id LIMIT ?1"))?;
    let mut front = front.query([size(limit)])?;
    let mut last = None;
    while let Some(row) = front.next()?
        && time(row, 1)? < before
    {
        last = Some(number(row, 0)?);
    }
    let Some(last) = last else { return Ok(0) };
    tx.sql(&format!("DELETE FROM {table} WHERE id <= ?1"))?.execute([integer(last)])
}
