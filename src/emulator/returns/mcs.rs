//! Returns of Multichannel orders: `/v3/fulfillment/return-orders`.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::emulator::answer::{WalmartAnswer, complaint};
use crate::emulator::calls::{CallEffect, CallResult, EmulatedCall};
use crate::emulator::ids;
use crate::emulator::seller::query_value;
use crate::emulator::world::World;

/// A return of a Multichannel order.
#[derive(Clone, Debug)]
struct McsReturn {
    account: String,
    seller_id: String,
    id: String,
    order: String,
    opened: Timestamp,
    cancelled: Option<Timestamp>,
    items: Vec<McsReturnItem>,
}

#[derive(Clone, Debug)]
struct McsReturnItem {
    sku: String,
    reason: String,
    units: u64,
}

/// All returns of Multichannel orders, oldest first.
#[derive(Debug, Default)]
pub(crate) struct McsReturnBook(Vec<McsReturn>);

impl McsReturnBook {
    /// Walmart's id of the account's return with this id of the seller's.
    pub(crate) fn id_of(&self, account: &str, seller_id: &str) -> Option<&str> {
        let found = self.0.iter().find(|one| one.account == account && one.seller_id == seller_id);
        found.map(|one| one.id.as_str())
    }
}

impl McsReturn {
    fn status(&self, now: Timestamp) -> &'static str {
        let hours = now.duration_since(self.opened).as_hours();
        match (self.cancelled, hours) {
            (Some(at), _) if at <= now => "RETURN_CANCELLED",
            (_, ..24) => "RETURN_INITIATED",
            (_, 24..72) => "RETURN_IN_TRANSIT",
            (_, 72..96) => "DELIVERED_AT_RETURN_CENTER",
            _ => "RETURN_RECEIVED",
        }
    }

    fn shown(&self, now: Timestamp) -> Value {
        let each = |units: u64| json!({"unitOfMeasure": "EA", "measurementValue": units});
        let party = |first: &str| {
            json!({"contact": {"name": {"firstName": first, "lastName": "Roe"}, "phone": "5551230000"},
                "address": {"line1": "12 Oak Ave", "city": "Tulsa", "state": "OK", "zip": "74103", "country": "US"}})
        };
        let lines: Vec<Value> = (1..)
            .zip(&self.items)
            .map(|(number, item): (u32, _)| {
                json!({"lineNo": number.to_string(), "returnMode": "MAIL", "returnReason": item.reason,
                    "returnReasonDesc": item.reason, "itemDetail": {"sku": item.sku}, "qty": each(item.units),
                    "lineQuantityInfo": [{"status": self.status(now), "statusCode": 1000,
                        "statusDescription": self.status(now), "statusQuantity": each(item.units)}]})
            })
            .collect();
        let group: Vec<Value> = (1..)
            .zip(&self.items)
            .map(|(number, item): (u32, _)| json!({"lineNo": number.to_string(), "quantity": each(item.units)}))
            .collect();
        json!({"sellerReturnOrderId": self.seller_id, "returnOrderId": self.id, "sellerOrderId": self.order,
            "channelName": "EMULATOR", "status": self.status(now), "returnOrderLines": lines,
            "returnLineGroups": [{"groupNo": 1, "returnOrderGroupLines": group,
                "labelImageURL": "https://labels.emulator.invalid/2.png",
                "carrierInfo": {"carrierName": "FEDEX", "trackingNo": format!("1ZMCS{}", self.id)},
                "shipFrom": party("Ana"), "shipTo": party("Bo")}]})
    }
}

fn refused(code: &str, text: &str) -> CallResult {
    CallResult::refused(WalmartAnswer::fail(400, code, &[complaint("payload", text)]))
}

fn answered(header: &Value, payload: Value) -> WalmartAnswer {
    WalmartAnswer::json(200, json!({"status": "OK", "header": header, "payload": payload}))
}

/// Answers the opening of a return. Only delivered units can be returned, each once.
pub(crate) fn create(
    book: &mut McsReturnBook,
    world: &World,
    context: &EmulatedCall<'_>,
    body: &Value,
    accepts_duplicates: bool,
) -> CallResult {
    let payload = &body["payload"];
    let text = |key: &str| payload[key].as_str().unwrap_or_default().to_owned();
    let (seller_id, number) = (text("sellerReturnOrderId"), text("sellerOrderId"));
    if seller_id.is_empty() || number.is_empty() {
        return refused("INVALID_WFS_REQUEST", "sellerReturnOrderId and sellerOrderId are required");
    }
    let is_same = |one: &&McsReturn| one.account == context.account && one.seller_id == seller_id;
    if !accepts_duplicates && book.0.iter().any(|one| is_same(&one)) {
        return refused("INVALID_WFS_REQUEST", "sellerReturnOrderId already exists");
    }
    let Some(order) = world.numbered(&number).find(|order| order.visible_to(context.account)) else {
        return refused("500.OS_SERVICE.200", "order not found");
    };
    let mut items = Vec::new();
    for item in payload["orderItems"].as_array().into_iter().flatten() {
        let Some(sku) = item["itemDetail"]["sku"].as_str() else {
            return refused("500.RETURN_ORDER_SERVICE.400", "itemDetail is required");
        };
        let Some(line) = order.lines.iter().find(|line| line.sku == sku) else {
            return refused("400.WFS.100", "the SKU is not in the order");
        };
        let delivered: u64 = line.parcels.iter().filter(|p| p.delivered(context.now)).map(|p| p.quantity).sum();
        if delivered == 0 {
            return refused("INVALID_WFS_REQUEST", "Order status not eligible for returns");
        }
        let of_line = book.0.iter().filter(|one| one.order == number && one.cancelled.is_none());
        let returned: u64 = of_line.flat_map(|one| &one.items).filter(|one| one.sku == sku).map(|one| one.units).sum();
        let units = item["qty"]["measurementValue"].as_u64().unwrap_or_default();
        if units == 0 || units > delivered.saturating_sub(returned) {
            return refused("500.509", "the quantity cannot be returned");
        }
        let reason = item["returnReason"].as_str().unwrap_or_default().to_owned();
        items.push(McsReturnItem { sku: sku.to_owned(), reason, units });
    }
    if items.is_empty() {
        return refused("500.RETURN_ORDER_SERVICE.400", "orderItems is required");
    }
    let serial = (200_000_000_000_000_000 + book.0.len() as u64 + 1).to_string();
    let check = ids::uuid(context.seed, &["return", &serial]);
    let one = McsReturn {
        account: context.account.to_owned(),
        seller_id,
        id: format!("{serial}{}", &check[..2].replace(|c: char| !c.is_ascii_digit(), "0")),
        order: number,
        opened: context.now,
        cancelled: None,
        items,
    };
    let answer = answered(&body["header"], one.shown(context.now));
    book.0.push(one);
    CallResult { answer, effect: CallEffect::ReturnOpened }
}

/// Answers a search, as the returns were `lag` ago. The filters of days are passed over, as those that Walmart does not
/// know.
pub(crate) fn list_mcs(
    book: &McsReturnBook,
    context: &EmulatedCall<'_>,
    query: &str,
    lag: std::time::Duration,
) -> CallResult {
    let seen = context.now.saturating_sub(lag).unwrap_or(context.now);
    let is = |name: &str, shown: &str| query_value(query, name).is_none_or(|wanted| wanted == shown);
    let number =
        |name: &str, default: usize| query_value(query, name).and_then(|text| text.parse().ok()).unwrap_or(default);
    let found: Vec<&McsReturn> = book
        .0
        .iter()
        .filter(|one| one.account == context.account && one.opened <= seen)
        .filter(|one| is("sellerOrderId", &one.order) && is("returnOrderId", &one.id))
        .collect();
    let rows: Vec<Value> =
        found.iter().skip(number("offset", 0)).take(number("limit", 50)).map(|one| one.shown(seen)).collect();
    let header = json!({"headerAttributes": {"totalCount": found.len(), "pageCount": 1, "martId": "202", "buId": "0"}});
    CallResult { answer: answered(&header, json!(rows)), effect: CallEffect::Read }
}

pub(crate) fn cancel(book: &mut McsReturnBook, context: &EmulatedCall<'_>, id: &str, body: &Value) -> CallResult {
    let one = book.0.iter_mut().find(|one| one.account == context.account && one.id == id);
    let Some(one) = one else { return refused("500.OS_SERVICE.200", "return order not found") };
    if one.status(context.now) != "RETURN_INITIATED" {
        return refused("INVALID_WFS_REQUEST", "Return order cannot be cancelled");
    }
    one.cancelled = Some(context.now);
    let answer = answered(&body["header"], one.shown(context.now));
    CallResult { answer, effect: CallEffect::ReturnCancelled }
}
