//! The rows of the ledger's tables.

use bytes::Bytes;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::domain::ledger::{Entry, Fingerprint, OperationId, UnknownSince};
use crate::domain::timestamp::Timestamp;
use crate::store::codes::CodedEnum;
use crate::store::marks::{self, EntryMarks};
use crate::store::postgres::accounts::Accounts;
use crate::store::postgres::trouble::PgError;

/// A query for entries; the rest may use `e`, the row of the entry, and `a`, its account.
macro_rules! entries {
    ($rest:literal) => {
        concat!(
            "SELECT e.id, e.fence, a.seller, e.kind, e.order_number, e.request_id, e.batch, e.batches, e.fingerprint, \
             e.state, e.effect, e.attempts, e.created, e.updated, e.not_after, e.next, e.correlation_id, e.doubt_since, \
             e.doubt_last_byte, e.doubt_lookups, e.doubt_absences, e.doubt_last_absence, e.body, e.snapshot, e.answer, \
             e.last_error, e.resolution, e.marks, e.evidence, e.content_key IS NOT NULL AND e.state >= 4 \
             FROM entries e JOIN accounts a ON a.id = e.account ",
            $rest
        )
    };
}
pub(super) use entries;

/// Reads the columns of [`entries`].
pub(super) fn entry(row: &Row, accounts: &Accounts) -> Result<Entry, PgError> {
    let marks = EntryMarks::read(row.try_get(27)?);
    Ok(Entry {
        id: OperationId(number(row, 0)?),
        fence: number(row, 1)?,
        account: accounts.name_of(row.try_get(2)?)?,
        kind: coded(row, 3)?,
        order_number: row.try_get::<_, &str>(4)?.into(),
        request_id: row.try_get::<_, Option<&str>>(5)?.map(Into::into),
        batch: count(row, 6)?,
        batches: count(row, 7)?,
        fingerprint: Fingerprint(array(row, 8)?),
        state: coded(row, 9)?,
        effect: coded(row, 10)?,
        attempts: count(row, 11)?,
        created: time(row, 12)?,
        updated: time(row, 13)?,
        not_after: marks.not_after(time(row, 14)?),
        next: maybe_time(row, 15)?.map(|next| marks.next(next)),
        boot: marks.boot(),
        correlation_id: Uuid::from_bytes(array(row, 16)?),
        unknown: unknown(row, &marks)?,
        body: Bytes::copy_from_slice(row.try_get(22)?),
        snapshot: row.try_get(23)?,
        answer: Bytes::copy_from_slice(row.try_get(24)?),
        last_error: row.try_get(25)?,
        resolution: row.try_get(26)?,
        evidence: marks::read_evidence(row.try_get(28)?),
        is_owed: row.try_get(29)?,
    })
}

pub(super) fn all(rows: &[Row], accounts: &Accounts) -> Result<Vec<Entry>, PgError> {
    rows.iter().map(|row| entry(row, accounts)).collect()
}

fn unknown(row: &Row, marks: &EntryMarks) -> Result<Option<UnknownSince>, PgError> {
    let Some(since) = maybe_time(row, 17)? else { return Ok(None) };
    let unknown = marks.unknown(since, time(row, 18)?, maybe_time(row, 21)?);
    Ok(Some(UnknownSince { lookups: count(row, 19)?, absences: count(row, 20)?, ..unknown }))
}

/// Converts to Postgres's signed numbers, saturating at the largest.
pub(super) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Converts a small number, saturating at the largest.
pub(super) fn small(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// Reads a number that is never negative.
pub(super) fn number(row: &Row, column: usize) -> Result<u64, PgError> {
    let number: i64 = row.try_get(column)?;
    u64::try_from(number).map_err(|_| damaged(row, column))
}

fn count(row: &Row, column: usize) -> Result<u32, PgError> {
    let number: i32 = row.try_get(column)?;
    u32::try_from(number).map_err(|_| damaged(row, column))
}

pub(super) fn time(row: &Row, column: usize) -> Result<Timestamp, PgError> {
    number(row, column).map(Timestamp)
}

pub(super) fn maybe_time(row: &Row, column: usize) -> Result<Option<Timestamp>, PgError> {
    if row.try_get::<_, Option<i64>>(column)?.is_none() { Ok(None) } else { time(row, column).map(Some) }
}

pub(super) fn array<const N: usize>(row: &Row, column: usize) -> Result<[u8; N], PgError> {
    row.try_get::<_, &[u8]>(column)?.try_into().map_err(|_| damaged(row, column))
}

pub(super) fn coded<T: CodedEnum>(row: &Row, column: usize) -> Result<T, PgError> {
    T::of_number(row.try_get(column)?).ok_or_else(|| damaged(row, column))
}

fn damaged(row: &Row, column: usize) -> PgError {
    let name = row.columns().get(column).map_or("?", |column| column.name());
    PgError::Damaged(format!("column {name}"))
}
