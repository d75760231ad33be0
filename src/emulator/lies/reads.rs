//! Lies of the status call: empty answers in every form, a gateway's 404s, another order, truncated pages, and lag.

use serde_json::{Value, json};

use super::LieScope::Reads;
use super::{LagKind, Lie, LieContext, LieKind, changes, says};
use crate::emulator::answer::WalmartAnswer;

const SYSTEM_ERROR: &str = r#"{"status":"PARTIAL_SUCCESS","payload":[],"errors":[{"code":"SYSTEM_ERROR.GMP_ORDER_API","description":"part of the system did not answer","severity":"ERROR","category":"SYSTEM"}]}"#;
const ERROR_BESIDE: &str = r#"{"status":"OK","payload":[],"errors":[{"code":"SYSTEM_ERROR.GMP_ORDER_API","description":"part of the system did not answer","severity":"ERROR","category":"SYSTEM"}]}"#;
const TOTAL_BESIDE: &str = r#"{"status":"OK","header":{"headerAttributes":{"buId":"0","martId":"202","totalCount":1,"pageCount":1}},"payload":[]}"#;
const NULL_OBJECT: &str = r#"{"status":"OK","header":null,"payload":{"orderNumber":null,"orderChannelId":null,"orderPlacedTime":null,"orderStatus":null,"orderItems":null,"shipments":null},"errors":[]}"#;
const GATEWAY_404: &str = r#"{"error":[{"code":"CONTENT_NOT_FOUND.GMP_GATEWAY_API","field":"CONTENT_NOT_FOUND","description":"nothing is served here","info":"no route","severity":"INFO","category":"APPLICATION","causes":[],"errorIdentifiers":{}}]}"#;
const PROXY_404: &str = r#"{"errors":[{"code":"404.PROXY.1","description":"no upstream"}]}"#;
const SEVERAL: &str = r#"{"status":"FAIL","errors":[{"code":"OS_NOT_FOUND_ERROR","field":"orderNumber","description":"Order not found","info":"requested order not found","severity":"ERROR","category":"DATA"},{"code":"SYSTEM_ERROR.GMP_ORDER_API","description":"part of the system did not answer","severity":"ERROR","category":"SYSTEM"}]}"#;

pub(super) const LIES: &[Lie] = &[
    says("no-payload", Reads, 200, r#"{"status":"OK"}"#, "200 without a payload"),
    says(
        "null-payload",
        Reads,
        200,
        r#"{"status":"OK","header":null,"payload":null,"errors":[]}"#,
        "200, payload null",
    ),
    says("text-payload", Reads, 200, r#"{"status":"OK","payload":"temporarily unavailable"}"#, "200, payload a text"),
    says("empty-object", Reads, 200, r#"{"status":"OK","header":null,"payload":{},"errors":[]}"#, "200, payload `{}`"),
    says("null-object", Reads, 200, NULL_OBJECT, "200, payload an object of nulls"),
    says(
        "message-object",
        Reads,
        200,
        r#"{"status":"OK","payload":{"message":"no orders found"}}"#,
        "200, payload an object with a message",
    ),
    says(
        "list-in-object",
        Reads,
        200,
        r#"{"status":"OK","payload":{"orders":[],"totalCount":0}}"#,
        "200, payload an object with an empty list inside",
    ),
    says(
        "odd-rows",
        Reads,
        200,
        r#"{"status":"OK","payload":[null,"",[]]}"#,
        "200, rows that are null, a text, a list",
    ),
    says(
        "error-rows",
        Reads,
        200,
        r#"{"status":"PARTIAL_SUCCESS","payload":[{"error":{"code":"SYSTEM_ERROR"}}]}"#,
        "200 PARTIAL_SUCCESS, rows that are errors",
    ),
    says("partial", Reads, 200, r#"{"status":"PARTIAL_SUCCESS","payload":[]}"#, "200 PARTIAL_SUCCESS, an empty list"),
    says("partial-with-errors", Reads, 200, SYSTEM_ERROR, "200 PARTIAL_SUCCESS, an empty list and an error"),
    says("partial-content", Reads, 206, r#"{"status":"OK","payload":[]}"#, "206, an empty list"),
    says("accepted-read", Reads, 202, r#"{"status":"OK","payload":[]}"#, "202, an empty list"),
    says("no-content", Reads, 204, "", "204"),
    says("errors-beside-list", Reads, 200, ERROR_BESIDE, "200 OK, an error beside an empty list"),
    changes("errors-beside-rows", Reads, errors_beside_rows, "the truth, with an error beside it"),
    says("total-beside-nothing", Reads, 200, TOTAL_BESIDE, "200, an empty list with a total of 1"),
    says("gateway-404", Reads, 404, GATEWAY_404, "404 CONTENT_NOT_FOUND.GMP_GATEWAY_API: no such path"),
    says("proxy-404", Reads, 404, PROXY_404, "404 404.PROXY.1"),
    says("html-404", Reads, 404, "<html><body><h1>404 Not Found</h1></body></html>", "404 with an HTML page"),
    says("bare-404", Reads, 404, "", "404 without a body"),
    says("not-found-among-errors", Reads, 400, SEVERAL, "400, the order service's not-found as one of two errors"),
    changes("other-channel", Reads, other_channel, "the order, or a made-up one, of another channel"),
    changes("other-date", Reads, other_date, "the order, or a made-up one, dated 2020"),
    changes("other-lines", Reads, other_lines, "the order, or a made-up one, with another line and SKU"),
    changes(
        "other-order",
        Reads,
        other_order,
        "the order, or a made-up one, of another channel, date and line: somebody else's",
    ),
    changes("other-numbers", Reads, other_numbers, "the order, or a made-up one, under another number"),
    changes("no-number", Reads, no_number, "the order, or a made-up one, without its number"),
    changes("padded-number", Reads, padded_number, "the order, or a made-up one, with spaces around its number"),
    changes(
        "folded-number",
        Reads,
        folded_number,
        "the order, or a made-up one, with the case of its number swapped (padded, if it has no letters)",
    ),
    changes(
        "wide-number",
        Reads,
        wide_number,
        "the order, or a made-up one, with its number in full-width characters (equal after NFKC)",
    ),
    changes("repeated-row", Reads, repeated_row, "each order twice: the same order, not a copy"),
    changes("short-page", Reads, short_page, "half of the page's rows, rounded down; the totals stay"),
    changes("low-total", Reads, low_total, "totals that say this page is all"),
    changes("high-total", Reads, high_total, "a total one above the truth"),
    changes("no-total", Reads, no_total, "no header, so no totals"),
    lag("read-lag", LagKind::ByNumber, "status calls by number see an order only `lag` after it was made"),
    lag("search-lag", LagKind::Search, "status calls without a number see an order only `lag` after it was made"),
    lag("change-lag", LagKind::Changes, "status calls see a cancellation or shipment only `lag` after it happened"),
];

const fn lag(name: &'static str, lagging: LagKind, does: &'static str) -> Lie {
    Lie { name, does, about: Reads, tell: LieKind::Lags(lagging) }
}

/// Names of the order number in a row.
const NUMBERS: [&str; 2] = ["sellerOrderId", "orderNumber"];

/// Applies `change` to the orders in an answer.
fn rows(answer: WalmartAnswer, mut change: impl FnMut(&mut Value)) -> WalmartAnswer {
    answer.with_value(|body| match list(body) {
        Some(Value::Array(rows)) => rows.iter_mut().for_each(change),
        Some(order @ Value::Object(_)) => change(order),
        _ => {}
    })
}

/// The list of an answer: `payload`, for subscriptions `events`, or a bare list.
fn list(body: &mut Value) -> Option<&mut Value> {
    match body {
        Value::Array(_) => Some(body),
        Value::Object(fields) => {
            let name = if fields.contains_key("events") { "events" } else { "payload" };
            fields.get_mut(name)
        }
        _ => None,
    }
}

/// The same, on an invented order when the true answer has none.
fn order(question: &LieContext<'_>, truth: WalmartAnswer, change: impl FnMut(&mut Value)) -> WalmartAnswer {
    let has_order = truth.value().is_some_and(|body| match &body["payload"] {
        Value::Array(rows) => !rows.is_empty(),
        payload => payload.is_object(),
    });
    rows(if has_order { truth } else { made_up(question) }, change)
}

fn made_up(question: &LieContext<'_>) -> WalmartAnswer {
    let each = json!({"unitOfMeasure": "EACH", "measurementValue": 1});
    let line = json!({"sellerLineId": "1", "fulfillmentType": "DELIVERY", "shippingMethod": "STANDARD",
        "orderProduct": {"productName": "Example product description", "sku": "SKU-1"}, "orderedQty": each});
    let row = json!({"orderChannelId": "ORDER_CHANNEL_ID", "sellerOrderId": question.order_number,
        "orderType": "DOMESTIC", "status": "PROCESSING", "orderDate": question.now.to_string(), "shipments": [],
        "orderLines": [line]});
    let header = json!({"martId": "202", "buId": "0", "pageCount": 1, "totalCount": 1});
    WalmartAnswer::json(200, json!({"status": "OK", "header": {"headerAttributes": header}, "payload": [row]}))
}

fn set(row: &mut Value, names: &[&str], value: &str) {
    for name in names {
        if let Some(field) = row.get_mut(*name) {
            *field = value.into();
        }
    }
}

fn set_channel(row: &mut Value) {
    set(row, &["orderChannelId"], "OTHER_CHANNEL");
}

fn set_date(row: &mut Value) {
    set(row, &["orderDate", "orderPlacedTime"], "2020-03-01T08:00:00.000Z");
}

fn set_lines(row: &mut Value) {
    let seven = json!({"unitOfMeasure": "EACH", "measurementValue": 7});
    if let Some(lines) = row.get_mut("orderLines") {
        *lines = json!([{"sellerLineId": "90001", "fulfillmentType": "DELIVERY", "shippingMethod": "STANDARD",
            "orderProduct": {"productName": "Kettle", "sku": "KETTLE-9"}, "orderedQty": seven}]);
    }
    if let Some(items) = row.get_mut("orderItems") {
        *items = json!([{"sellerLineId": "90001", "sku": "KETTLE-9", "qty": seven, "lineStatus": "PROCESSING"}]);
    }
}

fn other_channel(question: &LieContext<'_>, truth: WalmartAnswer) -> WalmartAnswer {
    order(question, truth, set_channel)
}

fn other_date(question: &LieContext<'_>, truth: WalmartAnswer) -> WalmartAnswer {
    order(question, truth, set_date)
}

fn other_lines(question: &LieContext<'_>, truth: WalmartAnswer) -> WalmartAnswer {
    order(question, truth, set_lines)
}

fn other_order(question: &LieContext<'_>, truth: WalmartAnswer) -> WalmartAnswer {
    order(question, truth, |row| {
        set_channel(row);
        set_date(row);
        set_lines(row);
    })
}

/// Rewrites the number of every order.
fn renumbered(question: &LieContext<'_>, truth: WalmartAnswer, rewrite: fn(&str) -> String) -> WalmartAnswer {
    order(question, truth, |row| {
        for name in NUMBERS {
            if let Some(Value::String(number)) = row.get_mut(name) {
                *number = rewrite(number);
            }
        }
    })
}

fn other_numbers(question: &LieContext<'_>, truth: WalmartAnswer) -> WalmartAnswer {
    renumbered(question, truth, |number| format!("OTHER{number}"))
}

fn padded_number(question: &LieContext<'_>, truth: WalmartAnswer) -> WalmartAnswer {
    renumbered(question, truth, |number| format!(" {number} "))
}

fn folded_number(question: &LieContext<'_>, truth: WalmartAnswer) -> WalmartAnswer {
    renumbered(question, truth, |number| {
        let swap = |c: char| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() };
        let swapped: String = number.chars().map(swap).collect();
        if swapped == number { format!(" {number} ") } else { swapped }
    })
}

fn wide_number(question: &LieContext<'_>, truth: WalmartAnswer) -> WalmartAnswer {
    renumbered(question, truth, |number| {
        let widen = |c: char| char::from_u32(u32::from(c) + 0xfee0).filter(|_| c.is_ascii_graphic()).unwrap_or(c);
        number.chars().map(widen).collect()
    })
}

fn no_number(question: &LieContext<'_>, truth: WalmartAnswer) -> WalmartAnswer {
    order(question, truth, |row| {
        if let Some(fields) = row.as_object_mut() {
            fields.retain(|name, _| !NUMBERS.contains(&name.as_str()));
        }
    })
}

fn errors_beside_rows(_: &LieContext<'_>, truth: WalmartAnswer) -> WalmartAnswer {
    truth.with_value(|body| {
        let error = json!({"code": "SYSTEM_ERROR.GMP_ORDER_API", "description": "part of the system did not answer",
            "severity": "ERROR", "category": "SYSTEM"});
        let Some(fields) = body.as_object_mut() else { return };
        match fields.entry("errors").or_insert(Value::Null) {
            Value::Array(errors) => errors.push(error),
            errors => *errors = json!([error]),
        }
    })
}

fn repeated_row(_: &LieContext<'_>, truth: WalmartAnswer) -> WalmartAnswer {
    truth.with_value(|body| {
        if let Some(rows) = list(body).and_then(Value::as_array_mut) {
            *rows = rows.iter().flat_map(|row| [row.clone(), row.clone()]).collect();
        }
    })
}

fn short_page(_: &LieContext<'_>, truth: WalmartAnswer) -> WalmartAnswer {
    truth.with_value(|body| {
        if let Some(rows) = list(body).and_then(Value::as_array_mut) {
            rows.truncate(rows.len() / 2);
        }
    })
}

/// Changes the totals of a list, given the number of rows on the page.
fn totals(truth: WalmartAnswer, change: impl FnOnce(&mut Value, usize)) -> WalmartAnswer {
    truth.with_value(|body| {
        if let Some(rows) = body["payload"].as_array().map(Vec::len) {
            change(&mut body["header"], rows);
        }
    })
}

fn low_total(_: &LieContext<'_>, truth: WalmartAnswer) -> WalmartAnswer {
    totals(truth, |header, rows| {
        header["headerAttributes"]["totalCount"] = rows.into();
        header["headerAttributes"]["pageCount"] = rows.min(1).into();
    })
}

fn high_total(_: &LieContext<'_>, truth: WalmartAnswer) -> WalmartAnswer {
    totals(truth, |header, _| {
        let total = &mut header["headerAttributes"]["totalCount"];
        *total = (total.as_u64().unwrap_or_default() + 1).into();
    })
}

fn no_total(_: &LieContext<'_>, truth: WalmartAnswer) -> WalmartAnswer {
    totals(truth, |header, _| *header = Value::Null)
}
