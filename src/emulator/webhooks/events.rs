//! The events that subscriptions receive, in Walmart's forms.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::ORDER_UPDATES;
use super::book::PARTNER;
use crate::domain::operation::Operation;
use crate::emulator::calls::CallEffect;
use crate::emulator::intent_event::{IntentEnvelope, IntentFacts, WantedLine, event as intent};
use crate::emulator::seller::SellerOrder;
use crate::emulator::world::{Order, World};

/// Something that happened, without id and time.
#[derive(Clone, Debug)]
pub(crate) struct EmulatedEvent {
    /// Name of the event.
    pub(crate) event_type: &'static str,
    /// Account of the event; `None` for all.
    pub(crate) account: Option<String>,
    pub(crate) payload: Value,
}

impl EmulatedEvent {
    /// The event as it is posted.
    pub(crate) fn body(&self, id: &str, now: Timestamp) -> Value {
        let time = now.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
        json!({"source": {"eventType": self.event_type, "eventFilters": null, "eventTime": time, "eventId": id},
            "payload": self.payload})
    }
}

/// A new order that the seller fulfills: an event of its own, and a sub-event.
pub(crate) fn new_order(order: &SellerOrder) -> Vec<EmulatedEvent> {
    let lines: Vec<Value> = order
        .lines
        .iter()
        .map(|line| {
            json!({"lineNumber": line.number, "sku": line.sku, "productName": line.name,
                "quantity": {"unitOfMeasure": "EACH", "measurementValue": line.ordered.to_string()}, "status": "Created"})
        })
        .collect();
    let date = order.created.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string();
    let payload = json!({"partnerId": PARTNER, "purchaseOrderId": order.purchase_order,
        "customerOrderId": order.customer_order, "orderDate": date, "orderLines": lines,
        "shipNodeType": order.ship_node_type});
    let wrapped = json!({"meta": {"subEventType": "PO_CREATED"}, "order": payload});
    let event = |event_type, payload| EmulatedEvent { event_type, account: None, payload };
    vec![event("PO_CREATED", payload), event(ORDER_UPDATES, wrapped)]
}

/// A return that a customer opened.
pub(crate) fn return_opened(return_id: &str, customer_order: &str, purchase_order: &str) -> EmulatedEvent {
    let payload = json!({"partnerId": PARTNER, "returnOrderId": return_id, "customerOrderId": customer_order,
        "returnOrderLines": [{"returnOrderLineNumber": 1, "purchaseOrderId": purchase_order, "purchaseOrderLineNumber": 1,
            "status": "RETURN_INITIATED"}]});
    EmulatedEvent { event_type: "RETURN_CREATED", account: None, payload }
}

/// Units of a Multichannel order that were shipped: the state of the order, and the parcels.
pub(crate) fn shipped(order: &Order) -> Vec<EmulatedEvent> {
    let parcels: Vec<Value> = order
        .lines
        .iter()
        .flat_map(|line| line.parcels.iter().map(move |parcel| (line, parcel)))
        .map(|(line, parcel)| {
            json!({"actualShipmentDate": parcel.shipped.to_string(), "shipmentMethod": line.method,
                "shipmentNo": parcel.shipment, "shipmentStatus": "SHIPPED", "trackingNo": parcel.tracking,
                "carrierName": parcel.carrier})
        })
        .collect();
    let payload = json!({"partnerId": PARTNER, "originSystemOrderId": order.number, "orderChannelId": order.channel,
        "shipmentDetails": parcels});
    let shipment = EmulatedEvent { event_type: "ORDER_SHIPMENT_UPDATE", account: order.account.clone(), payload };
    vec![status(order), shipment]
}

/// The state of a Multichannel order.
fn status(order: &Order) -> EmulatedEvent {
    let lines: Vec<Value> = order
        .lines
        .iter()
        .map(|line| {
            let states = [("ACKNOWLEDGED", line.open()), ("SHIPPED", line.shipped()), ("CANCELLED", line.cancelled())];
            let shown = states.iter().filter(|(_, units)| *units > 0).map(|(state, units)| {
                json!({"qty": units, "status": state, "statusDetail": state, "reasonCode": null, "reasonDetail": null,
                    "errors": []})
            });
            json!({"sellerLineId": line.id, "itemDetail": {"sku": line.sku}, "itemStatus": shown.collect::<Vec<_>>()})
        })
        .collect();
    let parcels = order.lines.iter().flat_map(|line| line.parcels.iter().map(move |parcel| (line, parcel)));
    let parcels: Vec<Value> = parcels
        .map(|(line, parcel)| {
            json!({"actualShipmentDate": parcel.shipped.to_string(), "shipmentMethod": line.method,
                "shipmentNo": parcel.shipment})
        })
        .collect();
    let payload = json!({"partnerId": PARTNER, "originSystemOrderId": order.number, "orderChannelId": order.channel,
        "lineItemStatus": lines, "shipmentDetails": parcels});
    EmulatedEvent { event_type: "ORDER_STATUS_UPDATE", account: order.account.clone(), payload }
}

/// The event of an executed call about a Multichannel order or its return, if there is one.
pub(crate) fn of_call(
    operation: Operation,
    effect: CallEffect,
    account: &str,
    number: &str,
    answer: Option<&Value>,
    world: &World,
) -> Option<EmulatedEvent> {
    match (operation, effect) {
        (
            Operation::Create | Operation::Cancel,
            CallEffect::Created | CallEffect::CreatedAgain | CallEffect::Cancelled,
        ) => world.numbered(number).filter(|order| order.visible_to(account)).last().map(status),
        (
            Operation::McsReturnCreate | Operation::McsReturnCancel,
            CallEffect::ReturnOpened | CallEffect::ReturnCancelled,
        ) => {
            let name = if effect == CallEffect::ReturnOpened {
                "MCS_RETURN_ORDER_CREATED"
            } else {
                "MCS_RETURN_ORDER_CANCELLED"
            };
            let order = &answer?["payload"];
            let payload = json!({"partnerId": PARTNER, "header": {"eventName": name},
                "returnOrderId": order["returnOrderId"], "sellerReturnOrderId": order["sellerReturnOrderId"],
                "sellerOrderId": order["sellerOrderId"], "status": order["status"],
                "returnOrderLines": order["returnOrderLines"]});
            let (event_type, account) = ("MCS_RETURN_ORDER_STATUS_UPDATE", Some(account.to_owned()));
            Some(EmulatedEvent { event_type, account, payload })
        }
        _ => None,
    }
}

/// Walmart's sample of an event: of a seller and a purchase order that are nobody's.
pub(super) fn sample(event_type: &str, id: &str, now: Timestamp) -> Value {
    let facts = IntentFacts {
        event_id: id.to_owned(),
        time: now,
        ordered: now,
        partner_id: "10000099999".to_owned(),
        purchase_order: "1999999999999".to_owned(),
        customer_order: "5999999999999".to_owned(),
        ship_node_type: "SellerFulfilled".to_owned(),
        lines: vec![WantedLine {
            number: "1".to_owned(),
            sku: "SAMPLE-SKU".to_owned(),
            name: "Sample".to_owned(),
            units: 1,
        }],
    };
    match event_type {
        "INTENT_TO_CANCEL" => intent(IntentEnvelope::Intent, &facts),
        ORDER_UPDATES => intent(IntentEnvelope::OrderUpdates, &facts),
        _ => {
            let mut body = intent(IntentEnvelope::Intent, &facts);
            body["source"]["eventType"] = json!(event_type);
            body
        }
    }
}
