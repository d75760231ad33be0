//! The reads of the ledger. Reads by a key run in the writer, which alone knows the newest keys.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::lookup;
use super::newest_keys::EntryKeyKind;
use super::rows::{self, CodedValue, ENTRIES, integer, number_of, size};
use super::tx::WriteTx;
use crate::domain::account::AccountId;
use crate::domain::ledger::{AlertKind, Entry, EntryState, MutationKind, OperationId};
use crate::domain::timestamp::Timestamp;
use crate::ports::ledger::{EntryCount, PlannedAudit};
use crate::store::keys::short;

pub(super) fn get(db: &Connection, id: OperationId) -> rusqlite::Result<Option<Entry>> {
    let mut entry = db.prepare_cached(&format!("{ENTRIES} WHERE e.id = ?1"))?;
    entry.query_row([integer(id.0)], rows::entry).optional()
}

pub(super) fn of_request(
    tx: &mut WriteTx<'_>,
    account: &AccountId,
    kind: MutationKind,
    request_id: &str,
) -> rusqlite::Result<Vec<Entry>> {
    let Some(account) = number_of(tx.connection(), account)? else { return Ok(Vec::new()) };
    let key = short(request_id);
    for id in lookup::candidates(tx, EntryKeyKind::Request(kind), account, &key)?.into_iter().rev() {
        let mut has =
            tx.sql("SELECT 1 FROM entries WHERE id = ?1 AND account = ?2 AND kind = ?3 AND request_key = ?4")?;
        if has.exists(params![id, account, CodedValue(kind), key])? {
            return whole(tx, id);
        }
    }
    Ok(Vec::new())
}

pub(super) fn creation_of(
    tx: &mut WriteTx<'_>,
    account: &AccountId,
    order_number: &str,
) -> rusqlite::Result<Option<Entry>> {
    let Some(account) = number_of(tx.connection(), account)? else { return Ok(None) };
    let key = short(order_number);
    let candidates = lookup::candidates(tx, EntryKeyKind::Number, account, &key)?;
    match lookup::standing(tx, &candidates, EntryKeyKind::Number, account, &key)? {
        Some(id) => get(tx.connection(), OperationId(u64::try_from(id).unwrap_or_default())),
        None => Ok(None),
    }
}

pub(super) fn changes_of(
    db: &Connection,
    account: &AccountId,
    kind: MutationKind,
    order_number: &str,
    since: Timestamp,
    limit: usize,
) -> rusqlite::Result<Vec<Entry>> {
    let Some(account) = number_of(db, account)? else { return Ok(Vec::new()) };
    let mut ids = db.prepare_cached(CHANGES_OF)?;
    let parameters = params![account, CodedValue(kind), order_number, integer(since.0), size(limit)];
    let ids = ids.query_map(parameters, |row| rows::number(row, 0))?.collect::<rusqlite::Result<Vec<_>>>()?;
    let entries = ids.into_iter().map(|id| get(db, OperationId(id)));
    Ok(entries.collect::<rusqlite::Result<Vec<_>>>()?.into_iter().flatten().collect())
}

/// The newest entries about an object with an effect, or perhaps one.
const CHANGES_OF: &str = "SELECT id FROM entries INDEXED BY entries_by_object \
     WHERE account = ?1 AND order_number = ?3 AND kind = ?2 AND kind <> 0 AND effect <> 0 AND (state < 4 OR updated >= ?4) \
     ORDER BY id DESC LIMIT ?5";

/// All entries of the request of this entry. The entries were created together and have consecutive ids.
pub(super) fn whole(tx: &WriteTx<'_>, id: i64) -> rusqlite::Result<Vec<Entry>> {
    let mut entries = tx.sql(&format!("{ENTRIES} {WHOLE}"))?;
    entries.query_map([id], rows::entry)?.collect()
}

/// The rows of one request; the parameter is the id of any of them.
const WHOLE: &str = "JOIN entries one ON one.id = ?1 \
     WHERE e.id >= one.id - one.batch AND e.id < one.id - one.batch + one.batches ORDER BY e.id";

pub(super) fn counts(db: &Connection) -> rusqlite::Result<Vec<EntryCount>> {
    let mut counts = db.prepare_cached(
        "WITH newest AS (SELECT account, state, count(*) AS entries FROM entries NOT INDEXED \
         WHERE id >= (SELECT value FROM numbers WHERE name = 'counted') GROUP BY account, state), \
         c AS (SELECT account, state, sum(entries) AS entries \
         FROM (SELECT account, state, entries FROM counts UNION ALL SELECT * FROM newest) GROUP BY account, state) \
         SELECT a.name, c.state, c.entries, CASE WHEN c.state = 1 THEN (SELECT e.created FROM bodies b CROSS JOIN entries e ON e.id = b.id \
         WHERE e.account = c.account AND e.state = 1 ORDER BY b.id LIMIT 1) WHEN c.state < 4 THEN (SELECT created FROM entries \
         INDEXED BY entries_by_state WHERE account = c.account AND state = c.state AND state <> 1 AND state <> 4 \
         ORDER BY id LIMIT 1) END \
         FROM c JOIN accounts a ON a.id = c.account WHERE c.entries > 0 ORDER BY a.name, c.state",
    )?;
    let counts = counts.query_map([], |row| {
        Ok(EntryCount {
            account: rows::account(row, 0)?,
            state: row.get::<_, CodedValue<EntryState>>(1)?.0,
            entries: rows::number(row, 2)?,
            oldest: rows::maybe_time(row, 3)?,
        })
    })?;
    counts.collect()
}

pub(super) fn due_audits(db: &Connection, now: Timestamp, limit: usize) -> rusqlite::Result<Vec<PlannedAudit>> {
    let mut due = db.prepare_cached("SELECT entry, time FROM audits WHERE time <= ?1 ORDER BY time, entry LIMIT ?2")?;
    let due = due.query_map([integer(now.0), i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
        Ok(PlannedAudit { operation: OperationId(rows::number(row, 0)?), time: rows::time(row, 1)? })
    })?;
    due.collect()
}

pub(super) fn alerts(db: &Connection, operation: OperationId) -> rusqlite::Result<Vec<(AlertKind, Timestamp)>> {
    let mut alerts = db.prepare_cached("SELECT kind, time FROM alerts WHERE entry = ?1 ORDER BY time, kind")?;
    let alerts = alerts.query_map([integer(operation.0)], |row| {
        Ok((row.get::<_, CodedValue<AlertKind>>(0)?.0, rows::time(row, 1)?))
    })?;
    alerts.collect()
}
