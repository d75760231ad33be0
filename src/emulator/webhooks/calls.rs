//! `/v3/webhooks`: the answers, in the forms that Walmart's pages and its sandbox show.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use url::Url;

use super::book::{FIELDS, PARTNER, Subscription, SubscriptionBook};
use super::events::sample;
use super::{OLD_EVENTS, ORDER_UPDATES, are_old_events_gone};
use crate::emulator::answer::WalmartAnswer;
use crate::emulator::calls::{CallEffect, CallResult, EmulatedCall};
use crate::emulator::deliveries::Delivery;
use crate::emulator::ids;
use crate::emulator::seller::query_value;

/// The kinds of events: resource and name.
const EVENT_TYPES: [(&str, &str); 18] = [
    ("ORDER", "INTENT_TO_CANCEL"),
    ("ORDER", ORDER_UPDATES),
    ("ORDER", "PO_CREATED"),
    ("ORDER", "PO_LINE_AUTOCANCELLED"),
    ("ORDER", "ORDER_STATUS_UPDATE"),
    ("ORDER", "ORDER_SHIPMENT_UPDATE"),
    ("ORDER", "MCS_RETURN_ORDER_STATUS_UPDATE"),
    ("ORDER", "DRIVER_STATUS"),
    ("ORDER", "DSV_CARRIER_EDD_UPDATE"),
    ("ReturnsAndRefunds", "RETURN_CREATED"),
    ("ReturnsAndRefunds", "RETURN_DELIVERED"),
    ("ReturnsAndRefunds", "RETURN_INVOICED"),
    ("INVENTORY", "INVENTORY_OOS"),
    ("ITEM", "OFFER_PUBLISHED"),
    ("ITEM", "OFFER_UNPUBLISHED"),
    ("PRICE", "BUY_BOX_CHANGED"),
    ("REPORTS", "REPORT_STATUS"),
    ("ITEMS", "SELLER_PERFORMANCE_NOTIFICATIONS"),
];

fn error(status: u16, code: &str, severity: &str, description: &str) -> WalmartAnswer {
    let error = json!({"code": format!("{code}.GMP_NOTIFICATION_API"), "field": "data", "description": description,
        "info": description, "severity": severity, "category": "DATA", "causes": [], "errorIdentifiers": {}});
    WalmartAnswer::json(status, json!({"errors": [error]}))
}

fn refused(text: &str) -> CallResult {
    CallResult::refused(error(400, "INVALID_REQUEST_CONTENT", "ERROR", text))
}

fn unknown(id: &str) -> CallResult {
    CallResult::refused(error(404, "CONTENT_NOT_FOUND", "INFO", &format!("subscription {id} is not known")))
}

/// Answers the kinds of events: those that are still there.
pub(crate) fn event_types(now: Timestamp) -> CallResult {
    let is_there = |name: &str| !(are_old_events_gone(now) && OLD_EVENTS.contains(&name));
    let types = EVENT_TYPES.iter().filter(|(_, name)| is_there(name)).map(|(resource, name)| {
        json!({"resourceName": resource, "eventType": name, "eventVersion": "V1", "description": name.replace('_', " ")})
    });
    let answer = WalmartAnswer::json(200, json!({"events": types.collect::<Vec<_>>()}));
    CallResult { answer, effect: CallEffect::Read }
}

/// Answers a search, as the subscriptions were `lag` ago. The sandbox answers with a bare list.
pub(crate) fn list(book: &SubscriptionBook, context: &EmulatedCall<'_>, query: &str, lag: Duration) -> CallResult {
    let seen = context.now.saturating_sub(lag).unwrap_or(context.now);
    let fits = |row: &Value| {
        let filters = ["subscriptionId", "eventType", "resourceName", "status"];
        filters.iter().all(|name| query_value(query, name).is_none_or(|wanted| row[*name] == wanted.as_str()))
    };
    let rows: Vec<Value> = book.of_account(context.account).filter_map(|one| one.shown(seen)).filter(fits).collect();
    let body = if context.sandbox { json!(rows) } else { json!({"events": rows}) };
    CallResult { answer: WalmartAnswer::json(200, body), effect: CallEffect::Read }
}

/// Answers a creation. The same again makes another subscription.
pub(crate) fn create(book: &mut SubscriptionBook, context: &EmulatedCall<'_>, body: &Value) -> CallResult {
    let events = body["events"].as_array().map(Vec::as_slice).unwrap_or_default();
    if events.is_empty() {
        return refused("events is required");
    }
    let mut made = Vec::new();
    for event in events {
        let fields = match fields(event, context.now, &["status"]) {
            Ok(fields) => fields,
            Err(text) => return refused(&text),
        };
        made.push(fields);
    }
    let mut shown = Vec::new();
    for fields in made {
        let serial = book.len().to_string();
        let one = Subscription {
            account: context.account.to_owned(),
            id: ids::uuid(context.seed, &["subscription", &serial, &context.now.to_string()]),
            fields,
            created: context.now,
            deleted: None,
            earlier: Vec::new(),
        };
        shown.push(one.shown_in_short());
        book.add(one);
    }
    CallResult { answer: WalmartAnswer::json(200, json!({"events": shown})), effect: CallEffect::Subscribed }
}

/// Answers a change: with one object, as Walmart's example.
pub(crate) fn update(book: &mut SubscriptionBook, context: &EmulatedCall<'_>, id: &str, body: &Value) -> CallResult {
    let Some(one) = book.get_mut(context.account, id) else { return unknown(id) };
    let Some(change) = body.as_object().filter(|change| !change.is_empty()) else {
        return refused("a field to change is required");
    };
    let mut fields = one.fields.clone();
    for name in FIELDS {
        if let Some(value) = change.get(name) {
            fields.insert(name.to_owned(), value.clone());
        }
    }
    if change.contains_key("eventType")
        && !["eventVersion", "resourceName"].iter().all(|name| change.contains_key(*name))
    {
        return refused("eventType needs eventVersion and resourceName");
    }
    // A subscription of an old type can still be set INACTIVE after the end of the old types.
    let is_ended = fields.get("status") == Some(&json!("INACTIVE")) && !change.contains_key("eventType");
    if let Err(text) =
        self::fields(&Value::Object(fields.clone()), if is_ended { Timestamp::MIN } else { context.now }, &["status"])
    {
        return refused(&text);
    }
    one.earlier.push((context.now, std::mem::replace(&mut one.fields, fields)));
    let shown = one.shown(context.now).unwrap_or_default();
    CallResult { answer: WalmartAnswer::json(200, shown), effect: CallEffect::SubscriptionChanged }
}

/// Answers a deletion.
pub(crate) fn delete(book: &mut SubscriptionBook, context: &EmulatedCall<'_>, id: &str) -> CallResult {
    let Some(one) = book.get_mut(context.account, id) else { return unknown(id) };
    one.deleted = Some(context.now);
    let body = json!({"subscriptionId": id, "message": "Subscription deleted successfully"});
    CallResult { answer: WalmartAnswer::json(200, body), effect: CallEffect::Unsubscribed }
}

/// Answers a request for a sample, with the delivery of the sample.
pub(crate) fn test(context: &EmulatedCall<'_>, body: &Value) -> (CallResult, Option<Delivery>) {
    let fields = match fields(body, context.now, &[]) {
        Ok(fields) => fields,
        Err(text) => return (refused(&text), None),
    };
    let id = ids::uuid(context.seed, &["sample", context.correlation_id, &context.now.to_string()]);
    let event_type = fields.get("eventType").and_then(Value::as_str).unwrap_or_default();
    let delivery = Delivery { event: sample(event_type, &id, context.now), to: Subscription::receiver(&fields, "") };
    let answer = WalmartAnswer::json(200, json!({"message": "Test notification sent", "partnerId": PARTNER}));
    (CallResult { answer, effect: CallEffect::SamplePosted }, Some(delivery))
}

/// Reads the fields of a subscription; `more` are required besides kind and URL.
fn fields(event: &Value, now: Timestamp, more: &[&str]) -> Result<Map<String, Value>, String> {
    let text = |name: &str| event[name].as_str().unwrap_or_default();
    let required = ["eventType", "eventVersion", "resourceName", "eventUrl"];
    if let Some(missing) = required.iter().chain(more).find(|name| text(name).is_empty()) {
        return Err(format!("{missing} is required"));
    }
    let (event_type, resource) = (text("eventType"), text("resourceName"));
    if are_old_events_gone(now) && OLD_EVENTS.contains(&event_type) {
        return Err(format!("eventType {event_type} is not supported any more; use {ORDER_UPDATES}"));
    }
    let is_known = EVENT_TYPES.contains(&(resource, event_type)) && text("eventVersion") == "V1";
    if !is_known && !event_type.starts_with("MAGIC-") {
        return Err(format!("eventType {event_type} of {resource} is not known"));
    }
    if !Url::parse(text("eventUrl")).is_ok_and(|url| matches!(url.scheme(), "http" | "https")) {
        return Err("eventUrl must be a public URL".into());
    }
    if !more.is_empty() && !["ACTIVE", "INACTIVE"].contains(&text("status")) {
        return Err("status must be ACTIVE or INACTIVE".into());
    }
    let known = FIELDS.iter().filter_map(|name| Some(((*name).to_owned(), event.get(*name)?.clone())));
    Ok(known.collect())
}
