//! Reads the body of a webhook delivery. A field whose value has another form than expected counts as absent. A delivery is
//! [`Unreadable`] only if its body is not a JSON object, or does not say which event it is.
//!
//! The signature of a gzip body is checked over the bytes that were sent. The body is read and kept unpacked; a body that
//! cannot be unpacked is kept as it was sent.
//!
//! Walmart has two envelopes for an intent. The event INTENT_TO_CANCEL has it in `payload`. ORDER_UPDATES has it in
//! `payload.order`, and says that it is one in `payload.subEventType` or `payload.meta.subEventType`.

use serde::Deserialize as _;
use serde_json::{Map, Value};

use super::MAX_BODY;
use super::auth::Verified;
use super::unpack::unpack;
use crate::domain::feed::Notification;
use crate::domain::timestamp::Timestamp;
use crate::pb;
use crate::service::feed::Unreadable;

/// Names of an intent. The others were seen in descriptions by third parties only.
const INTENTS: [&str; 3] = ["INTENT_TO_CANCEL", "PO_INTENT_TO_CANCEL", "ORDER_INTENT_TO_CANCEL"];
/// The event that holds others.
const ORDER_UPDATES: &str = "ORDER_UPDATES";
/// Bytes of an id or a name of Walmart's; a longer one is none.
const LONGEST_NAME: usize = 256;
/// Numbers of seconds are smaller, of milliseconds since 1973 larger.
const SECONDS_BELOW: f64 = 1e11;

/// Reads a delivery, and gives the body back that is to be kept.
pub fn read(delivery: Verified) -> (bytes::Bytes, Result<Notification, Unreadable>) {
    let sent = delivery.into_bytes();
    match unpack(sent.clone(), MAX_BODY) {
        Ok(body) => {
            let notification = notification(&body);
            (body, notification)
        }
        Err(unreadable) => (sent, Err(unreadable)),
    }
}

fn notification(body: &[u8]) -> Result<Notification, Unreadable> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    // serde_json refuses deep nesting, so no body overflows the stack. Its errors name the place and the expected form, and
    // repeat nothing of the body.
    let value: Value = serde_json::from_slice(body).map_err(|error| Unreadable::new(format!("not JSON: {error}")))?;
    let Value::Object(mut event) = value else { return Err(Unreadable::new("not a JSON object")) };
    let source = match event.remove("source") {
        Some(Value::Object(source)) => source,
        _ => Map::new(),
    };
    let either = |name: &str| source.get(name).filter(|value| !value.is_null()).or_else(|| event.get(name));
    let name_of = |field: &str| either(field).and_then(name).unwrap_or_default();
    let mut notification = Notification {
        event_id: name_of("eventId"),
        event_type: name_of("eventType"),
        sub_event_type: String::new(),
        event_version: name_of("eventVersion"),
        event_time: either("eventTime").and_then(time),
        intent: None,
    };
    if notification.event_type.is_empty() {
        return Err(Unreadable::new("no event type"));
    }
    let payload = event.remove("payload");
    if is_one_of(&INTENTS, &notification.event_type) {
        let Some(Value::Object(payload)) = payload else {
            return Err(Unreadable::new("the payload of the intent is no object"));
        };
        notification.intent = Some(intent(payload)?);
    } else if is_one_of(&[ORDER_UPDATES], &notification.event_type) {
        let Some(Value::Object(payload)) = payload else {
            return Err(Unreadable::new("the payload of the order update is no object"));
        };
        notification.sub_event_type = sub_event_type(&payload);
        if is_one_of(&INTENTS, &notification.sub_event_type) {
            notification.intent = Some(intent(order(payload)?)?);
        }
    }
    Ok(notification)
}

fn is_one_of(names: &[&str], name: &str) -> bool {
    names.iter().any(|known| known.eq_ignore_ascii_case(name))
}

fn sub_event_type(payload: &Map<String, Value>) -> String {
    let there = payload.get("subEventType").and_then(name);
    there.or_else(|| payload.get("meta")?.get("subEventType").and_then(name)).unwrap_or_default()
}

/// The order of an update. Where none stands the payload itself may be it.
fn order(mut payload: Map<String, Value>) -> Result<Map<String, Value>, Unreadable> {
    match payload.remove("order") {
        Some(Value::Object(mut order)) => {
            if order.get("partnerId").is_none_or(Value::is_null)
                && let Some(partner) = payload.remove("partnerId")
            {
                order.insert("partnerId".into(), partner);
            }
            Ok(order)
        }
        None | Some(Value::Null) if payload.contains_key("purchaseOrderId") => Ok(payload),
        _ => Err(Unreadable::new("the order of the intent is no object")),
    }
}

/// Reads an intent in which orders may be written as in Walmart's orders API.
fn intent(mut payload: Map<String, Value>) -> Result<pb::CancelIntent, Unreadable> {
    if let Some(Value::Object(wrapper)) = payload.get_mut("orderLines")
        && let Some(lines) = wrapper.remove("orderLine")
    {
        payload.insert("orderLines".into(), lines);
    }
    match payload.get_mut("orderLines") {
        Some(Value::Array(lines)) => lines.iter_mut().filter_map(Value::as_object_mut).for_each(line),
        Some(Value::Object(one)) => line(one),
        _ => {}
    }
    // Its readers take any value; should one not, the delivery is kept all the same.
    let read = pb::CancelIntent::deserialize(Value::Object(payload));
    let mut intent = read.map_err(|_| Unreadable::new("the intent cannot be read"))?;
    // A line that says nothing is none: in a body there is room for a hundred thousand of them.
    intent.order_lines.retain(|line| *line != pb::CancelIntentLine::default());
    Ok(intent)
}

fn line(line: &mut Map<String, Value>) {
    if line.get("quantity").is_none_or(Value::is_null)
        && let Some(quantity) = line.remove("orderLineQuantity")
    {
        line.insert("quantity".into(), quantity);
    }
    let Some(Value::Object(quantity)) = line.get_mut("quantity") else { return };
    for (here, elsewhere) in [("unitOfMeasure", "unitOfMeasurement"), ("measurementValue", "amount")] {
        if !quantity.contains_key(here)
            && let Some(value) = quantity.remove(elsewhere)
        {
            quantity.insert(here.into(), value);
        }
    }
}

/// An id or a name: visible text, or a whole number.
fn name(value: &Value) -> Option<String> {
    let name = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) if !number.is_f64() => number.to_string(),
        _ => return None,
    };
    let fits = !name.is_empty() && name.len() <= LONGEST_NAME && !name.contains(char::is_control);
    fits.then_some(name)
}

/// A moment since 1970: ISO text, in UTC where it does not say otherwise, or seconds or milliseconds.
fn time(value: &Value) -> Option<Timestamp> {
    match value {
        Value::Number(number) => from_epoch(number.as_f64()?),
        Value::String(text) => {
            let text = text.trim();
            let moment = text.parse::<jiff::Timestamp>().ok();
            let local = || text.parse::<jiff::civil::DateTime>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok();
            let moment = moment.or_else(|| Some(local()?.timestamp()));
            match moment {
                Some(moment) => u64::try_from(moment.as_millisecond()).ok().map(Timestamp),
                None => from_epoch(text.parse().ok()?),
            }
        }
        _ => None,
    }
}

fn from_epoch(number: f64) -> Option<Timestamp> {
    // Later than the year 9999 is no time that anybody meant.
    const LAST: f64 = 253_402_300_799_999.0;
    let millis = if number < SECONDS_BELOW { number * 1000.0 } else { number };
    (0.0..=LAST).contains(&millis).then_some(Timestamp(millis as u64))
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "read_any_tests.rs"]
mod any_tests;
