//! The stored form of answers, by which a repeated call gets the answer of the first call.
//!
//! Protobuf, because later versions must be able to read the stored bytes. Personal data is redacted before storing.

use std::mem;
use std::time::Duration;

use prost::Message;
use uuid::Uuid;

use crate::domain::effect::Effect;
use crate::domain::ledger::evidence::Change;
use crate::domain::ledger::machine::OperatorVerdict;
use crate::domain::ledger::{Entry, EntryState};
use crate::domain::mutations::ShownObject;
use crate::domain::operation::Operation;
use crate::pb;
use crate::ports::upstream::{AcceptedAnswer, ErrorKind, Reply, UpstreamError};
use crate::service::ServiceError;
use crate::service::error::pending_entry;

#[derive(Clone, PartialEq, Message)]
struct KeptAcceptance {
    #[prost(string, tag = "1")]
    status: String,
    #[prost(message, optional, tag = "2")]
    header: Option<pb::Header>,
    #[prost(message, optional, tag = "3")]
    acceptance: Option<pb::Acceptance>,
    #[prost(bytes = "vec", tag = "4")]
    correlation_id: Vec<u8>,
    #[prost(message, repeated, tag = "5")]
    errors: Vec<pb::WalmartError>,
    /// The changed object, without personal data.
    #[prost(oneof = "KeptObject", tags = "6, 7, 8")]
    shown: Option<KeptObject>,
    /// What the mutation has changed, for telling it from the changes of other calls.
    #[prost(message, optional, tag = "9")]
    change: Option<Change>,
}

/// The field of [`KeptAcceptance`] that is known only when the entry ends.
#[derive(Clone, PartialEq, Message)]
struct KeptChange {
    #[prost(message, optional, tag = "9")]
    change: Option<Change>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum KeptObject {
    #[prost(message, boxed, tag = "6")]
    SellerOrder(Box<pb::SellerOrder>),
    #[prost(message, boxed, tag = "7")]
    McsReturn(Box<pb::McsReturnOrder>),
    #[prost(message, tag = "8")]
    Webhooks(KeptSubscriptions),
}

#[derive(Clone, PartialEq, Message)]
struct KeptSubscriptions {
    #[prost(message, repeated, tag = "1")]
    subscriptions: Vec<pb::WebhookSubscription>,
}

impl From<ShownObject> for Option<KeptObject> {
    fn from(shown: ShownObject) -> Self {
        match shown {
            ShownObject::Nothing => None,
            ShownObject::SellerOrder(order) => Some(KeptObject::SellerOrder(order)),
            ShownObject::McsReturn(order) => Some(KeptObject::McsReturn(order)),
            ShownObject::Webhooks(subscriptions) => Some(KeptObject::Webhooks(KeptSubscriptions { subscriptions })),
        }
    }
}

impl From<Option<KeptObject>> for ShownObject {
    fn from(kept: Option<KeptObject>) -> Self {
        match kept {
            None => Self::Nothing,
            Some(KeptObject::SellerOrder(order)) => Self::SellerOrder(order),
            Some(KeptObject::McsReturn(order)) => Self::McsReturn(order),
            Some(KeptObject::Webhooks(kept)) => Self::Webhooks(kept.subscriptions),
        }
    }
}

#[derive(Clone, PartialEq, Message)]
struct KeptRefusal {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(uint32, tag = "2")]
    http_status: u32,
    #[prost(message, repeated, tag = "3")]
    errors: Vec<pb::WalmartError>,
    #[prost(uint64, tag = "4")]
    omitted: u64,
    #[prost(uint64, optional, tag = "5")]
    retry_after_ms: Option<u64>,
    #[prost(bytes = "vec", tag = "6")]
    correlation_id: Vec<u8>,
}

/// Kinds by their stored number. A number is never reused.
const KINDS: [ErrorKind; 10] = [
    ErrorKind::Rejected,
    ErrorKind::WrongState,
    ErrorKind::NotFound,
    ErrorKind::Duplicate,
    ErrorKind::CredentialsRefused,
    ErrorKind::RateLimited,
    ErrorKind::Overloaded,
    ErrorKind::CircuitOpen,
    ErrorKind::Unavailable,
    ErrorKind::DeadlineExceeded,
];

/// Encodes Walmart's acceptance for the ledger.
pub(super) fn accepted(reply: &mut Reply<AcceptedAnswer>) -> Vec<u8> {
    let Reply { answer, correlation_id } = reply;
    // Moved out and back, because the message owns its parts.
    let AcceptedAnswer { status, header, acceptance, errors, shown, unmapped } = mem::take(answer);
    let correlation_id = correlation_id.as_bytes().to_vec();
    let kept_object = shown.kept().into();
    let acceptance = Some(acceptance);
    let kept = KeptAcceptance { status, header, acceptance, correlation_id, errors, shown: kept_object, change: None };
    let encoded = kept.encode_to_vec();
    let KeptAcceptance { status, header, acceptance, errors, .. } = kept;
    *answer = AcceptedAnswer { status, header, acceptance: acceptance.unwrap_or_default(), errors, shown, unmapped };
    encoded
}

/// Encodes an acceptance for a mutation found by a look-up after its answer was lost.
pub(super) fn seen(correlation_id: Uuid) -> Vec<u8> {
    let answer = AcceptedAnswer { status: "ACCEPTED".into(), ..AcceptedAnswer::default() };
    accepted(&mut Reply { answer, correlation_id })
}

/// Adds to a stored acceptance what the mutation has changed. Protobuf messages one after the other are one message.
pub(super) fn with_change(kept: &[u8], change: Change) -> Vec<u8> {
    [kept, &KeptChange { change: Some(change) }.encode_to_vec()].concat()
}

/// What a mutation with this stored acceptance has changed. `None` when it is not known.
pub(super) fn kept_change(kept: &[u8]) -> Option<Change> {
    KeptChange::decode(kept).ok()?.change
}

/// Encodes an error without effect for the ledger.
pub(super) fn refused(error: &UpstreamError) -> Vec<u8> {
    KeptRefusal {
        kind: KINDS.iter().position(|kind| *kind == error.kind).unwrap_or_default() as u32,
        http_status: error.http_status.into(),
        errors: error.errors.clone(),
        omitted: error.omitted as u64,
        retry_after_ms: error.retry_after.map(|wait| wait.as_millis() as u64),
        correlation_id: error.correlation_id.as_bytes().to_vec(),
    }
    .encode_to_vec()
}

/// Encodes the caller's answer after an operator's decision; empty when the operation stays open.
pub(in crate::service) fn of_operator(entry: &Entry, verdict: OperatorVerdict) -> Vec<u8> {
    match verdict {
        OperatorVerdict::Succeeded => seen(entry.correlation_id),
        OperatorVerdict::Rejected => {
            let (operation, kind) = (entry.kind.operation(), ErrorKind::Rejected);
            refused(&UpstreamError::unanswered(operation, kind, Effect::None, entry.correlation_id))
        }
        OperatorVerdict::Resend => Vec::new(),
    }
}

/// The caller's answer in the entry's present state.
pub(in crate::service) fn of(entry: &Entry) -> Result<Reply<AcceptedAnswer>, ServiceError> {
    let operation = entry.kind.operation();
    match entry.state {
        EntryState::Succeeded => read_acceptance(&entry.answer),
        EntryState::Rejected | EntryState::NotSent => Err(read_refusal(operation, &entry.answer)),
        EntryState::Expired => Err(ServiceError::Expired { operation, correlation_id: entry.correlation_id }),
        EntryState::Recorded | EntryState::Sending | EntryState::Unknown | EntryState::NeedsOperator => {
            Err(pending_entry(entry))
        }
    }
}

/// Decodes a stored acceptance.
pub(in crate::service) fn read_acceptance(kept: &[u8]) -> Result<Reply<AcceptedAnswer>, ServiceError> {
    let Ok(KeptAcceptance { status, header, acceptance, correlation_id, errors, shown, .. }) =
        KeptAcceptance::decode(kept)
    else {
        tracing::error!("a stored answer cannot be decoded");
        return Err(ServiceError::Internal);
    };
    let (acceptance, shown) = (acceptance.unwrap_or_default(), shown.into());
    let answer = AcceptedAnswer { status, header, acceptance, errors, shown, ..AcceptedAnswer::default() };
    Ok(Reply { answer, correlation_id: Uuid::from_slice(&correlation_id).unwrap_or_default() })
}

fn read_refusal(operation: Operation, kept: &[u8]) -> ServiceError {
    let Ok(kept) = KeptRefusal::decode(kept) else {
        tracing::error!("a stored answer cannot be decoded");
        return ServiceError::Internal;
    };
    ServiceError::Upstream(Box::new(UpstreamError {
        operation,
        kind: KINDS.get(kept.kind as usize).copied().unwrap_or(ErrorKind::Rejected),
        effect: Effect::None,
        http_status: u16::try_from(kept.http_status).unwrap_or_default(),
        errors: kept.errors,
        omitted: kept.omitted as usize,
        says_order_exists: false,
        after_lost_attempt: false,
        retry_after: kept.retry_after_ms.map(Duration::from_millis),
        correlation_id: Uuid::from_slice(&kept.correlation_id).unwrap_or_default(),
    }))
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
