//! Which event a delivery is: names of events and of sub-events, and where they stand.

use serde_json::{Map, Value};

use super::values::name;

/// The event that holds others.
pub(super) const ORDER_UPDATES: &str = "ORDER_UPDATES";
/// The event about a multichannel order. Walmart's printed sample of it has no `source`.
pub(super) const ORDER_STATUS_UPDATE: &str = "ORDER_STATUS_UPDATE";

/// Names of an intent. All but the first were seen in descriptions by third parties only.
const INTENTS: [&str; 3] = ["INTENT_TO_CANCEL", "PO_INTENT_TO_CANCEL", "ORDER_INTENT_TO_CANCEL"];
/// The other sub-events of ORDER_UPDATES that Walmart has announced.
const SUB_EVENTS: [&str; 3] = ["PO_CREATED", "PO_LINE_AUTOCANCELLED", FRAUD_CANCEL];
/// Walmart cancelled the order for fraud: it must not be shipped.
pub(super) const FRAUD_CANCEL: &str = "FRAUD_CANCEL";
/// Objects within objects in which a sub-event type is looked for.
const DEEPEST: usize = 4;

/// Whether this names an intent to cancel.
pub(super) fn is_intent(name: &str) -> bool {
    INTENTS.iter().any(|known| is_spelled(known, name))
}

/// Whether this names the event that holds others.
pub(super) fn is_order_updates(name: &str) -> bool {
    is_spelled(ORDER_UPDATES, name)
}

/// Whether this names a sub-event that is known and no intent.
pub(super) fn is_known(name: &str) -> bool {
    SUB_EVENTS.iter().any(|known| is_spelled(known, name))
}

/// Whether two names have the same letters and digits, in any case and whatever stands between them: "Intent To Cancel" is
/// INTENT_TO_CANCEL.
pub(super) fn is_spelled(known: &str, name: &str) -> bool {
    fn letters(name: &str) -> impl Iterator<Item = char> + '_ {
        name.chars().filter(|c| c.is_alphanumeric()).map(|c| c.to_ascii_uppercase())
    }
    letters(known).eq(letters(name))
}

/// The sub-event type, wherever it stands in these objects but in lines of orders. One that names an intent counts before the
/// others, and of these the first one; empty when there is none.
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

/// Whether this is the payload of an ORDER_STATUS_UPDATE, by its form.
pub(super) fn is_status_update(payload: &Map<String, Value>) -> bool {
    let has = |field: &str| payload.get(field).is_some_and(|value| !value.is_null());
    has("originSystemOrderId") && (has("lineItemStatus") || has("shipmentDetails"))
}
