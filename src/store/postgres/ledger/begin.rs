//! The statements that make entries.

use std::collections::{HashMap, HashSet};

use futures_util::future::try_join3;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::rows::{array, integer, small};
use crate::domain::account::AccountId;
use crate::domain::ledger::{Entry, Fingerprint, NewEntry, OperationId};
use crate::store::codes::CodedEnum as _;
use crate::store::keys::EntryKeys;
use crate::store::marks::EntryMarks;
use crate::store::postgres::trouble::PgError;
use crate::store::postgres::tx::Tx;
use crate::store::{is_in_hand, made};

/// A call that begins.
#[derive(Debug)]
pub(in crate::store) struct BeginJob {
    pub(super) new: Vec<NewEntry>,
    pub(super) keys: EntryKeys,
    pub(super) join: bool,
}

/// What became of a call.
#[derive(Debug)]
pub(in crate::store) enum Begun {
    /// The entries were made.
    New(Vec<Entry>),
    /// A trimmed creation has the order number.
    Trimmed { fingerprint: Fingerprint, answer: Vec<u8> },
    /// Something stands against the call, and is to be looked up.
    Standing,
    /// Another call of the same group has the same content.
    Again,
}

/// Makes the entries of all calls against which nothing stands.
pub(super) async fn write(
    tx: &Tx,
    jobs: &[&BeginJob],
    numbers: &HashMap<AccountId, i32>,
) -> Result<Vec<Begun>, PgError> {
    if jobs.is_empty() {
        return Ok(Vec::new());
    }
    let mut begun = Vec::with_capacity(jobs.len());
    let mut columns = Columns::default();
    let mut joined = HashSet::new();
    for (call, job) in jobs.iter().enumerate() {
        let account = numbers.get(&job.keys.account).copied().ok_or_else(|| PgError::Damaged("an account".into()))?;
        let content = job.keys.content.as_deref().filter(|_| job.join);
        // Whether the content is open is asked before the rows of this group are there.
        if content.is_some_and(|content| !joined.insert((account, content))) {
            begun.push(Begun::Again);
            continue;
        }
        begun.push(Begun::Standing);
        job.new.iter().for_each(|new| columns.add(call, account, new, job));
    }
    let mut locks: Vec<i64> = joined.iter().map(|(account, content)| lock_of(*account, content)).collect();
    locks.sort_unstable();
    // In this order: each sees what the one before it waited for.
    let (_, made_rows, trimmed) = try_join3(lock(tx, &locks), columns.insert(tx), columns.look_for_trimmed(tx)).await?;
    let mut ids: HashMap<usize, Vec<OperationId>> = HashMap::new();
    for row in &made_rows {
        let (call, id): (i32, i64) = (row.try_get(0)?, row.try_get(1)?);
        ids.entry(usize::try_from(call).unwrap_or_default()).or_default().push(OperationId(id.cast_unsigned()));
    }
    let mut dropped = Vec::new();
    for row in &trimmed {
        let (call, fingerprint, answer) = of_trimmed(row)?;
        if let Some(ids) = ids.remove(&call) {
            dropped.extend(ids.iter().map(|id| integer(id.0)));
            begun[call] = Begun::Trimmed { fingerprint, answer };
        }
    }
    if !dropped.is_empty() {
        tx.execute("DELETE FROM entries WHERE id = ANY($1)", &[(&dropped, Type::INT8_ARRAY)]).await?;
        tx.execute("DELETE FROM unfinished WHERE id = ANY($1)", &[(&dropped, Type::INT8_ARRAY)]).await?;
    }
    for (call, ids) in ids {
        let new = jobs[call].new.iter().cloned();
        begun[call] = Begun::New(new.zip(ids).map(|(new, id)| made(new, id)).collect());
    }
    Ok(begun)
}

fn of_trimmed(row: &Row) -> Result<(usize, Fingerprint, Vec<u8>), PgError> {
    let call = usize::try_from(row.try_get::<_, i32>(0)?).unwrap_or_default();
    Ok((call, Fingerprint(array(row, 1)?), row.try_get(2)?))
}

/// The lock of a content, by which two joining calls of it go one after the other: no index is unique by content, because
/// calls with ids of their own may stand side by side.
fn lock_of(account: i32, content: &[u8]) -> i64 {
    let half = content.first_chunk().map_or(0, |half| i64::from_be_bytes(*half));
    half ^ i64::from(account).rotate_left(32)
}

async fn lock(tx: &Tx, locks: &Vec<i64>) -> Result<(), PgError> {
    if locks.is_empty() {
        return Ok(());
    }
    let sql = "SELECT count(pg_advisory_xact_lock(l # hashtextextended(current_schema(), 0))) \
               FROM unnest($1::bigint[]) AS l";
    tx.query(sql, &[(locks, Type::INT8_ARRAY)]).await.map(drop)
}

/// The columns of the new rows, an array each.
#[derive(Default)]
struct Columns<'a> {
    call: Vec<i32>,
    account: Vec<i32>,
    kind: Vec<i16>,
    state: Vec<i16>,
    effect: Vec<i16>,
    attempts: Vec<i32>,
    batch: Vec<i32>,
    batches: Vec<i32>,
    created: Vec<i64>,
    not_after: Vec<i64>,
    number_key: Vec<Option<&'a [u8]>>,
    request_key: Vec<Option<&'a [u8]>>,
    content_key: Vec<Option<&'a [u8]>>,
    correlation_id: Vec<&'a [u8]>,
    fingerprint: Vec<&'a [u8]>,
    order_number: Vec<&'a str>,
    request_id: Vec<Option<&'a str>>,
    body: Vec<&'a [u8]>,
    snapshot: Vec<&'a [u8]>,
    marks: Vec<Vec<u8>>,
    joins: Vec<bool>,
    in_hand: Vec<bool>,
}

impl<'a> Columns<'a> {
    fn add(&mut self, call: usize, account: i32, new: &'a NewEntry, job: &'a BeginJob) {
        let entry = made(NewEntry { body: Default::default(), snapshot: Vec::new(), ..new.clone() }, OperationId(0));
        self.call.push(i32::try_from(call).unwrap_or(i32::MAX));
        self.account.push(account);
        self.kind.push(entry.kind.number());
        self.state.push(entry.state.number());
        self.effect.push(entry.effect.number());
        self.attempts.push(small(entry.attempts));
        self.batch.push(small(entry.batch));
        self.batches.push(small(entry.batches));
        self.created.push(integer(entry.created.0));
        self.not_after.push(integer(entry.not_after.wall.0));
        self.number_key.push(job.keys.number.as_deref());
        self.request_key.push(job.keys.request.as_deref());
        self.content_key.push(job.keys.content.as_deref());
        self.correlation_id.push(new.correlation_id.as_bytes());
        self.fingerprint.push(&new.fingerprint.0);
        self.order_number.push(&new.order_number);
        self.request_id.push(new.request_id.as_deref());
        self.body.push(&new.body);
        self.snapshot.push(&new.snapshot);
        self.marks.push(EntryMarks::of(&entry).write());
        self.joins.push(job.join);
        self.in_hand.push(is_in_hand(entry.state, entry.next));
    }

    /// Returns the call and the id of each row that was made.
    async fn insert(&self, tx: &Tx) -> Result<Vec<Row>, PgError> {
        if self.call.is_empty() {
            return Ok(Vec::new());
        }
        let life = tx.life();
        tx.query(
            INSERT,
            &[
                (&self.call, Type::INT4_ARRAY),
                (&self.account, Type::INT4_ARRAY),
                (&self.kind, Type::INT2_ARRAY),
                (&self.state, Type::INT2_ARRAY),
                (&self.effect, Type::INT2_ARRAY),
                (&self.attempts, Type::INT4_ARRAY),
                (&self.batch, Type::INT4_ARRAY),
                (&self.batches, Type::INT4_ARRAY),
                (&self.created, Type::INT8_ARRAY),
                (&self.not_after, Type::INT8_ARRAY),
                (&self.number_key, Type::BYTEA_ARRAY),
                (&self.request_key, Type::BYTEA_ARRAY),
                (&self.content_key, Type::BYTEA_ARRAY),
                (&self.correlation_id, Type::BYTEA_ARRAY),
                (&self.fingerprint, Type::BYTEA_ARRAY),
                (&self.order_number, Type::TEXT_ARRAY),
                (&self.request_id, Type::TEXT_ARRAY),
                (&self.body, Type::BYTEA_ARRAY),
                (&self.snapshot, Type::BYTEA_ARRAY),
                (&self.marks, Type::BYTEA_ARRAY),
                (&self.joins, Type::BOOL_ARRAY),
                (&self.in_hand, Type::BOOL_ARRAY),
                (&life, Type::INT8),
            ],
        )
        .await
    }

    /// Returns the call, fingerprint and answer of each order number that a trimmed creation has. Asked after the insert:
    /// trimming moves a row in one transaction, and a look before the insert could miss it in both places.
    async fn look_for_trimmed(&self, tx: &Tx) -> Result<Vec<Row>, PgError> {
        if self.number_key.iter().all(Option::is_none) {
            return Ok(Vec::new());
        }
        let sql = "SELECT k.call, t.fingerprint, t.answer \
                   FROM unnest($1::int[], $2::int[], $3::bytea[]) AS k(call, account, number_key) \
                   JOIN tombstones t ON t.account = k.account AND t.number_key = k.number_key";
        let params = [
            (&self.call as _, Type::INT4_ARRAY),
            (&self.account as _, Type::INT4_ARRAY),
            (&self.number_key as _, Type::BYTEA_ARRAY),
        ];
        tx.query(sql, &params).await
    }
}

/// Batch 0 of each call is made unless its order number, its request id or, for a joining call, its content is there; the
/// further batches only where batch 0 was made, or a repeat with more batches than the first would make the surplus.
const INSERT: &str = "WITH given AS MATERIALIZED (\
     SELECT nextval('entry_ids') AS id, g.* FROM unnest($1::int[], $2::int[], $3::smallint[], $4::smallint[], \
     $5::smallint[], $6::int[], $7::int[], $8::int[], $9::bigint[], $10::bigint[], $11::bytea[], $12::bytea[], \
     $13::bytea[], $14::bytea[], $15::bytea[], $16::text[], $17::text[], $18::bytea[], $19::bytea[], $20::bytea[], \
     $21::boolean[], $22::boolean[]) \
     WITH ORDINALITY AS g(call, account, kind, state, effect, attempts, batch, batches, created, not_after, number_key, \
     request_key, content_key, correlation_id, fingerprint, order_number, request_id, body, snapshot, marks, joins, \
     in_hand, at)), \
     new AS MATERIALIZED (SELECT *, min(id) OVER (PARTITION BY call) AS first FROM given), \
     made AS (INSERT INTO entries (id, first, account, kind, state, effect, attempts, batch, batches, created, updated, \
     not_after, number_key, request_key, frees, content_key, correlation_id, fingerprint, order_number, request_id, body, \
     snapshot, marks) \
     SELECT id, first, account, kind, state, effect, attempts, batch, batches, created, created, not_after, number_key, \
     request_key, false, content_key, correlation_id, fingerprint, order_number, request_id, body, snapshot, marks \
     FROM new n WHERE batch = 0 AND NOT (joins AND EXISTS (SELECT 1 FROM entries o \
     WHERE o.account = n.account AND o.content_key = n.content_key)) \
     ORDER BY account, number_key, kind, request_key ON CONFLICT DO NOTHING RETURNING id), \
     rest AS (INSERT INTO entries (id, first, account, kind, state, effect, attempts, batch, batches, created, updated, \
     not_after, number_key, request_key, frees, content_key, correlation_id, fingerprint, order_number, request_id, body, \
     snapshot, marks) \
     SELECT n.id, first, account, kind, state, effect, attempts, batch, batches, created, created, not_after, number_key, \
     request_key, false, content_key, correlation_id, fingerprint, order_number, request_id, body, snapshot, marks \
     FROM new n JOIN made ON made.id = n.first WHERE batch > 0), \
     open AS (INSERT INTO unfinished (id, account, state, created, owner) \
     SELECT n.id, account, state, created, CASE WHEN in_hand THEN $23::bigint END \
     FROM new n JOIN made ON made.id = n.first) \
     SELECT n.call, n.id FROM new n JOIN made ON made.id = n.first ORDER BY n.at";
