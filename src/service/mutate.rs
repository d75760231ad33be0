//! The use case of every mutation: the mutation is carried out once after any failure, and a repeated call gets the
//! answer of the first call.
//!
//! [`Mutate`] records the call in the ledger before the first byte of a request leaves, sends the batches in order, and
//! writes every outcome before a caller gets the answer. The mutation continues after its caller leaves or the deadline
//! passes. The differences between mutations are defined by their types (`domain::mutations`).

mod progress;

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use self::progress::{BatchProgress, CallProgress};
use super::ServiceError;
use super::error::{SLACK, had_too_little_time, pending, timed_out};
use super::ledger::{Mutations, OutcomeHearer, SaveOutcome, WorkGuard, answer};
use crate::crash_point::{CrashPoint, reach};
use crate::domain::account::AccountIndex;
use crate::domain::ledger::machine::EntryEvent;
use crate::domain::ledger::{CONTENT_ID, Entry, EntryState, Fingerprint, NewEntry};
use crate::domain::mutations::Mutation;
use crate::planted_bug::{PlantedBug, is_planted};
use crate::ports::call::{CallContext, CallPurpose};
use crate::ports::ledger::{BeginConflict, BeginOutcome, Ledger};
use crate::ports::upstream::{AcceptedAnswer, Reply, Upstream, WalmartApi};
use crate::single_flight::{SingleFlight, Waiter};

/// Time for a batch after the first when the caller's deadline has passed.
const BATCH_TIME: Duration = Duration::from_secs(10);
/// Time for a last read of the ledger after the caller's deadline. Together with [`SLACK`] less than the
/// backstop of the deadline layer.
const LAST_READ: Duration = Duration::from_millis(30);

/// The use case of one mutation. Cheap to clone.
pub struct Mutate<M, U, L> {
    pub(super) mutations: Mutations<U, L>,
    single_flight: SingleFlight<Result<CallProgress, ServiceError>, Arc<CallIdentity>>,
    mutation: PhantomData<fn() -> M>,
}

impl<M, U, L> Clone for Mutate<M, U, L> {
    fn clone(&self) -> Self {
        Self { mutations: self.mutations.clone(), single_flight: self.single_flight.clone(), mutation: PhantomData }
    }
}

/// The identity of a call in flight.
#[derive(Debug)]
struct CallIdentity {
    /// The caller's id, or a generated id; empty for a call identified by its order number.
    request_id: String,
    /// Fingerprint of the payload of the whole call.
    fingerprint: Fingerprint,
    /// The correlation id of the first batch.
    correlation_id: Uuid,
    /// The deadline of the call.
    deadline: Instant,
}

type CallWaiter = Waiter<Result<CallProgress, ServiceError>, Arc<CallIdentity>>;

/// A mutation with at least one accepted batch.
#[derive(Debug)]
pub struct MutationReply {
    /// The caller's id, or a generated id; empty for a call identified by its order number.
    pub request_id: String,
    /// Outcomes of the upstream requests, in the order sent.
    pub batches: Vec<Result<Reply<AcceptedAnswer>, ServiceError>>,
    /// Whether an earlier call had begun or completed the mutation.
    pub replayed: bool,
}

/// A failed call with its id.
#[derive(Debug)]
pub struct MutationError {
    /// The caller's id, or a generated id; empty for a call identified by its order number.
    pub request_id: String,
    /// Reason of the failure.
    pub error: ServiceError,
}

impl<M: Mutation, U: WalmartApi + Upstream<M>, L: Ledger> Mutate<M, U, L> {
    /// Works on `mutations`. Work without a remaining caller continues among `tasks`.
    pub fn new(mutations: Mutations<U, L>, tasks: TaskTracker) -> Self {
        Self { mutations, single_flight: SingleFlight::new(tasks, Err(ServiceError::Internal)), mutation: PhantomData }
    }

    /// Finds the account that a request names. A failure also lists the faults of the request.
    pub(super) fn account(
        &self,
        name: &str,
        request: &M::Request,
        call: &CallContext,
    ) -> Result<AccountIndex, MutationError> {
        let account = self.mutations.directory().of_request(name, call, || M::check(request));
        account.map_err(|error| MutationError { request_id: M::request_id(request).to_owned(), error })
    }

    /// Carries out the call. Fails when no batch was accepted: as pending if the outcome of any batch is unknown, else
    /// with the error of the first batch. A repeated call, concurrent or later, gets the answer of the first call.
    pub async fn call(
        &self,
        account: AccountIndex,
        request: Arc<M::Request>,
        call: &CallContext,
    ) -> Result<MutationReply, MutationError> {
        let payload = M::payload(&request);
        let names = self.names(&request, &payload, call.deadline);
        if let Err(faults) = M::check(&request) {
            return Err(MutationError { request_id: names.request_id, error: ServiceError::Invalid(faults) });
        }
        // After the deadline no answer can reach the caller; a mutation begun now would leave an outcome without a
        // reader.
        if Instant::now() >= call.deadline {
            return Err(MutationError {
                request_id: names.request_id,
                error: timed_out(M::KIND.operation(), names.correlation_id),
            });
        }
        let names = Arc::new(names);
        // Moved into the first attempt. A second attempt is rare and encodes the payload again.
        let mut payload = Some(payload);
        let key = key(account, M::order_number(&request), M::request_id(&request), &names.fingerprint);
        loop {
            let work = || {
                let payload = payload.take().unwrap_or_else(|| M::payload(&request));
                let begun = self.clone().begin(account, request.clone(), payload, names.clone(), call.clone());
                // Other callers may drive the work, or a task.
                call.trace.ids().scope(begun)
            };
            let waiter = self.single_flight.join(&key, names.clone(), work);
            let waited = timeout_at(call.deadline + SLACK, waiter.wait());
            let progress = match self.mutations.until_closing(waited).await {
                Some(Ok(Ok(progress))) => progress,
                Some(Ok(Err(error))) => return Err(not_mutated(&waiter, error)),
                // The deadline has passed, or the process ends. The work continues, and the ledger has its progress.
                Some(Err(_)) | None => match timeout(LAST_READ, self.so_far(account, &waiter.tag)).await.ok().flatten()
                {
                    Some(progress) => progress,
                    None => return Err(not_mutated(&waiter, pending(M::KIND.operation(), waiter.tag.correlation_id))),
                },
            };
            match self.reply(progress, waiter, call).await {
                Some(told) => return told,
                // A concurrent call closed the entry before anything was sent, and this caller has time for an attempt
                // of its own.
                None => continue,
            }
        }
    }

    /// Makes the caller's answer. Returns `None` when the caller may make an attempt of its own.
    async fn reply(
        &self,
        progress: CallProgress,
        waiter: CallWaiter,
        call: &CallContext,
    ) -> Option<Result<MutationReply, MutationError>> {
        let (batches, before) = match progress {
            CallProgress::Accepted(reply) => {
                let (replayed, request_id) = (waiter.joined, waiter.tag.request_id.clone());
                // Releases the shared copy first, which lets the unwrap below move the reply without a clone.
                drop(waiter);
                return Some(Ok(MutationReply {
                    request_id,
                    batches: vec![Ok(Arc::unwrap_or_clone(reply))],
                    replayed,
                }));
            }
            CallProgress::Trimmed(kept) => {
                return Some(match answer::read_acceptance(&kept) {
                    Ok(reply) => Ok(MutationReply {
                        request_id: waiter.tag.request_id.clone(),
                        batches: vec![Ok(reply)],
                        replayed: true,
                    }),
                    Err(error) => Err(not_mutated(&waiter, error)),
                });
            }
            CallProgress::Kept { batches, before } => (batches, before),
        };
        let mut request_id = waiter.tag.request_id.clone();
        let replayed = waiter.joined || before;
        let mut in_vain = true;
        let mut results = Vec::with_capacity(batches.len());
        for BatchProgress { entry, lost, unmapped } in Arc::unwrap_or_clone(batches) {
            let entry = if entry.state.is_open() {
                // Boxed, because this future is large and rarely needed.
                let settled = Box::pin(self.mutations.settled(entry.clone(), call.deadline));
                self.mutations.until_closing(settled).await.unwrap_or(entry)
            } else {
                entry
            };
            in_vain &= entry.state == EntryState::NotSent;
            let mut result = answer::of(&entry);
            if let Ok(reply) = &mut result {
                reply.answer.unmapped = unmapped;
            }
            if let (Err(ServiceError::OutcomePending { cause, .. }), Some(lost)) = (&mut result, lost) {
                *cause = Some(lost);
            }
            // A call that joined by content is known by the request id of the first call.
            if let Some(known_by) = entry.request_id.as_deref().filter(|_| !request_id.is_empty()) {
                known_by.clone_into(&mut request_id);
            }
            results.push(result);
        }
        if results.iter().any(Result::is_ok) {
            return Some(Ok(MutationReply { request_id, batches: results, replayed }));
        }
        let is_unknown = |result: &Result<_, _>| matches!(result, Err(ServiceError::OutcomePending { .. }));
        let told = results.iter().position(is_unknown).unwrap_or(0);
        let told = results.into_iter().nth(told).unwrap_or(Err(ServiceError::Internal));
        let too_short = had_too_little_time(&told, waiter.tag.deadline, call.deadline);
        if in_vain && (before || too_short) && Instant::now() < call.deadline {
            return None;
        }
        Some(Err(MutationError { request_id, error: told.err().unwrap_or(ServiceError::Internal) }))
    }

    fn names(&self, request: &M::Request, payload: &[u8], deadline: Instant) -> CallIdentity {
        let given = M::request_id(request);
        let request_id = if !given.is_empty() || M::BY_ORDER_NUMBER {
            given.to_owned()
        } else if let Some(content) = M::content_key(request) {
            format!("{CONTENT_ID}{}", Fingerprint::of_encoded(&content).in_short())
        } else {
            self.mutations.new_id().to_string()
        };
        let fingerprint = Fingerprint::of_encoded(payload);
        CallIdentity { request_id, fingerprint, correlation_id: self.mutations.new_id(), deadline }
    }

    /// Reads the progress of a call with unfinished work from the ledger.
    async fn so_far(&self, account: AccountIndex, names: &CallIdentity) -> Option<CallProgress> {
        let entries = self.of_request(account, names).await?;
        let ours = entries.first().is_some_and(|entry| entry.fingerprint == names.fingerprint);
        ours.then(|| CallProgress::before(entries))
    }

    /// Reads the entries of the request id. `None` for a call without an id, and while the store fails.
    async fn of_request(&self, account: AccountIndex, names: &CallIdentity) -> Option<Vec<Entry>> {
        if names.request_id.is_empty() {
            return None;
        }
        let account = self.mutations.directory().id(account);
        self.mutations.ledger().of_request(&account, M::KIND, &names.request_id).await.ok()
    }

    /// Begins the call and sends its batches, or finds the entries of an earlier call.
    #[expect(clippy::manual_async_fn, reason = "what an async fn is given stands in its future twice")]
    fn begin(
        self,
        account: AccountIndex,
        request: Arc<M::Request>,
        payload: Vec<u8>,
        names: Arc<CallIdentity>,
        call: CallContext,
    ) -> impl Future<Output = Result<CallProgress, ServiceError>> + Send {
        async move {
            let is_new_each_time =
                M::request_id(&request).is_empty() && !M::BY_ORDER_NUMBER && M::content_key(&request).is_none();
            // What is under way may still make the object that the read does not show yet.
            let join = is_new_each_time || M::READ_DECIDES;
            if M::READ_DECIDES {
                Box::pin(self.check_request_id(account, &request, &names)).await?;
            }
            let batches = M::batches(request.clone());
            let snapshots = if M::snapshot_probe(&request).is_some() {
                // A repeated call must not spend a read on a snapshot.
                let before = if is_new_each_time { None } else { Box::pin(self.so_far(account, &names)).await };
                if let Some(progress) = &before
                    && !progress.is_free()
                {
                    return Ok(progress.clone());
                }
                match Box::pin(self.mutations.snapshots::<M>(account, &request, &batches, &call)).await {
                    Err(ServiceError::SubscriptionExists { ids, correlation_id }) => {
                        let made = before.filter(|progress| progress.has_made(&ids));
                        return made.ok_or(ServiceError::SubscriptionExists { ids, correlation_id });
                    }
                    snapshots => snapshots?,
                }
            } else {
                Vec::new()
            };
            let new = self.entries(account, &request, &payload, &names, &batches, snapshots);
            drop((request, payload));
            match self.mutations.begin(new, join).await? {
                BeginOutcome::New(entries) => self.send(account, entries, &batches, &call).await,
                BeginOutcome::Existing { by, entries } => {
                    let same = entries.first().is_some_and(|entry| entry.fingerprint == names.fingerprint);
                    match by {
                        _ if same || is_planted(PlantedBug::FingerprintIgnored) => Ok(CallProgress::before(entries)),
                        BeginConflict::RequestId => Err(ServiceError::RequestIdReused),
                        BeginConflict::OrderNumber | BeginConflict::Content => Err(ServiceError::OrderNumberUsed),
                    }
                }
                BeginOutcome::Trimmed { fingerprint, answer } if fingerprint == names.fingerprint => {
                    Ok(CallProgress::Trimmed(answer.into()))
                }
                BeginOutcome::Trimmed { .. } => Err(ServiceError::OrderNumberUsed),
            }
        }
    }

    /// Refuses a caller's request id that an earlier call used for other content. The ledger itself frees the ids of
    /// mutations about which a read decides.
    async fn check_request_id(
        &self,
        account: AccountIndex,
        request: &M::Request,
        names: &CallIdentity,
    ) -> Result<(), ServiceError> {
        if M::request_id(request).is_empty() {
            return Ok(());
        }
        let earlier = Box::pin(self.of_request(account, names)).await.ok_or(ServiceError::Store)?;
        let is_other = |entry: &Entry| entry.state != EntryState::NotSent && entry.fingerprint != names.fingerprint;
        if earlier.first().is_some_and(is_other) { Err(ServiceError::RequestIdReused) } else { Ok(()) }
    }

    fn entries(
        &self,
        account: AccountIndex,
        request: &M::Request,
        payload: &[u8],
        names: &CallIdentity,
        batches: &[Arc<M::Request>],
        snapshots: Vec<Vec<u8>>,
    ) -> Vec<NewEntry> {
        let now = self.mutations.moment();
        let order_number: Arc<str> = M::order_number(request).into();
        let request_id: Option<Arc<str>> = (!names.request_id.is_empty()).then(|| names.request_id.as_str().into());
        // The first batch starts as `Sending`, which saves a second write before the first byte leaves; a look-up
        // before the first attempt needs `Recorded`.
        let looks_first = M::BY_ORDER_NUMBER && self.mutations.looks_first();
        let recorded_only = looks_first || is_planted(PlantedBug::NoSendingRow);
        let first = if recorded_only { EntryState::Recorded } else { EntryState::Sending };
        let mut snapshots = snapshots.into_iter();
        let new = |(number, batch): (u32, &Arc<M::Request>)| NewEntry {
            account: self.mutations.directory().id(account),
            kind: M::KIND,
            order_number: order_number.clone(),
            request_id: request_id.clone(),
            batch: number,
            batches: batches.len() as u32,
            fingerprint: names.fingerprint,
            state: if number == 0 { first } else { EntryState::Recorded },
            created: now.wall,
            not_after: now.plus(self.mutations.rules().not_after),
            boot: Some(self.mutations.boot_id()),
            correlation_id: if number == 0 { names.correlation_id } else { self.mutations.new_id() },
            body: M::body(batch, payload),
            snapshot: snapshots.next().unwrap_or_default(),
        };
        (0..).zip(batches).map(new).collect()
    }

    /// Sends the batches in order. One write stores the outcome of a batch and the start of the next batch.
    async fn send(
        &self,
        account: AccountIndex,
        mut entries: Vec<Entry>,
        requests: &[Arc<M::Request>],
        call: &CallContext,
    ) -> Result<CallProgress, ServiceError> {
        let guard = WorkGuard::new(&self.mutations, entries.iter().map(|entry| entry.id));
        if is_planted(PlantedBug::NoSendingRow)
            && let Some(first) = entries.first_mut()
        {
            *first = self.mutations.after(first.clone(), EntryEvent::Send)?;
        }
        if entries.first().is_some_and(|entry| entry.state == EntryState::Recorded) {
            let first = entries.remove(0);
            // Boxed, like the calls below: rare and large futures would enlarge the future of every call.
            match Box::pin(self.after_look(first, account, call)).await? {
                Ok(first) => entries.insert(0, first),
                Err(closed) => {
                    guard.release_all();
                    return Ok(CallProgress::Kept { batches: Arc::new(vec![closed]), before: false });
                }
            }
        }
        let mut batches: Vec<BatchProgress> = Vec::new();
        let mut waiting = VecDeque::from(entries);
        let mut turn = waiting.pop_front();
        while let Some(entry) = turn {
            let request = requests.get(entry.batch as usize).ok_or(ServiceError::Internal)?;
            let (time, reply_by) = time_of_batch(&entry, call);
            let attempt = self.mutations.attempt::<M>(&entry, account, request, &time, reply_by).await;
            let mut entry = self.mutations.after(entry, attempt.event)?;
            // The caller is still waiting, or was already told that the outcome is pending.
            entry.is_owed &= Instant::now() >= call.deadline;
            if requests.len() == 1 {
                let saved = if is_planted(PlantedBug::AnsweredBeforeDurable) {
                    let (mutations, written) = (self.mutations.clone(), entry.clone());
                    tokio::spawn(async move { drop(mutations.write(&written).await) });
                    SaveOutcome::Won(entry)
                } else {
                    self.mutations.write_heard_by(&entry, OutcomeHearer::CallUntil(call.deadline)).await?
                };
                guard.release_all();
                reach(CrashPoint::L7);
                return Ok(match (saved, attempt.reply) {
                    (SaveOutcome::Won(_), Some(reply)) => CallProgress::Accepted(reply.into()),
                    (saved, _) => {
                        let batch = BatchProgress { lost: attempt.lost, ..BatchProgress::of(saved.into_entry()) };
                        CallProgress::Kept { batches: vec![batch].into(), before: false }
                    }
                });
            }
            let mut changed = vec![entry];
            if changed[0].state == EntryState::Recorded {
                // The batch is retried in the background, and the batches behind it wait for their turn in the queue.
                for next in waiting.drain(..) {
                    changed.push(self.mutations.after(next, EntryEvent::TakenOver { boot: self.mutations.boot_id() })?);
                }
            } else if changed[0].batch == 0 && changed[0].state == EntryState::NotSent {
                // No byte has left. The whole call ends here, which frees its id for the repetition that the error asks
                // for. A later batch with any other end would hold the id, and every repetition would get the same
                // error.
                let Entry { answer, last_error, is_owed, .. } = changed[0].clone();
                for next in waiting.drain(..) {
                    let (answer, error) = (answer.to_vec(), last_error.clone());
                    let closed = self.mutations.after(next, EntryEvent::NotSent { answer, error, again_in: None })?;
                    changed.push(Entry { is_owed, ..closed });
                }
            } else if let Some(next) = waiting.pop_front() {
                changed.push(self.begun(next)?);
            }
            let hearer = OutcomeHearer::CallUntil(call.deadline);
            let mut written = Box::pin(self.mutations.write_all(changed, hearer)).await?.into_iter();
            reach(CrashPoint::L7);
            let unmapped = attempt.reply.map(|reply| reply.answer.unmapped).unwrap_or_default();
            let (lost, first) = (attempt.lost, written.next());
            let done = first.map(|saved| BatchProgress { entry: saved.into_entry(), lost, unmapped });
            batches.extend(done);
            turn = Box::pin(self.next_turn(written.collect(), &mut waiting, &mut batches)).await?;
        }
        guard.release_all();
        Ok(CallProgress::Kept { batches: Arc::new(batches), before: false })
    }

    /// Looks up the first entry before its first attempt (`ledger.look_first_until`). Returns `Ok` when the entry is
    /// now being sent.
    async fn after_look(
        &self,
        entry: Entry,
        account: AccountIndex,
        call: &CallContext,
    ) -> Result<Result<Entry, BatchProgress>, ServiceError> {
        let looked = self.mutations.looked_up_first(entry, account, call).await?;
        let event_after = match looked {
            Ok(entry) => self.mutations.after(entry, EntryEvent::Send)?,
            Err(closed) => closed,
        };
        let hearer = OutcomeHearer::CallUntil(call.deadline);
        Ok(match self.mutations.write_heard_by(&event_after, hearer).await? {
            SaveOutcome::Won(entry) if entry.state == EntryState::Sending => Ok(entry),
            saved => Err(BatchProgress::of(saved.into_entry())),
        })
    }

    /// Finds the next batch to send here. The skipped batches have expired or belong to a different task.
    async fn next_turn(
        &self,
        mut written: Vec<SaveOutcome>,
        waiting: &mut VecDeque<Entry>,
        batches: &mut Vec<BatchProgress>,
    ) -> Result<Option<Entry>, ServiceError> {
        loop {
            for saved in written {
                match saved {
                    SaveOutcome::Won(entry) if entry.state == EntryState::Sending => return Ok(Some(entry)),
                    saved => batches.push(BatchProgress::of(saved.into_entry())),
                }
            }
            let Some(next) = waiting.pop_front() else { return Ok(None) };
            written = vec![self.mutations.write(&self.begun(next)?).await?];
        }
    }

    fn begun(&self, entry: Entry) -> Result<Entry, ServiceError> {
        let is_late = entry.not_after.is_over(self.mutations.moment());
        self.mutations.after(entry, if is_late { EntryEvent::TimeUp } else { EntryEvent::Send })
    }
}

fn not_mutated(waiter: &CallWaiter, error: ServiceError) -> MutationError {
    MutationError { request_id: waiter.tag.request_id.clone(), error }
}

/// The call context of a batch, and the time until which its caller waits for a "not sent" answer. After the first
/// batch was sent, the further batches get time even when the caller's deadline has passed.
fn time_of_batch(entry: &Entry, call: &CallContext) -> (CallContext, Option<Instant>) {
    if entry.batch == 0 {
        // An unsent first batch is closed while its caller still waits; a caller that has gone away gets NOT_SENT on
        // its next call.
        return (call.clone(), Some(CallContext::no_deadline(call.deadline)));
    }
    let deadline = call.deadline.max(Instant::now() + BATCH_TIME);
    (CallContext { deadline, purpose: CallPurpose::Resend, ..call.clone() }, Some(call.deadline))
}

/// The key by which two calls share one flight. Lengths precede the texts chosen by callers, which keeps one text from
/// running into the next. A request id given by the caller makes the call distinct; a generated id does not.
fn key(account: AccountIndex, order_number: &str, request_id: &str, fingerprint: &Fingerprint) -> Vec<u8> {
    let mut key = Vec::with_capacity(24 + order_number.len() + request_id.len() + Fingerprint::LENGTH);
    key.extend(account.0.to_be_bytes());
    key.extend(order_number.len().to_be_bytes());
    key.extend(order_number.as_bytes());
    key.extend(request_id.as_bytes());
    key.extend(fingerprint.0);
    key
}
