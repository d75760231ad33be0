//! Several processes on one store, asked in turn: what one wrote the next one reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::time::Instant;

use crate::domain::account::AccountId;
use crate::domain::ledger::{AlertKind, AuditAlert, Entry, MutationKind, NewEntry, OperationId};
use crate::domain::timestamp::Timestamp;
use crate::ports::ledger::{BeginOutcome, EntryCount, EntryQuery, Ledger, PlannedAudit, SaveResult};
use crate::ports::replicas::{Duty, Replicas};
use crate::ports::store_error::StoreError;

/// Each call goes to the next process.
#[derive(Clone)]
pub(super) struct Rotating<L> {
    processes: Vec<L>,
    calls: Arc<AtomicUsize>,
}

impl<L: Ledger> Rotating<L> {
    pub(super) fn new(processes: Vec<L>) -> Self {
        Self { processes, calls: Arc::default() }
    }

    fn next(&self) -> &L {
        &self.processes[self.calls.fetch_add(1, Ordering::Relaxed) % self.processes.len()]
    }
}

impl<L: Ledger> Replicas for Rotating<L> {
    fn is_shared(&self) -> bool {
        self.next().is_shared()
    }

    fn trusted_until(&self) -> Option<Instant> {
        self.next().trusted_until()
    }

    async fn claim(&self, duties: Vec<Duty>) -> Result<Vec<Duty>, StoreError> {
        self.next().claim(duties).await
    }

    async fn end_dead(&self) -> Result<usize, StoreError> {
        self.next().end_dead().await
    }

    async fn resign(&self) -> Result<(), StoreError> {
        self.next().resign().await
    }
}

/// Hands the methods of the port to the next process.
macro_rules! in_turn {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        impl<L: Ledger> Ledger for Rotating<L> {
            $(async fn $name(&self, $($argument: $type),*) -> Result<$result, StoreError> {
                self.next().$name($($argument),*).await
            })*
        }
    };
}

in_turn! {
    begin(new: Vec<NewEntry>, join: bool) -> BeginOutcome;
    save(entries: Vec<Entry>, audits: Vec<PlannedAudit>) -> SaveResult;
    owe(id: OperationId) -> ();
    hear(id: OperationId) -> ();
    get(id: OperationId) -> Option<Entry>;
    of_request(account: &AccountId, kind: MutationKind, request_id: &str) -> Vec<Entry>;
    creation_of(account: &AccountId, order_number: &str) -> Option<Entry>;
    changes_of(account: &AccountId, kind: MutationKind, order_number: &str, since: Timestamp, limit: usize) -> Vec<Entry>;
    orphans(after: OperationId, limit: usize) -> Vec<Entry>;
    due(accounts: &[AccountId], now: Timestamp, limit: usize) -> Vec<Entry>;
    in_hand(after: OperationId, limit: usize) -> Vec<Entry>;
    which_ended(ids: &[OperationId]) -> Vec<OperationId>;
    list(query: &EntryQuery) -> Vec<Entry>;
    counts() -> Vec<EntryCount>;
    due_audits(now: Timestamp, limit: usize) -> Vec<PlannedAudit>;
    end_audit(audit: PlannedAudit, found: Option<AuditAlert>) -> bool;
    alerts(operation: OperationId) -> Vec<(AlertKind, Timestamp)>;
    trim(before: Timestamp, limit: usize) -> usize;
}
