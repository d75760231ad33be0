//! Returns of marketplace orders: `GET /v3/returns` and `POST /v3/returns/{returnOrderId}/refund`.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::emulator::answer::WalmartAnswer;
use crate::emulator::calls::{CallEffect, CallResult, EmulatedCall};
use crate::emulator::seller::query_value;

const DEFAULT_LIMIT: usize = 10;
const MAX_LIMIT: usize = 200;

/// A return of one line of a seller's order.
#[derive(Clone, Debug)]
pub(crate) struct MarketReturn {
    pub(crate) id: String,
    pub(crate) customer_order: String,
    pub(crate) purchase_order: String,
    /// Number of the line in the purchase order.
    pub(crate) line: u32,
    pub(crate) sku: String,
    pub(crate) reason: String,
    pub(crate) units: u64,
    pub(crate) refunded: u64,
    /// The last event: `RETURN_INITIATED`, `RETURN_IN_TRANSIT`, `DELIVERED_AT_RETURN_CENTER`, `REFUND_ISSUED`, …
    pub(crate) event: String,
    pub(crate) created: Timestamp,
    pub(crate) modified: Timestamp,
}

impl MarketReturn {
    /// The state that belongs to the last event.
    fn status(&self) -> &'static str {
        match self.event.as_str() {
            "RETURN_INITIATED" | "RETURN_IN_TRANSIT" => "INITIATED",
            "DELIVERED_AT_RETURN_CENTER" => "DELIVERED",
            _ => "COMPLETED",
        }
    }

    fn refund_status(&self) -> &'static str {
        if self.refunded > 0 { "REFUND_INITIATED" } else { "NOT_INITIATED" }
    }

    fn shown(&self) -> Value {
        let money = |amount: f64| json!({"currencyAmount": amount, "currencyUnit": "USD"});
        let each = |units: u64| json!({"unitOfMeasure": "EACH", "measurementValue": units});
        let by = self.created.saturating_add(SignedDuration::from_hours(30 * 24)).unwrap_or(self.created);
        let state = json!({"status": self.status(), "statusTime": self.modified.to_string(),
            "currentDeliveryStatus": self.event, "currentRefundStatus": self.refund_status(),
            "quantity": each(self.units)});
        let line = json!({
            "returnOrderLineNumber": 1, "salesOrderLineNumber": self.line, "sellerOrderId": null,
            "returnReason": self.reason, "purchaseOrderId": self.purchase_order,
            "purchaseOrderLineNumber": self.line,
            "item": {"sku": self.sku, "productName": "Red mug",
                "itemWeight": {"unitOfMeasure": "LB", "measurementValue": 0.5}},
            "charges": [{"chargeCategory": "PRODUCT", "chargeName": "ItemPrice", "chargePerUnit": money(12.5),
                "isDiscount": false, "isBillable": true, "tax": [], "excessCharge": money(0.0),
                "references": [{"name": "taxable", "value": "false"}]}],
            "unitPrice": money(12.5), "chargeTotals": [{"name": "lineUnitPrice", "value": money(12.5)}],
            "cancellableQty": 0, "quantity": each(self.units), "returnExpectedFlag": true,
            "isFastReplacement": false, "isKeepIt": false, "lastItem": false, "refundedQty": self.refunded,
            "rechargeableQty": self.units, "refundChannel": "SELLER_MANUAL_REFUND",
            "returnTrackingDetail": [{"sequenceNo": 1, "eventTag": self.event, "eventDescription": self.event,
                "eventTime": self.modified.to_string(), "references": []}],
            "status": self.status(), "statusTime": self.modified.to_string(),
            "currentDeliveryStatus": self.event, "currentRefundStatus": self.refund_status(),
            "currentTrackingStatuses": [state],
            "refundChannels": [{"refundChannel": "SELLER_MANUAL_REFUND", "quantity": each(self.units)}]
        });
        json!({
            "returnOrderId": self.id, "customerEmailId": "relay-1@relay.emulator.invalid",
            "customerName": {"firstName": "Ana", "lastName": "Roe"}, "customerOrderId": self.customer_order,
            "returnOrderDate": self.created.to_string(), "returnByDate": by.to_string(), "refundMode": "POSTPAID",
            "returnType": "REFUND", "replacementCustomerOrderId": null,
            "totalRefundAmount": money(12.5 * self.units as f64),
            "returnLineGroups": [{"groupNo": 1, "returnLines": [{"returnOrderLineNumber": 1}],
                "labels": [{"labelImageURL": "https://labels.emulator.invalid/1.png",
                    "carrierInfoList": [{"carrierId": "1", "carrierName": "FEDEX", "serviceType": "GROUND",
                        "trackingNo": "1ZRETURN0001"}]}], "returnExpectedFlag": true}],
            "returnOrderLines": [line],
            "returnChannel": {"channelName": "ONLINE"}
        })
    }
}

/// All returns of marketplace orders, oldest first. They belong to every account.
#[derive(Debug, Default)]
pub(crate) struct MarketBook {
    returns: Vec<MarketReturn>,
    /// The returns before each change, with the time of the change, for reads that lag.
    earlier: Vec<(Timestamp, MarketReturn)>,
}

impl MarketBook {
    /// The initial state: a return of the delivered order.
    pub(crate) fn seeded(now: Timestamp) -> Self {
        let mut book = Self::default();
        book.open("100000000000000001", "5700000000009", "1700000000004", 1, 2, "DAMAGED", now);
        book
    }

    /// Opens a return, as a customer does.
    #[expect(clippy::too_many_arguments, reason = "what a return consists of")]
    pub(crate) fn open(
        &mut self,
        id: &str,
        customer_order: &str,
        purchase_order: &str,
        line: u32,
        units: u64,
        reason: &str,
        now: Timestamp,
    ) {
        self.returns.push(MarketReturn {
            id: id.to_owned(),
            customer_order: customer_order.to_owned(),
            purchase_order: purchase_order.to_owned(),
            line,
            sku: "MUG-RED-12".to_owned(),
            reason: reason.to_owned(),
            units,
            refunded: 0,
            event: "RETURN_INITIATED".to_owned(),
            created: now,
            modified: now,
        });
    }

    /// Makes the return of a magic number when it is first named.
    pub(crate) fn conjure(&mut self, id: &str, now: Timestamp) {
        if id.starts_with("MAGIC-RETURN") && !self.returns.iter().any(|one| one.id == id) {
            self.open(id, "5700000000009", "1700000000004", 1, 2, "DAMAGED", now);
        }
    }

    /// The number of returns, of which new numbers are made.
    pub(crate) fn len(&self) -> usize {
        self.returns.len()
    }

    /// Changes the last event of a return. Returns whether there is such a return.
    pub(crate) fn set_event(&mut self, id: &str, event: &str, now: Timestamp) -> bool {
        self.change(id, now, |one| one.event = event.to_owned())
    }

    fn change(&mut self, id: &str, now: Timestamp, change: impl FnOnce(&mut MarketReturn)) -> bool {
        let Some(one) = self.returns.iter_mut().find(|one| one.id == id) else { return false };
        self.earlier.push((now, one.clone()));
        change(one);
        one.modified = now;
        true
    }

    fn seen_at(&self, one: &MarketReturn, time: Timestamp) -> MarketReturn {
        let before = self.earlier.iter().find(|(changed, before)| *changed > time && before.id == one.id);
        before.map_or_else(|| one.clone(), |(_, before)| before.clone())
    }
}

fn error(status: u16, code: &str, severity: &str, description: &str) -> WalmartAnswer {
    let error = json!({"code": format!("{code}.GMP_RETURNS_API"), "field": "data", "description": description,
        "info": description, "severity": severity, "category": "DATA", "causes": [], "errorIdentifiers": {}});
    WalmartAnswer::json(status, json!({"errors": {"error": [error]}}))
}

/// Answers a search, as the returns were `lag` ago.
pub(crate) fn list(book: &MarketBook, context: &EmulatedCall<'_>, query: &str, lag: std::time::Duration) -> CallResult {
    let seen = context.now.saturating_sub(lag).unwrap_or(context.now);
    let answer = page(book, query, seen).unwrap_or_else(|refused| refused);
    CallResult { answer, effect: CallEffect::Read }
}

fn page(book: &MarketBook, query: &str, seen: Timestamp) -> Result<WalmartAnswer, WalmartAnswer> {
    let value = |name: &str| query_value(query, name);
    let (from, until) = (value("returnCreationStartDate"), value("returnCreationEndDate"));
    if from.is_some() != until.is_some() {
        return Err(error(400, "INVALID_REQUEST_PARAM", "ERROR", "start and end date must be given together"));
    }
    let limit = match value("limit").map(|text| text.parse()) {
        None => DEFAULT_LIMIT,
        Some(Ok(limit)) if (1..=MAX_LIMIT).contains(&limit) => limit,
        Some(_) => return Err(error(400, "INVALID_REQUEST_PARAM", "ERROR", "limit must not exceed 200")),
    };
    let is = |name: &str, shown: &str| value(name).is_none_or(|wanted| wanted == shown);
    let day = |time: Timestamp| time.to_string()[..10].to_owned();
    let found: Vec<MarketReturn> = book.returns.iter().map(|one| book.seen_at(one, seen)).collect();
    let found: Vec<&MarketReturn> = found
        .iter()
        .filter(|one| one.created <= seen && is("returnOrderId", &one.id) && is("customerOrderId", &one.customer_order))
        .filter(|one| is("status", one.status()) && is("returnType", "REFUND"))
        .filter(|one| from.as_ref().is_none_or(|from| day(one.created).as_str() >= &from[..from.len().min(10)]))
        .filter(|one| until.as_ref().is_none_or(|until| day(one.created).as_str() <= &until[..until.len().min(10)]))
        .collect();
    if found.is_empty() {
        return Err(error(404, "CONTENT_NOT_FOUND", "INFO", "Unable to find return(s) that match your search"));
    }
    // A cursor that did not come back byte for byte is ignored, and the first page comes again.
    let offset = value("offset").and_then(|text| text.parse::<usize>().ok()).unwrap_or_default();
    let is_cursor = format!("?{query}") == cursor(limit, offset);
    let offset = if is_cursor { offset } else { 0 };
    let rows: Vec<Value> = found.iter().skip(offset).take(limit).map(|one| one.shown()).collect();
    let next = offset + rows.len();
    let mut meta = json!({"totalCount": found.len(), "limit": limit, "nextCursor": null});
    if next < found.len() {
        meta["nextCursor"] = json!(cursor(limit, next));
    }
    Ok(WalmartAnswer::json(200, json!({"meta": meta, "returnOrders": rows})))
}

fn cursor(limit: usize, offset: usize) -> String {
    format!("?sellerId=10000000001&limit={limit}&offset={offset}&asOf=2026-11-01T00:00:00+00:00")
}

/// Answers a refund: units, once each.
pub(crate) fn refund(book: &mut MarketBook, context: &EmulatedCall<'_>, id: &str, body: &Value) -> CallResult {
    let refuse = |text: &str| CallResult::refused(error(400, "INVALID_REQUEST_CONTENT", "ERROR", text));
    let Some(one) = book.returns.iter().find(|one| one.id == id) else {
        return refuse("return order is not known");
    };
    if body["customerOrderId"] != one.customer_order.as_str() {
        return refuse("customerOrderId is required, and must be that of the return");
    }
    let Some(lines) = body["refundLines"].as_array().filter(|lines| lines.len() == 1) else {
        return refuse("refundLines must be the lines of the return");
    };
    let units = lines[0]["quantity"]["measurementValue"].as_u64().unwrap_or_default();
    if lines[0]["returnOrderLineNumber"].as_u64().is_some_and(|number| number != 1) || units == 0 {
        return refuse("returnOrderLineNumber or quantity is not valid");
    }
    if units > one.units - one.refunded {
        return refuse("the quantity is not refundable any more");
    }
    book.change(id, context.now, |one| one.refunded += units);
    let answer =
        json!({"returnOrderId": id, "customerOrderId": body["customerOrderId"], "refundLines": body["refundLines"]});
    CallResult { answer: WalmartAnswer::json(200, answer), effect: CallEffect::ReturnRefunded }
}
