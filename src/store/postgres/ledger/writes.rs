//! The groups of writes of the ledger's lane.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::try_join;
use tokio_postgres::types::Type;

use super::begin::{self, BeginJob, Begun};
use super::rows::{self, entries, integer};
use super::save::{self, SaveJob, Saved};
use crate::domain::account::AccountId;
use crate::domain::ledger::{AuditAlert, OperationId};
use crate::ports::ledger::PlannedAudit;
use crate::store::codes::CodedEnum as _;
use crate::store::keys::EntryKeys;
use crate::store::postgres::accounts::Accounts;
use crate::store::postgres::lane::GroupWrite;
use crate::store::postgres::requests::Requests;
use crate::store::postgres::trouble::PgError;
use crate::store::postgres::tx::Tx;

/// One write of the ledger.
#[derive(Debug)]
pub(in crate::store) enum LedgerJob {
    /// Makes the entries of a call.
    Begin(Arc<BeginJob>),
    /// Changes the entries of a call.
    Save(Arc<SaveJob>),
    /// Makes the outcome of a final entry owed.
    Owe(OperationId),
    /// Ends the debt of these entries.
    Hear(Vec<OperationId>),
    /// Ends an audit and keeps its finding.
    EndAudit(PlannedAudit, Option<AuditAlert>),
}

/// The answer to one write.
#[derive(Debug)]
pub(in crate::store) enum LedgerAnswer {
    /// To `Begin`.
    Begun(Begun),
    /// To `Save`.
    Saved(Saved),
    /// To the others: how many rows are new or changed.
    Changed(u64),
}

/// Writes the groups of the ledger.
pub(in crate::store) struct LedgerWrites {
    accounts: Accounts,
    reads: Requests,
}

impl LedgerWrites {
    pub(in crate::store) fn new(accounts: Accounts, reads: Requests) -> Self {
        Self { accounts, reads }
    }

    /// The numbers of the accounts of these calls.
    async fn numbers(&self, jobs: &[&BeginJob]) -> Result<HashMap<AccountId, i32>, PgError> {
        let mut accounts: Vec<&AccountId> = jobs.iter().map(|job| &job.keys.account).collect();
        accounts.sort_unstable();
        accounts.dedup();
        let numbers = self.accounts.numbers(&self.reads, &accounts).await?;
        Ok(accounts.into_iter().cloned().zip(numbers).collect())
    }
}

impl GroupWrite for LedgerWrites {
    type Job = LedgerJob;
    type Answer = LedgerAnswer;

    async fn write(&self, tx: &Tx, jobs: &[LedgerJob]) -> Result<Vec<LedgerAnswer>, PgError> {
        let (mut begins, mut saves) = (Vec::new(), Vec::new());
        for job in jobs {
            match job {
                LedgerJob::Begin(job) => begins.push(&**job),
                LedgerJob::Save(job) => saves.push(&**job),
                LedgerJob::Owe(_) | LedgerJob::Hear(_) | LedgerJob::EndAudit(..) => {}
            }
        }
        let numbers = self.numbers(&begins).await?;
        let (begun, saved) = try_join(begin::write(tx, &begins, &numbers), save::write(tx, &saves)).await?;
        let (mut begun, mut saved) = (begun.into_iter(), saved.into_iter());
        let mut answers = Vec::with_capacity(jobs.len());
        for job in jobs {
            answers.push(match job {
                LedgerJob::Begin(_) => LedgerAnswer::Begun(begun.next().ok_or(PgError::Unread)?),
                LedgerJob::Save(_) => LedgerAnswer::Saved(saved.next().ok_or(PgError::Unread)?),
                LedgerJob::Owe(id) => LedgerAnswer::Changed(owe(tx, &self.accounts, *id).await?),
                LedgerJob::Hear(ids) => LedgerAnswer::Changed(hear(tx, ids).await?),
                LedgerJob::EndAudit(audit, found) => LedgerAnswer::Changed(end_audit(tx, audit, found.as_ref()).await?),
            });
        }
        Ok(answers)
    }
}

/// Gives a final entry its content key again, by which a call with the same content finds it.
async fn owe(tx: &Tx, accounts: &Accounts, id: OperationId) -> Result<u64, PgError> {
    let id = integer(id.0);
    let rows = tx.query(entries!("WHERE e.id = $1 AND e.state >= 4 FOR UPDATE OF e"), &[(&id, Type::INT8)]).await?;
    let Some(entry) = rows.first().map(|row| rows::entry(row, accounts)).transpose()? else { return Ok(0) };
    let Some(key) = EntryKeys::of_entry(&entry).content.filter(|_| !entry.is_owed) else { return Ok(0) };
    let key: &[u8] = &key;
    tx.execute("UPDATE entries SET content_key = $2 WHERE id = $1", &[(&id, Type::INT8), (&key, Type::BYTEA)]).await
}

async fn hear(tx: &Tx, ids: &[OperationId]) -> Result<u64, PgError> {
    let ids: Vec<i64> = ids.iter().map(|id| integer(id.0)).collect();
    let sql = "UPDATE entries SET content_key = NULL WHERE id = ANY($1) AND state >= 4 AND content_key IS NOT NULL";
    tx.execute(sql, &[(&ids, Type::INT8_ARRAY)]).await
}

/// Returns 1 when the finding is new.
async fn end_audit(tx: &Tx, audit: &PlannedAudit, found: Option<&AuditAlert>) -> Result<u64, PgError> {
    let (time, entry) = (integer(audit.time.0), integer(audit.operation.0));
    let end = "DELETE FROM audits WHERE time = $1 AND entry = $2";
    tx.execute(end, &[(&time, Type::INT8), (&entry, Type::INT8)]).await?;
    let Some(AuditAlert { operation, kind, time }) = found else { return Ok(0) };
    let (entry, kind, time) = (integer(operation.0), kind.number(), integer(time.0));
    let keep = "INSERT INTO alerts (entry, kind, time) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    tx.execute(keep, &[(&entry, Type::INT8), (&kind, Type::INT2), (&time, Type::INT8)]).await
}
