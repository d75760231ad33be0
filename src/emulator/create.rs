//! Creates an order: checks it as a whole and takes its units from stock, or changes nothing.

use std::collections::HashSet;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::DuplicatePolicy;
use super::answer::{FieldFault, WalmartAnswer, complaint};
use super::calls::{CallEffect, CallResult, EmulatedCall};
use super::form::{Form, order_number, order_numbers_differ};
use super::ids;
use super::promise::method;
use super::world::{Line, Order, PlaceRefused, World};

/// A sales channel unknown to the account.
pub(crate) const UNKNOWN_CHANNEL: &str = "CHANNEL-UNKNOWN";
/// The answer to a refused duplicate (409). Walmart's own text is not published.
pub(crate) const DUPLICATE_BODY: &str = r#"{"status":"FAIL","errors":[{"code":"INVALID_MCS_REQUEST","field":"sellerOrderId","description":"Duplicate order: this sellerOrderId already exists","severity":"ERROR","category":"DATA"}]}"#;

const DEFAULT_EMAIL: &str = "no-reply@emulator.invalid";

/// Answers a create request.
pub(crate) fn create(
    world: &mut World,
    context: &EmulatedCall<'_>,
    body: &Value,
    duplicates: DuplicatePolicy,
) -> CallResult {
    let payload = &body["payload"];
    let number = order_number(payload);
    if number.is_empty() {
        let missing = complaint("sellerOrderId", "sellerOrderId or customerOrderNo is required");
        return CallResult::refused(WalmartAnswer::fail(400, "INVALID_SELLER_ORDER_ID", &[missing]));
    }
    if order_numbers_differ(payload) {
        let differ = complaint("sellerOrderId", "sellerOrderId and customerOrderNo must be the same");
        return CallResult::refused(WalmartAnswer::fail(400, "SELLER_ORDER_ID_CUSTOMER_ORDER_NO_SAME", &[differ]));
    }
    let mut order = match read(context, number, payload) {
        Ok(order) => order,
        Err(complaints) => return CallResult::refused(WalmartAnswer::fail(400, "INVALID_MCS_REQUEST", &complaints)),
    };
    if order.channel == UNKNOWN_CHANNEL {
        return CallResult::refused(unknown_channel());
    }
    let request_id = if context.sandbox {
        number.to_owned()
    } else {
        let earlier = world.numbered(number).count().to_string();
        ids::uuid(context.seed, &["create", context.account, number, &earlier])
    };
    order.request_id = request_id.clone();
    match world.place(order, duplicates) {
        Ok(duplicate) => CallResult {
            answer: context.accepted(body, &request_id),
            effect: if duplicate { CallEffect::CreatedAgain } else { CallEffect::Created },
        },
        Err(PlaceRefused::Duplicate) => CallResult::refused(WalmartAnswer::fixed(409, DUPLICATE_BODY.into())),
        Err(PlaceRefused::Short { sku, available, wanted }) => {
            let text = format!(
                "Item {sku} does not have enough inventory: available to sell {available}, ordered {wanted}. \
                 Update the inventory in Seller Center"
            );
            CallResult::refused(WalmartAnswer::fail(
                400,
                "INVALID_MCS_REQUEST",
                &[complaint("orderItems.itemDetail.sku", text)],
            ))
        }
    }
}

fn read(context: &EmulatedCall<'_>, number: &str, payload: &Value) -> Result<Order, Vec<FieldFault>> {
    let mut form = Form::default();
    let channel = form.text(payload, "payload", "orderChannelId");
    let placed = form.text(payload, "payload", "orderPlacedTime");
    if !placed.is_empty() && placed.parse::<Timestamp>().is_err() {
        form.complain("payload.orderPlacedTime", "payload.orderPlacedTime must be an ISO-8601 time with a zone");
    }
    for flag in ["needsConfirmation", "partialFulfillments"] {
        if !matches!(payload[flag], Value::Null | Value::Bool(false)) {
            form.complain(format!("payload.{flag}"), format!("payload.{flag} must be false"));
        }
    }
    form.contact(&payload["customer"], "payload.customer");
    let mut line_ids = HashSet::new();
    let mut lines = Vec::new();
    for (i, item) in form.items(payload, "payload", "orderItems").iter().enumerate() {
        let path = format!("payload.orderItems[{i}]");
        let line = read_line(&mut form, item, &path);
        if !line.id.is_empty() && !line_ids.insert(line.id.clone()) {
            form.complain(format!("{path}.sellerLineId"), format!("{path}.sellerLineId occurs twice"));
        }
        lines.push(line);
    }
    form.finish()?;
    let contact = &payload["customer"]["contact"];
    let name = |part: &str| contact["name"][part].as_str().unwrap_or_default();
    Ok(Order {
        account: Some(context.account.to_owned()),
        number: number.to_owned(),
        channel: channel.to_owned(),
        accepted: context.now,
        placed: placed.to_owned(),
        buyer: format!("{} {}", name("firstName"), name("lastName")),
        email: contact["email"].as_str().filter(|e| !e.trim().is_empty()).unwrap_or(DEFAULT_EMAIL).to_owned(),
        request_id: String::new(),
        lines,
    })
}

fn read_line(form: &mut Form, item: &Value, path: &str) -> Line {
    let id = form.text(item, path, "sellerLineId").to_owned();
    let sku = form.text(&item["itemDetail"], &format!("{path}.itemDetail"), "sku").to_owned();
    let ordered = form.units(item, path, "qty");
    let to = format!("{path}.shippingTo");
    form.contact(&item["shippingTo"], &to);
    form.address(&item["shippingTo"], &to);
    for (i, charge) in form.items(item, path, "chargeDetails").iter().enumerate() {
        let path = format!("{path}.chargeDetails[{i}]");
        form.text(charge, &path, "chargeCategory");
        let price = format!("{path}.chargePerUnit");
        form.text(&charge["chargePerUnit"], &price, "currencyUnit");
        if charge["chargePerUnit"]["currencyAmount"].as_f64().is_none_or(|amount| amount < 0.0) {
            let field = format!("{price}.currencyAmount");
            form.complain(&field, format!("{field} must be a number of at least 0"));
        }
    }
    Line {
        id,
        sku,
        description: item["itemDetail"]["description"].as_str().unwrap_or_default().to_owned(),
        method: method(item["shippingMethod"].as_str()).to_owned(),
        address: item["shippingTo"]["address"].clone(),
        ordered,
        cancellations: Vec::new(),
        parcels: Vec::new(),
    }
}

/// The real reason is inside a dumped Java object, as at Walmart.
fn unknown_channel() -> WalmartAnswer {
    let info = "[Error [code=400.WSAAS.106, field=orderChannelId, description=orderChannelId is invalid, \
                severity=ERROR, category=DATA, causes=null]]";
    let error = json!({"code": "ERR_EXT_DATA_0021001", "description": "Payload structure not valid", "info": info,
        "severity": "ERROR", "category": "REQUEST"});
    WalmartAnswer::json(400, json!({"status": "FAIL", "errors": [error]}))
}
