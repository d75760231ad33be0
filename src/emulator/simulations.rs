//! Simulations under `/v1/simulations`, as in Walmart's dynamic sandbox: orders are made, delivered and returned without a
//! customer. They need no token, and are not disturbed, limited or recorded.

use std::collections::HashSet;

use http::Method;
use http::request::Parts;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::WalmartAnswer;
use super::seller::{EVERYBODY, SellerLine, SellerOrderWish, simulate};
use super::{EmulatorShared, EmulatorState, webhooks};

/// Path prefix of the simulations.
pub(crate) const PREFIX: &str = "/v1/simulations/";

/// Answers a simulation. `path` is the part after [`PREFIX`].
pub(crate) fn answer(
    shared: &EmulatorShared,
    state: &mut EmulatorState,
    parts: &Parts,
    path: &str,
    body: &[u8],
) -> WalmartAnswer {
    let segments: Vec<&str> = path.split('/').collect();
    let is_post = parts.method == Method::POST;
    let done = match segments.as_slice() {
        ["orders"] if is_post => orders(shared, state, body),
        [number, "deliver"] if is_post => deliver(state, number),
        ["returns"] if is_post => open_return(shared, state, body),
        ["returns"] if parts.method == Method::PUT => change_return(state, body),
        _ => Err((404, format!("there is no {} {PREFIX}{path}; see docs/EMULATOR.md", parts.method))),
    };
    match done {
        Ok(value) => WalmartAnswer::json(200, value),
        Err((status, text)) => WalmartAnswer::json(status, json!({"error": text})),
    }
}

type SimulationResult = Result<Value, (u16, String)>;

fn orders(shared: &EmulatorShared, state: &mut EmulatorState, body: &[u8]) -> SimulationResult {
    let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
    let wish: SellerOrderWish = serde_json::from_slice(body).map_err(|error| (400, format!("body: {error}")))?;
    let now = state.clock.now();
    // Visible to every account, as the orders of the initial state; but these age.
    let made = simulate(&mut state.seller, Some(EVERYBODY), &wish, now).map_err(|text| (400, text))?;
    let numbers: HashSet<&str> = made.iter().map(String::as_str).collect();
    let orders = state.seller.orders().iter().filter(|order| numbers.contains(order.purchase_order.as_str()));
    let events: Vec<_> = orders.flat_map(webhooks::new_order).collect();
    state.post_events(shared.options.seed, &events);
    Ok(json!({"purchaseOrderIds": made}))
}

/// What `POST /v1/simulations/returns` opens.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OpenReturn {
    purchase_order_id: String,
    line_number: Option<Value>,
    qty: Option<Value>,
    return_reason: Option<String>,
}

/// What `PUT /v1/simulations/returns` changes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChangeReturn {
    return_order_id: String,
    event_tag: String,
}

/// A number, or one as text.
fn number(value: Option<&Value>, default: u64) -> Option<u64> {
    match value {
        None => Some(default),
        Some(Value::String(text)) => text.parse().ok(),
        Some(value) => value.as_u64(),
    }
}

fn open_return(shared: &EmulatorShared, state: &mut EmulatorState, body: &[u8]) -> SimulationResult {
    let wish: OpenReturn = serde_json::from_slice(body).map_err(|error| (400, format!("body: {error}")))?;
    let line = number(wish.line_number.as_ref(), 1).and_then(|line| u32::try_from(line).ok());
    let (Some(line), Some(units)) = (line, number(wish.qty.as_ref(), 1).filter(|units| *units > 0)) else {
        return Err((400, "lineNumber and qty: must be numbers of at least 1".into()));
    };
    let order = state.seller.orders().iter().find(|order| order.purchase_order == wish.purchase_order_id);
    let order = order.ok_or((404, format!("no order {}", wish.purchase_order_id)))?;
    let shipped = order.lines.iter().find(|one| one.number == line.to_string()).map_or(0, SellerLine::shipped_units);
    if units > shipped {
        return Err((409, format!("line {line} has {shipped} shipped units")));
    }
    let id = (100_000_000_000_000_001 + state.market_returns.len() as u64).to_string();
    let reason = wish.return_reason.as_deref().unwrap_or("DAMAGED");
    let customer_order = order.customer_order.clone();
    let now = state.clock.now();
    state.market_returns.open(&id, &customer_order, &wish.purchase_order_id, line, units, reason, now);
    let event = webhooks::return_opened(&id, &customer_order, &wish.purchase_order_id);
    state.post_events(shared.options.seed, &[event]);
    Ok(json!({"returnOrderId": id, "customerOrderId": customer_order}))
}

fn change_return(state: &mut EmulatorState, body: &[u8]) -> SimulationResult {
    let wish: ChangeReturn = serde_json::from_slice(body).map_err(|error| (400, format!("body: {error}")))?;
    let now = state.clock.now();
    if state.market_returns.set_event(&wish.return_order_id, &wish.event_tag, now) {
        Ok(json!({"returnOrderId": wish.return_order_id, "eventTag": wish.event_tag}))
    } else {
        Err((404, format!("no return {}", wish.return_order_id)))
    }
}

fn deliver(state: &mut EmulatorState, number: &str) -> SimulationResult {
    let now = state.clock.now();
    if state.seller.deliver(number, now) {
        Ok(json!({"purchaseOrderId": number, "status": "Delivered"}))
    } else {
        Err((404, format!("no order {number}")))
    }
}
