//! Creating an order: once for each order number, whatever fails.

use std::sync::Arc;

use prost::Message;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::ServiceError;
use super::error::{SLACK, pending};
use super::flights::Flights;
use super::ledger::{InHand, Mutations, Outgoing, Written, answer, encoded};
use crate::crash_point::{CrashPoint, reach};
use crate::domain::account::AccountIndex;
use crate::domain::ledger::{Entry, Fingerprint, Kind, NewEntry, State};
use crate::domain::operation::Operation;
use crate::domain::order_number;
use crate::domain::rules::check_order;
use crate::pb::{CreateOrderRequest, CreateOrderResponse};
use crate::ports::call::CallContext;
use crate::ports::ledger::{Begun, Ledger, Match};
use crate::ports::upstream::{Accepted, Reply, Upstream, UpstreamError};

/// The use case. Cheap to clone.
pub struct CreateOrder<U, L> {
    mutations: Mutations<U, L>,
    flights: Flights<Standing>,
}

impl<U, L> Clone for CreateOrder<U, L> {
    fn clone(&self) -> Self {
        Self { mutations: self.mutations.clone(), flights: self.flights.clone() }
    }
}

/// How things stand after the work of a call.
#[derive(Clone)]
enum Standing {
    /// Walmart has just said yes, and that is in the ledger.
    New(Arc<Reply<Accepted>>),
    /// This is in the ledger.
    Kept {
        entry: Arc<Entry>,
        /// Whether it was there before.
        before: bool,
        /// Why the outcome is not known, if it was this work that lost it.
        lost: Option<Box<UpstreamError>>,
    },
    /// It was answered so long ago that only the answer is left.
    Trimmed(Arc<[u8]>),
}

impl<U: Upstream, L: Ledger> CreateOrder<U, L> {
    /// Works on `mutations`; work whose callers have left goes on among `tasks`.
    pub fn new(mutations: Mutations<U, L>, tasks: TaskTracker) -> Self {
        Self { mutations, flights: Flights::new(tasks) }
    }

    /// Creates the order. The same call again, at the same time or later, is answered as the first was; other content under
    /// a used number or id is refused. A call that ends, or is given up, does not end the creation.
    pub async fn call(
        &self,
        account: AccountIndex,
        request: impl Into<Arc<CreateOrderRequest>>,
        call: &CallContext,
    ) -> Result<CreateOrderResponse, ServiceError> {
        let request = request.into();
        check_order(&request).map_err(ServiceError::Invalid)?;
        let Some(payload) = &request.payload else { return Err(ServiceError::Internal) };
        let encoded = payload.encode_to_vec();
        let fingerprint = Fingerprint::of_encoded(&encoded);
        // For the first try; another is rare.
        let mut encoded = Some(encoded);
        let key = key(account, order_number::of_order(payload), &request.request_id, &fingerprint);
        loop {
            let work = || {
                let encoded = encoded.take().unwrap_or_else(|| payload.encode_to_vec());
                self.clone().create(account, request.clone(), encoded, fingerprint, call.clone())
            };
            let seat = self.flights.board(&key, (), call.deadline, work);
            let Some(result) = seat.landed(call.deadline + SLACK, call).await else {
                return Err(pending(Operation::Create));
            };
            let joined = seat.joined;
            let (reply, replayed) = match result? {
                Standing::New(reply) => {
                    // Lets go of the flight's copy first.
                    drop(seat);
                    (Ok(Arc::unwrap_or_clone(reply)), joined)
                }
                Standing::Trimmed(kept) => (answer::read_acceptance(&kept), true),
                Standing::Kept { entry, before, lost } => {
                    let entry = if entry.state.is_open() {
                        // Apart, for it is large and rare.
                        Box::pin(self.mutations.settled(Arc::unwrap_or_clone(entry), call.deadline)).await.into()
                    } else {
                        entry
                    };
                    let mut reply = answer::of(&entry);
                    // Another call closed it without having sent it: this one may have more time for a try of its own.
                    let in_vain = entry.state == State::NotSent;
                    if in_vain
                        && (before || seat.was_too_short_for(call.deadline, &reply))
                        && Instant::now() < call.deadline
                    {
                        continue;
                    }
                    if let (Err(ServiceError::OutcomePending { cause, .. }), Some(lost)) = (&mut reply, lost) {
                        *cause = Some(lost);
                    }
                    (reply, joined || before)
                }
            };
            return reply.map(|reply| response(reply, &request, replayed));
        }
    }

    /// Begins the creation, or finds the one that was begun before.
    #[expect(clippy::manual_async_fn, reason = "what an async fn is given stands in its future twice")]
    fn create(
        self,
        account: AccountIndex,
        request: Arc<CreateOrderRequest>,
        payload: Vec<u8>,
        fingerprint: Fingerprint,
        call: CallContext,
    ) -> impl Future<Output = Result<Standing, ServiceError>> + Send {
        async move {
            let new = self.entry(account, &request, &payload, fingerprint);
            drop(payload);
            let outgoing = Outgoing::Create(request);
            let entry = match self.mutations.begin(vec![new], false).await? {
                Begun::New(mut entries) => entries.pop().ok_or(ServiceError::Internal)?,
                Begun::Existing { by, mut entries } => {
                    let entry = entries.pop().ok_or(ServiceError::Internal)?;
                    return match by {
                        _ if entry.fingerprint == fingerprint => {
                            Ok(Standing::Kept { entry: entry.into(), before: true, lost: None })
                        }
                        Match::RequestId => Err(ServiceError::RequestIdReused),
                        Match::OrderNumber | Match::Content => Err(ServiceError::OrderNumberUsed),
                    };
                }
                Begun::Trimmed { fingerprint: kept, answer } if kept == fingerprint => {
                    return Ok(Standing::Trimmed(answer.into()));
                }
                Begun::Trimmed { .. } => return Err(ServiceError::OrderNumberUsed),
            };
            let in_hand = InHand::new(&self.mutations, [entry.id]);
            // Whoever waits is told when it was not sent, and it ends; those who have left find out when they ask again.
            let always = CallContext::no_deadline(call.deadline);
            let attempt = self.mutations.attempt(&entry, account, &outgoing, &call, Some(always)).await;
            let entry = self.mutations.after(entry, attempt.event)?;
            let Written { entry, ours } = self.mutations.write(&entry).await?;
            in_hand.lay_down_all();
            reach(CrashPoint::L7);
            Ok(match attempt.reply.filter(|_| ours) {
                Some(reply) => Standing::New(reply.into()),
                None => Standing::Kept { entry: entry.into(), before: false, lost: attempt.lost },
            })
        }
    }

    fn entry(
        &self,
        account: AccountIndex,
        request: &CreateOrderRequest,
        payload: &[u8],
        fingerprint: Fingerprint,
    ) -> NewEntry {
        let now = self.mutations.now();
        let request_id = &request.request_id;
        NewEntry {
            account: self.mutations.directory().id(account).clone(),
            kind: Kind::Create,
            order_number: request.payload.as_ref().map(order_number::of_order).unwrap_or_default().into(),
            request_id: (!request_id.is_empty()).then(|| request_id.as_str().into()),
            batch: 0,
            batches: 1,
            fingerprint,
            // At once, so that one write is enough before the first byte leaves.
            state: State::Sending,
            created: now,
            not_after: now.plus(self.mutations.rules().not_after),
            correlation_id: self.mutations.new_id(),
            body: encoded(request, payload),
            snapshot: Vec::new(),
        }
    }
}

/// What makes two calls one. Lengths stand before what callers choose, so that no two can run into one another.
fn key(account: AccountIndex, order_number: &str, request_id: &str, fingerprint: &Fingerprint) -> Vec<u8> {
    let mut key = Vec::with_capacity(24 + order_number.len() + request_id.len() + Fingerprint::LENGTH);
    key.extend(account.0.to_be_bytes());
    key.extend(order_number.len().to_be_bytes());
    key.extend(order_number.as_bytes());
    key.extend(request_id.as_bytes());
    key.extend(fingerprint.0);
    key
}

fn response(reply: Reply<Accepted>, request: &CreateOrderRequest, replayed: bool) -> CreateOrderResponse {
    let Reply { answer: Accepted { status, header, acceptance }, correlation_id } = reply;
    let request_id = if request.request_id.is_empty() {
        request.payload.as_ref().map(order_number::of_order).unwrap_or_default()
    } else {
        &request.request_id
    };
    CreateOrderResponse {
        status,
        header,
        // Found at Walmart after its answer was lost: there was none.
        payload: Some(acceptance).filter(|acceptance| !acceptance.request_id.is_empty()),
        correlation_id: correlation_id.to_string(),
        request_id: request_id.to_owned(),
        replayed,
    }
}

#[cfg(test)]
#[path = "create_order_tests.rs"]
mod tests;
