//! The rows of the ledger's tables. The numbers below are in every database and must never change.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, Type, ValueRef};
use rusqlite::{Connection, OptionalExtension as _, Row};
use uuid::Uuid;

use crate::domain::account::AccountId;
use crate::domain::effect::Effect;
use crate::domain::ledger::{Entry, EntryState, Fingerprint, MutationKind, OperationId, UnknownSince};
use crate::domain::timestamp::Timestamp;
use crate::store::codes::CodedEnum;
use crate::store::marks::{self, EntryMarks};

/// The beginning of every query for entries. The rest of a query may use `e`, the row of the entry.
pub(super) const ENTRIES: &str = "SELECT e.id, e.fence, a.name, e.kind, e.order_number, e.request_id, e.batch, \
     e.batches, e.fingerprint, e.state, e.effect, e.attempts, e.created, e.updated, e.not_after, e.next, \
     e.correlation_id, e.doubt_since, e.doubt_last_byte, e.doubt_lookups, e.doubt_absences, \
     e.doubt_last_absence, b.body, b.snapshot, e.answer, e.last_error, e.resolution, b.marks, e.evidence, \
     e.content_key IS NOT NULL AND e.state >= 4 \
     FROM entries e JOIN accounts a ON a.id = e.account LEFT JOIN bodies b ON b.id = e.id ";

/// Reads the columns of [`ENTRIES`].
pub(super) fn entry(row: &Row<'_>) -> rusqlite::Result<Entry> {
    let marks = EntryMarks::read(row.get_ref(27)?.as_blob_or_null()?);
    Ok(Entry {
        id: OperationId(number(row, 0)?),
        fence: number(row, 1)?,
        account: account(row, 2)?,
        kind: row.get::<_, CodedValue<MutationKind>>(3)?.0,
        order_number: row.get(4)?,
        request_id: row.get(5)?,
        batch: row.get(6)?,
        batches: row.get(7)?,
        fingerprint: Fingerprint(row.get(8)?),
        state: row.get::<_, CodedValue<EntryState>>(9)?.0,
        effect: row.get::<_, CodedValue<Effect>>(10)?.0,
        attempts: row.get(11)?,
        created: time(row, 12)?,
        updated: time(row, 13)?,
        not_after: marks.not_after(time(row, 14)?),
        next: maybe_time(row, 15)?.map(|next| marks.next(next)),
        boot: marks.boot(),
        correlation_id: Uuid::from_bytes(row.get(16)?),
        unknown: unknown(row, &marks)?,
        body: row.get::<_, Option<Vec<u8>>>(22)?.unwrap_or_default().into(),
        snapshot: row.get::<_, Option<_>>(23)?.unwrap_or_default(),
        answer: row.get::<_, Vec<u8>>(24)?.into(),
        last_error: row.get(25)?,
        resolution: row.get(26)?,
        evidence: marks::read_evidence(row.get_ref(28)?.as_blob_or_null()?),
        is_owed: row.get(29)?,
    })
}

fn unknown(row: &Row<'_>, marks: &EntryMarks) -> rusqlite::Result<Option<UnknownSince>> {
    let Some(since) = maybe_time(row, 17)? else { return Ok(None) };
    let (last_byte, last_absence) = (time(row, 18)?, maybe_time(row, 21)?);
    let unknown =
        UnknownSince { lookups: row.get(19)?, absences: row.get(20)?, ..marks.unknown(since, last_byte, last_absence) };
    Ok(Some(unknown))
}

/// Converts to SQLite's signed numbers, saturating at the largest.
pub(super) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Reads a number that is never negative.
pub(super) fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let number: i64 = row.get(column)?;
    u64::try_from(number).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))
}

pub(super) fn account(row: &Row<'_>, column: usize) -> rusqlite::Result<AccountId> {
    let invalid = |error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error));
    AccountId::from_store(row.get(column)?).map_err(invalid)
}

pub(super) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    number(row, column).map(Timestamp)
}

pub(super) fn maybe_time(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    if matches!(row.get_ref(column)?, ValueRef::Null) { Ok(None) } else { time(row, column).map(Some) }
}

/// A value stored as a number.
#[derive(Clone, Copy)]
pub(super) struct CodedValue<T>(pub(super) T);

impl<T: CodedEnum> ToSql for CodedValue<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        // Every value is in its list, which a test checks.
        let number = T::ALL.iter().position(|value| *value == self.0).unwrap_or(T::ALL.len());
        Ok(ToSqlOutput::from(number as i64))
    }
}

impl<T: CodedEnum> FromSql for CodedValue<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let number = value.as_i64()?;
        let found = usize::try_from(number).ok().and_then(|at| T::ALL.get(at));
        found.map(|value| Self(*value)).ok_or(FromSqlError::OutOfRange(number))
    }
}

/// A number of rows, as SQLite has numbers.
pub(super) fn size(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// The number of an account, if it has one.
pub(super) fn number_of(db: &Connection, account: &AccountId) -> rusqlite::Result<Option<i64>> {
    let mut number = db.prepare_cached("SELECT id FROM accounts WHERE name = ?1")?;
    number.query_row([account.as_str()], |row| row.get(0)).optional()
}
