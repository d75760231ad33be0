//! `GET /v3/orders`: filters, and pages by a cursor that is a query string.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use percent_encoding::percent_decode_str;
use serde_json::json;

use super::book::{SellerBook, SellerOrder};
use super::shown;
use crate::emulator::answer::WalmartAnswer;
use crate::emulator::calls::{CallEffect, CallResult, EmulatedCall};
use crate::emulator::ids;

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 200;
/// How far back a search without a start date goes.
const DEFAULT_WINDOW: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How far back any search goes.
const LONGEST_WINDOW: SignedDuration = SignedDuration::from_hours(180 * 24);
/// Most hits of a search.
const MOST_HITS: usize = 20_000;

/// The parameters of a search, decoded.
type Parameters = BTreeMap<String, String>;

/// Answers a search, as the orders were `lag` ago.
pub(crate) fn list(book: &SellerBook, context: &EmulatedCall<'_>, query: &str, lag: std::time::Duration) -> CallResult {
    let answer = page(book, context, query, lag).unwrap_or_else(|refused| refused);
    CallResult { answer, effect: CallEffect::Read }
}

fn page(
    book: &SellerBook,
    context: &EmulatedCall<'_>,
    query: &str,
    lag: std::time::Duration,
) -> Result<WalmartAnswer, WalmartAnswer> {
    // A cursor that did not come back byte for byte is ignored, and the first page comes again.
    let (parameters, offset) = match read_cursor(context.seed, query) {
        Some(read) => read,
        None => (read_query(query), 0),
    };
    let limit = match parameters.get("limit").map(|text| text.parse()) {
        None => DEFAULT_LIMIT,
        Some(Ok(limit)) if (1..=MAX_LIMIT).contains(&limit) => limit,
        Some(_) => return Err(invalid("limit must be 1 to 200")),
    };
    let now = context.now;
    let seen = now.saturating_sub(lag).unwrap_or(now);
    let earliest = |window| now.saturating_sub(window).unwrap_or(Timestamp::MIN);
    let from = time(&parameters, "createdStartDate")?.unwrap_or_else(|| earliest(DEFAULT_WINDOW));
    let until = time(&parameters, "createdEndDate")?.unwrap_or(Timestamp::MAX);
    let modified = (time(&parameters, "lastModifiedStartDate")?, time(&parameters, "lastModifiedEndDate")?);
    let ship = (time(&parameters, "fromExpectedShipDate")?, time(&parameters, "toExpectedShipDate")?);
    let from = from.max(earliest(LONGEST_WINDOW));
    let is = |name: &str, value: &str| parameters.get(name).is_none_or(|wanted| wanted == value);
    let within = |(from, until): (Option<Timestamp>, Option<Timestamp>), time: Timestamp| {
        from.is_none_or(|from| time >= from) && until.is_none_or(|until| time <= until)
    };
    let node = parameters.get("shipNodeType").map_or("SellerFulfilled", String::as_str);
    let matches = |order: &&SellerOrder| {
        let lines = order.lines_at(seen);
        order.is_visible_to(context.account)
            && order.created <= seen
            && (from..=until).contains(&order.created)
            && within(modified, order.modified)
            && within(ship, order.ship_by)
            && order.ship_node_type == node
            && is("purchaseOrderId", &order.purchase_order)
            && is("customerOrderId", &order.customer_order)
            && parameters.get("sku").is_none_or(|sku| lines.iter().any(|line| line.sku == *sku))
            && parameters.get("status").is_none_or(|status| lines.iter().any(|line| line.has_status(status, now)))
    };
    let mut found: Vec<&SellerOrder> = book.orders().iter().filter(matches).collect();
    if found.is_empty() {
        return Err(shown::not_found());
    }
    if found.len() > MOST_HITS {
        return Err(invalid("more than 20000 orders match; narrow the dates"));
    }
    found.sort_by_key(|order| std::cmp::Reverse(order.created));
    // The sandbox gives the first page for ever, and a cursor that says that there is more.
    let offset = if context.sandbox { 0 } else { offset };
    let rows: Vec<_> = found.iter().skip(offset).take(limit).map(|order| shown::order(order, seen, now)).collect();
    let next = offset + rows.len();
    let mut meta = json!({"totalCount": found.len(), "limit": limit});
    if context.sandbox {
        meta["nextCursor"] = json!(write_cursor(context.seed, &parameters, limit, from, 0));
    } else if next < found.len() {
        meta["nextCursor"] = json!(write_cursor(context.seed, &parameters, limit, from, next));
    }
    Ok(WalmartAnswer::json(200, json!({"list": {"meta": meta, "elements": {"order": rows}}})))
}

fn invalid(description: &str) -> WalmartAnswer {
    shown::error(400, "INVALID_REQUEST", "ERROR", description, description)
}

fn read_query(query: &str) -> Parameters {
    url::form_urlencoded::parse(query.as_bytes())
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect()
}

/// The value of a parameter, if it is there and not empty.
pub(crate) fn query_value(query: &str, name: &str) -> Option<String> {
    let found = url::form_urlencoded::parse(query.as_bytes()).find(|(known, value)| known == name && !value.is_empty());
    found.map(|(_, value)| value.into_owned())
}

/// A time without milliseconds, or a day.
fn time(parameters: &Parameters, name: &str) -> Result<Option<Timestamp>, WalmartAnswer> {
    let Some(text) = parameters.get(name) else { return Ok(None) };
    let day = || text.parse::<Date>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|day| day.timestamp());
    let time = match text.len() {
        10 => day(),
        20 => text.parse().ok(),
        _ => None,
    };
    time.map(Some).ok_or_else(|| invalid("Invalid Date format"))
}

/// A cursor holds the whole search. Its dates have raw colons and its seal raw `+` and `=`, which a decoder would change.
fn write_cursor(seed: u64, parameters: &Parameters, limit: usize, from: Timestamp, offset: usize) -> String {
    let from = from.strftime("%Y-%m-%dT%H:%M:%SZ");
    let mut cursor = format!("?limit={limit}&hasMoreElements=true&soIndex={offset}&createdStartDate={from}");
    for (name, value) in parameters {
        if !["limit", "hasMoreElements", "soIndex", "createdStartDate", "seal"].contains(&name.as_str()) {
            let value = percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC);
            cursor += &format!("&{name}={value}");
        }
    }
    let seal = ids::uuid(seed, &["cursor", &cursor]);
    cursor + &format!("&seal={}+{}==", &seal[..8], &seal[9..13])
}

/// Reads a query that is a cursor of [`write_cursor`], byte for byte.
fn read_cursor(seed: u64, query: &str) -> Option<(Parameters, usize)> {
    let mut parameters = Parameters::new();
    for (name, value) in query.split('&').filter_map(|part| part.split_once('=')) {
        parameters.insert(name.to_owned(), percent_decode_str(value).decode_utf8().ok()?.into_owned());
    }
    let offset = parameters.get("soIndex")?.parse().ok()?;
    let (limit, from) = (parameters.get("limit")?.parse().ok()?, parameters.get("createdStartDate")?.parse().ok()?);
    let written = write_cursor(seed, &parameters, limit, from, offset);
    (written.strip_prefix('?') == Some(query)).then_some((parameters, offset))
}
