//! The requests that callers send: Walmart's sample, with the numbers of a story.

use order_gateway::pb;
use serde_json::Value;

use crate::schedule::{Cancellation, Creation, Story};

/// A sales channel that the emulator does not know.
const UNKNOWN_CHANNEL: &str = "CHANNEL-UNKNOWN";

/// Walmart's sample of an order.
pub(crate) struct Sample(pb::Order);

impl Sample {
    /// Reads it.
    pub(crate) fn read() -> Result<Self, serde_json::Error> {
        let body: Value = serde_json::from_str(include_str!("../../examples/create.json"))?;
        serde_json::from_value(body["payload"].clone()).map(Self)
    }

    /// The request of a creation.
    pub(crate) fn create(&self, story: &Story, creation: &Creation) -> pb::CreateOrderRequest {
        let mut order = self.0.clone();
        order.seller_order_id = Some(story.number.clone());
        order.customer_order_no = Some(story.number.clone());
        if creation.refused {
            order.order_channel_id = Some(UNKNOWN_CHANNEL.to_owned());
        }
        let Some(first) = order.order_items.pop() else { return pb::CreateOrderRequest::default() };
        order.order_items = (1..=story.lines)
            .map(|line| pb::OrderItem {
                seller_line_id: Some(line.to_string()),
                qty: Some(each(creation.units)),
                ..first.clone()
            })
            .collect();
        pb::CreateOrderRequest {
            header: None,
            payload: Some(order),
            account: story.account.to_owned(),
            request_id: creation.request_id.clone().unwrap_or_default(),
        }
    }
}

/// The request of a cancellation: one unit of each line.
pub(crate) fn cancel(story: &Story, cancellation: &Cancellation) -> pb::CancelOrderRequest {
    let items = (1..=story.lines)
        .map(|line| pb::CancelItem { seller_line_id: Some(line.to_string()), qty: Some(each(1)) })
        .collect();
    let payload =
        pb::Cancellation { seller_order_id: Some(story.number.clone()), order_items: items, ..Default::default() };
    pb::CancelOrderRequest {
        header: None,
        payload: Some(payload),
        account: story.account.to_owned(),
        request_id: cancellation.request_id.clone().unwrap_or_default(),
    }
}

fn each(units: u32) -> pb::Quantity {
    pb::Quantity { unit_of_measure: Some("EACH".to_owned()), measurement_value: Some(units.into()) }
}
