//! Lists entries by account, state and age, in the order of their ids.
//!
//! Every account and state is a source of ids with an index: successful entries have a table, except the newest, which
//! are few and found by id; entries being sent are found by their bodies; all further states share the index of states.
//! A source returns at most a page of ids, and is read no further. Ages are found by spans of ids with the earliest
//! creation time.
//!
//! Between two steps the query ends if its caller has left.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::rows::{self, CodedValue, ENTRIES, integer, number_of};
use super::tx::ENTRY_SPAN;
use crate::domain::ledger::{Entry, EntryState};
use crate::ports::ledger::EntryQuery;

/// Entries read in one step, and open entries scanned in one step.
const STEP: usize = 64;

/// Ids of an account (?1) in a state (?2) between two ids (?3, ?4), created before a time (?5).
const OF_STATE: &str = "SELECT id FROM entries INDEXED BY entries_by_state \
     WHERE account = ?1 AND state = ?2 AND state <> 1 AND state <> 4 AND id > ?3 AND id < ?4 AND created < ?5 ORDER BY id LIMIT ?6";
/// The same for successful entries (?2 is their state), except the newest.
const SUCCEEDED: &str = "SELECT s.entry FROM succeeded s CROSS JOIN entries e ON e.id = s.entry AND e.state = ?2 \
     WHERE s.account = ?1 AND s.entry > ?3 AND s.entry < ?4 AND e.created < ?5 ORDER BY s.entry LIMIT ?6";
/// The same for the newest entries of any state.
const NEWEST: &str = "SELECT id FROM entries NOT INDEXED \
     WHERE account = ?1 AND state = ?2 AND id >= max((SELECT value FROM numbers WHERE name = 'counted'), ?3 + 1) \
     AND id < ?4 AND created < ?5 ORDER BY id LIMIT ?6";
/// Entries with a body after an id: entries being sent, and further open entries.
const OPEN: &str = "SELECT b.id, e.account, e.state, e.created FROM bodies b CROSS JOIN entries e ON e.id = b.id \
     WHERE b.id > ?1 ORDER BY b.id LIMIT ?2";
/// The next span with an entry created before a time.
const NEXT_SPAN: &str = "SELECT span FROM entry_spans WHERE span >= ?1 AND earliest < ?2 ORDER BY span LIMIT 1";

/// The conditions of a list, in the numbers of the database.
pub(super) struct ListQuery<'a> {
    pub(super) accounts: Vec<i64>,
    pub(super) states: &'a [EntryState],
    /// Creation time before which entries are listed; the largest number for any time.
    pub(super) before: i64,
    pub(super) after: i64,
    pub(super) limit: usize,
}

/// Reads matching entries. Ends early when `left` reports that the caller has left.
pub(super) fn list(db: &Connection, query: &EntryQuery, left: &dyn Fn() -> bool) -> rusqlite::Result<Vec<Entry>> {
    let accounts = match &query.accounts {
        Some(named) => {
            let mut accounts = Vec::with_capacity(named.len());
            for account in named {
                accounts.extend(number_of(db, account)?);
            }
            accounts
        }
        None => all_accounts(db)?,
    };
    let wanted = ListQuery {
        accounts,
        states: if query.states.is_empty() { &EntryState::ALL } else { &query.states },
        before: query.created_before.map_or(i64::MAX, |before| integer(before.0)),
        after: integer(query.after.0),
        limit: query.limit,
    };
    matching(db, &wanted, left)
}

pub(super) fn all_accounts(db: &Connection) -> rusqlite::Result<Vec<i64>> {
    db.prepare_cached("SELECT id FROM accounts")?.query_map([], |row| row.get(0))?.collect()
}

pub(super) fn matching(
    db: &Connection,
    wanted: &ListQuery<'_>,
    left: &dyn Fn() -> bool,
) -> rusqlite::Result<Vec<Entry>> {
    let mut ids = Vec::new();
    for account in &wanted.accounts {
        for state in wanted.states.iter().filter(|state| **state != EntryState::Sending) {
            if left() {
                return Ok(Vec::new());
            }
            ids.extend(of_state(db, wanted, *account, *state, left)?);
        }
    }
    if wanted.states.contains(&EntryState::Sending) {
        ids.extend(sending(db, wanted, left)?);
    }
    ids.sort_unstable();
    // The caller may have named an account or a state twice.
    ids.dedup();
    ids.truncate(wanted.limit);
    let mut entry = db.prepare_cached(&format!("{ENTRIES} WHERE e.id = ?1"))?;
    let mut entries = Vec::with_capacity(ids.len());
    for part in ids.chunks(STEP) {
        if left() {
            break;
        }
        for id in part {
            entries.extend(entry.query_row([id], rows::entry).optional()?);
        }
    }
    Ok(entries)
}

/// The first ids of an account in a state other than `Sending`.
fn of_state(
    db: &Connection,
    wanted: &ListQuery<'_>,
    account: i64,
    state: EntryState,
    left: &dyn Fn() -> bool,
) -> rusqlite::Result<Vec<i64>> {
    let sources: &[&str] = if state == EntryState::Succeeded { &[SUCCEEDED, NEWEST] } else { &[OF_STATE] };
    let between = |after: i64, end: i64, before: i64, limit: usize| {
        let mut found = Vec::new();
        for source in sources {
            let left = i64::try_from(limit - found.len()).unwrap_or(i64::MAX);
            let mut ids = db.prepare_cached(source)?;
            let ids = ids.query_map(params![account, CodedValue(state), after, end, before, left], |row| row.get(0))?;
            for id in ids {
                found.push(id?);
            }
            if found.len() >= limit {
                break;
            }
        }
        rusqlite::Result::Ok(found)
    };
    if wanted.before == i64::MAX {
        return between(wanted.after, i64::MAX, i64::MAX, wanted.limit);
    }
    let mut next_span = db.prepare_cached(NEXT_SPAN)?;
    let (mut found, mut after) = (Vec::new(), wanted.after);
    // Jumps from the next id, of any age, to the next span with an entry of the wanted age.
    while found.len() < wanted.limit
        && !left()
        && let Some(next) = between(after, i64::MAX, i64::MAX, 1)?.pop()
        && let Some(span) =
            next_span.query_row([next / integer(ENTRY_SPAN), wanted.before], |row| row.get::<_, i64>(0)).optional()?
    {
        let (start, end) = (span * integer(ENTRY_SPAN), (span + 1) * integer(ENTRY_SPAN));
        found.extend(between(start.max(next) - 1, end, wanted.before, wanted.limit - found.len())?);
        after = end - 1;
    }
    Ok(found)
}

/// The first ids of entries being sent, for all wanted accounts. Scans open entries only.
fn sending(db: &Connection, wanted: &ListQuery<'_>, left: &dyn Fn() -> bool) -> rusqlite::Result<Vec<i64>> {
    let mut open = db.prepare_cached(OPEN)?;
    let (mut found, mut after) = (Vec::new(), wanted.after);
    while found.len() < wanted.limit && !left() {
        let mut looked_at = 0;
        let mut rows = open.query([after, integer(STEP as u64)])?;
        while let Some(row) = rows.next()? {
            looked_at += 1;
            after = row.get(0)?;
            let (account, state, created): (i64, CodedValue<EntryState>, i64) = (row.get(1)?, row.get(2)?, row.get(3)?);
            if state.0 == EntryState::Sending && created < wanted.before && wanted.accounts.contains(&account) {
                found.push(after);
            }
        }
        if looked_at < STEP {
            break;
        }
    }
    Ok(found)
}

#[cfg(test)]
#[path = "listing_tests.rs"]
mod tests;
