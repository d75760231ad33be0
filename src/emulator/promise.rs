//! `fetchOrderPromiseOptions`: delivery options. A read, without reservations.
//!
//! 202 SUCCESS when every offer can be filled, 206 PARTIAL_SUCCESS when some cannot. A SKU never stocked counts as out
//! of stock. Available offers come in a module per kind of shipping, the rest in a module `ERROR`. The same request
//! gets the same ids; the dates follow the emulator's clock.

use std::collections::{BTreeMap, HashSet};

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan, tz::TimeZone};
use serde_json::{Value, json};

use super::answer::WalmartAnswer;
use super::calls::{CallEffect, CallResult, EmulatedCall};
use super::form::Form;
use super::ids;
use super::world::World;

/// Offers per selection. Source: the published schema.
const MAX_OFFERS: usize = 30;

struct Offer<'a> {
    sku: &'a str,
    line_id: &'a str,
    wanted: u64,
    available: u64,
    method: &'static str,
}

/// Answers a promise request.
pub(crate) fn promise(world: &World, context: &EmulatedCall<'_>, body: &Value) -> CallResult {
    let payload = &body["payload"];
    let offers = match read(world, payload) {
        Ok(offers) => offers,
        Err(complaints) => return CallResult::refused(WalmartAnswer::fail(400, "INVALID_MCS_REQUEST", &complaints)),
    };
    let (filled, short): (Vec<&Offer<'_>>, Vec<&Offer<'_>>) = offers.iter().partition(|o| o.available >= o.wanted);
    let mut by_method: BTreeMap<&str, Vec<&Offer<'_>>> = BTreeMap::new();
    for offer in filled {
        by_method.entry(offer.method).or_default().push(offer);
    }
    let id = |name: &str| ids::uuid(context.seed, &["fulfillment", name, &payload.to_string()]);
    let mut fulfillments: Vec<Value> = Vec::new();
    for (method, offers) in &by_method {
        fulfillments.push(fulfillment(&id(method), method, offers, context.now));
    }
    let mut modules = Vec::new();
    if !fulfillments.is_empty() {
        modules.push(module("UNSCHEDULED_DELIVERY", fulfillments));
    }
    if !short.is_empty() {
        modules.push(module("ERROR", vec![unavailable(&id("ERROR"), &short)]));
    }
    let status = if short.is_empty() { (202, "SUCCESS") } else { (206, "PARTIAL_SUCCESS") };
    let offers: Vec<Value> = offers.iter().map(offer_json).collect();
    let destinations: Vec<Value> = payload["destinations"].as_array().into_iter().flatten().map(destination).collect();
    let body = json!({
        "status": status.1,
        "header": context.header(body),
        "payload": {"offers": offers, "destinations": destinations,
            "fulfillmentPlans": [{"fulfillmentModules": modules}]},
    });
    CallResult { answer: WalmartAnswer::json(status.0, body), effect: CallEffect::Read }
}

fn read<'a>(world: &World, payload: &'a Value) -> Result<Vec<Offer<'a>>, Vec<super::answer::FieldFault>> {
    let mut form = Form::default();
    let mut offers = Vec::new();
    let mut line_ids = HashSet::new();
    for (i, selection) in form.items(payload, "payload", "offerSelections").iter().enumerate() {
        let path = format!("payload.offerSelections[{i}]");
        let list = form.items(selection, &path, "offers");
        if list.len() > MAX_OFFERS {
            form.complain(format!("{path}.offers"), format!("{path}.offers must be at most {MAX_OFFERS}"));
            continue;
        }
        for (j, offer) in list.iter().enumerate() {
            let path = format!("{path}.offers[{j}]");
            let sku = form.text(offer, &path, "sku");
            let line_id = form.text(offer, &path, "lineId");
            form.text(offer, &path, "salesUnit");
            let wanted = form.units(offer, &path, "requestedQuantity");
            if !line_ids.insert(line_id) && !line_id.is_empty() {
                form.complain(format!("{path}.lineId"), format!("{path}.lineId occurs twice"));
            }
            let method = method(offer["shippingMethod"].as_str());
            offers.push(Offer { sku, line_id, wanted, available: world.available(sku).unwrap_or(0), method });
        }
    }
    for (i, destination) in form.items(payload, "payload", "destinations").iter().enumerate() {
        let path = format!("payload.destinations[{i}]");
        form.text(destination, &path, "fulfillmentType");
        form.address(destination, &path);
    }
    form.finish().map(|()| offers)
}

/// The requested shipping method if known, else STANDARD, as in the sandbox.
pub(crate) fn method(sent: Option<&str>) -> &'static str {
    let known = ["EXPEDITED", "STANDARD", "RUSH", "VALUE"];
    let sent = sent.unwrap_or_default();
    known.into_iter().find(|method| method.eq_ignore_ascii_case(sent)).unwrap_or("STANDARD")
}

fn each(units: u64) -> Value {
    json!({"measurementValue": units, "unitOfMeasure": "EA"})
}

fn offer_json(offer: &Offer<'_>) -> Value {
    json!({"availableQuantity": each(offer.available), "requestedQuantity": each(offer.wanted),
        "lineId": offer.line_id, "salesUnit": "Each", "sku": offer.sku})
}

/// The destination in Walmart's form: delivery, and the postal code under both names.
fn destination(sent: &Value) -> Value {
    let mut address = sent["address"].clone();
    if let Some(fields) = address.as_object_mut() {
        let zip = fields.get("zip").or_else(|| fields.get("postalCode")).cloned().unwrap_or_default();
        fields.insert("zip".to_owned(), zip.clone());
        fields.insert("postalCode".to_owned(), zip);
        fields.entry("addressType").or_insert_with(|| "RESIDENTIAL".into());
    }
    json!({"fulfillmentType": "DELIVERY", "address": address})
}

fn module(name: &str, fulfillments: Vec<Value>) -> Value {
    json!({"name": name, "fulfillmentGroups": [{"fulfillmentOptions": [{"fulfillmentMode": "UNSCHEDULED",
        "accessType": "DELIVERY_ADDRESS", "fulfillmentType": "DELIVERY", "fulfillments": fulfillments}]}]})
}

fn fulfillment(id: &str, method: &str, offers: &[&Offer<'_>], now: Timestamp) -> Value {
    let (tier, speed, first, last) = match method {
        "RUSH" => ("SLA_TIER_ONE_DAY", "RUSH", 1, 1),
        "EXPEDITED" => ("SLA_TIER_TWO_DAY", "EXPEDITED", 2, 3),
        "VALUE" => ("SLA_TIER_FIVE_TO_SEVEN_DAY", "VALUE", 5, 7),
        _ => ("SLA_TIER_FIVE_TO_SEVEN_DAY", "STANDARD", 5, 7),
    };
    let lines: Vec<Value> = offers
        .iter()
        .map(|o| json!({"availableQuantity": each(o.available), "lineId": o.line_id, "fulfillmentChannel": ["WFS_FULFILLED"]}))
        .collect();
    json!({"fulfillmentId": id, "nodeType": "FC", "sla": {"tier": tier, "speed": speed},
        "accessMode": {"mode": "NATIONAL_CARRIER"},
        "fulfillmentTime": {"date": {"minPromiseDate": days_on(now, first), "maxPromiseDate": days_on(now, last)}},
        "lineItemAttributesList": lines})
}

fn unavailable(id: &str, offers: &[&Offer<'_>]) -> Value {
    let lines: Vec<Value> =
        offers.iter().map(|o| json!({"availableQuantity": each(o.available), "lineId": o.line_id})).collect();
    let errors: Vec<Value> = offers
        .iter()
        .map(|o| {
            let text = format!("SKU {} has {} available, {} requested", o.sku, o.available, o.wanted);
            json!({"code": "SOME_CONTENT_NOT_FOUND", "field": o.line_id, "description": text,
                "severity": "INFO", "category": "APPLICATION"})
        })
        .collect();
    json!({"fulfillmentId": id, "lineItemAttributesList": lines, "errors": errors})
}

fn days_on(now: Timestamp, days: i64) -> String {
    let today: Date = now.to_zoned(TimeZone::UTC).date();
    today.saturating_add(days.days()).to_string()
}

/// All SKUs in a body.
pub(crate) fn skus(body: &Value) -> Vec<&str> {
    let selections = body["payload"]["offerSelections"].as_array().into_iter().flatten();
    let offers = selections.flat_map(|selection| selection["offers"].as_array().into_iter().flatten());
    offers.filter_map(|offer| offer["sku"].as_str()).collect()
}
