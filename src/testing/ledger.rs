//! A ledger that fails when a test wants it to, and entries for ledgers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use prost::Message;
use tokio::time::Instant;
use uuid::Uuid;

use super::restart::Restart;
use super::walmart::sample;
use crate::domain::account::AccountId;
use crate::domain::ledger::{
    AlertKind, AuditAlert, Entry, EntryState, Fingerprint, MutationKind, NewEntry, OperationId,
};
use crate::domain::moment::{BootId, Moment, SteadyTime};
use crate::domain::timestamp::Timestamp;
use crate::pb;
use crate::ports::ledger::{BeginOutcome, EntryCount, EntryQuery, Ledger, PlannedAudit, SaveResult};
use crate::ports::replicas::{Duty, Replicas};
use crate::ports::store_error::{StoreError, StoreErrorKind};
use crate::store::memory::MemoryLedger;

impl Restart for Faulty {
    fn restart(&self) {
        self.0.ledger.restart();
    }
}

/// Over a ledger in memory. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Faulty(Arc<Inner>);

#[derive(Default)]
struct Inner {
    ledger: MemoryLedger,
    no_writes: AtomicBool,
    no_reads: AtomicBool,
    no_later_debts: AtomicBool,
    saves: AtomicUsize,
    /// Milliseconds that a change takes.
    save_time: AtomicU64,
}

impl Faulty {
    /// Whether writes and reads fail from now on.
    pub(crate) fn fail(&self, writes: bool, reads: bool) {
        self.0.no_writes.store(writes, Ordering::SeqCst);
        self.0.no_reads.store(reads, Ordering::SeqCst);
    }

    /// Lets no outcome become owed after it was written, as if each process ended right after the write.
    pub(crate) fn end_after_writes(&self) {
        self.0.no_later_debts.store(true, Ordering::SeqCst);
    }

    /// Lets each change from now on take this long.
    pub(crate) fn be_slow(&self, time: Duration) {
        self.0.save_time.store(time.as_millis() as u64, Ordering::SeqCst);
    }

    /// Writes of changes so far.
    pub(crate) fn saves(&self) -> usize {
        self.0.saves.load(Ordering::SeqCst)
    }

    fn write(&self) -> Result<&MemoryLedger, StoreError> {
        self.unless(&self.0.no_writes)
    }

    fn read(&self) -> Result<&MemoryLedger, StoreError> {
        self.unless(&self.0.no_reads)
    }

    fn unless(&self, fails: &AtomicBool) -> Result<&MemoryLedger, StoreError> {
        let error = StoreError { kind: StoreErrorKind::Full, text: "on purpose".into() };
        if fails.load(Ordering::SeqCst) { Err(error) } else { Ok(&self.0.ledger) }
    }
}

impl Replicas for Faulty {
    fn is_shared(&self) -> bool {
        self.0.ledger.is_shared()
    }

    fn trusted_until(&self) -> Option<Instant> {
        self.0.ledger.trusted_until()
    }

    async fn claim(&self, duties: Vec<Duty>) -> Result<Vec<Duty>, StoreError> {
        self.write()?.claim(duties).await
    }

    async fn end_dead(&self) -> Result<usize, StoreError> {
        self.write()?.end_dead().await
    }

    async fn resign(&self) -> Result<(), StoreError> {
        self.write()?.resign().await
    }
}

impl Ledger for Faulty {
    async fn begin(&self, new: Vec<NewEntry>, join: bool) -> Result<BeginOutcome, StoreError> {
        self.write()?.begin(new, join).await
    }

    async fn save(&self, entries: Vec<Entry>, audits: Vec<PlannedAudit>) -> Result<SaveResult, StoreError> {
        self.0.saves.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(self.0.save_time.load(Ordering::SeqCst))).await;
        self.write()?.save(entries, audits).await
    }

    async fn owe(&self, id: OperationId) -> Result<(), StoreError> {
        self.unless(&self.0.no_later_debts)?;
        self.write()?.owe(id).await
    }

    async fn hear(&self, id: OperationId) -> Result<(), StoreError> {
        self.write()?.hear(id).await
    }

    async fn get(&self, id: OperationId) -> Result<Option<Entry>, StoreError> {
        self.read()?.get(id).await
    }

    async fn of_request(&self, account: &AccountId, kind: MutationKind, id: &str) -> Result<Vec<Entry>, StoreError> {
        self.read()?.of_request(account, kind, id).await
    }

    async fn creation_of(&self, account: &AccountId, order_number: &str) -> Result<Option<Entry>, StoreError> {
        self.read()?.creation_of(account, order_number).await
    }

    async fn orphans(&self, after: OperationId, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.read()?.orphans(after, limit).await
    }

    async fn due(&self, accounts: &[AccountId], now: Timestamp, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.read()?.due(accounts, now, limit).await
    }

    async fn in_hand(&self, after: OperationId, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.read()?.in_hand(after, limit).await
    }

    async fn which_ended(&self, ids: &[OperationId]) -> Result<Vec<OperationId>, StoreError> {
        self.read()?.which_ended(ids).await
    }

    async fn changes_of(
        &self,
        account: &AccountId,
        kind: MutationKind,
        order_number: &str,
        since: Timestamp,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        self.read()?.changes_of(account, kind, order_number, since, limit).await
    }

    async fn list(&self, query: &EntryQuery) -> Result<Vec<Entry>, StoreError> {
        self.read()?.list(query).await
    }

    async fn counts(&self) -> Result<Vec<EntryCount>, StoreError> {
        self.read()?.counts().await
    }

    async fn due_audits(&self, now: Timestamp, limit: usize) -> Result<Vec<PlannedAudit>, StoreError> {
        self.read()?.due_audits(now, limit).await
    }

    async fn end_audit(&self, audit: PlannedAudit, found: Option<AuditAlert>) -> Result<bool, StoreError> {
        self.write()?.end_audit(audit, found).await
    }

    async fn alerts(&self, operation: OperationId) -> Result<Vec<(AlertKind, Timestamp)>, StoreError> {
        self.read()?.alerts(operation).await
    }

    async fn trim(&self, before: Timestamp, limit: usize) -> Result<usize, StoreError> {
        self.write()?.trim(before, limit).await
    }
}

/// A creation of this number that is being sent, by a process that has ended.
pub(crate) fn creation(account: &str, order_number: &str, now: Timestamp) -> NewEntry {
    let mut request: pb::CreateOrderRequest = sample("CreateOrderRequest", include_str!("../../examples/create.json"));
    let payload = request.payload.as_mut().unwrap();
    payload.seller_order_id = Some(order_number.into());
    payload.customer_order_no = Some(order_number.into());
    // On the day of the test's clock.
    payload.order_placed_time = Some("2027-01-15T08:00:00Z".into());
    NewEntry {
        account: AccountId::new(account).unwrap(),
        kind: MutationKind::Create,
        order_number: order_number.into(),
        request_id: None,
        batch: 0,
        batches: 1,
        fingerprint: Fingerprint::of(payload),
        state: EntryState::Sending,
        created: now,
        not_after: Moment { wall: now, steady: SteadyTime(now.0) }.plus(std::time::Duration::from_secs(15 * 60)),
        boot: Some(BootId([0; 16])),
        correlation_id: Uuid::from_u128(7),
        body: request.encode_to_vec().into(),
        snapshot: Vec::new(),
    }
}

/// One of several batches of a cancellation; each has one line, named as the batch.
pub(crate) fn batch(request_id: &str, batch: u32, batches: u32, state: EntryState, now: Timestamp) -> NewEntry {
    let mut request: pb::CancelOrderRequest = sample("CancelOrderRequest", include_str!("../../examples/cancel.json"));
    let payload = request.payload.as_mut().unwrap();
    let fingerprint = Fingerprint::of(payload);
    payload.order_items[0].seller_line_id = Some(format!("line-{batch}"));
    let request = request.encode_to_vec();
    NewEntry {
        kind: MutationKind::Cancel,
        request_id: Some(request_id.into()),
        batch,
        batches,
        state,
        fingerprint,
        body: request.into(),
        ..creation("acme", "SO123", now)
    }
}

/// Puts entries of one request into the ledger.
pub(crate) async fn put(ledger: &impl Ledger, new: Vec<NewEntry>) -> Vec<Entry> {
    match ledger.begin(new, false).await {
        Ok(BeginOutcome::New(entries)) => entries,
        other => panic!("{other:?}"),
    }
}
