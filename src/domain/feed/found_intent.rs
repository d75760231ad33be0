//! A cancel intent that was found in an order, because no webhook may have arrived for it.

use std::collections::BTreeSet;

use bytes::Bytes;
use prost::Message as _;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::notification::{DeliveryContent, WebhookDelivery};
use super::{FeedName, IntentFlag, intent_key};
use crate::domain::account::{AccountId, SellerId};
use crate::domain::hex;
use crate::domain::timestamp::Timestamp;
use crate::pb;

/// The event type of a found intent.
const EVENT_TYPE: &str = "INTENT_TO_CANCEL";

/// An order with lines that the customer wants cancelled. It has none of the order's personal data.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundIntent {
    /// Account whose order it is.
    pub account: AccountId,
    /// Seller of the account.
    pub seller: SellerId,
    /// Time at which the order was read.
    pub found: Timestamp,
    /// The intent, about all flagged lines.
    pub intent: pb::CancelIntent,
}

/// What an order says of its customer's wish to cancel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OrderFlags {
    /// The intent about the flagged lines, if any is flagged.
    pub intent: Option<pb::CancelIntent>,
    /// Number of lines with a flag that says neither yes nor no.
    pub unreadable: usize,
}

impl OrderFlags {
    /// Reads the flags of the lines and of their status entries. Lines without a number, and orders without one, are
    /// left out: nobody could act on them.
    pub fn of(order: &pb::SellerOrder, seller: &SellerId) -> Self {
        let lines = order.order_lines.as_ref().map(|lines| lines.order_line.as_slice()).unwrap_or_default();
        let method = order.shipping_info.as_ref().map(|info| info.method_code.as_str()).unwrap_or_default();
        let (mut flagged, mut unreadable) = (Vec::new(), 0);
        for line in lines {
            match flag(line) {
                IntentFlag::Set if !line.line_number.trim().is_empty() => flagged.push(intent_line(line, method)),
                IntentFlag::Unreadable => unreadable += 1,
                IntentFlag::Set | IntentFlag::Unset => {}
            }
        }
        let has_intent = !flagged.is_empty() && !order.purchase_order_id.trim().is_empty();
        Self { intent: has_intent.then(|| intent(order, seller, flagged)), unreadable }
    }
}

impl FoundIntent {
    /// The event about the lines that are new, in the form of a webhook delivery; `None` when no line is new.
    pub fn event(mut self, mut is_new: impl FnMut(&str) -> bool) -> Option<WebhookDelivery> {
        self.intent.order_lines.retain(|line| is_new(line.line_number.trim()));
        let lines: BTreeSet<&str> = self.intent.order_lines.iter().map(|line| line.line_number.trim()).collect();
        if lines.is_empty() {
            return None;
        }
        let lines = Vec::from_iter(lines).join(",");
        let purchase_order = self.intent.purchase_order_id.trim();
        let event_id = format!("backfill:{purchase_order}:{lines}");
        // The order itself is never stored: it has name, address and e-mail.
        let body = json!({"source": {"eventType": EVENT_TYPE, "eventId": event_id}, "payload": self.intent});
        let raw = Bytes::from(body.to_string());
        let body_hash: [u8; 32] = Sha256::digest(&raw).into();
        let event = pb::Event {
            intent_key: intent_key(&self.seller, &self.intent),
            origin: pb::EventOrigin::Backfill.into(),
            event_id: event_id.clone(),
            event_type: EVENT_TYPE.into(),
            received_at: Some(std::time::SystemTime::from(self.found).into()),
            ordering_key: self.intent.purchase_order_id.clone(),
            body_sha256: hex::lower(&body_hash),
            account: self.account.to_string(),
            intent: Some(self.intent),
            ..pb::Event::default()
        };
        let content = DeliveryContent::Event {
            feed: FeedName::CancelIntents,
            event_id,
            event_type: EVENT_TYPE.into(),
            sub_event_type: String::new(),
            message: event.encode_to_vec().into(),
        };
        Some(WebhookDelivery { account: self.account, received: self.found, raw, body_hash, content })
    }
}

/// The purchase order and the line numbers of a stored intent ([`pb::Event`]). A line of which there was an intent is
/// not found again as new.
pub fn lines_of_intent(message: &[u8]) -> (String, Vec<String>) {
    let Ok(pb::Event { intent: Some(intent), .. }) = pb::Event::decode(message) else { return Default::default() };
    let lines = intent.order_lines.iter().map(|line| line.line_number.trim().to_owned());
    (intent.purchase_order_id.trim().to_owned(), lines.filter(|line| !line.is_empty()).collect())
}

/// The strongest flag of a line and its status entries.
fn flag(line: &pb::SellerOrderLine) -> IntentFlag {
    let statuses = line.order_line_statuses.as_ref().map(|all| all.order_line_status.as_slice()).unwrap_or_default();
    let of_statuses = statuses.iter().map(|status| IntentFlag::of_text(status.intent_to_cancel()));
    of_statuses.fold(IntentFlag::of_text(&line.intent_to_cancel), IntentFlag::max)
}

fn intent(order: &pb::SellerOrder, seller: &SellerId, order_lines: Vec<pb::CancelIntentLine>) -> pb::CancelIntent {
    let shipping = order.shipping_info.as_ref();
    pb::CancelIntent {
        partner_id: seller.as_str().to_owned(),
        purchase_order_id: order.purchase_order_id.clone(),
        customer_order_id: order.customer_order_id.clone(),
        order_date: order.order_date.clone(),
        estimated_delivery_date: shipping.map(|info| info.estimated_delivery_date.clone()).unwrap_or_default(),
        estimated_ship_date: shipping.map(|info| info.estimated_ship_date.clone()).unwrap_or_default(),
        order_lines,
        ship_node_type: order.ship_node.as_ref().map(|node| node.r#type.clone()).unwrap_or_default(),
    }
}

fn intent_line(line: &pb::SellerOrderLine, method: &str) -> pb::CancelIntentLine {
    let statuses = line.order_line_statuses.as_ref().map(|all| all.order_line_status.as_slice()).unwrap_or_default();
    // The entry with the flag describes the intent, as in a webhook.
    let is_flagged = |status: &&pb::LineStatus| IntentFlag::of_text(status.intent_to_cancel()) == IntentFlag::Set;
    let entry = statuses.iter().find(is_flagged).or(statuses.first());
    let quantity = line.order_line_quantity.as_ref().or(entry.and_then(|entry| entry.status_quantity.as_ref()));
    let fulfillment = line.fulfillment.as_ref();
    let own_method = fulfillment.map(|it| it.ship_method.as_str()).filter(|method| !method.is_empty());
    pb::CancelIntentLine {
        line_number: line.line_number.clone(),
        sku: line.item.as_ref().map(|item| item.sku.clone()).unwrap_or_default(),
        product_name: line.item.as_ref().map(|item| item.product_name.clone()).unwrap_or_default(),
        quantity: quantity.map(|quantity| pb::Quantity {
            unit_of_measure: quantity.unit_of_measurement.clone(),
            measurement_value: quantity.amount().trim().parse().ok().filter(|units: &f64| units.is_finite()),
        }),
        status: entry.map(|entry| entry.status().to_owned()).unwrap_or_default(),
        status_date: line.status_date.clone(),
        shipping_program_type: fulfillment.map(|it| it.shipping_program_type.clone()).unwrap_or_default(),
        shipping_method: own_method.unwrap_or(method).to_owned(),
        cancellation_reason: entry.map(|entry| entry.cancellation_reason().to_owned()).unwrap_or_default(),
        cancel_sub_reason_code_description: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(number: &str, flag: &str, of_status: &str) -> pb::SellerOrderLine {
        let units =
            |amount: &str| pb::LineQuantity { unit_of_measurement: Some("EACH".into()), amount: Some(amount.into()) };
        let status = pb::LineStatus {
            status: Some("Created".into()),
            status_quantity: Some(units("2")),
            intent_to_cancel: Some(of_status.into()),
            ..Default::default()
        };
        pb::SellerOrderLine {
            line_number: number.into(),
            item: Some(pb::LineItem { sku: "MUG".into(), product_name: "Red mug".into(), ..Default::default() }),
            order_line_quantity: Some(units("2")),
            order_line_statuses: Some(pb::LineStatuses { order_line_status: vec![status] }),
            intent_to_cancel: flag.into(),
            ..Default::default()
        }
    }

    fn order(lines: Vec<pb::SellerOrderLine>) -> pb::SellerOrder {
        let address = pb::PostalAddress { name: "Ana Roe".into(), address1: "12 Oak Ave".into(), ..Default::default() };
        pb::SellerOrder {
            purchase_order_id: "17".into(),
            customer_order_id: "57".into(),
            customer_email_id: "ana@example.org".into(),
            order_date: "1761830700000".into(),
            shipping_info: Some(pb::ShippingInfo {
                phone: "5551230000".into(),
                method_code: "Value".into(),
                estimated_ship_date: "1761990000000".into(),
                postal_address: Some(address),
                ..Default::default()
            }),
            order_lines: Some(pb::SellerOrderLines { order_line: lines }),
            ship_node: Some(pb::ShipNode { r#type: "SellerFulfilled".into(), ..Default::default() }),
            ..Default::default()
        }
    }

    fn seller() -> SellerId {
        SellerId::new("10")
    }

    fn found(lines: Vec<pb::SellerOrderLine>) -> FoundIntent {
        let intent = OrderFlags::of(&order(lines), &seller()).intent.unwrap();
        FoundIntent {
            account: AccountId::new("acme").unwrap(),
            seller: seller(),
            found: Timestamp(1_760_000_000_123),
            intent,
        }
    }

    #[test]
    fn lines_are_flagged_by_themselves_or_by_a_status() {
        let lines =
            vec![line("1", "TRUE", ""), line("2", "false", "yes"), line("3", "", "no"), line("4", "perhaps", "")];
        let OrderFlags { intent, unreadable } = OrderFlags::of(&order(lines), &seller());
        let intent = intent.unwrap();
        assert_eq!(Vec::from_iter(intent.order_lines.iter().map(|line| line.line_number.as_str())), ["1", "2"]);
        assert_eq!(unreadable, 1);
        let told = [&intent.partner_id, &intent.purchase_order_id, &intent.customer_order_id, &intent.ship_node_type];
        assert_eq!(told, ["10", "17", "57", "SellerFulfilled"]);
        let line = &intent.order_lines[0];
        assert_eq!(
            [&line.sku, &line.product_name, &line.status, &line.shipping_method],
            ["MUG", "Red mug", "Created", "Value"]
        );
        assert_eq!(line.quantity.as_ref().unwrap().measurement_value, Some(2.0));
    }

    #[test]
    fn without_a_flag_or_a_number_there_is_no_intent() {
        assert_eq!(OrderFlags::of(&order(vec![line("1", "", "")]), &seller()), OrderFlags::default());
        assert_eq!(OrderFlags::of(&order(vec![line(" ", "TRUE", "")]), &seller()).intent, None);
        let nobodys = pb::SellerOrder { purchase_order_id: String::new(), ..order(vec![line("1", "TRUE", "")]) };
        assert_eq!(OrderFlags::of(&nobodys, &seller()).intent, None);
        assert_eq!(OrderFlags::of(&pb::SellerOrder::default(), &seller()), OrderFlags::default());
    }

    #[test]
    fn the_event_is_about_the_new_lines_and_has_no_personal_data() {
        let all = vec![line("2", "TRUE", ""), line("1", "TRUE", ""), line("3", "TRUE", "")];
        let delivery = found(all).event(|line| line != "3").unwrap();
        let body = String::from_utf8(delivery.raw.to_vec()).unwrap();
        let DeliveryContent::Event { feed, event_id, message, .. } = delivery.content else { panic!() };
        assert_eq!((feed, event_id.as_str()), (FeedName::CancelIntents, "backfill:17:1,2"));
        let event = pb::Event::decode(message.clone()).unwrap();
        assert_eq!(
            (event.origin(), event.event_time, event.partner_mismatch),
            (pb::EventOrigin::Backfill, None, false)
        );
        assert_eq!((event.ordering_key.as_str(), event.event_type.as_str()), ("17", "INTENT_TO_CANCEL"));
        assert_eq!(event.received_at.unwrap().nanos, 123_000_000);
        assert_eq!(event.body_sha256, hex::lower(&delivery.body_hash));
        assert_eq!(lines_of_intent(&message), ("17".into(), vec!["2".into(), "1".into()]));
        // The key of a webhook about these lines.
        let webhook = |lines: &[&str]| pb::CancelIntent {
            purchase_order_id: "17".into(),
            order_lines: lines
                .iter()
                .map(|number| pb::CancelIntentLine { line_number: (*number).into(), ..Default::default() })
                .collect(),
            ..Default::default()
        };
        assert_eq!(event.intent_key, intent_key(&seller(), &webhook(&["1", "2"])));
        for personal in ["Ana", "Oak", "example.org", "555123"] {
            assert!(!body.contains(personal) && !String::from_utf8_lossy(&message).contains(personal), "{personal}");
        }
    }

    #[test]
    fn an_order_without_a_new_line_has_no_event() {
        assert_eq!(found(vec![line("1", "TRUE", "")]).event(|_| false), None);
    }

    #[test]
    fn what_is_no_intent_has_no_lines() {
        assert_eq!(lines_of_intent(b"\xff"), Default::default());
        assert_eq!(lines_of_intent(&pb::Event::default().encode_to_vec()), Default::default());
    }
}
