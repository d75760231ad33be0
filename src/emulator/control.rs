//! The control API under `/_emulator/v1`: tests and people inspect the emulator and change its state.
//!
//! The API needs no token, and is not disturbed, limited or recorded. Every answer is JSON; a request that cannot be
//! understood gets a 4xx with `{"error": "…"}`.

use http::Method;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use jiff::{SignedDuration, Timestamp};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::MAX_BODY;
use super::answer::WalmartAnswer;
use super::faults::{FaultRules, Injector};
use super::gate;
use super::intents::{IntentEnvelope, IntentRefusal, IntentRequest, MAX_COUNT};
use super::lies::{self, Lie};
use super::posting::{DeliveryProof, WEBHOOK_HEADER, WebhookTarget};
use super::requests::RequestFilter;
use super::world::{Line, Order, ShipRefused};
use super::{EmulatorShared, EmulatorState, webhooks};

/// Path prefix of the control API.
pub(crate) const PREFIX: &str = "/_emulator/v1/";
/// Largest stock of a SKU, in units.
const MAX_STOCK: u64 = 1_000_000_000_000;

/// Answers a control call. `path` is the part after [`PREFIX`].
pub(crate) fn answer(
    shared: &EmulatorShared,
    state: &mut EmulatorState,
    parts: &Parts,
    path: &str,
    body: &[u8],
) -> WalmartAnswer {
    if body.len() > MAX_BODY {
        return refuse(413, "the body is over 1 MiB");
    }
    let decoded: Result<Vec<String>, _> = path
        .split('/')
        .map(|segment| percent_decode_str(segment).decode_utf8().map(|text| text.into_owned()))
        .collect();
    let Ok(segments) = decoded else { return refuse(400, "the path is not UTF-8") };
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let put = parts.method == Method::PUT;
    let post = parts.method == Method::POST;
    let get = parts.method == Method::GET;
    let done = match segments.as_slice() {
        ["stock"] if get => Ok(json!({"stock": state.world.stock()})),
        ["stock", sku] if put && !sku.is_empty() => set_stock(state, sku, body),
        ["orders"] if get => Ok(orders(state)),
        ["orders", number] if get => order(state, number),
        ["orders", number, "lines", line, "ship"] if post => ship(shared, state, number, line, body),
        ["clock", "advance"] if post => advance(state, body),
        ["requests"] if get => filter(parts.uri.query()).map(|filter| state.journal.show(&filter)),
        ["history"] if get => filter(parts.uri.query()).map(|filter| state.journal.history(&filter)),
        ["faults"] if put => set_faults(shared, state, parts, body),
        ["lies"] if get => Ok(known_lies()),
        ["intents"] if get => Ok(json!({"webhook": webhook(state), "intents": state.intents.posted()})),
        ["intents"] if post => post_intents(shared, state, body),
        ["webhook"] if put => set_webhook(state, body),
        ["subscriptions"] if get => Ok(json!({"subscriptions": state.subscriptions.shown(state.clock.now())})),
        ["reset"] if post => Ok(reset(shared, state)),
        [
            "stock" | "orders" | "requests" | "history" | "faults" | "lies" | "reset" | "clock" | "intents" | "webhook"
            | "subscriptions",
            ..,
        ] => Err((404, format!("there is no {} {PREFIX}{path}; see docs/EMULATOR.md", parts.method))),
        _ => Err((
            404,
            "known are stock, orders, clock/advance, requests, history, faults, lies, intents, webhook, subscriptions \
             and reset; see docs/EMULATOR.md"
                .into(),
        )),
    };
    done.map_or_else(|(status, text)| refuse(status, &text), |value| WalmartAnswer::json(200, value))
}

type ControlResult = Result<Value, (u16, String)>;

fn refuse(status: u16, text: &str) -> WalmartAnswer {
    WalmartAnswer::json(status, json!({"error": text}))
}

/// Parses a JSON body; an empty body counts as `{}`.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, (u16, String)> {
    let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| (400, format!("body: {error}")))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetStock {
    #[serde(rename = "availableToSellUnits", alias = "available_to_sell_units", alias = "available", alias = "units")]
    units: u64,
}

fn set_stock(state: &mut EmulatorState, sku: &str, body: &[u8]) -> ControlResult {
    let units = match serde_json::from_slice::<u64>(body) {
        Ok(units) => units,
        Err(_) => read::<SetStock>(body)?.units,
    };
    if units > MAX_STOCK {
        return Err((400, format!("body: at most {MAX_STOCK} units")));
    }
    state.world.set_stock(sku, units);
    Ok(json!({"sku": sku, "availableToSellUnits": units}))
}

fn orders(state: &EmulatorState) -> Value {
    let now = state.clock.now();
    let all: Vec<Value> = state.world.orders().iter().map(|order| show(order, now)).collect();
    json!({"total": all.len(), "duplicates": state.world.duplicates(), "orders": all})
}

fn order(state: &EmulatorState, number: &str) -> ControlResult {
    let now = state.clock.now();
    let found: Vec<Value> = state.world.numbered(number).map(|order| show(order, now)).collect();
    if found.is_empty() {
        return Err((404, format!("no order {number}")));
    }
    Ok(json!({"order_number": number, "total": found.len(), "orders": found}))
}

fn show(order: &Order, now: Timestamp) -> Value {
    let line = |line: &Line| {
        let parcels: Vec<Value> = line
            .parcels
            .iter()
            .map(|p| {
                json!({"quantity": p.quantity, "shipped": p.shipped.to_string(), "carrier": p.carrier,
                "tracking_number": p.tracking, "shipment_number": p.shipment})
            })
            .collect();
        json!({"line_id": line.id, "sku": line.sku, "status": line.status(now), "ordered": line.ordered,
            "open": line.open(), "cancelled": line.cancelled(), "shipped": line.shipped(),
            "shipping_method": line.method, "parcels": parcels})
    };
    let lines: Vec<Value> = order.lines.iter().map(line).collect();
    json!({"order_number": order.number, "account": order.account, "channel": order.channel,
        "accepted": order.accepted.to_string(), "status": order.status(now), "request_id": order.request_id,
        "email": order.email, "lines": lines})
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ShipRequest {
    quantity: Option<u64>,
    carrier: Option<String>,
    tracking_number: Option<String>,
}

fn ship(shared: &EmulatorShared, state: &mut EmulatorState, number: &str, line: &str, body: &[u8]) -> ControlResult {
    let ship: ShipRequest = read(body)?;
    let carrier = ship.carrier.as_deref().unwrap_or("FedEx");
    let now = state.clock.now();
    let shipped = state.world.ship(number, line, ship.quantity, carrier, ship.tracking_number.as_deref(), now);
    shipped.map_err(|why| match why {
        ShipRefused::UnknownOrder => (404, format!("no order {number}")),
        ShipRefused::UnknownLine => (404, format!("order {number} has no line {line}")),
        ShipRefused::NotSoManyOpen(open) => (409, format!("line {line} of order {number} has {open} open units")),
    })?;
    let events: Vec<_> = state.world.numbered(number).flat_map(webhooks::shipped).collect();
    state.post_events(shared.options.seed, &events);
    order(state, number)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AdvanceRequest {
    #[serde(alias = "duration")]
    by: Option<String>,
    seconds: Option<i64>,
}

fn advance(state: &mut EmulatorState, body: &[u8]) -> ControlResult {
    let by = match read::<AdvanceRequest>(body)? {
        AdvanceRequest { by: Some(text), seconds: None } => text
            .parse::<SignedDuration>()
            .map_err(|_| (400, "by: must be a duration such as \"61m\" or \"1h 30m\"".to_owned()))?,
        AdvanceRequest { by: None, seconds: Some(seconds) } => SignedDuration::from_secs(seconds),
        _ => return Err((400, "body: one of by (\"61m\") and seconds (3660) is needed".into())),
    };
    let now = state.clock.advance(by).map_err(|why| (400, format!("by: {why}")))?;
    Ok(json!({"now": now.to_string()}))
}

fn filter(query: Option<&str>) -> Result<RequestFilter, (u16, String)> {
    let mut filter = RequestFilter::default();
    for (key, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        let slot = match key.as_ref() {
            "operation" => &mut filter.operation,
            "order_number" => &mut filter.order_number,
            "correlation_id" => &mut filter.correlation_id,
            _ => return Err((400, format!("{key}: known are operation, order_number and correlation_id"))),
        };
        *slot = Some(value.into_owned());
    }
    Ok(filter)
}

/// Parses TOML, or the same keys as JSON if the content type says so. Replaces all rules, and resets the call counts.
fn set_faults(shared: &EmulatorShared, state: &mut EmulatorState, parts: &Parts, body: &[u8]) -> ControlResult {
    let text = std::str::from_utf8(body).map_err(|_| (400, "body: not UTF-8".to_owned()))?;
    let json = gate::text(&parts.headers, CONTENT_TYPE.as_str()).is_some_and(|sent| sent.contains("json"));
    let text = if json {
        let value: toml::Table = read(body)?;
        value.to_string()
    } else {
        text.to_owned()
    };
    let faults = FaultRules::parse(&text).map_err(|why| (400, format!("body: {why}")))?;
    let rules = faults.len();
    state.faults = Injector::new(faults, shared.options.seed);
    Ok(json!({"faults": rules}))
}

fn known_lies() -> Value {
    let lie = |lie: &Lie| json!({"lie": lie.name, "about": lie.about.words(), "tells": lie.does});
    json!({"lies": lies::all().map(lie).collect::<Vec<_>>()})
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PostIntents {
    order_number: Option<String>,
    purchase_order_id: Option<String>,
    line_id: Option<String>,
    event: Option<String>,
    count: Option<usize>,
    /// False for an intent whose webhook is missed.
    deliver: Option<bool>,
}

/// Answers at once; `GET intents` reports the results of the deliveries.
fn post_intents(shared: &EmulatorShared, state: &mut EmulatorState, body: &[u8]) -> ControlResult {
    let PostIntents { order_number, purchase_order_id, line_id, event, count, deliver } = read(body)?;
    let now = state.clock.now();
    let envelope = match event.as_deref() {
        None => None,
        Some("INTENT_TO_CANCEL") if webhooks::are_old_events_gone(now) => {
            return Err((400, "event: INTENT_TO_CANCEL is gone since 15 December 2026; use ORDER_UPDATES".into()));
        }
        Some("INTENT_TO_CANCEL") => Some(IntentEnvelope::Intent),
        Some("ORDER_UPDATES") => Some(IntentEnvelope::OrderUpdates),
        Some(_) => return Err((400, "event: known are INTENT_TO_CANCEL and ORDER_UPDATES".into())),
    };
    let count = count.unwrap_or(1);
    if !(1..=MAX_COUNT).contains(&count) {
        return Err((400, format!("count: must be 1 to {MAX_COUNT}")));
    }
    if order_number.as_deref().is_some_and(|number| state.seller.has(number)) {
        return Err((400, "order_number: is a purchase order; name it by purchase_order_id".into()));
    }
    let wish = IntentRequest { order_number, line_id, envelope, count };
    let made = match purchase_order_id {
        Some(number) if state.seller.has(&number) => {
            let order = state.seller.want_cancelled(&number, wish.line_id.as_deref(), now);
            let order = order.ok_or((409, "there is nothing left to cancel".to_owned()))?;
            if deliver == Some(false) {
                return Ok(json!({"event_ids": []}));
            }
            state.intents.make_about(order, &state.subscriptions, shared.options.seed, now, &wish)
        }
        Some(_) => return Err((404, "no order of that purchase_order_id".into())),
        None if deliver == Some(false) => return Err((400, "deliver: needs purchase_order_id".into())),
        None => state.make_intents(shared.options.seed, &wish),
    };
    let round = made.map_err(|why| match why {
        IntentRefusal::NoWebhook => (
            409,
            format!(
                "nobody is told: --webhook-url, PUT {PREFIX}webhook, or an ACTIVE subscription of intents is needed"
            ),
        ),
        IntentRefusal::NoOrder => (404, "no order of that number".into()),
        IntentRefusal::NoLine => (404, "the order has no line of that id".into()),
        IntentRefusal::NothingOpen => (409, "there is nothing left to cancel".into()),
    })?;
    let runtime = Handle::try_current().map_err(|_| (500, "nothing can be posted outside of a runtime".to_owned()))?;
    let ids: Vec<Value> = round.deliveries.iter().map(|one| one.event["source"]["eventId"].clone()).collect();
    runtime.spawn(round.post());
    Ok(json!({"event_ids": ids}))
}

fn webhook(state: &EmulatorState) -> Value {
    state.intents.webhook.as_ref().map_or(Value::Null, |webhook| webhook.url().as_str().into())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetWebhook {
    url: String,
    secret: String,
    header: Option<String>,
}

fn set_webhook(state: &mut EmulatorState, body: &[u8]) -> ControlResult {
    let SetWebhook { url, secret, header } = read(body)?;
    let header = header.as_deref().unwrap_or(WEBHOOK_HEADER).parse();
    let header = header.map_err(|_| (400, "header: must be the name of a header".to_owned()))?;
    let set =
        WebhookTarget::new(&url, DeliveryProof::Hmac { header, secret }).map_err(|why| (400, format!("url: {why}")))?;
    state.intents.webhook = Some(set);
    Ok(json!({"webhook": webhook(state)}))
}

/// Resets the state. Tokens stay valid, to spare clients a new sign-in.
fn reset(shared: &EmulatorShared, state: &mut EmulatorState) -> Value {
    let tokens = std::mem::take(&mut state.tokens);
    *state = EmulatorState { tokens, ..EmulatorState::new(&shared.options) };
    json!({"reset": true})
}
