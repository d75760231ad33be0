//! Simulations under `/v1/simulations`, as in Walmart's dynamic sandbox: orders are made, delivered and returned without a
//! customer. They need no token, and are not disturbed, limited or recorded.

use http::Method;
use http::request::Parts;
use serde_json::{Value, json};

use super::EmulatorState;
use super::answer::WalmartAnswer;
use super::seller::{SellerOrderWish, simulate};

/// Path prefix of the simulations.
pub(crate) const PREFIX: &str = "/v1/simulations/";

/// Answers a simulation. `path` is the part after [`PREFIX`].
pub(crate) fn answer(state: &mut EmulatorState, parts: &Parts, path: &str, body: &[u8]) -> WalmartAnswer {
    let segments: Vec<&str> = path.split('/').collect();
    let is_post = parts.method == Method::POST;
    let done = match segments.as_slice() {
        ["orders"] if is_post => orders(state, body),
        [number, "deliver"] if is_post => deliver(state, number),
        _ => Err((404, format!("there is no {} {PREFIX}{path}; see docs/EMULATOR.md", parts.method))),
    };
    match done {
        Ok(value) => WalmartAnswer::json(200, value),
        Err((status, text)) => WalmartAnswer::json(status, json!({"error": text})),
    }
}

type SimulationResult = Result<Value, (u16, String)>;

fn orders(state: &mut EmulatorState, body: &[u8]) -> SimulationResult {
    let body = if body.trim_ascii().is_empty() { b"{}" } else { body };
    let wish: SellerOrderWish = serde_json::from_slice(body).map_err(|error| (400, format!("body: {error}")))?;
    let now = state.clock.now();
    // Visible to every account, as the orders of the initial state; but these age.
    let made = simulate(&mut state.seller, Some(EVERYBODY), &wish, now).map_err(|text| (400, text))?;
    Ok(json!({"purchaseOrderIds": made}))
}

/// The account of simulated orders, which belong to every account.
pub(crate) const EVERYBODY: &str = "";

fn deliver(state: &mut EmulatorState, number: &str) -> SimulationResult {
    let now = state.clock.now();
    if state.seller.deliver(number, now) {
        Ok(json!({"purchaseOrderId": number, "status": "Delivered"}))
    } else {
        Err((404, format!("no order {number}")))
    }
}
