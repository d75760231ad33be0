//! The worth of answers, form by form.

mod absences;
mod cancels;
mod cases;
mod presences;
mod properties;
mod returns;
mod searches;
mod seller_lines;
mod webhooks;

use serde_json::{Value, json};

use super::*;
use crate::domain::timestamp::Timestamp;
use crate::pb::{CancelItem, Cancellation, CreateOrderRequest, ItemDetail, Order, OrderItem, Quantity};

const NUMBER: &str = "SO-1";
const CHANNEL: &str = "CH-0001";
const SKU: &str = "SKU-1";
/// 2026-11-30T12:00:00Z: the caller says that the order was placed then, and the first attempt is made then.
const NOW: &str = "2026-11-30T12:00:00.000Z";
const SENT: Timestamp = Timestamp(1_796_040_000_000);

fn answer(http_status: u16, body: &Value) -> LookupAnswer {
    LookupAnswer { http_status, body: body.to_string().into() }
}

fn raw(http_status: u16, body: impl Into<bytes::Bytes>) -> LookupAnswer {
    LookupAnswer { http_status, body: body.into() }
}

/// An order with these lines: seller line id, SKU.
fn request(lines: &[(&str, &str)]) -> CreateOrderRequest {
    let item = |(id, sku): &(&str, &str)| OrderItem {
        seller_line_id: Some((*id).into()),
        item_detail: Some(ItemDetail { sku: Some((*sku).into()), ..Default::default() }),
        ..Default::default()
    };
    let order = Order {
        seller_order_id: Some(NUMBER.into()),
        order_channel_id: Some(CHANNEL.into()),
        order_placed_time: Some(NOW.into()),
        order_items: lines.iter().map(item).collect(),
        ..Default::default()
    };
    CreateOrderRequest { payload: Some(order), ..Default::default() }
}

fn expected() -> ExpectedOrder {
    ExpectedOrder::of_request(&request(&[("1", SKU)]), SENT).unwrap()
}

/// What a body is worth for the order with HTTP 200.
fn judged(body: &Value) -> Evidence {
    judge_create(&expected(), &answer(200, body))
}

/// The same for a list of these rows.
fn listed(rows: &Value) -> Evidence {
    judged(&json!({"status": "OK", "payload": rows}))
}

const PRESENT: Evidence = Evidence::Present(PresenceProof { copies: 1 });

fn absent_list() -> Evidence {
    Evidence::Absent(AbsenceProof::EmptyList)
}

fn not_found(code: &str) -> Evidence {
    Evidence::Absent(AbsenceProof::OrderServiceNotFound { code: code.into() })
}

fn each(units: f64) -> Option<Quantity> {
    Some(Quantity { unit_of_measure: Some("EACH".into()), measurement_value: Some(units) })
}

/// Lines to cancel, with their units.
fn batch(lines: &[(&str, f64)]) -> Cancellation {
    let item = |(id, units): &(&str, f64)| CancelItem { seller_line_id: Some((*id).into()), qty: each(*units) };
    Cancellation {
        seller_order_id: Some(NUMBER.into()),
        order_items: lines.iter().map(item).collect(),
        ..Default::default()
    }
}

fn snapshot(lines: &[(&str, f64)]) -> CancelSnapshot {
    let line = |(id, units): &(&str, f64)| SnapshotLine { seller_line_id: (*id).into(), cancelled: *units };
    CancelSnapshot { lines: lines.iter().map(line).collect() }
}

/// The value of an answer where no other call changes the order.
fn judge_cancel(batch: &Cancellation, snapshot: Option<&CancelSnapshot>, answer: &LookupAnswer) -> Evidence {
    super::judge_cancel(batch, snapshot, &OtherChanges::default(), answer)
}

#[test]
fn each_reason_has_a_text_of_its_own() {
    let texts: std::collections::HashSet<&str> = NoEvidence::ALL.iter().map(|reason| reason.text()).collect();
    assert_eq!(texts.len(), NoEvidence::ALL.len());
    assert_eq!(NoEvidence::PayloadNull.to_string(), "the look-up's payload is null");
}

#[test]
fn operators_find_each_reason_in_their_handbook() {
    let handbook = include_str!("../../../../../docs/OPERATIONS.md");
    for reason in NoEvidence::ALL {
        assert!(handbook.contains(reason.text()), "{reason}");
    }
    assert!(handbook.contains("another order has this number: different"));
}

#[test]
fn a_contradiction_names_fields_and_no_values() {
    let differs = Contradiction { channel: true, sku: true, ..Default::default() };
    assert_eq!(differs.to_string(), "another order has this number: different sales channel, SKU");
    let all = differs.and(Contradiction { order_date: true, lines: true, ..Default::default() });
    assert_eq!(all.to_string(), "another order has this number: different sales channel, order date, line ids, SKU");
    assert!(!Contradiction::default().is_any());
}
