//! The calls that change something at Walmart, each as a type.
//!
//! A [`Mutation`] says what one call is known by, how it is cut into upstream requests, which read settles a doubt about it, and
//! what the answer to that read proves. The use case `service::mutate` and the resolver work with these answers alone; they
//! never ask which mutation they have in hand. The ledger keeps [`Mutation::KIND`] and never matches on it.
//!
//! To add one: its messages in `proto/`, a file here and its row in `domain::operation`, its codec in `upstream::exchange`,
//! its state machine in the emulator, and one function at the edge.

mod cancel_order;
mod create_order;

use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

pub use self::cancel_order::{CancelOrder, MAX_LINES};
pub use self::create_order::CreateOrder;
use crate::domain::ledger::evidence::{Evidence, LookupAnswer, SearchPage};
use crate::domain::ledger::machine::ResendPolicy;
use crate::domain::ledger::{Entry, MutationKind};
use crate::domain::operation::{WalmartCall, operations};
use crate::domain::personal::PersonalTexts;
use crate::domain::rules::Faults;
use crate::domain::timestamp::Timestamp;
use crate::pb::{self, GetOrderStatusRequest, WalmartError};

/// Walmart took on a mutation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AcceptedAnswer {
    /// The status text, "ACCEPTED".
    pub status: String,
    /// The envelope's header, if any.
    pub header: Option<pb::Header>,
    /// Walmart's id of the acceptance.
    pub acceptance: pb::Acceptance,
    /// Errors that Walmart sent beside it: may repeat personal data of the request.
    pub errors: Vec<WalmartError>,
}

/// One of Walmart's calls that change something. Callers send a message of the same type as one upstream request carries.
pub trait Mutation: WalmartCall<Request: Message + Default + Clone, Answer = AcceptedAnswer> {
    /// The number by which the ledger knows it.
    const KIND: MutationKind;
    /// Whether a call is known by its order number, which no other call may use. Otherwise a call without a request id gets
    /// one, and joins an open call of the same content.
    const BY_ORDER_NUMBER: bool;
    /// Whether it changes an order that has to be there. Of an order that was only just created here Walmart may not know yet:
    /// then it is sent again later.
    const NEEDS_ORDER: bool;
    /// Whether what was settled by anything but Walmart's own acceptance is looked up again later.
    const IS_AUDITED: bool;

    /// Finds everything that is wrong with the request.
    fn check(request: &Self::Request) -> Result<(), Faults>;

    /// The order; empty only for a request that fails [`Mutation::check`].
    fn order_number(request: &Self::Request) -> &str;

    /// The caller's id of the request; empty without one.
    fn request_id(request: &Self::Request) -> &str;

    /// The payload in its protobuf form, of which the fingerprint is made.
    fn payload(request: &Self::Request) -> Vec<u8>;

    /// The upstream requests that carry out the call, in the order in which they are sent; at least one.
    fn batches(request: Arc<Self::Request>) -> Vec<Arc<Self::Request>>;

    /// The form in which the ledger keeps an upstream request for as long as it may have to be sent. `payload` is the encoded
    /// payload of the call.
    fn body(batch: &Self::Request, payload: &[u8]) -> Bytes {
        let _ = payload;
        batch.encode_to_vec().into()
    }

    /// The read that is made before the first byte leaves, where evidence needs to know how things were before.
    fn snapshot_probe(request: &Self::Request) -> Option<LookupProbe> {
        let _ = request;
        None
    }

    /// What is kept of that read's answer for one upstream request; empty when the answer tells nothing. In the protobuf form,
    /// without a field 15, which is that of [`PersonalTexts::beside`].
    fn snapshot(batch: &Self::Request, answer: &LookupAnswer) -> Vec<u8> {
        let _ = (batch, answer);
        Vec::new()
    }

    /// The read that settles a doubt.
    fn probe(entry: &Entry) -> LookupProbe;

    /// What the answer to [`Mutation::probe`] proves.
    fn judge(entry: &Entry, answer: &LookupAnswer) -> Evidence;

    /// When Walmart may date the order that the mutation makes, if a search by date can be trusted to show it.
    fn searchable_from(entry: &Entry) -> Option<Timestamp> {
        let _ = entry;
        None
    }

    /// What a page of a search by date proves; `None` when nothing on it is about the mutation.
    fn judge_page(entry: &Entry, page: &SearchPage) -> Option<Evidence> {
        let _ = (entry, page);
        None
    }

    /// Whether the mutation may be sent again once it is known to be absent.
    fn resend() -> ResendPolicy {
        ResendPolicy::AfterAbsence
    }

    /// Whether the mutation is looked up before it is sent for the first time, while `ledger.look_first_until` holds.
    fn is_looked_up_first() -> bool {
        false
    }

    /// The customer's data in the request; what an answer showed of the order is kept beside the snapshot. Walmart's texts lose
    /// both before they are kept, logged or told.
    fn personal(request: &Self::Request) -> PersonalTexts;
}

/// A read that tells about a mutation.
#[derive(Clone, Debug, PartialEq)]
pub enum LookupProbe {
    /// The state of one order, asked for by its number.
    OrderByNumber(String),
}

impl LookupProbe {
    /// The request.
    pub fn request(&self) -> GetOrderStatusRequest {
        match self {
            Self::OrderByNumber(number) => {
                GetOrderStatusRequest { order_number: number.clone(), ..GetOrderStatusRequest::default() }
            }
        }
    }

    /// What is asked, for operators.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::OrderByNumber(_) => "order by number",
        }
    }
}

/// What settles doubts about one mutation, whatever its type.
pub trait SettlementPolicy: Send + Sync {
    /// See [`Mutation::IS_AUDITED`].
    fn is_audited(&self) -> bool;
    /// See [`Mutation::probe`].
    fn probe(&self, entry: &Entry) -> LookupProbe;
    /// See [`Mutation::judge`].
    fn judge(&self, entry: &Entry, answer: &LookupAnswer) -> Evidence;
    /// See [`Mutation::searchable_from`].
    fn searchable_from(&self, entry: &Entry) -> Option<Timestamp>;
    /// See [`Mutation::judge_page`].
    fn judge_page(&self, entry: &Entry, page: &SearchPage) -> Option<Evidence>;
    /// See [`Mutation::resend`].
    fn resend(&self) -> ResendPolicy;
    /// See [`Mutation::is_looked_up_first`].
    fn is_looked_up_first(&self) -> bool;
}

/// [`SettlementPolicy`] of a mutation.
struct MutationPolicy<M>(PhantomData<fn() -> M>);

impl<M: Mutation> SettlementPolicy for MutationPolicy<M> {
    fn is_audited(&self) -> bool {
        M::IS_AUDITED
    }

    fn probe(&self, entry: &Entry) -> LookupProbe {
        M::probe(entry)
    }

    fn judge(&self, entry: &Entry, answer: &LookupAnswer) -> Evidence {
        M::judge(entry, answer)
    }

    fn searchable_from(&self, entry: &Entry) -> Option<Timestamp> {
        M::searchable_from(entry)
    }

    fn judge_page(&self, entry: &Entry, page: &SearchPage) -> Option<Evidence> {
        M::judge_page(entry, page)
    }

    fn resend(&self) -> ResendPolicy {
        M::resend()
    }

    fn is_looked_up_first(&self) -> bool {
        M::is_looked_up_first()
    }
}

macro_rules! settlements {
    (
        reads $reads:tt
        mutations { $($(#[$doc:meta])* $mutation:ident: [$type:ident] $facts:tt)* }
    ) => {
        /// What settles doubts about entries of this kind.
        pub fn settlement_of(kind: MutationKind) -> &'static dyn SettlementPolicy {
            match kind {
                $(MutationKind::$mutation => &MutationPolicy::<$type>(PhantomData),)*
            }
        }
    };
}
operations!(settlements);
