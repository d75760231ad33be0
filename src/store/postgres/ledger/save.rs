//! The statements that change entries.

use std::collections::{HashMap, HashSet};

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::rows::{integer, small};
use crate::domain::ledger::Entry;
use crate::ports::ledger::{PlannedAudit, SaveResult};
use crate::store::codes::CodedEnum as _;
use crate::store::marks::{self, EntryMarks};
use crate::store::postgres::trouble::PgError;
use crate::store::postgres::tx::Tx;
use crate::store::{is_in_hand, kept};

/// A call of `save`, with its entries in their stored form.
#[derive(Debug)]
pub(in crate::store) struct SaveJob {
    entries: Vec<Entry>,
    audits: Vec<PlannedAudit>,
}

/// What became of a call of `save`.
#[derive(Debug)]
pub(in crate::store) enum Saved {
    /// The answer for the caller.
    Result(SaveResult),
    /// Another call of the same group writes one of the entries.
    Again,
}

impl SaveJob {
    pub(super) fn new(entries: Vec<Entry>, audits: Vec<PlannedAudit>) -> Self {
        Self { entries: entries.into_iter().map(kept).collect(), audits }
    }

    fn done(&self) -> Saved {
        let next = |entry: &Entry| Entry { fence: entry.fence + 1, ..entry.clone() };
        Saved::Result(SaveResult::Done(self.entries.iter().map(next).collect()))
    }
}

/// Writes the entries of all calls whose fences are right, each call as a whole.
pub(super) async fn write(tx: &Tx, jobs: &[&SaveJob]) -> Result<Vec<Saved>, PgError> {
    let mut saved = Vec::with_capacity(jobs.len());
    let (mut taken, mut good) = (HashSet::new(), Vec::new());
    for (call, job) in jobs.iter().enumerate() {
        let ids: HashSet<_> = job.entries.iter().map(|entry| entry.id).collect();
        saved.push(if ids.len() < job.entries.len() {
            Saved::Result(SaveResult::Stale)
        } else if ids.is_disjoint(&taken) {
            taken.extend(ids);
            good.push(call);
            job.done()
        } else {
            Saved::Again
        });
    }
    let several: Vec<_> = good.iter().copied().filter(|call| jobs[*call].entries.len() > 1).collect();
    let stale = stale(tx, jobs, &several).await?;
    let mut columns = Columns::default();
    for call in &good {
        if stale.contains(call) {
            saved[*call] = Saved::Result(SaveResult::Stale);
        } else {
            jobs[*call].entries.iter().for_each(|entry| columns.add(*call, entry));
        }
    }
    let changed = columns.update(tx).await?;
    let mut written = HashMap::new();
    for row in &changed {
        let at = usize::try_from(row.try_get::<_, i64>(0)? - 1).unwrap_or_default();
        *written.entry(columns.call.get(at).copied().unwrap_or_default()).or_insert(0) += 1;
    }
    for call in &good {
        let (count, entries) = (written.get(call).copied().unwrap_or(0), jobs[*call].entries.len());
        if count != entries && !stale.contains(call) {
            if count != 0 {
                // The rows were locked, so all of them are written or none.
                return Err(PgError::Damaged("a call was written in part".into()));
            }
            saved[*call] = Saved::Result(SaveResult::Stale);
        }
    }
    free(tx, &columns.freeing).await?;
    let is_done = |saved: &Saved| matches!(saved, Saved::Result(SaveResult::Done(_)));
    let audits = jobs.iter().zip(&saved).filter(|(_, saved)| is_done(saved)).flat_map(|(job, _)| &job.audits);
    plan(tx, audits).await?;
    Ok(saved)
}

/// Those of these calls, each of several entries, whose fences are not right. Locks their rows in order.
async fn stale(tx: &Tx, jobs: &[&SaveJob], calls: &[usize]) -> Result<HashSet<usize>, PgError> {
    if calls.is_empty() {
        return Ok(HashSet::new());
    }
    let ids: Vec<i64> = calls.iter().flat_map(|call| &jobs[*call].entries).map(|entry| integer(entry.id.0)).collect();
    let sql = "SELECT id, fence FROM entries WHERE id = ANY($1) AND state < 4 ORDER BY id FOR UPDATE";
    let rows = tx.query(sql, &[(&ids, Type::INT8_ARRAY)]).await?;
    let mut fences = HashMap::new();
    for row in &rows {
        fences.insert(row.try_get::<_, i64>(0)?, row.try_get::<_, i64>(1)?);
    }
    let fits = |entry: &Entry| fences.get(&integer(entry.id.0)) == Some(&integer(entry.fence));
    Ok(calls.iter().copied().filter(|call| !jobs[*call].entries.iter().all(fits)).collect())
}

/// Frees the ids of requests of several entries that all leave it free. The row of batch 0 is locked, so that of two
/// replicas that end the last two entries at the same time the later one sees both.
async fn free(tx: &Tx, ids: &Vec<i64>) -> Result<(), PgError> {
    if ids.is_empty() {
        return Ok(());
    }
    let lock =
        "SELECT id FROM entries WHERE id IN (SELECT first FROM entries WHERE id = ANY($1)) ORDER BY id FOR UPDATE";
    tx.query(lock, &[(ids, Type::INT8_ARRAY)]).await?;
    let sql = "UPDATE entries e SET freed = e.first WHERE e.batches > 1 \
               AND e.first IN (SELECT first FROM entries WHERE id = ANY($1)) \
               AND NOT EXISTS (SELECT 1 FROM entries o WHERE o.first = e.first AND o.batches > 1 AND NOT o.frees)";
    tx.execute(sql, &[(ids, Type::INT8_ARRAY)]).await.map(drop)
}

async fn plan(tx: &Tx, audits: impl Iterator<Item = &PlannedAudit>) -> Result<(), PgError> {
    let (times, entries): (Vec<i64>, Vec<i64>) =
        audits.map(|audit| (integer(audit.time.0), integer(audit.operation.0))).unzip();
    if times.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO audits (time, entry) SELECT DISTINCT * FROM unnest($1::bigint[], $2::bigint[]) AS a(time, entry) \
               ORDER BY time, entry ON CONFLICT DO NOTHING";
    tx.execute(sql, &[(&times, Type::INT8_ARRAY), (&entries, Type::INT8_ARRAY)]).await.map(drop)
}

/// The columns that may change, an array each.
#[derive(Default)]
struct Columns<'a> {
    /// The call of each row.
    call: Vec<usize>,
    /// Entries of requests of several that leave the request id free.
    freeing: Vec<i64>,
    id: Vec<i64>,
    fence: Vec<i64>,
    state: Vec<i16>,
    effect: Vec<i16>,
    attempts: Vec<i32>,
    updated: Vec<i64>,
    not_after: Vec<i64>,
    next: Vec<Option<i64>>,
    answer: Vec<&'a [u8]>,
    last_error: Vec<String>,
    resolution: Vec<String>,
    doubt_since: Vec<Option<i64>>,
    doubt_last_byte: Vec<Option<i64>>,
    doubt_lookups: Vec<Option<i32>>,
    doubt_absences: Vec<Option<i32>>,
    doubt_last_absence: Vec<Option<i64>>,
    evidence: Vec<Option<Vec<u8>>>,
    body: Vec<&'a [u8]>,
    snapshot: Vec<&'a [u8]>,
    marks: Vec<Option<Vec<u8>>>,
    in_hand: Vec<bool>,
    drop_number: Vec<bool>,
    drop_content: Vec<bool>,
    frees: Vec<bool>,
}

impl<'a> Columns<'a> {
    fn add(&mut self, call: usize, entry: &'a Entry) {
        let Entry { state, unknown, .. } = entry;
        let is_open = state.is_open();
        self.call.push(call);
        self.id.push(integer(entry.id.0));
        self.fence.push(integer(entry.fence));
        self.state.push(state.number());
        self.effect.push(entry.effect.number());
        self.attempts.push(small(entry.attempts));
        self.updated.push(integer(entry.updated.0));
        self.not_after.push(integer(entry.not_after.wall.0));
        self.next.push(entry.next.map(|next| integer(next.wall.0)));
        self.answer.push(&entry.answer);
        self.last_error.push(without_zeros(&entry.last_error));
        self.resolution.push(without_zeros(&entry.resolution));
        self.doubt_since.push(unknown.map(|unknown| integer(unknown.since.wall.0)));
        self.doubt_last_byte.push(unknown.map(|unknown| integer(unknown.last_byte.wall.0)));
        self.doubt_lookups.push(unknown.map(|unknown| small(unknown.lookups)));
        self.doubt_absences.push(unknown.map(|unknown| small(unknown.absences)));
        let last_absence = unknown.and_then(|unknown| unknown.last_absence);
        self.doubt_last_absence.push(last_absence.map(|last| integer(last.wall.0)));
        self.evidence.push(entry.evidence.as_ref().map(marks::write_evidence));
        self.body.push(&entry.body);
        self.snapshot.push(&entry.snapshot);
        self.marks.push(is_open.then(|| EntryMarks::of(entry).write()));
        self.in_hand.push(is_in_hand(*state, entry.next));
        self.drop_number.push(!state.holds_order_number());
        self.drop_content.push(!is_open && !entry.is_owed);
        self.frees.push(entry.frees_request_id());
        if entry.frees_request_id() && entry.batches > 1 {
            self.freeing.push(integer(entry.id.0));
        }
    }

    /// Returns the position, from 1, of each row that was written.
    async fn update(&self, tx: &Tx) -> Result<Vec<Row>, PgError> {
        if self.id.is_empty() {
            return Ok(Vec::new());
        }
        let life = tx.life();
        tx.query(
            UPDATE,
            &[
                (&self.id, Type::INT8_ARRAY),
                (&self.fence, Type::INT8_ARRAY),
                (&self.state, Type::INT2_ARRAY),
                (&self.effect, Type::INT2_ARRAY),
                (&self.attempts, Type::INT4_ARRAY),
                (&self.updated, Type::INT8_ARRAY),
                (&self.not_after, Type::INT8_ARRAY),
                (&self.next, Type::INT8_ARRAY),
                (&self.answer, Type::BYTEA_ARRAY),
                (&self.last_error, Type::TEXT_ARRAY),
                (&self.resolution, Type::TEXT_ARRAY),
                (&self.doubt_since, Type::INT8_ARRAY),
                (&self.doubt_last_byte, Type::INT8_ARRAY),
                (&self.doubt_lookups, Type::INT4_ARRAY),
                (&self.doubt_absences, Type::INT4_ARRAY),
                (&self.doubt_last_absence, Type::INT8_ARRAY),
                (&self.evidence, Type::BYTEA_ARRAY),
                (&self.body, Type::BYTEA_ARRAY),
                (&self.snapshot, Type::BYTEA_ARRAY),
                (&self.marks, Type::BYTEA_ARRAY),
                (&self.in_hand, Type::BOOL_ARRAY),
                (&self.drop_number, Type::BOOL_ARRAY),
                (&self.drop_content, Type::BOOL_ARRAY),
                (&self.frees, Type::BOOL_ARRAY),
                (&life, Type::INT8),
            ],
        )
        .await
    }
}

/// Postgres's text has no zero bytes. For texts that are shown to people only.
fn without_zeros(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// Changes nothing where the stored entry is final or has another fence.
const UPDATE: &str = "WITH d AS MATERIALIZED (SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], \
     $4::smallint[], $5::int[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bytea[], $10::text[], $11::text[], \
     $12::bigint[], $13::bigint[], $14::int[], $15::int[], $16::bigint[], $17::bytea[], $18::bytea[], $19::bytea[], \
     $20::bytea[], $21::boolean[], $22::boolean[], $23::boolean[], $24::boolean[]) \
     WITH ORDINALITY AS d(id, fence, state, effect, attempts, updated, not_after, next, answer, last_error, resolution, \
     doubt_since, doubt_last_byte, doubt_lookups, doubt_absences, doubt_last_absence, evidence, body, snapshot, marks, \
     in_hand, drop_number, drop_content, frees, at)), \
     changed AS (UPDATE entries e SET fence = e.fence + 1, state = d.state, effect = d.effect, attempts = d.attempts, \
     updated = d.updated, not_after = d.not_after, next = d.next, answer = d.answer, last_error = d.last_error, \
     resolution = d.resolution, doubt_since = d.doubt_since, doubt_last_byte = d.doubt_last_byte, \
     doubt_lookups = d.doubt_lookups, doubt_absences = d.doubt_absences, doubt_last_absence = d.doubt_last_absence, \
     evidence = d.evidence, body = d.body, snapshot = d.snapshot, marks = d.marks, \
     number_key = CASE WHEN d.drop_number THEN NULL ELSE e.number_key END, \
     content_key = CASE WHEN d.drop_content THEN NULL ELSE e.content_key END, frees = d.frees, \
     freed = CASE WHEN d.frees AND e.batches = 1 THEN e.first ELSE e.freed END \
     FROM d WHERE e.id = d.id AND e.fence = d.fence AND e.state < 4 RETURNING d.at, e.id, e.account), \
     closed AS (DELETE FROM unfinished u USING changed c JOIN d ON d.at = c.at WHERE u.id = c.id AND d.state = 4), \
     moved AS (UPDATE unfinished u SET state = d.state, next = d.next, owner = CASE WHEN d.in_hand THEN $25::bigint END \
     FROM changed c JOIN d ON d.at = c.at WHERE u.id = c.id AND d.state <> 4), \
     counted AS (INSERT INTO counts (account, replica, entries) SELECT c.account, $25::bigint, count(*) \
     FROM changed c JOIN d ON d.at = c.at WHERE d.state = 4 GROUP BY c.account ORDER BY c.account \
     ON CONFLICT (account, replica) DO UPDATE SET entries = counts.entries + excluded.entries) \
     SELECT at FROM changed";
