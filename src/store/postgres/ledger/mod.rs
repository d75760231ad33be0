//! The ledger: entries, audits and alerts.
//!
//! All writes but trimming go through one lane, in groups: the entries of many calls are made by one statement and changed
//! by one statement. What stands against a new call is looked up after the commit, by plain reads.

mod begin;
mod reads;
mod rows;
mod save;
mod trim;
mod writes;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use self::begin::{BeginJob, Begun};
use self::save::{SaveJob, Saved};
pub(super) use self::writes::LedgerWrites;
use self::writes::{LedgerAnswer, LedgerJob};
use super::{PostgresStore, closed};
use crate::domain::account::AccountId;
use crate::domain::ledger::{AlertKind, AuditAlert, Entry, MutationKind, NewEntry, OperationId};
use crate::domain::timestamp::Timestamp;
use crate::ports::ledger::{BeginOutcome, EntryCount, EntryQuery, Ledger, PlannedAudit, SaveResult};
use crate::ports::store_error::{StoreError, StoreErrorKind};
use crate::store::keys::EntryKeys;

/// Entries dropped in one transaction.
const TRIM: usize = 200;

/// Times that a call begins when what stood against it is gone at the look-up.
const TRIES: u32 = 20;

impl Ledger for PostgresStore {
    async fn begin(&self, new: Vec<NewEntry>, join: bool) -> Result<BeginOutcome, StoreError> {
        let Some(keys) = new.first().map(EntryKeys::of) else { return Ok(BeginOutcome::New(Vec::new())) };
        let job = Arc::new(BeginJob { new, keys, join });
        for tries in 0..TRIES {
            match self.write(LedgerJob::Begin(job.clone())).await? {
                LedgerAnswer::Begun(Begun::New(entries)) => return Ok(BeginOutcome::New(entries)),
                LedgerAnswer::Begun(Begun::Trimmed { fingerprint, answer }) => {
                    return Ok(BeginOutcome::Trimmed { fingerprint, answer });
                }
                LedgerAnswer::Begun(Begun::Again) => {}
                LedgerAnswer::Begun(Begun::Standing) => {
                    if let Some(begun) = self.standing(&job).await? {
                        return Ok(begun);
                    }
                    // What stood against it is gone again.
                    sleep(Duration::from_millis(u64::from(tries))).await;
                }
                _ => return Err(closed()),
            }
        }
        let text = "what stands against a call changed at each look".into();
        Err(StoreError { kind: StoreErrorKind::Busy, text })
    }

    async fn save(&self, entries: Vec<Entry>, audits: Vec<PlannedAudit>) -> Result<SaveResult, StoreError> {
        let job = Arc::new(SaveJob::new(entries, audits));
        loop {
            match self.write(LedgerJob::Save(job.clone())).await? {
                LedgerAnswer::Saved(Saved::Result(result)) => return Ok(result),
                // Another call of the group wrote one of the entries; the next group has its fence.
                LedgerAnswer::Saved(Saved::Again) => {}
                _ => return Err(closed()),
            }
        }
    }

    async fn owe(&self, id: OperationId) -> Result<(), StoreError> {
        self.write(LedgerJob::Owe(id)).await.map(drop)
    }

    async fn hear(&self, id: OperationId) -> Result<(), StoreError> {
        self.write(LedgerJob::Hear(vec![id])).await.map(drop)
    }

    async fn get(&self, id: OperationId) -> Result<Option<Entry>, StoreError> {
        self.told(reads::get(self.reads(), self.accounts(), id).await)
    }

    async fn of_request(
        &self,
        account: &AccountId,
        kind: MutationKind,
        request_id: &str,
    ) -> Result<Vec<Entry>, StoreError> {
        self.told(reads::of_request(self.reads(), self.accounts(), account, kind, request_id).await)
    }

    async fn creation_of(&self, account: &AccountId, order_number: &str) -> Result<Option<Entry>, StoreError> {
        self.told(reads::creation_of(self.reads(), self.accounts(), account, order_number).await)
    }

    async fn changes_of(
        &self,
        account: &AccountId,
        kind: MutationKind,
        order_number: &str,
        since: Timestamp,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let changes = reads::changes_of(self.reads(), self.accounts(), account, kind, order_number, since, limit);
        self.told(changes.await)
    }

    async fn orphans(&self, after: OperationId, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.told(reads::orphans(self.reads(), self.accounts(), after, limit).await)
    }

    async fn due(&self, accounts: &[AccountId], now: Timestamp, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.told(reads::due(self.reads(), self.accounts(), accounts, now, limit).await)
    }

    async fn in_hand(&self, after: OperationId, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let Some(life) = self.life().present() else { return Ok(Vec::new()) };
        self.told(reads::in_hand(self.reads(), self.accounts(), life, after, limit).await)
    }

    async fn which_ended(&self, ids: &[OperationId]) -> Result<Vec<OperationId>, StoreError> {
        self.told(reads::which_ended(self.reads(), ids).await)
    }

    async fn list(&self, query: &EntryQuery) -> Result<Vec<Entry>, StoreError> {
        self.told(reads::list(self.reads(), self.accounts(), query).await)
    }

    async fn counts(&self) -> Result<Vec<EntryCount>, StoreError> {
        self.told(reads::counts(self.reads(), self.accounts()).await)
    }

    async fn due_audits(&self, now: Timestamp, limit: usize) -> Result<Vec<PlannedAudit>, StoreError> {
        self.told(reads::due_audits(self.reads(), now, limit).await)
    }

    async fn end_audit(&self, audit: PlannedAudit, found: Option<AuditAlert>) -> Result<bool, StoreError> {
        match self.write(LedgerJob::EndAudit(audit, found)).await? {
            LedgerAnswer::Changed(rows) => Ok(rows > 0),
            _ => Err(closed()),
        }
    }

    async fn alerts(&self, operation: OperationId) -> Result<Vec<(AlertKind, Timestamp)>, StoreError> {
        self.told(reads::alerts(self.reads(), operation).await)
    }

    async fn trim(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let mut dropped = 0;
        while dropped < limit {
            let left = limit - dropped;
            // The first request is dropped regardless of its size; a small limit would otherwise stop all trimming.
            let most = if dropped == 0 { usize::MAX } else { left };
            let ripe = self.told(trim::ripe(self.reads(), before, left.min(TRIM), most).await)?;
            if ripe.is_empty() {
                break;
            }
            let now = self.changes().transaction(move |tx| trim::drop_requests(tx, ripe.clone())).await?;
            dropped += now;
        }
        Ok(dropped)
    }
}

impl PostgresStore {
    async fn write(&self, job: LedgerJob) -> Result<LedgerAnswer, StoreError> {
        self.0.ledger.run(job).await
    }

    /// What stands against a call, if it still does.
    async fn standing(&self, job: &BeginJob) -> Result<Option<BeginOutcome>, StoreError> {
        let Some(begun) = self.told(reads::standing(self.reads(), self.accounts(), &job.keys, job.join).await)? else {
            return Ok(None);
        };
        let (is_owed, is_open) = match &begun {
            BeginOutcome::Existing { entries, .. } => {
                (entries.iter().any(|entry| entry.is_owed), entries.iter().any(|entry| entry.state.is_open()))
            }
            _ => (false, false),
        };
        let by_content =
            matches!(&begun, BeginOutcome::Existing { by: crate::ports::ledger::BeginConflict::Content, .. });
        if by_content && is_owed {
            let BeginOutcome::Existing { entries, .. } = &begun else { return Ok(None) };
            let ids = entries.iter().map(|entry| entry.id).collect();
            // Of two callers that join at the same time, one gets the outcome that is owed.
            let heard = matches!(self.write(LedgerJob::Hear(ids)).await?, LedgerAnswer::Changed(rows) if rows > 0);
            if !heard && !is_open {
                return Ok(None);
            }
        }
        Ok(Some(begun))
    }
}
