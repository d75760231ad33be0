//! The event of an intent to cancel, in both of Walmart's envelopes.

use jiff::Timestamp;
use serde_json::{Value, json};

/// The envelope of an intent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum IntentEnvelope {
    #[default]
    Intent,
    /// ORDER_UPDATES with the sub-event INTENT_TO_CANCEL.
    OrderUpdates,
}

/// The content of an intent.
#[derive(Clone, Debug)]
pub(crate) struct IntentFacts {
    /// The unique id of the event.
    pub(crate) event_id: String,
    /// The time of the event.
    pub(crate) time: Timestamp,
    /// The time of the order.
    pub(crate) ordered: Timestamp,
    /// Walmart's number of the seller.
    pub(crate) partner_id: String,
    pub(crate) purchase_order: String,
    /// The customer's order number.
    pub(crate) customer_order: String,
    /// The party that ships.
    pub(crate) ship_node_type: String,
    /// The lines to cancel.
    pub(crate) lines: Vec<WantedLine>,
}

/// A line to cancel.
#[derive(Clone, Debug)]
pub(crate) struct WantedLine {
    pub(crate) number: String,
    pub(crate) sku: String,
    pub(crate) name: String,
    pub(crate) units: u64,
}

/// Builds an event in Walmart's form. Source of the forms: seed 003, and Walmart's page on ORDER_UPDATES.
pub(crate) fn event(envelope: IntentEnvelope, facts: &IntentFacts) -> Value {
    const DAY: i64 = 24 * 60 * 60;
    let later = |seconds: i64| facts.ordered.saturating_add(jiff::SignedDuration::from_secs(seconds));
    let date = |time: Timestamp| time.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string();
    let day = |days: i64| date(later(days * DAY).unwrap_or(facts.ordered));
    let line = |line: &WantedLine| {
        json!({"lineNumber": line.number, "sku": line.sku, "productName": line.name,
            "quantity": {"unitOfMeasure": "EACH", "measurementValue": line.units.to_string()},
            "status": "PO Created", "statusDate": facts.time.strftime("%Y-%m-%dT%H:%M:%S%.3f+00:00").to_string(),
            "shippingProgramType": "TWO_DAY", "shippingMethod": "VALUE", "cancellationReason": "Customer changed mind",
            "cancelSubReasonCodeDescription": "Ordered twice"})
    };
    let lines: Vec<Value> = facts.lines.iter().map(line).collect();
    let order = json!({"partnerId": facts.partner_id, "purchaseOrderId": facts.purchase_order,
        "customerOrderId": facts.customer_order, "orderDate": day(0), "estimatedDeliveryDate": day(7),
        "estimatedShipDate": day(3), "orderLines": lines, "shipNodeType": facts.ship_node_type});
    let (event_type, payload) = match envelope {
        IntentEnvelope::Intent => ("INTENT_TO_CANCEL", order),
        IntentEnvelope::OrderUpdates => {
            ("ORDER_UPDATES", json!({"meta": {"subEventType": "INTENT_TO_CANCEL"}, "order": order}))
        }
    };
    let time = facts.time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
    json!({"source": {"eventType": event_type, "eventFilters": null, "eventTime": time, "eventId": facts.event_id},
        "payload": payload})
}
