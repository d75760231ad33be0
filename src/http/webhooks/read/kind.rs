//! Names of events and of sub-events, and their places in a delivery.

use serde_json::{Map, Value};

use super::values::name;

/// The event that wraps sub-events.
pub(super) const ORDER_UPDATES: &str = "ORDER_UPDATES";
/// The event about a multichannel order. Walmart's printed sample has no `source`.
pub(super) const ORDER_STATUS_UPDATE: &str = "ORDER_STATUS_UPDATE";

/// Names of an intent. All but the first come from descriptions by third parties.
const INTENTS: [&str; 3] = ["INTENT_TO_CANCEL", "PO_INTENT_TO_CANCEL", "ORDER_INTENT_TO_CANCEL"];
/// Sub-events of ORDER_UPDATES announced by Walmart, besides the intent.
const SUB_EVENTS: [&str; 3] = ["PO_CREATED", "PO_LINE_AUTOCANCELLED", FRAUD_CANCEL];
/// Walmart cancelled the order for fraud: the order must not be shipped.
pub(super) const FRAUD_CANCEL: &str = "FRAUD_CANCEL";
/// Depth of objects searched for a sub-event type.
const DEEPEST: usize = 4;

/// Whether this names an intent to cancel.
pub(super) fn is_intent(name: &str) -> bool {
    INTENTS.iter().any(|known| is_spelled(known, name))
}

/// Whether this names the event that wraps sub-events.
pub(super) fn is_order_updates(name: &str) -> bool {
    is_spelled(ORDER_UPDATES, name)
}

/// Whether this names a known sub-event other than an intent.
pub(super) fn is_known(name: &str) -> bool {
    SUB_EVENTS.iter().any(|known| is_spelled(known, name))
}

/// Compares names by letters and digits, in any case and with any separators: "Intent To Cancel" is INTENT_TO_CANCEL.
pub(super) fn is_spelled(known: &str, name: &str) -> bool {
    fn letters(name: &str) -> impl Iterator<Item = char> + '_ {
        name.chars().filter(|c| c.is_alphanumeric()).map(|c| c.to_ascii_uppercase())
    }
    letters(known).eq(letters(name))
}

/// Finds the sub-event type, anywhere in these objects except in order lines. Returns the first that names an intent,
/// else the first; empty when there is none.
pub(super) fn sub_event_type(places: [&Map<String, Value>; 3]) -> String {
    let mut found = Vec::new();
    places.iter().for_each(|place| look_in(place, 0, &mut found));
    let intent = found.iter().position(|name| is_intent(name)).unwrap_or(0);
    if found.is_empty() { String::new() } else { found.swap_remove(intent) }
}

fn look_in(object: &Map<String, Value>, depth: usize, found: &mut Vec<String>) {
    let is_key = |key: &str| is_spelled("subEventType", key);
    for (_, value) in object.iter().filter(|(key, _)| is_key(key)) {
        match value {
            Value::Array(many) => found.extend(many.iter().filter_map(name)),
            one => found.extend(name(one)),
        }
    }
    if depth == DEEPEST {
        return;
    }
    // Lines have flags of their own: `super::line`.
    for (_, value) in object.iter().filter(|(key, _)| *key != "orderLines" && *key != "orderLine") {
        match value {
            Value::Object(inner) => look_in(inner, depth + 1, found),
            Value::Array(many) => {
                many.iter().filter_map(Value::as_object).for_each(|inner| look_in(inner, depth + 1, found));
            }
            _ => {}
        }
    }
}

/// Whether the payload has the form of an ORDER_STATUS_UPDATE.
pub(super) fn is_status_update(payload: &Map<String, Value>) -> bool {
    let has = |field: &str| payload.get(field).is_some_and(|value| !value.is_null());
    has("originSystemOrderId") && (has("lineItemStatus") || has("shipmentDetails"))
}
