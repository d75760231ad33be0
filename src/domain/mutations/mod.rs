//! The calls that change something at Walmart, as types.
//!
//! A [`Mutation`] defines the keys of a call, its division into upstream requests, the read that settles an unknown
//! outcome, and the evidence in the answer to that read. The use case `service::mutate` and the resolver work with
//! these definitions alone and never match on the kind of a mutation. The ledger stores [`Mutation::KIND`] and never
//! matches on the kind either.
//!
//! To add a mutation, write its messages in `proto/`, a file in this folder and a row in `domain::operation`, a codec
//! in `upstream::codec`, a state machine in the emulator, and one function at the edge.

mod cancel_order;
mod cancel_order_lines;
mod create_order;
mod create_webhook_subscription;
mod mcs_returns;
mod refund_order_lines;
mod refund_return;
mod ship_order_lines;

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

pub use self::cancel_order::{CancelOrder, MAX_LINES};
pub use self::cancel_order_lines::CancelOrderLines;
pub use self::create_order::CreateOrder;
pub use self::create_webhook_subscription::CreateWebhookSubscription;
pub use self::mcs_returns::{CancelMcsReturn, CreateMcsReturn};
pub use self::refund_order_lines::RefundOrderLines;
pub use self::refund_return::RefundReturn;
pub use self::ship_order_lines::{ShipOrderLines, is_correction};
use crate::domain::ledger::evidence::{Change, Evidence, LookupAnswer, OtherChanges, SearchPage};
use crate::domain::ledger::machine::ResendPolicy;
use crate::domain::ledger::{Entry, MutationKind};
use crate::domain::operation::{Operation, WalmartCall, operations};
use crate::domain::personal::PersonalTexts;
use crate::domain::rules::FieldFaults;
use crate::domain::timestamp::Timestamp;
use crate::domain::webhooks;
use crate::pb::{self, GetOrderStatusRequest, McsReturnOrder, SellerOrder, WalmartError, WebhookSubscription};

/// Walmart's answer that accepts a mutation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AcceptedAnswer {
    /// The status text, "ACCEPTED".
    pub status: String,
    /// The header of the envelope, if any.
    pub header: Option<pb::Header>,
    /// Walmart's id of the acceptance.
    pub acceptance: pb::Acceptance,
    /// Errors beside the acceptance. The texts may repeat personal data of the request.
    pub errors: Vec<WalmartError>,
    /// What the answer shows of the changed object.
    pub shown: ShownObject,
    /// What the messages have no place for: JSON text by JSON path. May have personal data; the ledger does not keep it.
    pub unmapped: BTreeMap<String, String>,
}

/// The changed object as Walmart's answer to a mutation shows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum ShownObject {
    /// Nothing: Walmart's answer is an acceptance, or was found by a look-up.
    #[default]
    Nothing,
    /// The order of the seller's own fulfillment.
    SellerOrder(Box<SellerOrder>),
    /// The return of a Multichannel order.
    McsReturn(Box<McsReturnOrder>),
    /// Webhook subscriptions.
    Webhooks(Vec<WebhookSubscription>),
}

impl ShownObject {
    /// The part that the ledger keeps for repeated calls: without personal data and secrets.
    pub fn kept(&self) -> Self {
        match self {
            Self::Nothing => Self::Nothing,
            Self::SellerOrder(order) => Self::SellerOrder(Box::new(SellerOrder {
                purchase_order_id: order.purchase_order_id.clone(),
                ..SellerOrder::default()
            })),
            Self::McsReturn(order) => {
                let mut order = order.clone();
                for group in &mut order.return_line_groups {
                    (group.ship_from, group.ship_to) = (None, None);
                }
                Self::McsReturn(order)
            }
            Self::Webhooks(subscriptions) => {
                Self::Webhooks(subscriptions.iter().map(webhooks::without_access).collect())
            }
        }
    }
}

/// One of Walmart's calls that change something. Callers and upstream requests use the same message type.
pub trait Mutation: WalmartCall<Request: Message + Default + Clone, Answer = AcceptedAnswer> {
    /// The number of this mutation in the ledger.
    const KIND: MutationKind;
    /// Whether the order number identifies a call, and no second call may use the number. Otherwise a call without a
    /// request id gets a new id, and joins an open call with the same content.
    const BY_ORDER_NUMBER: bool;
    /// Whether the mutation changes an existing order. Walmart may not know an order yet that this gateway has just
    /// created; a not-found then leads to a later retry.
    const NEEDS_ORDER: bool;
    /// Whether outcomes not settled by Walmart's own acceptance are looked up again later.
    const IS_AUDITED: bool;
    /// Whether nothing is sent without a snapshot, because the evidence would be worthless without.
    const NEEDS_SNAPSHOT: bool = false;
    /// Whether the read before the call decides about a new attempt, and not the ledger: nothing is sent while the wanted
    /// object stands ([`Mutation::standing`]), and what ended earlier does not keep a new one from being made.
    const READ_DECIDES: bool = false;

    /// Checks the request and returns all of its faults.
    fn check(request: &Self::Request) -> Result<(), FieldFaults>;

    /// The order number; empty only for a request that fails [`Mutation::check`].
    fn order_number(request: &Self::Request) -> &str;

    /// The caller's id of the request; empty when the caller gave no id.
    fn request_id(request: &Self::Request) -> &str;

    /// The payload in protobuf form, from which the fingerprint is made.
    fn payload(request: &Self::Request) -> Vec<u8>;

    /// The content by which a call without a request id is known for as long as the ledger has its entry, in any form that
    /// two calls of the same content share. `None`: such a call joins an open one of the same payload, and is a new call
    /// afterwards. Only for mutations of one upstream request.
    fn content_key(request: &Self::Request) -> Option<Vec<u8>> {
        let _ = request;
        None
    }

    /// Divides the call into upstream requests, in sending order; at least one.
    fn batches(request: Arc<Self::Request>) -> Vec<Arc<Self::Request>>;

    /// The form in which the ledger stores an upstream request until no attempt can follow. `payload` is the encoded
    /// payload of the call.
    fn body(batch: &Self::Request, payload: &[u8]) -> Bytes {
        let _ = payload;
        batch.encode_to_vec().into()
    }

    /// The read made before the first byte leaves, for mutations whose evidence needs the state from before.
    fn snapshot_probe(request: &Self::Request) -> Option<LookupProbe> {
        let _ = request;
        None
    }

    /// The part of that read's answer to store for one upstream request; empty when the answer shows nothing. The
    /// protobuf form must have no field 15, which belongs to [`PersonalTexts::beside`].
    fn snapshot(batch: &Self::Request, answer: &LookupAnswer) -> Vec<u8> {
        let _ = (batch, answer);
        Vec::new()
    }

    /// The ids of objects in that answer that already are what the call would make. Used with
    /// [`Mutation::READ_DECIDES`].
    fn standing(request: &Self::Request, answer: &LookupAnswer) -> Vec<String> {
        let _ = (request, answer);
        Vec::new()
    }

    /// The customer's data that a look-up shows, which the ledger keeps beside the snapshot.
    fn personal_of_look_up(answer: &LookupAnswer) -> PersonalTexts {
        PersonalTexts::of_answer(&answer.body)
    }

    /// The figures of the stored snapshot, one text for each line, for an operator. No personal data.
    fn figures(entry: &Entry) -> Vec<String> {
        let _ = entry;
        Vec::new()
    }

    /// The read that settles an unknown outcome.
    fn probe(entry: &Entry) -> LookupProbe;

    /// What an upstream request changes of its object, where the evidence is the difference to a snapshot, which another call
    /// may have made as well. `None`: the evidence names the mutation itself, or is a state that counts whoever caused it.
    fn change(entry: &Entry) -> Option<Change> {
        let _ = entry;
        None
    }

    /// The evidence in an answer to [`Mutation::probe`]. `others` has what other calls may have changed since the snapshot;
    /// nothing for mutations without [`Mutation::change`].
    fn judge(entry: &Entry, others: &OtherChanges, answer: &LookupAnswer) -> Evidence;

    /// Earliest date that Walmart may show for the order of this mutation. `None` when a search by date cannot be
    /// trusted to show the order.
    fn searchable_from(entry: &Entry) -> Option<Timestamp> {
        let _ = entry;
        None
    }

    /// The evidence on a page of a search by date; `None` when no row is about the mutation.
    fn judge_page(entry: &Entry, page: &SearchPage) -> Option<Evidence> {
        let _ = (entry, page);
        None
    }

    /// Whether a mutation with proven absence may be sent again.
    fn resend() -> ResendPolicy {
        ResendPolicy::AfterAbsence
    }

    /// Whether the mutation is looked up before the first attempt, while `ledger.look_first_until` holds.
    fn is_looked_up_first() -> bool {
        false
    }

    /// The customer's data in the request. Data shown by a look-up is kept beside the snapshot. Walmart's texts are
    /// redacted of the two before storage, logs and answers.
    fn personal(request: &Self::Request) -> PersonalTexts;
}

/// A read that shows the outcome of a mutation.
#[derive(Clone, Debug, PartialEq)]
pub enum LookupProbe {
    /// The state of one order, by its number.
    OrderByNumber(String),
    /// A page of a search for orders by date.
    OrdersByDate(Box<GetOrderStatusRequest>),
    /// An order of the seller's own fulfillment, by its purchase order.
    SellerOrder(String),
    /// A return of a marketplace order, by its number.
    Return(String),
    /// The returns of a Multichannel order, by the order's number.
    McsReturnsOfOrder(String),
    /// A return of a Multichannel order, by its number.
    McsReturn(String),
    /// Webhook subscriptions of an event type; of all types when empty.
    Webhooks(String),
}

impl LookupProbe {
    /// The call that makes the read.
    pub const fn operation(&self) -> Operation {
        match self {
            Self::OrderByNumber(_) | Self::OrdersByDate(_) => Operation::Status,
            Self::SellerOrder(_) => Operation::Order,
            Self::Return(_) => Operation::Returns,
            Self::McsReturnsOfOrder(_) | Self::McsReturn(_) => Operation::McsReturns,
            Self::Webhooks(_) => Operation::Webhooks,
        }
    }

    /// The read in words, for operators.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::OrderByNumber(_) => "order by number",
            Self::OrdersByDate(_) => "orders by date",
            Self::SellerOrder(_) => "seller order",
            Self::Return(_) => "return",
            Self::McsReturnsOfOrder(_) => "MCS returns of the order",
            Self::McsReturn(_) => "MCS return",
            Self::Webhooks(_) => "webhook subscriptions",
        }
    }
}

/// The rules of one mutation for settling an unknown outcome, independent of its type.
pub(crate) trait SettlementPolicy: Send + Sync {
    /// The value of [`Mutation::IS_AUDITED`] for the mutation.
    fn is_audited(&self) -> bool;
    /// Calls [`Mutation::figures`] of the mutation.
    fn figures(&self, entry: &Entry) -> Vec<String>;
    /// Calls [`Mutation::probe`] of the mutation.
    fn probe(&self, entry: &Entry) -> LookupProbe;
    /// Calls [`Mutation::change`] of the mutation.
    fn change(&self, entry: &Entry) -> Option<Change>;
    /// Calls [`Mutation::judge`] of the mutation.
    fn judge(&self, entry: &Entry, others: &OtherChanges, answer: &LookupAnswer) -> Evidence;
    /// Calls [`Mutation::personal_of_look_up`] of the mutation.
    fn personal_of_look_up(&self, answer: &LookupAnswer) -> PersonalTexts;
    /// Calls [`Mutation::searchable_from`] of the mutation.
    fn searchable_from(&self, entry: &Entry) -> Option<Timestamp>;
    /// Calls [`Mutation::judge_page`] of the mutation.
    fn judge_page(&self, entry: &Entry, page: &SearchPage) -> Option<Evidence>;
    /// Calls [`Mutation::resend`] of the mutation.
    fn resend(&self) -> ResendPolicy;
    /// Calls [`Mutation::is_looked_up_first`] of the mutation.
    fn is_looked_up_first(&self) -> bool;
}

/// The [`SettlementPolicy`] of a mutation type.
struct MutationPolicy<M>(PhantomData<fn() -> M>);

impl<M: Mutation> SettlementPolicy for MutationPolicy<M> {
    fn is_audited(&self) -> bool {
        M::IS_AUDITED
    }

    fn figures(&self, entry: &Entry) -> Vec<String> {
        M::figures(entry)
    }

    fn probe(&self, entry: &Entry) -> LookupProbe {
        M::probe(entry)
    }

    fn change(&self, entry: &Entry) -> Option<Change> {
        M::change(entry)
    }

    fn judge(&self, entry: &Entry, others: &OtherChanges, answer: &LookupAnswer) -> Evidence {
        M::judge(entry, others, answer)
    }

    fn personal_of_look_up(&self, answer: &LookupAnswer) -> PersonalTexts {
        M::personal_of_look_up(answer)
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
        /// The rules for settling unknown outcomes of entries of this kind.
        pub(crate) fn settlement_of(kind: MutationKind) -> &'static dyn SettlementPolicy {
            match kind {
                $(MutationKind::$mutation => &MutationPolicy::<$type>(PhantomData),)*
            }
        }

        impl MutationKind {
            /// The value of [`Mutation::BY_ORDER_NUMBER`] for the kind.
            pub(crate) const fn is_by_order_number(self) -> bool {
                match self {
                    $(Self::$mutation => <$type as Mutation>::BY_ORDER_NUMBER,)*
                }
            }

            /// The value of [`Mutation::READ_DECIDES`] for the kind.
            pub(crate) const fn is_decided_by_read(self) -> bool {
                match self {
                    $(Self::$mutation => <$type as Mutation>::READ_DECIDES,)*
                }
            }
        }

        impl Operation {
            /// Whether the call creates an object under its order number, which is then taken.
            pub(crate) const fn takes_order_number(self) -> bool {
                match self {
                    $(Self::$mutation => <$type as Mutation>::BY_ORDER_NUMBER,)*
                    _ => false,
                }
            }
        }
    };
}
operations!(settlements);
