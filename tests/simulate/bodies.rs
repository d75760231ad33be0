//! Requests of callers, made from the sample bodies.

use std::sync::LazyLock;

use order_gateway::pb;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};

use crate::clocks::timestamp;
use crate::plan::{ACCOUNTS, Content, Story};

/// In stock without end.
const SKU: &str = "SKU-1";
/// Never in stock, so that Walmart refuses the order.
const OUT_OF_STOCK: &str = "SKU-OUT-OF-STOCK";

static CREATE: LazyLock<pb::CreateOrderRequest> =
    LazyLock::new(|| sample("CreateOrderRequest", include_str!("../../examples/create.json")));
static CANCEL: LazyLock<pb::CancelOrderRequest> =
    LazyLock::new(|| sample("CancelOrderRequest", include_str!("../../examples/cancel.json")));

pub(crate) fn create(story: &Story, content: &Content) -> pb::CreateOrderRequest {
    let mut request = CREATE.clone();
    request.account = ACCOUNTS[story.account].into();
    request.request_id = story.request_id.clone().unwrap_or_default();
    if let Some(order) = &mut request.payload {
        order.seller_order_id = Some(story.number.clone());
        order.customer_order_no = Some(story.number.clone());
        order.order_placed_time = Some(timestamp(content.placed).to_string());
        let line = order.order_items.pop().unwrap_or_default();
        order.order_items = (1..=content.lines).map(|number| order_line(line.clone(), number, content)).collect();
    }
    request
}

fn order_line(mut line: pb::OrderItem, number: u32, content: &Content) -> pb::OrderItem {
    line.seller_line_id = Some(number.to_string());
    if let Some(quantity) = &mut line.qty {
        quantity.measurement_value = Some(content.units.into());
    }
    if let Some(item) = &mut line.item_detail {
        item.sku = Some(if content.refused { OUT_OF_STOCK } else { SKU }.into());
    }
    line
}

/// Cancels all lines of the story's first content.
pub(crate) fn cancel(story: &Story) -> pb::CancelOrderRequest {
    let mut request = CANCEL.clone();
    request.account = ACCOUNTS[story.account].into();
    request.request_id = story.cancel_id.clone().unwrap_or_default();
    if let Some(payload) = &mut request.payload {
        payload.seller_order_id = Some(story.number.clone());
        payload.customer_order_no = Some(story.number.clone());
        let line = payload.order_items.pop().unwrap_or_default();
        let lines = story.contents.first().map_or(1, |content| content.lines);
        let numbered = |number: u32| pb::CancelItem { seller_line_id: Some(number.to_string()), ..line.clone() };
        payload.order_items = (1..=lines).map(numbered).collect();
    }
    request
}

pub(crate) fn status(story: &Story) -> pb::GetOrderStatusRequest {
    let account = ACCOUNTS[story.account].into();
    pb::GetOrderStatusRequest { account, order_number: story.number.clone(), ..Default::default() }
}

#[expect(clippy::expect_used, reason = "the samples are part of the project; a test reads them")]
fn sample<T: Message + Default>(name: &str, body: &str) -> T {
    let pool = DescriptorPool::decode(pb::FILE_DESCRIPTOR_SET).expect("the descriptors can be read");
    let descriptor = pool.get_message_by_name(&format!("ordergateway.v1.{name}")).expect("the message exists");
    let mut body = serde_json::Deserializer::from_str(body);
    let message = DynamicMessage::deserialize(descriptor, &mut body).expect("the sample can be read");
    message.transcode_to().expect("the message has its own type")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn requests_have_what_the_story_says() {
        let content = Content { units: 2, lines: 3, placed: Duration::from_secs(60), refused: false };
        let story =
            Story { number: "S-1".into(), contents: vec![content], request_id: Some("one".into()), ..Story::default() };
        let order = create(&story, &story.contents[0]);
        assert_eq!(order.request_id, "one");
        let payload = order.payload.unwrap();
        assert_eq!(payload.seller_order_id.as_deref(), Some("S-1"));
        assert_eq!(payload.order_placed_time.as_deref(), Some("2026-11-01T00:01:00Z"));
        let units = |line: &pb::OrderItem| line.qty.as_ref().unwrap().measurement_value;
        assert_eq!(payload.order_items.iter().map(units).collect::<Vec<_>>(), [Some(2.0); 3]);
        let cancellation = cancel(&story);
        assert_eq!(cancellation.request_id, "");
        assert_eq!(cancellation.payload.unwrap().order_items.len(), 3);
        assert_eq!(status(&story).order_number, "S-1");
    }
}
