//! The orders of the initial state, and those that a simulation makes.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::json;

use super::book::{SellerBook, SellerLine, SellerOrder, SellerParcel};

/// Most orders, lines and units that a simulation makes at once.
const MAX_ORDERS: u32 = 20_000;
const MAX_LINES: u32 = 1_000;
const MAX_UNITS: u64 = 1_000_000;

/// What `POST /v1/simulations/orders` makes. The fields are the emulator's own.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(crate) struct SellerOrderWish {
    /// The number, of the first order.
    purchase_order_id: Option<String>,
    /// Number of orders, each a minute older than the one before.
    count: u32,
    /// Lines of each order.
    lines: u32,
    /// Units of each line.
    units: u64,
    sku: String,
    /// `Created`, `Acknowledged`, `Shipped` or `Delivered`.
    status: String,
    /// The line that the customer wants cancelled.
    intent: Option<String>,
    ship_node_type: String,
}

impl Default for SellerOrderWish {
    fn default() -> Self {
        Self {
            purchase_order_id: None,
            count: 1,
            lines: 1,
            units: 1,
            sku: "MUG-RED-12".to_owned(),
            status: "Created".to_owned(),
            intent: None,
            ship_node_type: "SellerFulfilled".to_owned(),
        }
    }
}

/// The state of the units of a new order.
#[derive(Clone, Copy)]
enum Start {
    Created,
    Acknowledged,
    Shipped,
    Delivered,
}

/// Makes orders, and returns their numbers.
///
/// # Errors A line that says what is wrong with the wish.
pub(crate) fn simulate(
    book: &mut SellerBook,
    account: Option<&str>,
    wish: &SellerOrderWish,
    now: Timestamp,
) -> Result<Vec<String>, String> {
    let start = match wish.status.as_str() {
        "Created" => Start::Created,
        "Acknowledged" => Start::Acknowledged,
        "Shipped" => Start::Shipped,
        "Delivered" => Start::Delivered,
        _ => return Err("status: known are Created, Acknowledged, Shipped and Delivered".into()),
    };
    if !(1..=MAX_ORDERS).contains(&wish.count)
        || !(1..=MAX_LINES).contains(&wish.lines)
        || !(1..=MAX_UNITS).contains(&wish.units)
    {
        return Err(format!("count, lines, units: at most {MAX_ORDERS}, {MAX_LINES} and {MAX_UNITS}"));
    }
    let first: u64 = match &wish.purchase_order_id {
        Some(id) if wish.count > 1 => id.parse().map_err(|_| "purchaseOrderId: must be a number with count")?,
        _ => 1_800_000_000_001 + book.orders().len() as u64,
    };
    let mut numbers = Vec::new();
    for i in 0..u64::from(wish.count) {
        let number = match &wish.purchase_order_id {
            Some(id) if wish.count == 1 => id.clone(),
            _ => (first + i).to_string(),
        };
        let age = SignedDuration::from_mins(i64::try_from(i).unwrap_or_default());
        let created = now.saturating_sub(age).unwrap_or(now);
        let line = |n: u32| line(&n.to_string(), &wish.sku, wish.units, start, created);
        let mut order = SellerOrder {
            account: account.map(str::to_owned),
            ship_node_type: wish.ship_node_type.clone(),
            lines: (1..=wish.lines).map(line).collect(),
            ..order(&number, created)
        };
        order.lines.iter_mut().for_each(|line| line.intent = wish.intent.as_deref() == Some(&line.number));
        book.add(order);
        numbers.push(number);
    }
    Ok(numbers)
}

fn order(number: &str, created: Timestamp) -> SellerOrder {
    let later = |hours| created.saturating_add(SignedDuration::from_hours(hours)).unwrap_or(created);
    let digits: String = number.chars().filter(char::is_ascii_digit).collect();
    SellerOrder {
        account: None,
        purchase_order: number.to_owned(),
        customer_order: format!("57{:0>11}", &digits[digits.len().saturating_sub(11)..]),
        created,
        modified: created,
        ship_by: later(3 * 24),
        ship_node_type: "SellerFulfilled".to_owned(),
        lines: Vec::new(),
        earlier: Vec::new(),
    }
}

fn line(number: &str, sku: &str, units: u64, start: Start, now: Timestamp) -> SellerLine {
    let parcel = |delivered| SellerParcel {
        units,
        shipped: now,
        delivered,
        tracking_number: format!("1ZEMULATOR{number:0>4}"),
        tracking: json!({"shipDateTime": now.as_millisecond(), "carrierName": {"carrier": "UPS", "otherCarrier": null},
            "methodCode": "Standard", "trackingNumber": format!("1ZEMULATOR{number:0>4}"), "trackingURL": null}),
    };
    let (created, acknowledged, parcels) = match start {
        Start::Created => (units, 0, Vec::new()),
        Start::Acknowledged => (0, units, Vec::new()),
        Start::Shipped => (0, 0, vec![parcel(false)]),
        Start::Delivered => (0, 0, vec![parcel(true)]),
    };
    SellerLine {
        number: number.to_owned(),
        sku: sku.to_owned(),
        name: "Red mug".to_owned(),
        ordered: units,
        created,
        acknowledged,
        cancelled: Vec::new(),
        parcels,
        refunds: Vec::new(),
        refunded_units: 0,
        price_cents: 1250,
        shipping_cents: 499,
        intent: false,
        return_order_id: None,
    }
}

impl SellerBook {
    /// The initial state: an acknowledged order of two lines, a new one with an intent to cancel, a shipped one and a
    /// delivered one.
    pub(crate) fn seeded(now: Timestamp) -> Self {
        let mut book = Self::default();
        let hours_ago = |hours| now.saturating_sub(SignedDuration::from_hours(hours)).unwrap_or(now);
        for (number, hours, units, start, lines) in [
            ("1700000000001", 4, 3, Start::Acknowledged, 2),
            ("1700000000002", 3, 1, Start::Created, 1),
            ("1700000000003", 2, 2, Start::Shipped, 1),
            ("1700000000004", 1, 2, Start::Delivered, 1),
        ] {
            let mut order = SellerOrder { modified: now, ..order(number, hours_ago(hours)) };
            for at in 1..=lines {
                let sku = if at == 1 { "MUG-RED-12" } else { "MUG-BLUE-12" };
                let mut line = line(&at.to_string(), sku, units, start, hours_ago(hours));
                line.intent = number.ends_with('2');
                order.lines.push(line);
            }
            book.add(order);
        }
        book
    }

    /// Makes the order of a magic number when it is first named: acknowledged, two lines of three units.
    pub(crate) fn conjure(&mut self, account: &str, number: &str, now: Timestamp) {
        if number.starts_with("MAGIC-") && self.get(account, number).is_none() {
            let lines = (1..=2).map(|n| line(&n.to_string(), "MUG-RED-12", 3, Start::Acknowledged, now)).collect();
            self.add(SellerOrder { account: Some(account.to_owned()), lines, ..order(number, now) });
        }
    }
}
