//! Reads the body of a webhook delivery. A field of an unexpected form counts as absent. The reader returns
//! [`UnreadableBody`] for a body that is not a JSON object, a body without an event type, and an intent without an order.
//!
//! The signature of a gzip body is checked over the bytes that were sent. The body is read and kept unpacked; a body that
//! cannot be unpacked is kept as it was sent.
//!
//! Walmart has two envelopes for an intent: the event INTENT_TO_CANCEL, and ORDER_UPDATES with a sub-event. The inner form of
//! the second one is not public, so every likely form is read:
//!
//! - the sub-event type wherever it stands ([`kind`]);
//! - an intent flag on a line, whatever the sub-event type is ([`line`]);
//! - the names of the event INTENT_TO_CANCEL and those of the Orders API, in `payload` or `payload.order` ([`order`]);
//! - other events by their type ([`update`]);
//! - one object where a list is usual, a list of one where an object is usual, and an object as JSON text ([`values`]).

mod kind;
mod line;
mod order;
mod update;
mod values;

use bytes::Bytes;
use serde_json::{Map, Value};

use self::order::EventOrder;
use self::values::{ObjectPlace, into_object, name, time, unfold};
use super::auth::VerifiedDelivery;
use super::unpack::unpack;
use crate::domain::feed::notification::UnclearReason;
use crate::domain::feed::{IntentFlag, WebhookNotification};
use crate::limits::DELIVERY_BYTES;
use crate::service::feed::UnreadableBody;

/// Whether Walmart cancelled the order for fraud: the order must not be shipped.
pub fn is_fraud_cancel(event: &WebhookNotification) -> bool {
    [&event.event_type, &event.sub_event_type].into_iter().any(|name| kind::is_spelled(kind::FRAUD_CANCEL, name))
}

/// Reads a delivery. Returns the body to keep, and the content.
pub fn read(delivery: VerifiedDelivery) -> (Bytes, Result<WebhookNotification, UnreadableBody>) {
    read_body(delivery.into_bytes())
}

/// Reads a body whose proof was checked before, such as one from quarantine. Returns the body to keep, and the content.
pub fn read_body(sent: Bytes) -> (Bytes, Result<WebhookNotification, UnreadableBody>) {
    match unpack(sent.clone(), DELIVERY_BYTES) {
        Ok(body) => {
            let notification = notification(&body);
            (body, notification)
        }
        Err(unreadable) => (sent, Err(unreadable)),
    }
}

fn notification(body: &[u8]) -> Result<WebhookNotification, UnreadableBody> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    // serde_json refuses deep nesting, and no body can overflow the stack. Its errors name the position and the
    // expected form, and repeat nothing of the body.
    let value: Value =
        serde_json::from_slice(body).map_err(|error| UnreadableBody::new(format!("not JSON: {error}")))?;
    if matches!(ObjectPlace::in_place(Some(&value)), ObjectPlace::Several) {
        return Err(UnreadableBody::new("several JSON objects in one body"));
    }
    let event = into_object(value).ok_or_else(|| UnreadableBody::new("not a JSON object"))?;
    Envelope::open(event).read()
}

/// The parts of a delivery.
struct Envelope {
    /// Empty when the body has none.
    source: Map<String, Value>,
    /// All fields but `source` and `payload`.
    top: Map<String, Value>,
    /// `None` when absent or not an object.
    payload: Option<Map<String, Value>>,
}

impl Envelope {
    fn open(mut top: Map<String, Value>) -> Self {
        let source = top.remove("source").and_then(into_object).unwrap_or_default();
        let mut payload = match top.remove("payload").map(unfold) {
            // The fields of a payload may be siblings of `source`.
            None | Some(Value::Null) => (order::is_in(&top) || kind::is_status_update(&top)).then(|| top.clone()),
            Some(payload) => into_object(payload),
        };
        if let Some(order) = payload.as_mut().and_then(|payload| payload.get_mut("order")) {
            *order = unfold(order.take());
        }
        Self { source, top, payload }
    }

    fn head(&self, field: &str) -> Option<&Value> {
        self.source.get(field).filter(|value| !value.is_null()).or_else(|| self.top.get(field))
    }

    fn read(&self) -> Result<WebhookNotification, UnreadableBody> {
        let nothing = Map::new();
        let payload = self.payload.as_ref().unwrap_or(&nothing);
        let order = EventOrder::of(payload);
        let flag = order.flag();
        let name_of = |field: &str| self.head(field).and_then(name).unwrap_or_default();
        let mut notification = WebhookNotification {
            event_id: name_of("eventId"),
            event_type: name_of("eventType"),
            sub_event_type: kind::sub_event_type([payload, &self.source, &self.top]),
            event_version: name_of("eventVersion"),
            event_time: self.head("eventTime").and_then(time),
            ..WebhookNotification::default()
        };
        let says_intent = kind::is_intent(&notification.sub_event_type) || flag == IntentFlag::Set;
        if notification.event_type.is_empty() {
            notification.event_type = inferred_type(payload, &order, &notification.sub_event_type, flag)?.to_owned();
        }
        if kind::is_intent(&notification.event_type) {
            if self.payload.is_none() {
                return Err(UnreadableBody::new("the payload of the intent is no object"));
            }
            notification.intent = Some(order.lenient()?.intent(&self.partner()));
        } else if says_intent {
            notification.intent = Some(order.strict()?.intent(&self.partner()));
        } else {
            notification.unclear = unclear(&notification, flag);
            if notification.sub_event_type.is_empty() {
                notification.sub_event_type = update::kind_of(&notification.event_type, payload);
            }
            notification.update = update::content(&notification.event_type, payload, &order, &self.partner());
        }
        Ok(notification)
    }

    /// The seller named beside the order.
    fn partner(&self) -> String {
        self.head("partnerId").and_then(values::text).unwrap_or_default()
    }
}

/// Infers the event type of a body that names none, where its form is unambiguous.
fn inferred_type(
    payload: &Map<String, Value>,
    order: &EventOrder<'_>,
    sub_event_type: &str,
    flag: IntentFlag,
) -> Result<&'static str, UnreadableBody> {
    if kind::is_status_update(payload) {
        Ok(kind::ORDER_STATUS_UPDATE)
    } else if !sub_event_type.is_empty() || flag == IntentFlag::Set || order.is_wrapped() {
        Ok(kind::ORDER_UPDATES)
    } else {
        Err(UnreadableBody::new("no event type"))
    }
}

/// The reason why an event that is not recognised as an intent may be one.
fn unclear(notification: &WebhookNotification, flag: IntentFlag) -> Option<UnclearReason> {
    let WebhookNotification { event_type, sub_event_type, .. } = notification;
    if flag == IntentFlag::Unreadable {
        return Some(UnclearReason::UnreadableFlag);
    }
    if !kind::is_order_updates(event_type) || kind::is_known(sub_event_type) {
        return None;
    }
    Some(if sub_event_type.is_empty() { UnclearReason::NoKind } else { UnclearReason::UnknownKind })
}

#[cfg(test)]
pub(super) mod tests;
