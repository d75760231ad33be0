//! Reads events other than intents into their typed forms.
//!
//! Walmart has published only the forms of ORDER_STATUS_UPDATE and, in part, of ORDER_UPDATES. The rest is read by the
//! names that Walmart uses for the same data elsewhere; fields that are not understood remain in the stored body.

use serde::Deserialize as _;
use serde_json::{Map, Value};

use super::kind::{self, ORDER_STATUS_UPDATE};
use super::order::{self, EventOrder};
use super::values::{first_object, objects, text};
use crate::domain::feed::notification::UpdateContent;
use crate::pb;
use crate::pb::order_update::Update;

type Object = Map<String, Value>;

const ORDER_SHIPMENT_UPDATE: &str = "ORDER_SHIPMENT_UPDATE";
const RETURN_STATUS_UPDATE: &str = "MCS_RETURN_ORDER_STATUS_UPDATE";
/// Depth of objects searched for the fields of a return.
const DEEPEST: usize = 2;

/// The kind of an event without a sub-event type: the event name for a return, else empty.
pub(super) fn kind_of(event_type: &str, payload: &Object) -> String {
    if kind::is_spelled(RETURN_STATUS_UPDATE, event_type) { event_name(payload) } else { String::new() }
}

/// Reads the content of an event. `partner` is the seller named beside the payload.
pub(super) fn content(event_type: &str, payload: &Object, order: &EventOrder<'_>, partner: &str) -> UpdateContent {
    let is = |known| kind::is_spelled(known, event_type);
    let content = if is(ORDER_STATUS_UPDATE) {
        order_status(payload).map(Update::OrderStatus)
    } else if is(ORDER_SHIPMENT_UPDATE) {
        shipment(payload).map(Update::Shipment)
    } else if is(RETURN_STATUS_UPDATE) {
        return_status(payload).map(Update::ReturnStatus)
    } else if kind::is_order_updates(event_type) || kind::is_known(event_type) {
        seller_order(payload, order, partner).map(Update::SellerOrder)
    } else {
        None
    };
    let own = |field: &str| of(payload, &[field]);
    let wrapped = || first_object(payload.get("order"));
    let within = |field: &str| own(field).or_else(|| of(wrapped()?, &[field]));
    let partner_id = within("partnerId").unwrap_or_else(|| partner.to_owned());
    let ordering_key = match &content {
        Some(Update::ReturnStatus(it)) => {
            [&it.seller_order_id, &it.return_order_id].into_iter().find(|id| !id.is_empty()).cloned()
        }
        _ => ["originSystemOrderId", "purchaseOrderId", "returnOrderId"].into_iter().find_map(within),
    };
    UpdateContent { content, ordering_key: ordering_key.unwrap_or_default(), partner_id }
}

/// The first of these fields with a text or a number.
fn of(object: &Object, fields: &[&str]) -> Option<String> {
    fields.iter().find_map(|field| object.get(*field).and_then(text))
}

/// The same, or an empty text.
fn text_of(object: &Object, fields: &[&str]) -> String {
    of(object, fields).unwrap_or_default()
}

fn order_status(payload: &Object) -> Option<pb::McsOrderStatus> {
    if !kind::is_status_update(payload) {
        return None;
    }
    // The deserializers of its fields accept any value.
    let mut status = pb::McsOrderStatus::deserialize(Value::Object(payload.clone())).ok()?;
    status.shipment_details = shipments(payload);
    // Skip empty items: a body has room for a hundred thousand of them.
    for line in &mut status.line_item_status {
        line.item_status.iter_mut().for_each(|item| item.errors.retain(|error| *error != pb::WalmartError::default()));
        line.item_status.retain(|item| *item != pb::McsItemStatus::default());
    }
    status.line_item_status.retain(|line| *line != pb::McsLineStatus::default());
    Some(status)
}

fn shipment(payload: &Object) -> Option<pb::McsShipment> {
    let origin_system_order_id = of(payload, &["originSystemOrderId"])?;
    let mut shipment_details = shipments(payload);
    if shipment_details.is_empty() {
        // The payload itself is the shipment.
        shipment_details.extend(shipment_detail(payload));
    }
    Some(pb::McsShipment {
        partner_id: text_of(payload, &["partnerId"]),
        origin_system_order_id,
        order_channel_id: text_of(payload, &["orderChannelId"]),
        shipment_details,
    })
}

fn shipments(payload: &Object) -> Vec<pb::McsShipmentDetail> {
    let mut all = Vec::new();
    for list in ["shipmentDetails", "shipments"] {
        objects(payload.get(list), &mut |one| all.extend(shipment_detail(one)));
    }
    all
}

/// Reads a shipment; `None` when no known field is present.
fn shipment_detail(object: &Object) -> Option<pb::McsShipmentDetail> {
    let tracking = first_object(object.get("trackingInfo"));
    let either = |fields: &[&str]| of(object, fields).or_else(|| of(tracking?, fields)).unwrap_or_default();
    let detail = pb::McsShipmentDetail {
        actual_shipment_date: text_of(object, &["actualShipmentDate"]),
        shipment_method: text_of(object, &["shipmentMethod"]),
        shipment_no: text_of(object, &["shipmentNo", "shipmentNumber", "shipmentId"]),
        status: text_of(object, &["shipmentStatus", "status"]),
        tracking_no: either(&["trackingNo", "trackingNumber", "trackNumber"]),
        tracking_url: either(&["trackingUrl", "trackingURL", "externalTrackingURL"]),
        carrier: either(&["carrier", "carrierName", "carrierDescription", "scac"]),
    };
    (detail != pb::McsShipmentDetail::default()).then_some(detail)
}

fn event_name(payload: &Object) -> String {
    first_object(payload.get("header")).map(|header| text_of(header, &["eventName"])).unwrap_or_default()
}

fn return_status(payload: &Object) -> Option<pb::McsReturnStatus> {
    let event_name = event_name(payload);
    let place = place_of_return(payload, 0);
    if event_name.is_empty() && place.is_none() {
        return None;
    }
    let nothing = Object::new();
    let place = place.unwrap_or(&nothing);
    let mut return_order_lines = Vec::new();
    for list in ["returnOrderLines", "returnLines", "orderItems"] {
        objects(place.get(list), &mut |one| return_order_lines.extend(return_line(one)));
    }
    Some(pb::McsReturnStatus {
        partner_id: of(place, &["partnerId"]).unwrap_or_else(|| text_of(payload, &["partnerId"])),
        event_name,
        return_order_id: text_of(place, &["returnOrderId"]),
        seller_return_order_id: text_of(place, &["sellerReturnOrderId"]),
        seller_order_id: text_of(place, &["sellerOrderId", "originSystemOrderId"]),
        status: text_of(place, &["status", "returnStatus"]),
        return_order_lines,
    })
}

/// Finds the object with the fields of the return: the payload, or one within it.
fn place_of_return(object: &Object, depth: usize) -> Option<&Object> {
    if of(object, &["returnOrderId", "sellerReturnOrderId"]).is_some() {
        return Some(object);
    }
    let mut inner = object.values().filter_map(|value| first_object(Some(value)));
    if depth == DEEPEST { None } else { inner.find_map(|inner| place_of_return(inner, depth + 1)) }
}

/// Reads a line of a return; `None` when no known field is present.
fn return_line(object: &Object) -> Option<pb::McsReturnLine> {
    let mut line = pb::McsReturnLine::deserialize(Value::Object(object.clone())).ok()?;
    if line.disposition.is_empty() {
        line.disposition = text_of(object, &["itemDisposition", "dispositionType"]);
    }
    if line.status.is_empty() {
        line.status = text_of(object, &["lineStatus", "returnStatus"]);
    }
    (line != pb::McsReturnLine::default()).then_some(line)
}

fn seller_order(payload: &Object, order: &EventOrder<'_>, partner: &str) -> Option<pb::SellerOrderUpdate> {
    if !order::is_in(payload) {
        return None;
    }
    let read = order.intent(partner);
    let line = |line: pb::CancelIntentLine| pb::SellerOrderUpdateLine {
        line_number: line.line_number,
        sku: line.sku,
        product_name: line.product_name,
        quantity: line.quantity,
        status: line.status,
        status_date: line.status_date,
        shipping_program_type: line.shipping_program_type,
        shipping_method: line.shipping_method,
        cancellation_reason: line.cancellation_reason,
    };
    Some(pb::SellerOrderUpdate {
        partner_id: read.partner_id,
        purchase_order_id: read.purchase_order_id,
        customer_order_id: read.customer_order_id,
        order_date: read.order_date,
        estimated_delivery_date: read.estimated_delivery_date,
        estimated_ship_date: read.estimated_ship_date,
        order_lines: read.order_lines.into_iter().map(line).collect(),
        ship_node_type: read.ship_node_type,
    })
}

#[cfg(test)]
#[path = "update_tests.rs"]
mod tests;
