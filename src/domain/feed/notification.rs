//! The content of a webhook delivery from Walmart.

use bytes::Bytes;
use prost::Message as _;

use super::FeedName;
use crate::domain::account::AccountId;
use crate::domain::timestamp::Timestamp;
use crate::pb;

/// The content of a readable delivery.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WebhookNotification {
    /// `source.eventId`; empty when missing.
    pub event_id: String,
    /// `source.eventType`; inferred from the form of the body when missing.
    pub event_type: String,
    /// The sub-event type as received, from any of its places in the body; empty when missing.
    pub sub_event_type: String,
    /// The event version (`source.eventVersion`); often empty.
    pub event_version: String,
    /// Time of the event (`source.eventTime`), where readable.
    pub event_time: Option<Timestamp>,
    /// The customer's request, if the event is a cancel intent.
    pub intent: Option<pb::CancelIntent>,
    /// Why the event may be a cancel intent, if the event was not recognized as one.
    pub unclear: Option<UnclearReason>,
    /// The content of an event other than a cancel intent.
    pub update: UpdateContent,
}

/// The content of an order update.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UpdateContent {
    /// The payload; `None` when the type is unknown or the payload has an unknown form.
    pub content: Option<pb::order_update::Update>,
    /// The order number of a multichannel order, else the purchase order, else the return; empty when none is named.
    pub ordering_key: String,
    /// The seller named in the event; empty when none is named.
    pub partner_id: String,
}

/// Why an event cannot be told from a cancel intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnclearReason {
    /// An ORDER_UPDATES event without a sub-event type.
    NoKind,
    /// An ORDER_UPDATES event with a sub-event type that Walmart has not announced.
    UnknownKind,
    /// An intent flag with a value other than yes or no.
    UnreadableFlag,
}

impl UnclearReason {
    /// All reasons, in their order.
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

impl WebhookNotification {
    /// The feed of this event: cancel intents have a feed of their own, and every other event belongs to the order
    /// updates.
    pub const fn feed(&self) -> FeedName {
        if self.intent.is_some() { FeedName::CancelIntents } else { FeedName::OrderUpdates }
    }
}

/// A delivery ready to be stored.
#[derive(Clone, Debug, PartialEq)]
pub struct WebhookDelivery {
    /// Account that received the delivery.
    pub account: AccountId,
    /// Time of receipt by the gateway.
    pub received: Timestamp,
    /// The body exactly as received.
    pub raw: Bytes,
    /// SHA-256 of the body.
    pub body_hash: [u8; 32],
    /// The content read from the body.
    pub content: DeliveryContent,
}

/// The content of a delivery.
#[derive(Clone, Debug, PartialEq)]
pub enum DeliveryContent {
    /// An event of one of the feeds.
    Event {
        /// The feed whose log stores the event.
        feed: FeedName,
        /// Together with the two types, unique in the account across the two feeds: see [`EventIdentity`].
        event_id: String,
        /// The event type (`source.eventType`), as received.
        event_type: String,
        /// The sub-event type as received; often empty.
        sub_event_type: String,
        /// The feed's message ([`pb::Event`], [`pb::OrderUpdate`]) without `seq`, `cursor` and `raw_body`, encoded.
        message: Bytes,
    },
    /// A delivery from Walmart with no readable event, which goes to quarantine. The quarantine keeps one copy of a
    /// body; the body of a conflicting event is stored the same way.
    Unreadable {
        /// Why the body cannot be read, without any text of the body.
        reason: String,
    },
}

/// The identity of an event in its account. A different type under the same id is a separate event; a different body
/// under the same identity is a conflict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventIdentity {
    /// Walmart's id, or an id made from the body.
    pub event_id: String,
    /// The event type (`source.eventType`), as received.
    pub event_type: String,
    /// The sub-event type as received; often empty.
    pub sub_event_type: String,
}

/// The reason, for people, of a readable body in quarantine.
pub(crate) const CONFLICT: &str = "another body came before with the same event id, event type and sub-event type";

/// Replaces the account in a stored message of either feed. In protobuf the last occurrence of a field counts;
/// appending leaves the stored bytes unread and unmoved.
pub(crate) fn with_account(message: &[u8], account: &AccountId) -> Bytes {
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
