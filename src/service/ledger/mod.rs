//! The work on mutations shared by creating, cancelling, resolving and operating: entries are begun, sent, changed and
//! awaited here, to make sure that a mutation happens once.
//!
//! The machine in `domain::ledger` decides, and this module carries out the decisions. Every change is durable before
//! any action follows from it.

pub(super) mod answer;
mod audit;
mod completion;
mod day;
mod desk;
mod due_queue;
mod first_look;
mod look_up;
mod lookup_reserve;
mod others;
mod resend;
mod resolver;
mod search;
mod sending;
mod takeover;
mod work_guard;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};
use uuid::Uuid;

use self::completion::CompletionWaiters;
use self::desk::LookupDesk;
use self::due_queue::DueQueue;
pub use self::resolver::Resolver;
pub(super) use self::sending::in_short;
pub(in crate::service) use self::work_guard::WorkGuard;
use super::{AccountDirectory, ServiceError};
use crate::crash_point::{CrashPoint, reach};
use crate::domain::account::AccountIndex;
use crate::domain::account_table::AccountTable;
use crate::domain::effect::Effect;
use crate::domain::ledger::evidence::{LookupAnswer, is_not_found};
use crate::domain::ledger::machine::{self, EntryEvent, LedgerRules};
use crate::domain::ledger::{Entry, NewEntry};
use crate::domain::moment::{BootId, Moment};
use crate::domain::mutations::{LookupProbe, Mutation, settlement_of};
use crate::domain::operation::Operation;
use crate::domain::reads::{LookUp, LookUpMcsReturns, LookUpReturn, LookUpSellerOrder, LookUpWebhookSubscriptions};
use crate::domain::timestamp::Timestamp;
use crate::pb::{
    GetOrderRequest, GetOrderStatusRequest, ListMcsReturnsRequest, ListReturnsRequest, ListWebhookSubscriptionsRequest,
};
use crate::planted_bug::{PlantedBug, is_planted};
use crate::ports::call::{CallContext, CallPurpose};
use crate::ports::clock::Clock;
use crate::ports::ledger::{BeginOutcome, Ledger, PlannedAudit, SaveResult};
use crate::ports::random::Random;
use crate::ports::store_error::StoreError;
use crate::ports::upstream::{ErrorKind, Reply, Upstream, UpstreamError, WalmartApi};
use crate::shutdown::OnceEvent;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::semconv;
use crate::telemetry::trace::{BackgroundSpan, Tracer};

/// First wait after a store failure, doubled up to [`LONGEST_STORE_RETRY`].
const STORE_RETRY: Duration = Duration::from_millis(100);
const LONGEST_STORE_RETRY: Duration = Duration::from_secs(5);

/// Longest time for a snapshot of a mutation that needs one.
const LONGEST_SNAPSHOT: Duration = Duration::from_secs(60);
/// Longest time for a snapshot before a cancellation; a longer wait costs the caller more than the snapshot is worth.
const SNAPSHOT_TIME: Duration = Duration::from_secs(2);
/// A snapshot may take one part in this many of the caller's time.
const SNAPSHOT_PART: u32 = 4;
/// Delay before a look-up that could not be made is tried again.
const POSTPONED: Duration = Duration::from_secs(1);
/// Most returns of a Multichannel order on one of Walmart's pages.
const MCS_PAGE: i32 = 50;
/// Time that a write may take. A hearer with less time left may be gone when the write ends.
const WRITE_TIME: Duration = Duration::from_millis(250);
/// Name of the span of a write.
const WRITE: &str = "ledger write";
/// Time limit of a background call.
const OWN_CALL_TIME: Duration = Duration::from_secs(10);

/// The work on mutations. Cheap to clone.
pub struct Mutations<U, L>(Arc<MutationsShared<U, L>>);

struct MutationsShared<U, L> {
    upstream: U,
    ledger: L,
    directory: AccountDirectory,
    rules: LedgerRules,
    clock: Clock,
    random: Random,
    metrics: Arc<Metrics>,
    waiters: CompletionWaiters,
    due_queue: DueQueue,
    /// Whether the open entries of earlier processes have been taken over.
    taken_over: AtomicBool,
    /// The desks of every account, one for every look-up.
    desks: AccountTable<[LookupDesk; Operation::ALL.len()]>,
    status_limit: u32,
    look_first_until: Option<Timestamp>,
    tracer: Tracer,
    closing: OnceEvent,
}

/// The desk at which look-ups of one kind are made for one account. Look-ups of different kinds have buckets of their own,
/// and must not wait for one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DeskId {
    account: usize,
    operation: usize,
}

impl DeskId {
    pub(super) fn new(account: AccountIndex, look_up: Operation) -> Self {
        Self { account: account.0, operation: look_up.index() }
    }

    /// The desk for look-ups and searches of orders by number and date, and for audits.
    pub(super) fn of_orders(account: AccountIndex) -> Self {
        Self::new(account, Operation::Status)
    }

    pub(super) fn account(self) -> AccountIndex {
        AccountIndex(self.account)
    }
}

/// The result of [`Mutations::write`]: the entry as stored in the ledger.
pub(super) enum SaveOutcome {
    /// This write was stored.
    Won(Entry),
    /// A concurrent task changed the entry first, nothing was written, and the entry must not be sent here.
    Lost(Entry),
}

/// Who hears the outcome of an entry.
#[derive(Clone, Copy, Debug)]
pub(super) enum OutcomeHearer {
    /// The callers that wait for the entry, if any.
    Waiters,
    /// The caller whose work this is, until its deadline.
    CallUntil(Instant),
}

/// A background call with its span. The span starts a trace of its own, because the caller's trace may be over or
/// unrecorded; the operation's correlation id links the two traces.
pub(super) struct BackgroundCall {
    pub(super) context: CallContext,
    _span: BackgroundSpan,
}

/// The settings of [`Mutations`].
pub struct MutationSettings {
    /// Rules of the ledger.
    pub rules: LedgerRules,
    /// Status calls a minute of an account; snapshots and audits get a part of these calls.
    pub status_limit: u32,
    /// Creations before this time are looked up before the first attempt.
    pub look_first_until: Option<Timestamp>,
    /// Makes the spans of background work.
    pub tracer: Tracer,
    /// The end of the grace period: mutations that have begun answer that their outcome is pending.
    pub closing: OnceEvent,
}

impl SaveOutcome {
    /// The entry as stored, by this write or by a concurrent one.
    pub(super) fn into_entry(self) -> Entry {
        match self {
            Self::Won(entry) | Self::Lost(entry) => entry,
        }
    }
}

impl BackgroundCall {
    /// Makes `work` a part of the call, whose trace its spans and log lines then belong to.
    pub(super) fn scope<F: Future>(&self, work: F) -> impl Future<Output = F::Output> {
        self.context.trace.ids().scope(work)
    }
}

impl<U, L> Clone for Mutations<U, L> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<U: WalmartApi, L: Ledger> Mutations<U, L> {
    /// Sends to `upstream`, and stores in `ledger`.
    pub fn new(
        upstream: U,
        ledger: L,
        directory: AccountDirectory,
        settings: MutationSettings,
        clock: Clock,
        random: Random,
        metrics: Arc<Metrics>,
    ) -> Self {
        let MutationSettings { rules, status_limit, look_first_until, tracer, closing } = settings;
        let desks = AccountTable::default();
        let (waiters, due_queue) = (CompletionWaiters::default(), DueQueue::default());
        let taken_over = AtomicBool::new(true);
        Self(Arc::new(MutationsShared {
            upstream,
            ledger,
            directory,
            rules,
            clock,
            random,
            metrics,
            waiters,
            due_queue,
            taken_over,
            desks,
            status_limit,
            look_first_until,
            tracer,
            closing,
        }))
    }

    pub(crate) fn ledger(&self) -> &L {
        &self.0.ledger
    }

    pub(super) fn rules(&self) -> &LedgerRules {
        &self.0.rules
    }

    /// The accounts whose mutations these are.
    pub(crate) fn directory(&self) -> &AccountDirectory {
        &self.0.directory
    }

    pub(super) fn new_id(&self) -> Uuid {
        self.0.random.uuid()
    }

    /// Runs `work` of a call, but no longer than until the calls in flight end: then returns `None`.
    pub(super) async fn until_closing<F: Future>(&self, work: F) -> Option<F::Output> {
        self.0.closing.run_until(work).await
    }

    /// The time of day.
    pub(super) fn now(&self) -> Timestamp {
        self.0.clock.now().into()
    }

    /// The current instant on the two clocks.
    pub(super) fn moment(&self) -> Moment {
        self.0.clock.moment()
    }

    pub(super) fn boot_id(&self) -> BootId {
        self.0.clock.boot_id()
    }

    fn desk(&self, desk: DeskId) -> &LookupDesk {
        let desks = || Operation::ALL.map(|_| LookupDesk::new(self.0.status_limit));
        &self.0.desks.row(desk.account(), desks)[desk.operation]
    }

    /// Reads the order before a mutation, and returns the snapshots of the upstream requests; empty where the state is
    /// unknown. Costs a read, which is skipped when reads are scarce. Fails for a mutation that needs its snapshot, and
    /// where the wanted object stands already.
    pub(super) async fn snapshots<M: Mutation>(
        &self,
        account: AccountIndex,
        request: &M::Request,
        batches: &[Arc<M::Request>],
        call: &CallContext,
    ) -> Result<Vec<Vec<u8>>, ServiceError> {
        let none = vec![Vec::new(); batches.len()];
        let Some(probe) = M::snapshot_probe(request) else { return Ok(none) };
        if is_planted(PlantedBug::SnapshotSkipped) {
            return Ok(none);
        }
        // Only the calls of this read are so few that look-ups could run out of them.
        let is_scarce = probe.operation() == Operation::Status;
        if is_scarce && !self.desk(DeskId::of_orders(account)).spare.take_spare() {
            return Ok(none);
        }
        let now = Instant::now();
        let left = call.deadline.saturating_duration_since(now);
        let soon =
            now + if M::NEEDS_SNAPSHOT { LONGEST_SNAPSHOT.min(left) } else { SNAPSHOT_TIME.min(left / SNAPSHOT_PART) };
        let call = CallContext { deadline: soon, ..call.clone() };
        let reply = match self.read(account, &probe, &call).await {
            Ok(reply) => reply,
            Err(error) if M::NEEDS_SNAPSHOT => return Err(no_snapshot::<M>(error)),
            Err(_) => return Ok(none),
        };
        let ids = M::standing(request, &reply.answer);
        if !ids.is_empty() {
            return Err(ServiceError::SubscriptionExists { ids, correlation_id: reply.correlation_id });
        }
        let snapshots: Vec<Vec<u8>> = batches.iter().map(|batch| M::snapshot(batch, &reply.answer)).collect();
        if M::NEEDS_SNAPSHOT && snapshots.iter().any(Vec::is_empty) {
            return Err(unreadable_snapshot::<M>(&reply));
        }
        let personal = M::personal_of_look_up(&reply.answer);
        Ok(snapshots.into_iter().map(|snapshot| personal.beside(snapshot)).collect())
    }

    /// Makes a look-up about a mutation.
    async fn read(
        &self,
        account: AccountIndex,
        probe: &LookupProbe,
        call: &CallContext,
    ) -> Result<Reply<LookupAnswer>, UpstreamError> {
        let upstream = &self.0.upstream;
        match probe {
            LookupProbe::OrderByNumber(number) => {
                let request = GetOrderStatusRequest { order_number: number.clone(), ..Default::default() };
                Upstream::<LookUp>::call(upstream, account, &request, None, call).await
            }
            LookupProbe::OrdersByDate(request) => {
                Upstream::<LookUp>::call(upstream, account, request, None, call).await
            }
            LookupProbe::SellerOrder(number) => {
                let request = GetOrderRequest { purchase_order_id: number.clone(), ..Default::default() };
                Upstream::<LookUpSellerOrder>::call(upstream, account, &request, None, call).await
            }
            LookupProbe::Return(number) => {
                let request = ListReturnsRequest { return_order_id: number.clone(), ..Default::default() };
                Upstream::<LookUpReturn>::call(upstream, account, &request, None, call).await
            }
            LookupProbe::McsReturnsOfOrder(number) => {
                let seller_order_id = number.clone();
                let request = ListMcsReturnsRequest { seller_order_id, limit: MCS_PAGE, ..Default::default() };
                Upstream::<LookUpMcsReturns>::call(upstream, account, &request, None, call).await
            }
            LookupProbe::McsReturn(number) => {
                let return_order_id = number.clone();
                let request = ListMcsReturnsRequest { return_order_id, limit: MCS_PAGE, ..Default::default() };
                Upstream::<LookUpMcsReturns>::call(upstream, account, &request, None, call).await
            }
            LookupProbe::Webhooks(event_type) => {
                let request = ListWebhookSubscriptionsRequest { event_type: event_type.clone(), ..Default::default() };
                Upstream::<LookUpWebhookSubscriptions>::call(upstream, account, &request, None, call).await
            }
        }
    }

    /// A background call without a caller, about one entry or several.
    pub(super) fn background_call(
        &self,
        name: &'static str,
        entry: Option<&Entry>,
        purpose: CallPurpose,
    ) -> BackgroundCall {
        let mut span = self.0.tracer.background_span(name);
        if let Some(entry) = entry {
            span.set(semconv::OPERATION, || entry.id.to_string().into());
            span.set(semconv::ACCOUNT, || entry.account.to_string().into());
            span.set(semconv::CORRELATION_ID, || entry.correlation_id.to_string().into());
        }
        let context = CallContext {
            deadline: Instant::now() + OWN_CALL_TIME,
            trace: span.context().clone(),
            facts: Arc::default(),
            purpose,
        };
        BackgroundCall { context, _span: span }
    }

    /// Calls [`Ledger::begin`] after the takeover.
    pub(super) async fn begin(&self, new: Vec<NewEntry>, join: bool) -> Result<BeginOutcome, ServiceError> {
        if !self.0.taken_over.load(Ordering::Acquire) {
            return Err(ServiceError::Store);
        }
        reach(CrashPoint::L1);
        let waiting = new.iter().any(|entry| entry.state.is_open() && entry.batch > 0);
        let wait = self.0.tracer.wait_span("ledger begin");
        let begun = self.0.ledger.begin(new, join).await?;
        drop(wait);
        if waiting && matches!(begun, BeginOutcome::New(_)) {
            reach(CrashPoint::L2);
        }
        Ok(begun)
    }

    /// Applies an event to an entry. An event that the machine refuses is a bug in the gateway.
    pub(super) fn after(&self, entry: Entry, event: EntryEvent) -> Result<Entry, ServiceError> {
        self.after_at(entry, event, self.moment())
    }

    /// Applies an event at a given time.
    fn after_at(&self, entry: Entry, event: EntryEvent, time: Moment) -> Result<Entry, ServiceError> {
        let id = entry.id;
        // The machine erases the request at the end, and a look-up for another call may need what it has changed.
        let change = if event.says_done() { settlement_of(entry.kind).change(&entry) } else { None };
        let mut entry = machine::apply(entry, event, time, &self.0.rules).map_err(|impossible| {
            tracing::error!(operation = %id, "{impossible}");
            ServiceError::Internal
        })?;
        if let Some(change) = change {
            entry.answer = answer::with_change(&entry.answer, change).into();
        }
        Ok(Entry { is_owed: self.is_owed(&entry), ..entry })
    }

    /// Whether the outcome is owed: no caller waits, which means that the caller was told that the outcome is pending,
    /// or has left. A call identified by its order number is answered permanently and owes nothing.
    fn is_owed(&self, entry: &Entry) -> bool {
        may_be_owed(entry) && self.0.waiters.waited_for_until(entry.id).is_none()
    }

    /// Whether the outcome is or becomes owed unless somebody hears it after `time`.
    fn is_unheard_after(&self, entry: &Entry, hearer: OutcomeHearer, time: Instant) -> bool {
        let by_call = match hearer {
            OutcomeHearer::Waiters => None,
            OutcomeHearer::CallUntil(deadline) => Some(deadline),
        };
        may_be_owed(entry) && by_call.max(self.0.waiters.waited_for_until(entry.id)).is_none_or(|until| until <= time)
    }

    /// Writes an entry, and retries while the store fails, because the outcome must not be lost. Returns
    /// [`SaveOutcome::Lost`] when a concurrent task changed the entry first.
    pub(super) async fn write(&self, entry: &Entry) -> Result<SaveOutcome, ServiceError> {
        self.write_heard_by(entry, OutcomeHearer::Waiters).await
    }

    /// Writes an entry as [`Mutations::write`], whose outcome is owed unless `hearer` is still there afterwards. Where the
    /// hearer may leave during the write, the same transaction stores the debt, which a kill right after it cannot lose.
    pub(super) async fn write_heard_by(
        &self,
        entry: &Entry,
        hearer: OutcomeHearer,
    ) -> Result<SaveOutcome, ServiceError> {
        let wait = self.0.tracer.wait_span(WRITE);
        let early = self.is_owed_early(entry, hearer);
        let written = || Entry { is_owed: entry.is_owed || early, ..entry.clone() };
        let saved = self.until_it_works(|| self.0.ledger.save(vec![written()], audits(entry))).await;
        drop(wait);
        match saved {
            SaveResult::Done(mut written) => {
                let mut entry = written.pop().ok_or(ServiceError::Internal)?;
                self.settle_debt(&mut entry, early, hearer).await;
                self.follow(&entry);
                Ok(SaveOutcome::Won(entry))
            }
            SaveResult::Stale => {
                // Boxed, because the case is rare and would enlarge the future of every creation.
                let stored = Box::pin(self.until_it_works(|| self.0.ledger.get(entry.id))).await;
                stored.map(SaveOutcome::Lost).ok_or(ServiceError::Internal)
            }
        }
    }

    /// Writes several entries in one transaction, as [`Mutations::write`].
    pub(super) async fn write_all(
        &self,
        entries: Vec<Entry>,
        hearer: OutcomeHearer,
    ) -> Result<Vec<SaveOutcome>, ServiceError> {
        let audits: Vec<_> = entries.iter().flat_map(audits).collect();
        let wait = self.0.tracer.wait_span(WRITE);
        let early: Vec<bool> = entries.iter().map(|entry| self.is_owed_early(entry, hearer)).collect();
        let with_debts = entries.iter().zip(&early);
        let with_debts = with_debts.map(|(entry, early)| Entry { is_owed: entry.is_owed || *early, ..entry.clone() });
        let with_debts: Vec<Entry> = with_debts.collect();
        let saved = self.until_it_works(|| self.0.ledger.save(with_debts.clone(), audits.clone())).await;
        drop(wait);
        if let SaveResult::Done(mut written) = saved {
            for (entry, early) in written.iter_mut().zip(early) {
                self.settle_debt(entry, early, hearer).await;
                self.follow(entry);
            }
            return Ok(written.into_iter().map(SaveOutcome::Won).collect());
        }
        // A concurrent change of one entry must not keep the rest from being written.
        let mut written = Vec::with_capacity(entries.len());
        for entry in &entries {
            written.push(self.write_heard_by(entry, hearer).await?);
        }
        Ok(written)
    }

    /// Whether the write has to store the debt although the hearer is there: it may be gone when the write ends.
    fn is_owed_early(&self, entry: &Entry, hearer: OutcomeHearer) -> bool {
        !entry.is_owed && self.is_unheard_after(entry, hearer, Instant::now() + WRITE_TIME)
    }

    /// Corrects the debt of a written entry. When its hearer left during the write, the caller was told that the outcome is
    /// pending, and the same call once more must hear the outcome. A debt stored `early` ends when the hearer is still
    /// there. Until this ends the same call joins the work.
    async fn settle_debt(&self, entry: &mut Entry, early: bool, hearer: OutcomeHearer) {
        let is_unheard = self.is_unheard_after(entry, hearer, Instant::now());
        // Boxed, because the cases are rare and would enlarge the future of every call.
        if is_unheard && !entry.is_owed {
            Box::pin(self.until_it_works(|| self.0.ledger.owe(entry.id))).await;
            entry.is_owed = true;
        } else if early && !is_unheard {
            Box::pin(self.until_it_works(|| self.0.ledger.hear(entry.id))).await;
            entry.is_owed = false;
        }
    }

    /// Updates the queue, the metrics and the waiters after an entry was written.
    pub(super) fn follow(&self, entry: &Entry) {
        if entry.state.is_open() {
            match entry.next {
                Some(time) => self.0.due_queue.put(entry.id, time),
                None => self.0.due_queue.remove(entry.id),
            }
            return;
        }
        self.0.due_queue.remove(entry.id);
        self.0.metrics.ledger.closed(entry.state);
        self.0.waiters.end(entry.id);
    }

    /// Repeats a store call while the store fails.
    async fn until_it_works<T, F>(&self, ask: impl Fn() -> F) -> T
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut wait = STORE_RETRY;
        loop {
            match ask().await {
                Ok(answer) => return answer,
                // The store has counted and logged the error.
                Err(_) => {
                    sleep(wait).await;
                    wait = (wait * 2).min(LONGEST_STORE_RETRY);
                }
            }
        }
    }

    /// Waits until the entry is final or `deadline` passes, and returns the entry as last read.
    pub(super) async fn settled(&self, mut entry: Entry, deadline: Instant) -> Entry {
        let wait = async {
            while entry.state.is_open() {
                let wait = self.0.waiters.begin(entry.id, deadline);
                // The wait is registered before the read: a change between the two would otherwise be missed, and the
                // wait would never end.
                if let Ok(Some(read)) = self.0.ledger.get(entry.id).await {
                    entry = read;
                    if !entry.state.is_open() {
                        // The entry became final before the wait was registered; no later write would remove the wait
                        // from the map.
                        self.0.waiters.end(entry.id);
                        break;
                    }
                }
                wait.ended().await;
            }
        };
        // At the deadline the caller gets the entry's present state, not a bare timeout.
        let _ = timeout_at(deadline, wait).await;
        entry
    }
}

/// Whether the outcome of the entry can be owed: it is final, and a repeated call would not find it by its order number.
fn may_be_owed(entry: &Entry) -> bool {
    !entry.state.is_open() && !entry.kind.is_by_order_number()
}

/// The error of a mutation that was not sent because the read before it failed.
fn no_snapshot<M: Mutation>(error: UpstreamError) -> ServiceError {
    let kind = match error.kind {
        ErrorKind::Rejected | ErrorKind::WrongState | ErrorKind::NotFound | ErrorKind::Duplicate => {
            ErrorKind::Unavailable
        }
        kind => kind,
    };
    ServiceError::Upstream(Box::new(UpstreamError { operation: M::OPERATION, kind, effect: Effect::None, ..error }))
}

/// The error of a mutation that was not sent because the read before it shows too little, or that its object is unknown.
fn unreadable_snapshot<M: Mutation>(reply: &Reply<LookupAnswer>) -> ServiceError {
    let kind = if is_not_found(&reply.answer) { ErrorKind::NotFound } else { ErrorKind::Unavailable };
    let error = UpstreamError::unanswered(M::OPERATION, kind, Effect::None, reply.correlation_id);
    let http_status = reply.answer.http_status;
    ServiceError::Upstream(Box::new(UpstreamError { http_status, ..error }))
}

/// The audits planned with the write of this entry.
pub(super) fn audits(entry: &Entry) -> Vec<PlannedAudit> {
    let times = if settlement_of(entry.kind).is_audited() { machine::audits(entry) } else { Vec::new() };
    times.into_iter().map(|time| PlannedAudit { operation: entry.id, time }).collect()
}
