//! What a delivery of Walmart's says.

use bytes::Bytes;
use prost::Message as _;

use super::FeedName;
use crate::domain::account::AccountId;
use crate::domain::timestamp::Timestamp;
use crate::pb;

/// A delivery that could be read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Notification {
    /// `source.eventId`; empty when there is none.
    pub event_id: String,
    /// `source.eventType`. Inferred from the form of a body that has none.
    pub event_type: String,
    /// As received, wherever it stands in the body; empty when there is none.
    pub sub_event_type: String,
    /// `source.eventVersion`; often empty.
    pub event_version: String,
    /// `source.eventTime`, if it can be read.
    pub event_time: Option<Timestamp>,
    /// What the customer wants, if that is what it tells.
    pub intent: Option<pb::CancelIntent>,
    /// Of an event that was not recognised as an intent: why it may be one.
    pub unclear: Option<Unclear>,
    /// What an event says that is no intent.
    pub update: UpdateContent,
}

/// What an order update says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UpdateContent {
    /// Its payload; `None` where its type is unknown, or its payload has another form than is known.
    pub content: Option<pb::order_update::Update>,
    /// The order number of a multichannel order, else the purchase order, else the return; empty when it names none.
    pub ordering_key: String,
    /// The seller that it names; empty when it names none.
    pub partner_id: String,
}

/// Why it cannot be told whether an event is an intent to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unclear {
    /// An ORDER_UPDATES without a sub-event type.
    NoKind,
    /// An ORDER_UPDATES whose sub-event type is none that Walmart has announced.
    UnknownKind,
    /// An intent flag says neither yes nor no.
    UnreadableFlag,
}

impl Unclear {
    /// All of them, in their order.
    pub const ALL: [Self; 3] = [Self::NoKind, Self::UnknownKind, Self::UnreadableFlag];

    /// The name in metrics and log lines.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoKind => "no_kind",
            Self::UnknownKind => "unknown_kind",
            Self::UnreadableFlag => "unreadable_flag",
        }
    }
}

impl Notification {
    /// The feed that this event belongs to: an intent to its own, every other event to the order updates.
    pub const fn feed(&self) -> FeedName {
        if self.intent.is_some() { FeedName::CancelIntents } else { FeedName::OrderUpdates }
    }
}

/// A delivery as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrival {
    /// Whose.
    pub account: AccountId,
    /// When it came.
    pub received: Timestamp,
    /// The body exactly as it came.
    pub raw: Bytes,
    /// SHA-256 of it.
    pub body_hash: [u8; 32],
    /// What it is.
    pub content: Content,
}

/// What a delivery is.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// An event of one of the feeds.
    Event {
        /// The feed whose log it goes into.
        feed: FeedName,
        /// Unique in the account, in both feeds, together with the two types: see [`EventIdentity`].
        event_id: String,
        /// `source.eventType`, as received.
        event_type: String,
        /// The sub-event type, as received; often empty.
        sub_event_type: String,
        /// The feed's message ([`pb::Event`], [`pb::OrderUpdate`]) without `seq`, `cursor` and `raw_body`, encoded.
        message: Bytes,
    },
    /// It is Walmart's, but says nothing that can be read: quarantined. The same body is kept once, and so is the body of an
    /// event whose identity another body had before.
    Unreadable {
        /// Why, without anything of the body.
        reason: String,
    },
}

/// What an event is known by in its account. Another kind under the same id is an event of its own; another body under the same
/// identity is a conflict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventIdentity {
    /// Walmart's id, or the one that was made of the body.
    pub event_id: String,
    /// `source.eventType`, as received.
    pub event_type: String,
    /// The sub-event type, as received; often empty.
    pub sub_event_type: String,
}

/// Why a body is in quarantine that can be read. For people.
pub const CONFLICT: &str = "another body came before with the same event id, event type and sub-event type";

/// A stored message, of either feed, with another account. A field that comes twice counts as it came last, so nothing of the
/// message is read or moved.
pub fn with_account(message: &[u8], account: &AccountId) -> Bytes {
    let account = pb::Event { account: account.to_string(), ..pb::Event::default() };
    [message, &account.encode_to_vec()].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_the_same_but_for_its_account() {
        let event = pb::Event { event_id: "e".into(), account: "old".into(), received_at: None, ..Default::default() };
        let message = with_account(&event.encode_to_vec(), &AccountId::new("new").unwrap());
        assert_eq!(pb::Event::decode(message), Ok(pb::Event { account: "new".into(), ..event }));
    }
}
