//! The subscriptions in their tables: creation, changes and deletion.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::super::rows::{CodedValue, integer, number, time};
use super::super::tx::WriteTx;
use super::boot;
use super::rows::{self, HEADS, ROWS, StateColumns};
use crate::crash_point::{CrashPoint, reach};
use crate::domain::feed::subscription::{
    DeliveryCause, EventRow, RowState, Subscription, SubscriptionChanges, SubscriptionCounts, SubscriptionHead,
};
use crate::domain::feed::{AccountScope, FeedName};
use crate::planted_bug::{PlantedBug, is_planted};
use crate::ports::subscriptions::{CreateOutcome, NewSubscription, RemoveOutcome};

pub(super) fn make(tx: &mut WriteTx<'_>, new: &NewSubscription) -> rusqlite::Result<CreateOutcome> {
    let NewSubscription { name, config, scope, most_of_client, at, now } = new;
    if let Some(existing) = head_of(tx, name)? {
        return Ok(CreateOutcome::Existing(existing));
    }
    let counted = !config.client.is_empty();
    if counted && *of_client(tx, &config.client)? >= *most_of_client {
        return Ok(CreateOutcome::TooMany);
    }
    let mut next =
        tx.sql("UPDATE numbers SET value = value + 1 WHERE name = 'next_subscription' RETURNING value - 1")?;
    let id = next.query_row([], |row| number(row, 0))?;
    let generation = tx.feed().next_generation;
    use_generation(tx, generation)?;
    let made = Subscription::new(id, generation, name.clone(), config.clone(), *at, *now).with_scope(scope.clone());
    let head = made.head().clone();
    tx.sql(
        "INSERT INTO subscriptions (id, name, version, generation, floor, scanned, created, updated, config, scope) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
    )?
    .execute(params![
        integer(id),
        head.name,
        integer(head.version),
        integer(head.generation),
        integer(head.floor),
        integer(head.scanned),
        integer(head.created.0),
        integer(head.updated.0),
        head.config.encode(),
        head.scope.as_ref().map(AccountScope::to_text),
    ])?;
    tx.rows += 1;
    if counted {
        *of_client(tx, &config.client)? += 1;
    }
    Ok(CreateOutcome::New(head))
}

/// The number of a client's subscriptions. Counted once for every process: counting at every creation would let a
/// client delay the writer by creating and deleting subscriptions.
fn of_client<'a>(tx: &'a mut WriteTx<'_>, client: &str) -> rusqlite::Result<&'a mut u64> {
    if tx.feed().of_clients.is_none() {
        let mut counts = HashMap::default();
        {
            let mut heads = tx.sql(HEADS)?;
            for head in heads.query_map([], rows::head)? {
                *counts.entry(head?.config.client).or_default() += 1;
            }
        }
        tx.feed().of_clients = Some(counts);
    }
    Ok(tx.feed().of_clients.get_or_insert_default().entry(client.to_owned()).or_default())
}

pub(super) fn change<T>(
    tx: &mut WriteTx<'_>,
    name: &str,
    change: &mut impl FnMut(&mut Subscription) -> T,
) -> rusqlite::Result<Option<T>> {
    let mut subscription = match tx.feed().take(name) {
        Some(remembered) => remembered,
        None => {
            boot::adopt(tx)?;
            let Some(head) = head_of(tx, name)? else { return Ok(None) };
            let mut rows = tx.sql(&format!("{ROWS} WHERE subscription = ?1 ORDER BY seq"))?;
            let rows: Vec<EventRow> =
                rows.query_map([integer(head.id)], rows::row)?.collect::<rusqlite::Result<_>>()?;
            Subscription::load(head, rows)
        }
    };
    let generation = subscription.head().generation;
    subscription.offer_generation(tx.feed().next_generation);
    let result = change(&mut subscription);
    let id = subscription.head().id;
    if subscription.head().generation != generation {
        use_generation(tx, subscription.head().generation)?;
    }
    write(tx, id, &subscription.take_changes())?;
    tx.feed().keep(subscription);
    Ok(Some(result))
}

/// Reserves a generation, which no other subscription can then get.
fn use_generation(tx: &mut WriteTx<'_>, generation: u64) -> rusqlite::Result<()> {
    let next = generation.saturating_add(1).max(tx.feed().next_generation);
    tx.feed().next_generation = next;
    tx.number("next_generation", integer(next))
}

fn write(tx: &mut WriteTx<'_>, id: u64, changes: &SubscriptionChanges) -> rusqlite::Result<()> {
    let id = integer(id);
    if changes.clear {
        tx.sql("DELETE FROM subscription_rows WHERE subscription = ?1")?.execute([id])?;
        // Only a seek that finds rows drops all rows.
        reach(CrashPoint::F4);
    }
    let mut drop_row = tx.sql("DELETE FROM subscription_rows WHERE subscription = ?1 AND seq = ?2")?;
    for seq in &changes.drop {
        drop_row.execute([id, integer(*seq)])?;
    }
    let mut put = tx.sql(
        "INSERT OR REPLACE INTO subscription_rows (subscription, seq, state, cause, time, words, attempt, failures, \
         redriven, said, received, size, key, steady, since) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
    )?;
    for row in &changes.put {
        if is_planted(PlantedBug::FloorFromMemory) && matches!(row.state, RowState::Leased { .. }) {
            continue;
        }
        let StateColumns { state, cause, time, steady, since, words } = rows::of_state(&row.state);
        put.execute(params![
            id,
            integer(row.seq),
            state,
            cause,
            time.map(|time| integer(time.0)),
            words,
            row.attempt,
            row.failures,
            row.redriven,
            row.said.map(CodedValue),
            integer(row.received.0),
            row.size,
            &*row.key,
            steady.map(|steady| integer(steady.0)),
            since.map(|since| integer(since.0)),
        ])?;
        // The crash point is reached with some of the redriven rows written.
        if matches!(row.state, RowState::Pending { cause: DeliveryCause::Redriven }) {
            reach(CrashPoint::F5);
        }
    }
    if let Some(head) = &changes.head {
        tx.sql(
            "UPDATE subscriptions SET version = ?2, generation = ?3, floor = ?4, scanned = ?5, updated = ?6, config = ?7, \
             scope = ?8 \
             WHERE id = ?1",
        )?
        .execute(params![
            id,
            integer(head.version),
            integer(head.generation),
            integer(head.floor),
            integer(head.scanned),
            integer(head.updated.0),
            head.config.encode(),
            head.scope.as_ref().map(AccountScope::to_text),
        ])?;
    }
    tx.rows += (changes.drop.len() + changes.put.len()) as u64 + u64::from(changes.head.is_some());
    Ok(())
}

pub(super) fn remove(tx: &mut WriteTx<'_>, name: &str, only: Option<(u64, u64)>) -> rusqlite::Result<RemoveOutcome> {
    let Some(SubscriptionHead { id, version, config, .. }) = head_of(tx, name)? else {
        return Ok(RemoveOutcome::Missing);
    };
    if only.is_some_and(|only| only != (id, version)) {
        return Ok(RemoveOutcome::Differs);
    }
    let id = integer(id);
    drop(tx.feed().take(name));
    if !config.client.is_empty() {
        let of_client = of_client(tx, &config.client)?;
        *of_client = of_client.saturating_sub(1);
    }
    let rows = tx.sql("DELETE FROM subscription_rows WHERE subscription = ?1")?.execute([id])?;
    reach(CrashPoint::F7);
    tx.sql("DELETE FROM subscriptions WHERE id = ?1")?.execute([id])?;
    tx.rows += 1 + rows as u64;
    Ok(RemoveOutcome::Gone)
}

/// A subscription with its counts, by two queries for any number of rows.
pub(super) fn outline(db: &Connection, name: &str) -> rusqlite::Result<Option<SubscriptionCounts>> {
    let mut head = db.prepare_cached(&format!("{HEADS} WHERE name = ?1"))?;
    let Some(head) = head.query_row([name], rows::head).optional()? else { return Ok(None) };
    let id = integer(head.id);
    let mut counts = db.prepare_cached(
        "SELECT count(*) FILTER (WHERE state <> ?2), count(*) FILTER (WHERE state = ?3), count(*) FILTER (WHERE state = ?2) \
         FROM subscription_rows WHERE subscription = ?1 AND state <> ?4",
    )?;
    let counted = params![id, rows::PARKED, rows::LEASED, rows::ACKED];
    let (unsettled, outstanding, parked) =
        counts.query_row(counted, |row| Ok((number(row, 0)?, number(row, 1)?, number(row, 2)?)))?;
    let mut oldest = db.prepare_cached(
        "SELECT received FROM subscription_rows WHERE subscription = ?1 AND state NOT IN (?2, ?3) ORDER BY seq LIMIT 1",
    )?;
    let oldest = oldest.query_row(params![id, rows::ACKED, rows::PARKED], |row| time(row, 0)).optional()?;
    Ok(Some(SubscriptionCounts { head, unsettled, outstanding, parked, oldest }))
}

pub(super) fn names(db: &Connection, after: &str, limit: usize) -> rusqlite::Result<Vec<SubscriptionHead>> {
    let mut heads = db.prepare_cached(&format!("{HEADS} WHERE name > ?1 ORDER BY name LIMIT ?2"))?;
    let heads = heads.query_map(params![after, i64::try_from(limit).unwrap_or(i64::MAX)], rows::head)?;
    heads.collect()
}

fn head_of(tx: &WriteTx<'_>, name: &str) -> rusqlite::Result<Option<SubscriptionHead>> {
    tx.sql(&format!("{HEADS} WHERE name = ?1"))?.query_row([name], rows::head).optional()
}

/// All subscriptions of a feed as stored within the transaction, by name, with only the rows that hold events of the
/// log. Rows above the floor and acknowledged rows hold none.
pub(super) fn needs(tx: &WriteTx<'_>, feed: FeedName) -> rusqlite::Result<Vec<Subscription>> {
    let mut heads = tx.sql(&format!("{HEADS} ORDER BY name"))?;
    let heads: Vec<SubscriptionHead> = heads.query_map([], rows::head)?.collect::<rusqlite::Result<_>>()?;
    let sql = format!("{ROWS} WHERE subscription = ?1 AND seq <= ?2 AND state <> ?3 ORDER BY seq");
    let mut below = tx.sql(&sql)?;
    heads
        .into_iter()
        .filter(|head| head.config.feed == feed)
        .map(|head| {
            let rows = below.query_map([integer(head.id), integer(head.floor), rows::ACKED], rows::row)?;
            let rows: Vec<EventRow> = rows.collect::<rusqlite::Result<_>>()?;
            Ok(Subscription::load(head, rows))
        })
        .collect()
}

/// Whether unacknowledged rows exist before a position.
pub(super) fn has_before(tx: &WriteTx<'_>, id: u64, seq: u64) -> rusqlite::Result<bool> {
    let mut any =
        tx.sql("SELECT EXISTS (SELECT 1 FROM subscription_rows WHERE subscription = ?1 AND seq < ?2 AND state <> ?3)")?;
    any.query_row([integer(id), integer(seq), rows::ACKED], |row| row.get(0))
}
