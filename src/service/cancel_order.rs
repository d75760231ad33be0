//! Cancelling lines. Any number of them, in requests of at most a hundred, in order; a refused one does not stop the rest.
//! Each request is an entry of the ledger.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use super::ServiceError;
use super::error::{SLACK, pending};
use super::flights::Flights;
use super::ledger::{InHand, Mutations, Outgoing, Written, answer};
use crate::crash_point::{CrashPoint, reach};
use crate::domain::account::AccountIndex;
use crate::domain::ledger::machine::Event;
use crate::domain::ledger::{Entry, Fingerprint, Kind, NewEntry, State};
use crate::domain::operation::Operation;
use crate::domain::order_number;
use crate::domain::rules::check_cancellation;
use crate::pb::{CancelItem, CancelOrderRequest, Cancellation, Header};
use crate::ports::call::CallContext;
use crate::ports::ledger::{Begun, Ledger, Match};
use crate::ports::upstream::{Accepted, Reply, Upstream, UpstreamError};

/// Walmart's limit of lines in one request.
pub const MAX_LINES: usize = 100;
/// Time that a batch after the first has, when its caller's is over.
const BATCH_TIME: Duration = Duration::from_secs(10);

/// The use case. Cheap to clone.
pub struct CancelOrder<U, L> {
    mutations: Mutations<U, L>,
    /// Each with the id that it is known by.
    flights: Flights<Standing, String>,
}

impl<U, L> Clone for CancelOrder<U, L> {
    fn clone(&self) -> Self {
        Self { mutations: self.mutations.clone(), flights: self.flights.clone() }
    }
}

/// How things stand after the work of a call.
#[derive(Clone)]
struct Standing {
    batches: Arc<Vec<Batch>>,
    /// Whether all of it was in the ledger before.
    before: bool,
}

impl Standing {
    fn before(entries: Vec<Entry>) -> Self {
        let batches = entries.into_iter().map(|entry| Batch { entry, lost: None }).collect();
        Self { batches: Arc::new(batches), before: true }
    }

    /// Whether nothing of it was sent, so that its id may be used again.
    fn is_free(&self) -> bool {
        self.batches.iter().all(|batch| batch.entry.state == State::NotSent)
    }
}

#[derive(Clone)]
struct Batch {
    entry: Entry,
    lost: Option<Box<UpstreamError>>,
}

/// A cancellation of which at least one batch was accepted.
#[derive(Debug)]
pub struct Cancelled {
    /// The caller's id, or the one that was made.
    pub request_id: String,
    /// In the order sent.
    pub batches: Vec<BatchOutcome>,
    /// Whether it had been done, or begun, by an earlier call.
    pub replayed: bool,
}

/// What became of one upstream request.
#[derive(Clone, Debug)]
pub struct BatchOutcome {
    /// Its lines.
    pub line_ids: Vec<String>,
    /// Walmart's acceptance, or why there is none.
    pub result: Result<Reply<Accepted>, ServiceError>,
}

impl BatchOutcome {
    /// Whether Walmart may have acted although no acceptance came.
    pub fn is_unknown(&self) -> bool {
        matches!(self.result, Err(ServiceError::OutcomePending { .. }))
    }
}

/// A failure, and the id that the call is known by.
#[derive(Debug)]
pub struct NotCancelled {
    /// The caller's id, or the one that was made.
    pub request_id: String,
    /// Why.
    pub error: ServiceError,
}

impl<U: Upstream, L: Ledger> CancelOrder<U, L> {
    /// Works on `mutations`; work whose callers have left goes on among `tasks`.
    pub fn new(mutations: Mutations<U, L>, tasks: TaskTracker) -> Self {
        Self { mutations, flights: Flights::new(tasks) }
    }

    /// Cancels. Fails when no batch was accepted: with an unknown outcome if any batch has one, else as the first batch.
    /// The same call with the same id, or without one while it is open, is one. A call that ends, or is given up, does not
    /// end the cancellation.
    pub async fn call(
        &self,
        account: AccountIndex,
        request: CancelOrderRequest,
        call: &CallContext,
    ) -> Result<Cancelled, NotCancelled> {
        let named = !request.request_id.is_empty();
        let known_by = if named { request.request_id.clone() } else { self.mutations.new_id().to_string() };
        if let Err(faults) = check_cancellation(&request) {
            return Err(NotCancelled { request_id: known_by, error: ServiceError::Invalid(faults) });
        }
        let Some(payload) = &request.payload else {
            return Err(NotCancelled { request_id: known_by, error: ServiceError::Internal });
        };
        let fingerprint = Fingerprint::of(payload);
        // An id that the caller gave makes it a call of its own; one that was made does not.
        let mut key = account.0.to_be_bytes().to_vec();
        key.extend(request.request_id.as_bytes());
        key.extend(fingerprint.0);
        let lines = line_ids(payload);
        loop {
            let work = || self.clone().all(account, request.clone(), fingerprint, known_by.clone(), call.clone());
            let seat = self.flights.board(&key, known_by.clone(), call.deadline, work);
            let mut request_id = seat.tag.clone();
            let standing = match seat.landed(call.deadline + SLACK, call).await {
                Some(Ok(standing)) => standing,
                Some(Err(error)) => return Err(NotCancelled { request_id, error }),
                // It goes on; the ledger knows how far it has come.
                None => match timeout(SLACK, self.so_far(account, &request_id, fingerprint)).await.ok().flatten() {
                    Some(standing) => standing,
                    None => return Err(NotCancelled { request_id, error: pending(Operation::Cancel) }),
                },
            };
            let replayed = seat.joined || standing.before;
            let mut batches = Vec::with_capacity(lines.len());
            let mut in_vain = true;
            for (batch, line_ids) in standing.batches.iter().cloned().zip(lines.iter().cloned()) {
                let entry = self.mutations.settled(batch.entry, call.deadline).await;
                in_vain &= entry.state == State::NotSent;
                let mut result = answer::of(&entry);
                if let (Err(ServiceError::OutcomePending { cause, .. }), Some(lost)) = (&mut result, batch.lost) {
                    *cause = Some(lost);
                }
                // A call that joined by content is known by the first one's id.
                if let Some(known_by) = entry.request_id {
                    request_id = known_by.to_string();
                }
                batches.push(BatchOutcome { line_ids, result });
            }
            if batches.iter().any(|batch| batch.result.is_ok()) {
                return Ok(Cancelled { request_id, batches, replayed });
            }
            let unknown = batches.iter().position(BatchOutcome::is_unknown);
            let told = batches.into_iter().nth(unknown.unwrap_or(0)).map(|batch| batch.result);
            let told = told.unwrap_or(Err(ServiceError::Internal));
            // Another call closed it without having sent any of it: this one may have more time for a try of its own.
            if in_vain
                && (standing.before || seat.was_too_short_for(call.deadline, &told))
                && Instant::now() < call.deadline
            {
                continue;
            }
            return Err(NotCancelled { request_id, error: told.err().unwrap_or(ServiceError::Internal) });
        }
    }

    /// How far a cancellation has come whose work is not at its end.
    async fn so_far(&self, account: AccountIndex, request_id: &str, fingerprint: Fingerprint) -> Option<Standing> {
        let account = self.mutations.directory().id(account);
        let entries = self.mutations.ledger().of_request(account, Kind::Cancel, request_id).await.ok()?;
        let ours = entries.first().is_some_and(|entry| entry.fingerprint == fingerprint);
        ours.then(|| Standing::before(entries))
    }

    /// Begins the cancellation and sends all of it, or finds the one that was begun before.
    async fn all(
        self,
        account: AccountIndex,
        request: CancelOrderRequest,
        fingerprint: Fingerprint,
        known_by: String,
        call: CallContext,
    ) -> Result<Standing, ServiceError> {
        let join = request.request_id.is_empty();
        let Some(payload) = request.payload else { return Err(ServiceError::Internal) };
        let batches = in_batches(request.header, &payload);
        // A repeat costs no status call.
        if !join
            && let Some(standing) = self.so_far(account, &known_by, fingerprint).await
            && !standing.is_free()
        {
            return Ok(standing);
        }
        let snapshots =
            self.mutations.snapshots(account, order_number::of_cancellation(&payload), &batches, &call).await;
        let outgoing: Vec<_> = batches.into_iter().map(Outgoing::Cancel).collect();
        let now = self.mutations.now();
        let first = NewEntry {
            account: self.mutations.directory().id(account).clone(),
            kind: Kind::Cancel,
            order_number: order_number::of_cancellation(&payload).into(),
            request_id: Some(known_by.into()),
            batch: 0,
            batches: outgoing.len() as u32,
            fingerprint,
            state: State::Sending,
            created: now,
            not_after: now.plus(self.mutations.rules().not_after),
            correlation_id: Default::default(),
            body: Bytes::new(),
            snapshot: Vec::new(),
        };
        let new = outgoing.iter().zip(snapshots).zip(0..).map(|((outgoing, snapshot), batch)| NewEntry {
            batch,
            state: if batch == 0 { State::Sending } else { State::Recorded },
            correlation_id: self.mutations.new_id(),
            body: outgoing.encode().into(),
            snapshot,
            ..first.clone()
        });
        match self.mutations.begin(new.collect(), join).await? {
            Begun::New(entries) => self.send(account, entries, &outgoing, &call).await,
            Begun::Existing { by: Match::RequestId, entries }
                if entries.first().is_none_or(|entry| entry.fingerprint != fingerprint) =>
            {
                Err(ServiceError::RequestIdReused)
            }
            Begun::Existing { entries, .. } => Ok(Standing::before(entries)),
            Begun::Trimmed { .. } => Err(ServiceError::Internal),
        }
    }

    /// Sends the batches one after the other. The outcome of each is written together with the beginning of the next.
    async fn send(
        &self,
        account: AccountIndex,
        entries: Vec<Entry>,
        outgoing: &[Outgoing],
        call: &CallContext,
    ) -> Result<Standing, ServiceError> {
        let in_hand = InHand::new(&self.mutations, entries.iter().map(|entry| entry.id));
        let mut batches: Vec<Batch> = Vec::with_capacity(entries.len());
        let mut waiting = VecDeque::from(entries);
        let mut turn = waiting.pop_front();
        while let Some(entry) = turn {
            let outgoing = outgoing.get(entry.batch as usize).ok_or(ServiceError::Internal)?;
            let (time, told_until) = time_of_batch(&entry, call);
            let attempt = self.mutations.attempt(&entry, account, outgoing, &time, told_until).await;
            let entry = self.mutations.after(entry, attempt.event)?;
            let mut changed = vec![];
            if entry.state == State::Recorded {
                // It is tried again in the background; those after it wait for their turn there.
                for next in waiting.drain(..) {
                    changed.push(self.mutations.after(next, Event::TakenOver)?);
                }
            } else if let Some(next) = waiting.pop_front() {
                changed.push(self.begun(next)?);
            }
            changed.insert(0, entry);
            let mut written = self.mutations.write_all(changed).await?.into_iter();
            reach(CrashPoint::L7);
            let done = written.next().map(|written| Batch { entry: written.entry, lost: attempt.lost });
            batches.extend(done);
            turn = self.next_turn(written.collect(), &mut waiting, &mut batches).await?;
        }
        in_hand.lay_down_all();
        Ok(Standing { batches: Arc::new(batches), before: false })
    }

    /// The next batch that is to be sent here. Of the others the time is up, or somebody else has them.
    async fn next_turn(
        &self,
        mut written: Vec<Written>,
        waiting: &mut VecDeque<Entry>,
        batches: &mut Vec<Batch>,
    ) -> Result<Option<Entry>, ServiceError> {
        loop {
            for Written { entry, ours } in written {
                if ours && entry.state == State::Sending {
                    return Ok(Some(entry));
                }
                batches.push(Batch { entry, lost: None });
            }
            let Some(next) = waiting.pop_front() else { return Ok(None) };
            written = vec![self.mutations.write(&self.begun(next)?).await?];
        }
    }

    fn begun(&self, entry: Entry) -> Result<Entry, ServiceError> {
        let event = if self.mutations.now() <= entry.not_after { Event::Send } else { Event::TimeUp };
        self.mutations.after(entry, event)
    }
}

/// The call that a batch is made in, and until when its caller waits. Once the first has been sent, the others have time
/// also when the caller's is over.
fn time_of_batch(entry: &Entry, call: &CallContext) -> (CallContext, Option<Instant>) {
    if entry.batch == 0 {
        return (call.clone(), Some(CallContext::no_deadline(call.deadline)));
    }
    let deadline = call.deadline.max(Instant::now() + BATCH_TIME);
    (CallContext { deadline, ..call.clone() }, Some(call.deadline))
}

/// The upstream requests of a cancellation.
fn in_batches(header: Option<Header>, payload: &Cancellation) -> Vec<Arc<CancelOrderRequest>> {
    let batch = |lines: &[CancelItem]| {
        let payload = Cancellation { order_items: lines.to_vec(), ..without_items(payload) };
        Arc::new(CancelOrderRequest { header: header.clone(), payload: Some(payload), ..Default::default() })
    };
    payload.order_items.chunks(MAX_LINES).map(batch).collect()
}

/// The lines of each batch, by their ids.
fn line_ids(payload: &Cancellation) -> Vec<Vec<String>> {
    let ids = |lines: &[CancelItem]| lines.iter().filter_map(|line| line.seller_line_id.clone()).collect();
    payload.order_items.chunks(MAX_LINES).map(ids).collect()
}

fn without_items(payload: &Cancellation) -> Cancellation {
    Cancellation {
        customer_order_no: payload.customer_order_no.clone(),
        seller_order_id: payload.seller_order_id.clone(),
        seller_id: payload.seller_id.clone(),
        order_items: Vec::new(),
    }
}

#[cfg(test)]
#[path = "cancel_order_tests.rs"]
mod tests;
