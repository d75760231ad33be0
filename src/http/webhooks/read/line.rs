//! Reads an order line, in the names of the event INTENT_TO_CANCEL and in those of the Orders API.

use serde_json::{Map, Value};

use super::kind;
use super::values::{first_object, name, number, objects, text};
use crate::domain::feed::IntentFlag;
use crate::pb;

type Object = Map<String, Value>;

/// Reads the flag in an object's own fields.
pub(super) fn flag_on(object: &Object) -> IntentFlag {
    let flags = object.iter().filter(|(key, _)| kind::is_spelled("intentToCancel", key));
    flags.map(|(_, value)| flag_of(value)).max().unwrap_or(IntentFlag::Unset)
}

fn flag_of(value: &Value) -> IntentFlag {
    match (text(value), value) {
        (Some(said), _) => IntentFlag::of_text(&said),
        (None, Value::Array(_) | Value::Object(_)) => IntentFlag::Unreadable,
        (None, _) => IntentFlag::Unset,
    }
}

/// Whether a field of an object names an intent.
fn is_named(object: &Object, field: &str) -> bool {
    object.get(field).and_then(name).is_some_and(|said| kind::is_intent(&said))
}

/// Reads the flag of a line: of the line itself, of a status entry, or from a status.
pub(super) fn flag(line: &Object) -> IntentFlag {
    let mut flag = flag_on(line);
    let mut named = is_named(line, "subEventType") || is_named(line, "status");
    statuses(line, &mut |entry| {
        flag = flag.max(flag_on(entry));
        named |= is_named(entry, "status");
    });
    if named { IntentFlag::Set } else { flag }
}

/// Calls `each` with the status entries: `orderLineStatuses.orderLineStatus[]`, or `orderLineStatuses[]`.
fn statuses<'a>(line: &'a Object, each: &mut impl FnMut(&'a Object)) {
    objects(line.get("orderLineStatuses"), &mut |wrapper| match wrapper.get("orderLineStatus") {
        Some(inner) => objects(Some(inner), each),
        None => each(wrapper),
    });
}

/// Converts the line to a message.
pub(super) fn read(line: &Object, shipping_method: Option<&str>) -> pb::CancelIntentLine {
    let mut entry: Option<&Object> = None;
    // Prefer the entry with the flag, which describes the intent.
    statuses(line, &mut |one| {
        if entry.is_none_or(|known| flag_on(known) < flag_on(one)) {
            entry = Some(one);
        }
    });
    let item = first_object(line.get("item")).or_else(|| first_object(line.get("itemDetail")));
    let fulfillment = first_object(line.get("fulfillment"));
    let own = |field: &str| line.get(field).and_then(text);
    let of = |object: Option<&Object>, field: &str| object?.get(field).and_then(text);
    let quantities =
        [line.get("quantity"), line.get("orderLineQuantity"), entry.and_then(|entry| entry.get("statusQuantity"))];
    let reason = |field: &str| own(field).or_else(|| of(entry, field)).unwrap_or_default();
    let item_text = |field: &str| own(field).or_else(|| of(item, field)).unwrap_or_default();
    let method = own("shippingMethod").or_else(|| of(fulfillment, "shipMethod"));
    pb::CancelIntentLine {
        line_number: own("lineNumber").unwrap_or_default(),
        sku: item_text("sku"),
        product_name: item_text("productName"),
        quantity: quantities.into_iter().flatten().find_map(quantity),
        status: reason("status"),
        status_date: own("statusDate").unwrap_or_default(),
        shipping_program_type: own("shippingProgramType")
            .or_else(|| of(fulfillment, "shippingProgramType"))
            .unwrap_or_default(),
        shipping_method: method.or_else(|| shipping_method.map(str::to_owned)).unwrap_or_default(),
        cancellation_reason: reason("cancellationReason"),
        cancel_sub_reason_code_description: reason("cancelSubReasonCodeDescription"),
    }
}

/// Reads a quantity: an object in the names of either API, or a bare number.
fn quantity(value: &Value) -> Option<pb::Quantity> {
    match value {
        Value::Object(object) => {
            let of = |names: [&str; 2]| names.into_iter().filter_map(|name| object.get(name)).find(|it| !it.is_null());
            Some(pb::Quantity {
                unit_of_measure: of(["unitOfMeasure", "unitOfMeasurement"]).and_then(text),
                measurement_value: of(["measurementValue", "amount"]).and_then(number),
            })
        }
        Value::Array(many) => many.iter().find_map(quantity),
        bare => Some(pb::Quantity { unit_of_measure: None, measurement_value: Some(number(bare)?) }),
    }
}
