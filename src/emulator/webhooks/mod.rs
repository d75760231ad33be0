//! Webhook subscriptions: the calls about them, and the events that ACTIVE ones receive.

mod book;
mod calls;
mod events;
#[cfg(test)]
mod tests;

pub(crate) use self::book::SubscriptionBook;
pub(crate) use self::calls::{create, delete, event_types, list, test, update};
pub(crate) use self::events::{EmulatedEvent, new_order, of_call, return_opened, shipped};

use jiff::Timestamp;
use serde_json::Value;

use super::seller::query_value;

/// The event that replaces those of [`OLD_EVENTS`].
pub(crate) const ORDER_UPDATES: &str = "ORDER_UPDATES";
/// Events of their own until [`are_old_events_gone`].
pub(crate) const OLD_EVENTS: [&str; 3] = ["INTENT_TO_CANCEL", "PO_CREATED", "PO_LINE_AUTOCANCELLED"];
/// 2026-12-15T00:00:00Z: the day for which Walmart has announced the end of the old events.
const OLD_EVENTS_END: i64 = 1_797_292_800;

/// Whether the old events are gone.
pub(crate) fn are_old_events_gone(now: Timestamp) -> bool {
    now.as_second() >= OLD_EVENTS_END
}

/// The subscription in the path of a call, or else the event type in its query or body.
pub(crate) fn subject(path: &str, query: &str, body: Option<&Value>) -> String {
    let id = path.strip_prefix("/v3/webhooks/subscriptions/").map(|id| id.trim_end_matches('/'));
    if let Some(id) = id.filter(|id| !id.is_empty()) {
        return percent_encoding::percent_decode_str(id).decode_utf8_lossy().into_owned();
    }
    let of_body = |body: &Value| {
        let event = body["events"].get(0).unwrap_or(body);
        event["eventType"].as_str().map(str::to_owned)
    };
    query_value(query, "eventType").or_else(|| body.and_then(of_body)).unwrap_or_default()
}
