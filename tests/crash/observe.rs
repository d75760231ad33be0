//! What really happened: the orders that Walmart's side has, and every call that it received.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::emulator::Emulator;

/// An order number of an account.
pub(crate) type Key = (String, String);

/// Walmart's side at the end of a run.
#[derive(Default)]
pub(crate) struct Observed {
    /// The orders of each number, oldest first. More than one is a duplicate.
    pub orders: HashMap<Key, Vec<Order>>,
    /// The calls about each number, in the order in which they came.
    pub calls: HashMap<Key, Vec<Call>>,
}

/// An order that was created.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Order {
    /// None: it was there at the start.
    pub account: Option<String>,
    /// Its number.
    pub order_number: String,
    /// Its lines.
    pub lines: Vec<Line>,
}

/// A line of an order.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Line {
    /// Its id.
    pub line_id: String,
    /// Units ordered.
    pub ordered: u32,
    /// Units cancelled.
    pub cancelled: u32,
}

/// A call that was received.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Call {
    /// When it was received whole.
    #[serde(deserialize_with = "time")]
    pub time: Timestamp,
    /// "create", "cancel", "status", "ship", …
    pub operation: String,
    /// None: without a good token.
    pub account: Option<String>,
    /// Empty in searches.
    pub order_number: String,
    /// One for each operation of the ledger.
    pub correlation_id: String,
    /// What was executed: "NONE", "CREATED", "CREATED_AGAIN", "CANCELLED", "SHIPPED", "READ", …
    pub effect: String,
    /// What was answered; none when the connection was dropped.
    pub status: Option<u16>,
}

impl Call {
    /// Whether it changed anything.
    pub(crate) fn had_effect(&self) -> bool {
        !matches!(self.effect.as_str(), "NONE" | "READ")
    }

    /// Whether its answer says that it was not carried out and may be sent again at once.
    pub(crate) fn was_put_off(&self) -> bool {
        matches!(self.status, Some(401 | 423 | 429))
    }

    /// Whether its answer leaves open what became of it.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.status.is_none_or(|status| status >= 500 || (status >= 300 && self.had_effect()))
    }
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

#[derive(Deserialize)]
struct Orders {
    orders: Vec<Order>,
}

#[derive(Deserialize)]
struct History {
    left_out: u64,
    calls: Vec<Call>,
}

/// Asks the emulator.
pub(crate) async fn observe(emulator: &Emulator) -> Result<Observed, String> {
    let orders: Orders = serde_json::from_value(emulator.get("orders").await?).map_err(|error| error.to_string())?;
    let history: History = serde_json::from_value(emulator.get("history").await?).map_err(|error| error.to_string())?;
    if history.left_out > 0 {
        return Err(format!("the emulator could not keep {} calls", history.left_out));
    }
    let mut observed = Observed::default();
    for order in orders.orders {
        let Some(account) = order.account.clone() else { continue };
        observed.orders.entry((account, order.order_number.clone())).or_default().push(order);
    }
    for call in history.calls {
        // A call without an account was turned away at the door: it says nothing about the ledger.
        let Some(account) = call.account.clone() else { continue };
        observed.calls.entry((account, call.order_number.clone())).or_default().push(call);
    }
    Ok(observed)
}
