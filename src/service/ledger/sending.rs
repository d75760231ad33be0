//! Handing a mutation to Walmart, and what its answer means for the entry.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tokio::time::Instant;

use super::{Mutations, answer};
use crate::crash_point::{CrashPoint, reach};
use crate::domain::account::AccountIndex;
use crate::domain::effect::Effect;
use crate::domain::ledger::machine::Event;
use crate::domain::ledger::{Entry, Kind};
use crate::domain::personal::Personal;
use crate::pb::{CancelOrderRequest, CreateOrderRequest};
use crate::ports::call::CallContext;
use crate::ports::ledger::Ledger;
use crate::ports::upstream::{Accepted, ErrorKind, Reply, Upstream, UpstreamError};

/// Waits between tries that nobody waits for: doubled from the first to the longest.
const BACKGROUND_RETRY: Duration = Duration::from_secs(1);
const LONGEST_BACKGROUND_RETRY: Duration = Duration::from_secs(20);

/// What is sent for an entry.
#[derive(Clone, Debug)]
pub(in crate::service) enum Outgoing {
    /// A creation.
    Create(Arc<CreateOrderRequest>),
    /// One batch of a cancellation.
    Cancel(Arc<CancelOrderRequest>),
}

/// How an attempt ended.
pub(in crate::service) struct Attempt {
    /// What the machine is told.
    pub(in crate::service) event: Event,
    /// What Walmart said, if that was yes: the same as is kept of it.
    pub(in crate::service) reply: Option<Reply<Accepted>>,
    /// Why its outcome is not known, in full.
    pub(in crate::service) lost: Option<Box<UpstreamError>>,
}

impl<U: Upstream, L: Ledger> Mutations<U, L> {
    /// Sends what the entry is about. It is durable that it is being sent. `told_until`: for how long somebody waits to be
    /// told when it was not sent; what nobody is told of is tried again.
    pub(in crate::service) async fn attempt(
        &self,
        entry: &Entry,
        account: AccountIndex,
        outgoing: &Outgoing,
        call: &CallContext,
        told_until: Option<Instant>,
    ) -> Attempt {
        reach(CrashPoint::L3);
        let upstream = &self.0.upstream;
        let result = match outgoing {
            Outgoing::Create(request) => upstream.create_order(account, request, entry.correlation_id, call).await,
            Outgoing::Cancel(request) => upstream.cancel_order(account, request, entry.correlation_id, call).await,
        };
        reach(CrashPoint::L6);
        let result = result.map_err(|mut error| {
            if let Outgoing::Create(request) = outgoing
                && let Some(payload) = &request.payload
            {
                Personal::of_order(payload).redact(&mut error.errors);
            }
            error
        });
        self.judged(entry, account, result, told_until).await
    }

    async fn judged(
        &self,
        entry: &Entry,
        account: AccountIndex,
        result: Result<Reply<Accepted>, UpstreamError>,
        told_until: Option<Instant>,
    ) -> Attempt {
        let error = match result {
            Ok(mut reply) => {
                let event = Event::Accepted { answer: answer::accepted(&mut reply) };
                return Attempt { event, reply: Some(reply), lost: None };
            }
            Err(error) => error,
        };
        let told = told_until.is_some_and(|until| Instant::now() < until);
        let (text, kept) = (in_short(&error), answer::refused(&error));
        if error.effect != Effect::None {
            return Attempt { event: Event::Lost { error: text }, reply: None, lost: Some(Box::new(error)) };
        }
        let event = match error.kind {
            ErrorKind::NotFound if entry.kind == Kind::Cancel && self.is_young(account, entry).await => {
                Event::NotSent { answer: kept, error: text, again_in: Some(self.wait_after(entry, None)) }
            }
            ErrorKind::Rejected | ErrorKind::WrongState | ErrorKind::NotFound | ErrorKind::Duplicate => {
                Event::Refused { answer: kept, error: text, duplicate: error.kind == ErrorKind::Duplicate }
            }
            ErrorKind::CredentialsRefused
            | ErrorKind::RateLimited
            | ErrorKind::Overloaded
            | ErrorKind::CircuitOpen
            | ErrorKind::Unavailable
            | ErrorKind::DeadlineExceeded => {
                let again_in = (!told).then(|| self.wait_after(entry, error.retry_after));
                Event::NotSent { answer: kept, error: text, again_in }
            }
        };
        Attempt { event, reply: None, lost: None }
    }

    /// Whether Walmart may not show this order yet, because we have only just created it.
    async fn is_young(&self, account: AccountIndex, entry: &Entry) -> bool {
        let account = self.0.directory.id(account);
        match self.0.ledger.creation_of(account, &entry.order_number).await {
            Ok(Some(creation)) => {
                creation.state.is_open() || self.now().since(creation.updated) < self.0.rules.settle_window
            }
            Ok(None) => false,
            // To try again later does no harm; to refuse for good might.
            Err(_) => true,
        }
    }

    fn wait_after(&self, entry: &Entry, asked: Option<Duration>) -> Duration {
        let doubled = BACKGROUND_RETRY * 2u32.saturating_pow(entry.attempts.saturating_sub(1).min(8));
        let wait = asked.unwrap_or_else(|| doubled.min(LONGEST_BACKGROUND_RETRY));
        wait + self.0.random.up_to((wait / 10).min(BACKGROUND_RETRY))
    }
}

impl Outgoing {
    /// The form in which it is kept, for as long as it may have to be sent again.
    pub(in crate::service) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Create(request) => request.encode_to_vec(),
            Self::Cancel(request) => request.encode_to_vec(),
        }
    }

    /// What was kept of an entry.
    pub(in crate::service) fn of(entry: &Entry) -> Option<Self> {
        match entry.kind {
            Kind::Create => CreateOrderRequest::decode(entry.body.clone()).ok().map(|r| Self::Create(Arc::new(r))),
            Kind::Cancel => CancelOrderRequest::decode(entry.body.clone()).ok().map(|r| Self::Cancel(Arc::new(r))),
        }
    }
}

/// [`Outgoing::encode`] of a creation whose payload was encoded before, for its fingerprint: encoding it again would be a
/// fortieth of a call's work. The fields are those of the message's descriptor; a test compares.
pub(in crate::service) fn encoded(request: &CreateOrderRequest, payload: &[u8]) -> Bytes {
    let CreateOrderRequest { header, payload: _, account, request_id } = request;
    let header_len = header.as_ref().map_or(0, Message::encoded_len);
    let mut body = Vec::with_capacity(header_len + payload.len() + account.len() + request_id.len() + 16);
    // The field's number with the wire type of what has a length.
    let tag = |number: u8| (number << 3) | 2;
    // Only a buffer that cannot grow fails.
    if let Some(header) = header {
        body.push(tag(1));
        let _ = header.encode_length_delimited(&mut body);
    }
    for (number, bytes) in [(2, payload), (3, account.as_bytes()), (4, request_id.as_bytes())] {
        if number == 2 || !bytes.is_empty() {
            body.push(tag(number));
            let _ = prost::encode_length_delimiter(bytes.len(), &mut body);
            body.extend_from_slice(bytes);
        }
    }
    body.into()
}

/// An error for operators: no texts of Walmart's, only codes.
pub(in crate::service) fn in_short(error: &UpstreamError) -> String {
    let is_code =
        |code: &&str| code.len() <= 64 && code.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    let code = error.errors.first().map(|error| error.code.as_str()).filter(is_code).unwrap_or_default();
    match (error.http_status, code) {
        (0, _) => format!("{:?}", error.kind),
        (status, "") => format!("{:?}: HTTP {status}", error.kind),
        (status, code) => format!("{:?}: HTTP {status} {code}", error.kind),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::testing::sample;

    #[test]
    fn a_creation_is_kept_as_it_came() {
        let mut request: CreateOrderRequest =
            sample("CreateOrderRequest", include_str!("../../../examples/create.json"));
        request.account = "demo".into();
        request.request_id = "one".into();
        for request in [request.clone(), CreateOrderRequest { header: None, request_id: String::new(), ..request }] {
            let payload = request.payload.as_ref().unwrap().encode_to_vec();
            assert_eq!(encoded(&request, &payload), Outgoing::Create(Arc::new(request)).encode());
        }
    }
}
