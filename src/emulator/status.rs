//! The status call: the account's orders by number, channel, shipment or date, in the production form (a list with
//! counts in the header) or, with `WM_SANDBOX: v2`, in the sandbox form (an object, without header).

use std::borrow::Cow;
use std::time::Duration;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde_json::{Value, json};

use super::answer::{FieldFault, WalmartAnswer};
use super::calls::{CallEffect, CallResult, EmulatedCall};
use super::form::Form;
use super::lies::LagKind;
use super::world::{Line, Order, ShippedParcel, TRANSIT, World};

const CODE: &str = "INVALID_WFS_REQUEST";
/// Largest page, and the default page. Source: the published schema (`limit` 1 to 50).
const MAX_LIMIT: usize = 50;
const MAX_OFFSET: usize = 50_000;

#[derive(Debug, Default)]
struct StatusQuery {
    number: Option<String>,
    channel: Option<String>,
    tracking: Option<String>,
    shipment: Option<String>,
    status: Option<String>,
    from: Option<Date>,
    to: Option<Date>,
    ascending: bool,
    limit: usize,
    offset: usize,
}

/// The order number in a query string; empty if missing.
pub(crate) fn order_number(query: &str) -> String {
    let found = url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "orderNumber");
    found.map(|(_, value)| value.into_owned()).unwrap_or_default()
}

/// Answers a status call. `lag` returns the lag of a change to the order with a given number.
pub(crate) fn status(
    world: &World,
    context: &EmulatedCall<'_>,
    query: &str,
    lag: impl Fn(LagKind, &str) -> Duration,
) -> CallResult {
    let query = match read(query) {
        Ok(query) => query,
        Err(complaints) => return CallResult::refused(WalmartAnswer::fail(400, CODE, &complaints)),
    };
    let mut found: Vec<Cow<'_, Order>> = match &query.number {
        Some(number) => world.numbered(number).filter_map(|o| seen(o, context, LagKind::ByNumber, &lag)).collect(),
        None => world.orders().iter().filter_map(|o| seen(o, context, LagKind::Search, &lag)).collect(),
    };
    found.retain(|order| query.matches(order, context));
    if found.is_empty() && query.number.is_some() {
        let error = json!({"code": "OS_NOT_FOUND_ERROR", "field": "orderNumber", "description": "Order not found",
            "info": "requested order not found", "severity": "ERROR", "category": "DATA"});
        return CallResult::refused(WalmartAnswer::json(400, json!({"status": "FAIL", "errors": [error]})));
    }
    let total = found.len();
    // A stable sort keeps orders of the same time in place: pages neither repeat nor skip an order.
    found.sort_by_key(|order| order.accepted);
    if !query.ascending {
        found.reverse();
    }
    let page = found.iter().skip(query.offset).take(query.limit);
    let body = if context.sandbox {
        let order = page.take(1).next().map_or(Value::Null, |order| sandbox_form(order, context.now));
        json!({"status": "OK", "header": null, "errors": [], "payload": order})
    } else {
        let orders: Vec<Value> = page.map(|order| production_form(order, context.now)).collect();
        let header =
            json!({"martId": "202", "buId": "0", "pageCount": total.div_ceil(query.limit), "totalCount": total});
        json!({"status": "OK", "header": {"headerAttributes": header}, "payload": orders})
    };
    CallResult { answer: WalmartAnswer::json(200, body), effect: CallEffect::Read }
}

/// The order as reads see it: not before its lag has passed, and no change before the change's lag has passed.
fn seen<'a>(
    order: &'a Order,
    context: &EmulatedCall<'_>,
    lagging: LagKind,
    lag: impl Fn(LagKind, &str) -> Duration,
) -> Option<Cow<'a, Order>> {
    if !order.visible_to(context.account) {
        return None;
    }
    // Orders of the initial state do not lag: they count as accepted just now.
    if order.account.is_none() {
        return Some(Cow::Borrowed(order));
    }
    let seen_until = |lagging: LagKind| {
        let lag = SignedDuration::try_from(lag(lagging, &order.number)).unwrap_or(SignedDuration::MAX);
        context.now.saturating_sub(lag).unwrap_or(Timestamp::MIN)
    };
    (order.accepted <= seen_until(lagging)).then(|| order.with_changes_until(seen_until(LagKind::Changes)))
}

fn read(text: &str) -> Result<StatusQuery, Vec<FieldFault>> {
    let mut form = Form::default();
    let mut query = StatusQuery { limit: MAX_LIMIT, ..StatusQuery::default() };
    for (key, value) in url::form_urlencoded::parse(text.as_bytes()) {
        let value = value.trim();
        if value.is_empty() {
            form.complain(key.as_ref(), format!("{key} must not be blank"));
            continue;
        }
        let some = || Some(value.to_owned());
        match key.as_ref() {
            "orderNumber" => query.number = some(),
            "orderChannelId" => query.channel = some(),
            "trackingNumber" => query.tracking = some(),
            "shipmentNumber" | "shipNumber" => query.shipment = some(),
            "status" => query.status = some(),
            "fromOrderDate" | "startDate" => query.from = date(&mut form, &key, value),
            "toOrderDate" | "endDate" => query.to = date(&mut form, &key, value),
            "limit" => query.limit = number(&mut form, &key, value, 1, MAX_LIMIT),
            "offset" => query.offset = number(&mut form, &key, value, 0, MAX_OFFSET),
            "sortBy" if value == "orderDate" => {}
            "sortBy" => form.complain("sortBy", "sortBy must be orderDate"),
            "sortOrder" => match value.to_ascii_lowercase().as_str() {
                "asc" => query.ascending = true,
                "desc" => query.ascending = false,
                _ => form.complain("sortOrder", "sortOrder must be asc or desc"),
            },
            _ => form.complain(key.as_ref(), "unknown query parameter"),
        }
    }
    let texts = [&query.number, &query.channel, &query.tracking, &query.shipment, &query.status];
    let filtered = texts.iter().any(|filter| filter.is_some()) || query.from.is_some() || query.to.is_some();
    form.finish()?;
    if filtered {
        return Ok(query);
    }
    let mut form = Form::default();
    form.complain("orderNumber", "at least one filter is required");
    form.finish().map(|()| query)
}

fn date(form: &mut Form, key: &str, value: &str) -> Option<Date> {
    let date = value.parse().ok().filter(|_| value.len() == "YYYY-MM-DD".len());
    if date.is_none() {
        form.complain(key, format!("{key} must be YYYY-MM-DD"));
    }
    date
}

fn number(form: &mut Form, key: &str, value: &str, min: usize, max: usize) -> usize {
    value.parse().ok().filter(|n| (min..=max).contains(n)).unwrap_or_else(|| {
        form.complain(key, format!("{key} must be {min} to {max}"));
        min
    })
}

impl StatusQuery {
    fn matches(&self, order: &Order, context: &EmulatedCall<'_>) -> bool {
        let is =
            |wanted: &Option<String>, actual: &str| wanted.as_deref().is_none_or(|w| w.eq_ignore_ascii_case(actual));
        let has_parcel = |wanted: &Option<String>, of: fn(&ShippedParcel) -> &str| {
            let mut parcels = order.lines.iter().flat_map(|line| &line.parcels);
            wanted.as_deref().is_none_or(|w| parcels.any(|parcel| of(parcel) == w))
        };
        let day = order.accepted.to_zoned(TimeZone::UTC).date();
        self.channel.as_deref().is_none_or(|channel| channel == order.channel)
            && is(&self.status, order.status(context.now))
            && self.from.is_none_or(|from| from <= day)
            && self.to.is_none_or(|to| day <= to)
            && has_parcel(&self.tracking, |parcel| &parcel.tracking)
            && has_parcel(&self.shipment, |parcel| &parcel.shipment)
    }
}

fn production_form(order: &Order, now: Timestamp) -> Value {
    let shipments: Vec<Value> = order
        .lines
        .iter()
        .enumerate()
        .flat_map(|(i, line)| line.parcels.iter().map(move |parcel| shipment(i, line, parcel, now)))
        .collect();
    let lines: Vec<Value> = order.lines.iter().map(|line| order_line(order, line, now)).collect();
    json!({"orderChannelId": order.channel, "sellerOrderId": order.number, "purchaseOrderId": purchase_order(order),
        "orderType": "DOMESTIC",
        "status": order.status(now), "orderDate": order.accepted.to_string(),
        "buyerInfo": {"primaryContact": {"name": order.buyer}}, "shipments": shipments, "orderLines": lines})
}

/// Digits, as at Walmart, and different for every order: duplicates of an order number stay distinguishable.
fn purchase_order(order: &Order) -> String {
    let digits = order.request_id.bytes().fold(0u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    format!("17{:011}", digits % 100_000_000_000)
}

fn order_line(order: &Order, line: &Line, now: Timestamp) -> Value {
    let delivered: u64 = line.parcels.iter().filter(|p| p.delivered(now)).map(|p| p.quantity).sum();
    let quantities: Vec<Value> = [
        ("SUCCESSFULLY_SOURCED", "Sourced at a fulfillment center", line.open()),
        ("SHIPPED", "Shipped", line.shipped() - delivered),
        ("DELIVERED", "Delivered", delivered),
        ("CANCELLED", "Cancelled", line.cancelled()),
    ]
    .into_iter()
    .filter(|(_, _, units)| *units > 0)
    .map(|(status, text, units)| json!({"status": status, "statusDescription": text, "statusQuantity": each(units)}))
    .collect();
    let modified = line.parcels.iter().map(|p| p.shipped).max().unwrap_or(order.accepted);
    json!({"sellerLineId": line.id, "fulfillmentType": "DELIVERY", "lastModified": modified.to_string(),
        "shippingMethod": line.method, "orderLineQuantityInfo": quantities,
        "orderProduct": {"productName": line.description, "sku": line.sku}, "orderedQty": each(line.ordered),
        "shipToAddress": line.address})
}

fn shipment(index: usize, line: &Line, parcel: &ShippedParcel, now: Timestamp) -> Value {
    let status = if parcel.delivered(now) { "DELIVERED" } else { "SHIPPED" };
    let arrives = parcel.shipped.saturating_add(TRANSIT).unwrap_or(Timestamp::MAX);
    json!({"status": status, "scac": parcel.carrier, "carrierDescription": parcel.carrier,
        "trackingNo": parcel.tracking, "shipmentNo": parcel.shipment,
        "actualShipmentDate": parcel.shipped.to_string(), "lastModified": parcel.shipped.to_string(),
        "shipmentLines": [{"shipmentLineNo": (index + 1).to_string(), "fulfillerLineId": line.id,
            "quantity": each(parcel.quantity)}],
        "shipmentDates": [{"dateTypeId": "SHIPMENT", "actualDate": parcel.shipped.to_string(),
                "expectedDate": parcel.shipped.to_string()},
            {"dateTypeId": "DELIVERY", "expectedDate": arrives.to_string()}]})
}

fn sandbox_form(order: &Order, now: Timestamp) -> Value {
    let items: Vec<Value> = order
        .lines
        .iter()
        .map(|line| {
            json!({"sellerLineId": line.id, "sku": line.sku, "qty": each(line.ordered), "lineStatus": line.status(now)})
        })
        .collect();
    let shipments: Vec<Value> = order
        .lines
        .iter()
        .flat_map(|line| &line.parcels)
        .map(|parcel| {
            json!({"shipmentId": parcel.shipment, "carrier": parcel.carrier, "trackNumber": parcel.tracking,
                "events": [{"eventTime": parcel.shipped.to_string(), "status": "SHIPPED"}]})
        })
        .collect();
    json!({"orderNumber": order.number, "orderChannelId": order.channel, "orderPlacedTime": order.placed,
        "orderStatus": order.status(now), "orderItems": items, "shipments": shipments})
}

fn each(units: u64) -> Value {
    json!({"unitOfMeasure": "EACH", "measurementValue": units})
}
