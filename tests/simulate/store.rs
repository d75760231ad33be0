//! The store: the double in memory, which outlives processes, behind what makes it fail and wait. It writes down what the
//! ledger says, for the book.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use order_gateway::domain::account::AccountId;
use order_gateway::domain::clock_check::ClockRecord;
use order_gateway::domain::ledger::{AlertKind, AuditAlert, Entry, MutationKind, NewEntry, OperationId};
use order_gateway::domain::timestamp::Timestamp;
use order_gateway::ports::clock_record::ClockRecords;
use order_gateway::ports::ledger::{BeginOutcome, EntryCount, EntryQuery, Ledger, PlannedAudit, SaveResult};
use order_gateway::ports::replicas::{Duty, Replicas};
use order_gateway::ports::store_error::{StoreError, StoreErrorKind};
use order_gateway::store::memory::MemoryLedger;
use tokio::time::{Instant, sleep};

use crate::draw::{Draw, millis, seconds};
use crate::faults::StoreFate;
use crate::world::World;

/// Longest wait for a slow store.
const SLOW: Duration = seconds(4);

/// The store as processes see it. Cheap to clone.
#[derive(Clone)]
pub(crate) struct SimulatedLedger {
    world: World,
    pub(crate) kept: MemoryLedger,
    /// What a process has kept of its clocks for the next.
    clocks: Arc<Mutex<Option<ClockRecord>>>,
}

impl SimulatedLedger {
    pub(crate) fn new(world: World) -> Self {
        Self { world, kept: MemoryLedger::new(), clocks: Arc::default() }
    }

    /// Does a read, or fails.
    async fn read<T>(&self, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        self.wait().await?;
        work.await
    }

    /// Does a write in a task of its own, as what was handed over happens whether its caller waits or not; or fails.
    async fn write<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        let this = self.clone();
        let written = tokio::spawn(async move {
            this.wait().await?;
            let done = work.await;
            // Between what was written and who is told there is time for the process to end.
            sleep(this.world.random().span(millis(0), this.world.plan().settings.store_time)).await;
            done
        });
        written.await.unwrap_or_else(|_| Err(failure()))
    }

    async fn wait(&self) -> Result<(), StoreError> {
        let (random, fate) = (self.world.random(), self.world.store_fate());
        let longest = if fate == StoreFate::Slow { SLOW } else { self.world.plan().settings.store_time };
        sleep(random.span(millis(0), longest)).await;
        if fate == StoreFate::Fails { Err(failure()) } else { Ok(()) }
    }
}

fn failure() -> StoreError {
    StoreError { kind: StoreErrorKind::Failed, text: "as the simulation wants it".into() }
}

impl Replicas for SimulatedLedger {
    fn is_shared(&self) -> bool {
        self.kept.is_shared()
    }

    fn trusted_until(&self) -> Option<Instant> {
        self.kept.trusted_until()
    }

    async fn claim(&self, duties: Vec<Duty>) -> Result<Vec<Duty>, StoreError> {
        let this = self.clone();
        self.write(async move { this.kept.claim(duties).await }).await
    }

    async fn end_dead(&self) -> Result<usize, StoreError> {
        let this = self.clone();
        self.write(async move { this.kept.end_dead().await }).await
    }

    async fn resign(&self) -> Result<(), StoreError> {
        let this = self.clone();
        self.write(async move { this.kept.resign().await }).await
    }
}

impl Ledger for SimulatedLedger {
    async fn begin(&self, new: Vec<NewEntry>, join: bool) -> Result<BeginOutcome, StoreError> {
        let this = self.clone();
        self.write(async move {
            let begun = this.kept.begin(new, join).await?;
            if let BeginOutcome::New(entries) = &begun {
                this.note(entries);
            }
            Ok(begun)
        })
        .await
    }

    async fn save(&self, entries: Vec<Entry>, audits: Vec<PlannedAudit>) -> Result<SaveResult, StoreError> {
        let this = self.clone();
        self.write(async move {
            let saved = this.kept.save(entries, audits).await?;
            if let SaveResult::Done(entries) = &saved {
                this.note(entries);
            }
            Ok(saved)
        })
        .await
    }

    async fn owe(&self, id: OperationId) -> Result<(), StoreError> {
        let this = self.clone();
        self.write(async move { this.kept.owe(id).await }).await
    }

    async fn hear(&self, id: OperationId) -> Result<(), StoreError> {
        let this = self.clone();
        self.write(async move { this.kept.hear(id).await }).await
    }

    async fn get(&self, id: OperationId) -> Result<Option<Entry>, StoreError> {
        self.read(self.kept.get(id)).await
    }

    async fn of_request(
        &self,
        account: &AccountId,
        kind: MutationKind,
        request_id: &str,
    ) -> Result<Vec<Entry>, StoreError> {
        self.read(self.kept.of_request(account, kind, request_id)).await
    }

    async fn creation_of(&self, account: &AccountId, order_number: &str) -> Result<Option<Entry>, StoreError> {
        self.read(self.kept.creation_of(account, order_number)).await
    }

    async fn orphans(&self, after: OperationId, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.read(self.kept.orphans(after, limit)).await
    }

    async fn due(&self, accounts: &[AccountId], now: Timestamp, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.read(self.kept.due(accounts, now, limit)).await
    }

    async fn in_hand(&self, after: OperationId, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.read(self.kept.in_hand(after, limit)).await
    }

    async fn which_ended(&self, ids: &[OperationId]) -> Result<Vec<OperationId>, StoreError> {
        self.read(self.kept.which_ended(ids)).await
    }

    async fn changes_of(
        &self,
        account: &AccountId,
        kind: MutationKind,
        order_number: &str,
        since: Timestamp,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        self.read(self.kept.changes_of(account, kind, order_number, since, limit)).await
    }

    async fn list(&self, query: &EntryQuery) -> Result<Vec<Entry>, StoreError> {
        self.read(self.kept.list(query)).await
    }

    async fn counts(&self) -> Result<Vec<EntryCount>, StoreError> {
        self.read(self.kept.counts()).await
    }

    async fn due_audits(&self, now: Timestamp, limit: usize) -> Result<Vec<PlannedAudit>, StoreError> {
        self.read(self.kept.due_audits(now, limit)).await
    }

    async fn end_audit(&self, audit: PlannedAudit, found: Option<AuditAlert>) -> Result<bool, StoreError> {
        let this = self.clone();
        self.write(async move { this.kept.end_audit(audit, found).await }).await
    }

    async fn alerts(&self, operation: OperationId) -> Result<Vec<(AlertKind, Timestamp)>, StoreError> {
        self.read(self.kept.alerts(operation)).await
    }

    async fn trim(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let this = self.clone();
        self.write(async move { this.kept.trim(before, limit).await }).await
    }
}

impl ClockRecords for SimulatedLedger {
    async fn clock_record(&self) -> Result<Option<ClockRecord>, StoreError> {
        self.read(async { Ok(*self.clocks.lock().unwrap_or_else(PoisonError::into_inner)) }).await
    }

    async fn keep_clock_record(&self, record: ClockRecord) -> Result<(), StoreError> {
        let clocks = self.clocks.clone();
        self.write(async move {
            *clocks.lock().unwrap_or_else(PoisonError::into_inner) = Some(record);
            Ok(())
        })
        .await
    }
}

impl SimulatedLedger {
    fn note(&self, entries: &[Entry]) {
        let now = self.world.now();
        for entry in entries {
            self.world.trace(format_args!(
                "ledger: {} {} {}/{} {:.8} {}, attempt {}, {}",
                entry.id,
                entry.kind.operation().name(),
                entry.account,
                entry.order_number,
                entry.correlation_id,
                entry.state.name(),
                entry.attempts,
                entry.last_error,
            ));
            let wrong = self.world.state().book.written(now, entry);
            wrong.into_iter().for_each(|wrong| self.world.violated(wrong));
        }
    }
}
