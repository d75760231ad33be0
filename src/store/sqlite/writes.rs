//! The writes of the ledger. Every write may run again in a further transaction when the first one failed.

use std::collections::BTreeSet;

use rusqlite::{OptionalExtension as _, params};

use super::lookup;
use super::marks::{self, EntryMarks};
use super::newest_keys::EntryKeyKind;
use super::reads;
use super::rows::{CodedValue, integer};
use super::tx::{ENTRY_SPAN, WriteTx};
use crate::crash_point::{CrashPoint, reach};
use crate::domain::ledger::{AuditAlert, Entry, EntryState, Fingerprint, MutationKind, NewEntry, OperationId};
use crate::domain::timestamp::Timestamp;
use crate::planted_bug::{PlantedBug, is_planted};
use crate::ports::ledger::{BeginConflict, BeginOutcome, PlannedAudit, SaveResult};
use crate::store::keys::EntryKeys;
use crate::store::{kept, made};

/// Bytes of a probe: the size of a large order's entry.
const PROBE: i64 = 8 * 1024;

pub(super) fn begin(
    tx: &mut WriteTx<'_>,
    new: &[NewEntry],
    keys: &EntryKeys,
    join: bool,
) -> rusqlite::Result<BeginOutcome> {
    if let Some(begun) = standing(tx, keys, join)? {
        return Ok(begun);
    }
    new.iter().map(|new| make(tx, new, keys)).collect::<rusqlite::Result<_>>().map(BeginOutcome::New)
}

/// Entries that conflict with a new request with these keys.
fn standing(tx: &mut WriteTx<'_>, keys: &EntryKeys, join: bool) -> rusqlite::Result<Option<BeginOutcome>> {
    let account = tx.account(&keys.account)?;
    if let Some(key) = &keys.request {
        let by = EntryKeyKind::Request(keys.kind);
        let candidates = lookup::candidates(tx, by, account, key)?;
        if let Some(id) = lookup::standing(tx, &candidates, by, account, key)? {
            return Ok(Some(BeginOutcome::Existing { by: BeginConflict::RequestId, entries: reads::whole(tx, id)? }));
        }
    }
    if let Some(key) = &keys.number {
        let candidates = lookup::candidates(tx, EntryKeyKind::Number, account, key)?;
        if let Some(id) = lookup::standing(tx, &candidates, EntryKeyKind::Number, account, key)? {
            return Ok(Some(BeginOutcome::Existing { by: BeginConflict::OrderNumber, entries: reads::whole(tx, id)? }));
        }
        for id in candidates {
            let mut trimmed =
                tx.sql("SELECT fingerprint, answer FROM trimmed WHERE id = ?1 AND account = ?2 AND number_key = ?3")?;
            let left = trimmed.query_row(params![id, account, key], |row| Ok((Fingerprint(row.get(0)?), row.get(1)?)));
            if let Some((fingerprint, answer)) = left.optional()? {
                return Ok(Some(BeginOutcome::Trimmed { fingerprint, answer }));
            }
        }
    }
    if let Some(key) = keys.content.as_ref().filter(|_| join) {
        let candidates = lookup::candidates(tx, EntryKeyKind::Content, account, key)?;
        if let Some(id) = lookup::standing(tx, &candidates, EntryKeyKind::Content, account, key)? {
            let entries = reads::whole(tx, id)?;
            // The joining caller gets the outcome, which is no longer owed.
            for owed in entries.iter().filter(|entry| entry.is_owed) {
                forget_content(tx, account, key, integer(owed.id.0))?;
            }
            return Ok(Some(BeginOutcome::Existing { by: BeginConflict::Content, entries }));
        }
    }
    Ok(None)
}

fn make(tx: &mut WriteTx<'_>, new: &NewEntry, keys: &EntryKeys) -> rusqlite::Result<Entry> {
    let account = tx.account(&new.account)?;
    let entry = made(new.clone(), OperationId(tx.next_entry()));
    let mut insert = tx.sql(
        "INSERT INTO entries (id, fence, account, kind, state, effect, attempts, batch, batches, created, updated, \
         not_after, number_key, request_key, freed, content_key, correlation_id, fingerprint, order_number, request_id, \
         answer, last_error, resolution) \
         VALUES (?1, 0, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, x'', '', '')",
    )?;
    let id = integer(entry.id.0);
    insert.execute(params![
        id,
        account,
        CodedValue(entry.kind),
        CodedValue(entry.state),
        CodedValue(entry.effect),
        entry.attempts,
        entry.batch,
        entry.batches,
        integer(entry.created.0),
        integer(entry.not_after.wall.0),
        keys.number
            .as_ref()
            .filter(|_| entry.state.holds_order_number() && !is_planted(PlantedBug::OrderNumberNotUnique)),
        keys.request,
        if entry.frees_request_id() { id } else { 0 },
        keys.content.as_ref().filter(|_| entry.state.is_open()),
        entry.correlation_id.as_bytes(),
        entry.fingerprint.0,
        entry.order_number,
        entry.request_id,
    ])?;
    if let Some(key) = keys.number.as_ref().filter(|_| entry.state.holds_order_number()) {
        lookup::add(tx, EntryKeyKind::Number, account, key, id);
    }
    if let Some(key) = &keys.request {
        lookup::add(tx, EntryKeyKind::Request(entry.kind), account, key, id);
    }
    if let Some(key) = keys.content.as_ref().filter(|_| entry.state.is_open()) {
        lookup::add(tx, EntryKeyKind::Content, account, key, id);
    }
    if entry.frees_request_id() {
        forget_freed(tx, keys, account, &entry)?;
    }
    keep_body(tx, &entry)?;
    if let Some(span) = tx.entry_span(entry.id.0, entry.created) {
        let mut note = tx.sql(
            "INSERT INTO entry_spans (span, earliest) VALUES (?1, ?2) \
             ON CONFLICT DO UPDATE SET earliest = min(earliest, excluded.earliest)",
        )?;
        note.execute([integer(span), integer(entry.created.0)])?;
    }
    tx.count(id, account, entry.state, 1);
    tx.rows += 1;
    Ok(entry)
}

pub(super) fn save(tx: &mut WriteTx<'_>, entries: &[Entry], audits: &[PlannedAudit]) -> rusqlite::Result<SaveResult> {
    // Several entries are all read before the first is written, so that a stale one leaves nothing to undo. A single
    // entry needs no read: its UPDATE names the fence.
    if entries.len() > 1 {
        let mut seen = BTreeSet::new();
        for entry in entries {
            let mut stored = tx.sql("SELECT 1 FROM entries WHERE id = ?1 AND fence = ?2 AND state < 4")?;
            if !stored.exists([integer(entry.id.0), integer(entry.fence)])? || !seen.insert(entry.id) {
                return Ok(SaveResult::Stale);
            }
        }
    }
    let mut saved = Vec::with_capacity(entries.len());
    for entry in entries {
        let entry = kept(entry.clone());
        let account = tx.account(&entry.account)?;
        let id = integer(entry.id.0);
        let before = if tx.is_counted(id) { state(tx, id)? } else { None };
        if !change(tx, &entry, account)? {
            return Ok(SaveResult::Stale);
        }
        if let Some(before) = before {
            tx.count(id, account, before, -1);
        }
        tx.count(id, account, entry.state, 1);
        if entry.state == EntryState::Succeeded {
            tx.succeeded(id, account)?;
        }
        tx.rows += 1;
        saved.push(Entry { fence: entry.fence + 1, ..entry });
    }
    audits.iter().try_for_each(|audit| plan(tx, audit))?;
    Ok(SaveResult::Done(saved))
}

/// The state of an entry as stored. `None` when there is no such entry.
fn state(tx: &WriteTx<'_>, id: i64) -> rusqlite::Result<Option<EntryState>> {
    let mut state = tx.sql("SELECT state FROM entries WHERE id = ?1")?;
    state
        .query_row([id], |row| row.get::<_, CodedValue<EntryState>>(0))
        .optional()
        .map(|state| state.map(|CodedValue(state)| state))
}

/// Writes the columns that may change, but for the keys that the entry keeps. Changes nothing and returns false when
/// the stored entry is final or has another fence.
fn change(tx: &mut WriteTx<'_>, entry: &Entry, account: i64) -> rusqlite::Result<bool> {
    let id = integer(entry.id.0);
    let Entry { state, unknown, .. } = entry;
    let mut update = tx.sql(
        "UPDATE entries SET fence = fence + 1, state = ?2, effect = ?3, attempts = ?4, updated = ?5, not_after = ?6, \
         next = ?7, answer = ?8, last_error = ?9, resolution = ?10, doubt_since = ?11, doubt_last_byte = ?12, \
         doubt_lookups = ?13, doubt_absences = ?14, doubt_last_absence = ?15, evidence = ?16 \
         WHERE id = ?1 AND fence = ?17 AND state < 4",
    )?;
    let changed = update.execute(params![
        id,
        CodedValue(*state),
        CodedValue(entry.effect),
        entry.attempts,
        integer(entry.updated.0),
        integer(entry.not_after.wall.0),
        entry.next.map(|next| integer(next.wall.0)),
        &entry.answer[..],
        entry.last_error,
        entry.resolution,
        unknown.map(|unknown| integer(unknown.since.wall.0)),
        unknown.map(|unknown| integer(unknown.last_byte.wall.0)),
        unknown.map(|unknown| unknown.lookups),
        unknown.map(|unknown| unknown.absences),
        unknown.and_then(|unknown| unknown.last_absence).map(|last| integer(last.wall.0)),
        entry.evidence.as_ref().map(marks::write_evidence),
        integer(entry.fence),
    ])?;
    if changed == 0 {
        return Ok(false);
    }
    if !state.is_open() && !entry.kind.is_by_order_number() || !state.holds_order_number() {
        give_up(tx, entry, account)?;
    }
    keep_body(tx, entry).map(|()| true)
}

/// Removes the keys that the entry does not hold any more.
fn give_up(tx: &mut WriteTx<'_>, entry: &Entry, account: i64) -> rusqlite::Result<()> {
    let id = integer(entry.id.0);
    let keys = EntryKeys::of_entry(entry);
    if let Some(key) = keys.content.as_ref().filter(|_| !entry.state.is_open() && !entry.is_owed) {
        forget_content(tx, account, key, id)?;
    }
    if let Some(key) = keys.number.as_ref().filter(|_| !entry.state.holds_order_number()) {
        tx.sql("UPDATE entries SET number_key = NULL WHERE id = ?1")?.execute([id])?;
        lookup::remove(tx, EntryKeyKind::Number, account, key, id)?;
    }
    if entry.frees_request_id() {
        tx.sql("UPDATE entries SET freed = id WHERE id = ?1")?.execute([id])?;
        forget_freed(tx, &keys, account, entry)?;
    }
    Ok(())
}

/// Gives a final entry its content key again, by which a call with the same content finds it.
pub(super) fn owe(tx: &mut WriteTx<'_>, id: OperationId) -> rusqlite::Result<()> {
    let Some(entry) = reads::get(tx.connection(), id)? else { return Ok(()) };
    let Some(key) = EntryKeys::of_entry(&entry).content else { return Ok(()) };
    if entry.state.is_open() || entry.is_owed {
        return Ok(());
    }
    let account = tx.account(&entry.account)?;
    tx.sql("UPDATE entries SET content_key = ?2 WHERE id = ?1")?.execute(params![integer(id.0), key])?;
    tx.rows += 1;
    lookup::add_again(tx, EntryKeyKind::Content, account, &key, integer(id.0))
}

/// Takes the content key of a final entry away again.
pub(super) fn pay(tx: &mut WriteTx<'_>, id: OperationId) -> rusqlite::Result<()> {
    let Some(entry) = reads::get(tx.connection(), id)?.filter(|entry| entry.is_owed) else { return Ok(()) };
    let Some(key) = EntryKeys::of_entry(&entry).content else { return Ok(()) };
    let account = tx.account(&entry.account)?;
    tx.rows += 1;
    forget_content(tx, account, &key, integer(id.0))
}

/// Removes the content key of the entry.
fn forget_content(tx: &mut WriteTx<'_>, account: i64, key: &[u8], id: i64) -> rusqlite::Result<()> {
    tx.sql("UPDATE entries SET content_key = NULL WHERE id = ?1")?.execute([id])?;
    lookup::remove(tx, EntryKeyKind::Content, account, key, id)
}

/// Removes the request keys of earlier requests that freed the id of this entry's request. They would otherwise be read
/// at every use of an id that is freed and used again and again.
fn forget_freed(tx: &mut WriteTx<'_>, keys: &EntryKeys, account: i64, entry: &Entry) -> rusqlite::Result<()> {
    let Some(key) = &keys.request else { return Ok(()) };
    let by = EntryKeyKind::Request(entry.kind);
    let first = integer(entry.id.0) - i64::from(entry.batch);
    for earlier in lookup::candidates(tx, by, account, key)?.into_iter().filter(|id| *id < first) {
        let mut freed = tx.sql(
            "SELECT 1 FROM entries WHERE id = ?1 AND account = ?2 AND kind = ?3 AND request_key = ?4 AND freed <> 0",
        )?;
        if freed.exists(params![earlier, account, CodedValue(entry.kind), key])? {
            lookup::remove(tx, by, account, key, earlier)?;
        }
    }
    Ok(())
}

/// Stores body, snapshot and marks in a row while the entry is open. Entries being sent are found by this row.
fn keep_body(tx: &WriteTx<'_>, entry: &Entry) -> rusqlite::Result<()> {
    let Entry { body, snapshot, .. } = entry;
    let id = integer(entry.id.0);
    if body.is_empty() && snapshot.is_empty() && !entry.state.is_open() {
        return tx.sql("DELETE FROM bodies WHERE id = ?1")?.execute([id]).map(drop);
    }
    tx.sql(
        "INSERT INTO bodies (id, body, snapshot, marks) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE \
         SET body = excluded.body, snapshot = excluded.snapshot, marks = excluded.marks \
         WHERE body != excluded.body OR snapshot != excluded.snapshot OR marks IS NOT excluded.marks",
    )?
    .execute(params![id, &body[..], snapshot, EntryMarks::of(entry).write()])
    .map(drop)
}

fn plan(tx: &WriteTx<'_>, audit: &PlannedAudit) -> rusqlite::Result<()> {
    let PlannedAudit { operation, time } = audit;
    let mut plan = tx.sql("INSERT OR IGNORE INTO audits (time, entry) VALUES (?1, ?2)")?;
    plan.execute([integer(time.0), integer(operation.0)]).map(drop)
}

pub(super) fn end_audit(
    tx: &mut WriteTx<'_>,
    audit: PlannedAudit,
    found: Option<&AuditAlert>,
) -> rusqlite::Result<bool> {
    let PlannedAudit { operation, time } = audit;
    let mut end = tx.sql("DELETE FROM audits WHERE time = ?1 AND entry = ?2")?;
    end.execute([integer(time.0), integer(operation.0)])?;
    let Some(AuditAlert { operation, kind, time }) = found else { return Ok(false) };
    let mut keep = tx.sql("INSERT OR IGNORE INTO alerts (entry, kind, time) VALUES (?1, ?2, ?3)")?;
    Ok(keep.execute(params![integer(operation.0), CodedValue(*kind), integer(time.0)])? == 1)
}

/// Drops at most `part` entries, or one larger request within `limit`, and returns the number of dropped entries.
pub(super) fn trim(tx: &mut WriteTx<'_>, before: Timestamp, part: usize, limit: usize) -> rusqlite::Result<usize> {
    let mut dropped = 0;
    for (first, batches) in ripe(tx, before, part)? {
        let size = usize::try_from(batches).unwrap_or(usize::MAX);
        let room = if dropped == 0 { limit } else { part.saturating_sub(dropped) };
        if size > room {
            break;
        }
        dropped += drop_request(tx, first, first + batches)?;
    }
    if dropped > 0 {
        let mut first = tx.sql("SELECT min(id) FROM entries")?;
        if let Some(first) = first.query_row([], |row| row.get::<_, Option<i64>>(0))? {
            tx.sql("DELETE FROM entry_spans WHERE span < ?1")?.execute([first / integer(ENTRY_SPAN)])?;
        }
    }
    Ok(dropped)
}

/// The first requests that may be dropped as a whole, at most `most`, with the id of the first entry and the number of
/// entries. Entries are scanned in the order of their ids, which is the order of their calls; the first call that is
/// too recent ends the scan.
fn ripe(tx: &WriteTx<'_>, before: Timestamp, most: usize) -> rusqlite::Result<Vec<(i64, i64)>> {
    let mut requests: Vec<(i64, i64)> = Vec::new();
    let mut entries = tx.sql(
        "SELECT id - batch, batches, state >= 4 AND updated < ?1, created < ?1 FROM entries NOT INDEXED ORDER BY id",
    )?;
    let mut entries = entries.query([integer(before.0)])?;
    let mut spoiled = None;
    while let Some(entry) = entries.next()? {
        let (first, batches, ripe, old): (i64, i64, bool, bool) =
            (entry.get(0)?, entry.get(1)?, entry.get(2)?, entry.get(3)?);
        let known = requests.last().is_some_and(|(last, _)| *last == first);
        if !old || (!known && requests.len() >= most) {
            break;
        }
        if !ripe {
            spoiled = Some(first);
            requests.retain(|(request, _)| *request != first);
        } else if !known && spoiled != Some(first) {
            requests.push((first, batches));
        }
    }
    Ok(requests)
}

fn drop_request(tx: &mut WriteTx<'_>, first: i64, end: i64) -> rusqlite::Result<usize> {
    tx.sql(
        "INSERT INTO trimmed (id, number_key, account, order_number, fingerprint, answer) \
         SELECT id, number_key, account, order_number, fingerprint, answer FROM entries \
         WHERE id >= ?1 AND id < ?2 AND number_key IS NOT NULL",
    )?
    .execute([first, end])?;
    reach(CrashPoint::L12);
    for sql in ["DELETE FROM bodies WHERE id >= ?1 AND id < ?2", "DELETE FROM alerts WHERE entry >= ?1 AND entry < ?2"]
    {
        tx.sql(sql)?.execute([first, end])?;
    }
    let mut delete = tx.sql(
        "DELETE FROM entries WHERE id >= ?1 AND id < ?2 \
         RETURNING id, account, state, kind, request_key, content_key",
    )?;
    let gone = delete.query_map([first, end], |row| {
        let (state, kind) = (row.get::<_, CodedValue<EntryState>>(2)?.0, row.get::<_, CodedValue<MutationKind>>(3)?.0);
        let (request, content) = (row.get::<_, Option<Vec<u8>>>(4)?, row.get::<_, Option<Vec<u8>>>(5)?);
        Ok((
            row.get(0)?,
            row.get(1)?,
            state,
            [(EntryKeyKind::Request(kind), request), (EntryKeyKind::Content, content)],
        ))
    })?;
    let gone = gone.collect::<rusqlite::Result<Vec<_>>>()?;
    let mut succeeded = tx.sql("DELETE FROM succeeded WHERE account = ?1 AND entry = ?2")?;
    for (id, account, state, keys) in &gone {
        tx.count(*id, *account, *state, -1);
        if *state == EntryState::Succeeded {
            succeeded.execute([*account, *id])?;
        }
        for (by, key) in keys {
            if let Some(key) = key {
                lookup::remove(tx, *by, *account, key, *id)?;
            }
        }
    }
    Ok(gone.len())
}

/// Writes as much as an entry, to check whether writes succeed. The row replaces the previous one.
pub(super) fn probe(tx: &mut WriteTx<'_>) -> rusqlite::Result<()> {
    let mut put = tx.sql("INSERT OR REPLACE INTO probe (id, filler) VALUES (1, randomblob(?1))")?;
    put.execute([PROBE]).map(drop)
}
