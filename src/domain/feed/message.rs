//! What readers of either feed see of one event.

use bytes::Bytes;
use prost::Message;

use super::{Facts, FeedName};
use crate::pb;

/// The message of one feed's events. The log stores it encoded, without what only the log knows: its position and its body.
///
/// Both messages have the same numbers for the fields that they share, so that an event is completed without being decoded.
pub trait FeedMessage: Message + Default + Clone + PartialEq + Send + 'static {
    /// The feed.
    const FEED: FeedName;

    /// What filters ask of it.
    fn facts(&self) -> Facts;

    /// The same at this place of the log, with this body.
    #[must_use]
    fn placed(self, seq: u64, cursor: String, raw: Vec<u8>) -> Self;

    /// Bytes that its lines take in memory beyond those on the wire, about.
    fn lines_size(&self) -> usize;
}

impl FeedMessage for pb::Event {
    const FEED: FeedName = FeedName::CancelIntents;

    fn facts(&self) -> Facts {
        Facts::of(self)
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

    fn facts(&self) -> Facts {
        Facts::of_update(self)
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

impl Facts {
    /// Of the stored message of an event of this feed.
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
