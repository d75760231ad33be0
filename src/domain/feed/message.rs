//! The event message of either feed.

use bytes::Bytes;
use prost::Message;

use super::{EventFacts, EventFilter, FeedName};
use crate::pb;

/// The message of one feed's events. The log stores the message encoded, without position, cursor and body, which only
/// the log knows.
///
/// The two messages use the same field numbers for shared fields, which allows completing an encoded event without
/// decoding.
pub trait FeedMessage: Message + Default + Clone + PartialEq + Send + 'static {
    /// The feed of this message.
    const FEED: FeedName;

    /// The facts of the event for filters.
    fn facts(&self) -> EventFacts;

    /// The message with its position, cursor and body.
    #[must_use]
    fn placed(self, seq: u64, cursor: String, raw: Vec<u8>) -> Self;

    /// Approximate memory of the lines beyond their encoded size, in bytes.
    fn lines_size(&self) -> usize;
}

impl FeedMessage for pb::Event {
    const FEED: FeedName = FeedName::CancelIntents;

    fn facts(&self) -> EventFacts {
        EventFacts::of(self)
    }

    fn placed(self, seq: u64, cursor: String, raw_body: Vec<u8>) -> Self {
        Self { seq, cursor, raw_body, ..self }
    }

    fn lines_size(&self) -> usize {
        self.intent.as_ref().map_or(0, |intent| intent.order_lines.len() * size_of::<pb::CancelIntentLine>())
    }
}

impl FeedMessage for pb::OrderUpdate {
    const FEED: FeedName = FeedName::OrderUpdates;

    fn facts(&self) -> EventFacts {
        EventFacts::of_update(self)
    }

    fn placed(self, seq: u64, cursor: String, raw_body: Vec<u8>) -> Self {
        Self { seq, cursor, raw_body, ..self }
    }

    fn lines_size(&self) -> usize {
        use pb::order_update::Update;
        match &self.update {
            Some(Update::OrderStatus(it)) => {
                let lines = it.line_item_status.iter();
                let items =
                    lines.map(|line| size_of_val(line) + line.item_status.len() * size_of::<pb::McsItemStatus>());
                items.sum::<usize>() + it.shipment_details.len() * size_of::<pb::McsShipmentDetail>()
            }
            Some(Update::Shipment(it)) => it.shipment_details.len() * size_of::<pb::McsShipmentDetail>(),
            Some(Update::ReturnStatus(it)) => it.return_order_lines.len() * size_of::<pb::McsReturnLine>(),
            Some(Update::SellerOrder(it)) => it.order_lines.len() * size_of::<pb::SellerOrderUpdateLine>(),
            None => 0,
        }
    }
}

impl EventFacts {
    /// Reads the facts of a stored message of this feed.
    ///
    /// # Errors
    /// The bytes are no such message: the store is damaged.
    pub fn decode(feed: FeedName, message: &Bytes) -> Result<Self, prost::DecodeError> {
        Ok(match feed {
            FeedName::CancelIntents => pb::Event::decode(message.clone())?.facts(),
            FeedName::OrderUpdates => pb::OrderUpdate::decode(message.clone())?.facts(),
        })
    }
}

impl EventFilter {
    /// Whether the event matches.
    pub fn matches(&self, event: &impl FeedMessage) -> bool {
        self.is_all() || self.wants(&event.facts())
    }
}
