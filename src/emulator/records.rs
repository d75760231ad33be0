//! What really happened at the emulator's Walmart, for tests in the same process: no lie, lag or fault reaches it.
//!
//! The control API tells the same as JSON (`GET orders`, `GET history`).

use std::collections::BTreeMap;
use std::sync::PoisonError;

use jiff::Timestamp;

use super::calls::CallEffect;
use super::faults::{FaultRules, Injector};
use super::world::Order;
use super::{Emulator, EmulatorState};

/// An order that exists.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderRecord {
    /// Client id of the account that placed it; none: it was there at the start and belongs to every account.
    pub account: Option<String>,
    /// `sellerOrderId`.
    pub number: String,
    /// `orderChannelId`.
    pub channel: String,
    /// When it was accepted, by the emulator's clock.
    pub accepted: Timestamp,
    /// Request id of the acceptance.
    pub request_id: String,
    /// Its lines, as sent.
    pub lines: Vec<LineRecord>,
}

/// A line of an order that exists.
#[derive(Clone, Debug, PartialEq)]
pub struct LineRecord {
    /// `sellerLineId`.
    pub id: String,
    /// Its SKU.
    pub sku: String,
    /// Units ordered.
    pub ordered: u64,
    /// Units of these that were cancelled.
    pub cancelled: u64,
    /// Units of these that were shipped.
    pub shipped: u64,
}

/// A create, cancel or status call that was received.
#[derive(Clone, Debug, PartialEq)]
pub struct CallRecord {
    /// When it was received whole, by the emulator's clock.
    pub time: Timestamp,
    /// `create`, `cancel` or `status`.
    pub operation: &'static str,
    /// Client id; none: the token was refused.
    pub account: Option<String>,
    /// Empty in searches.
    pub order_number: String,
    /// `WM_QOS.CORRELATION_ID`.
    pub correlation_id: String,
    /// What was executed.
    pub effect: CallEffect,
    /// What the caller was told; none: there was no answer.
    pub status: Option<u16>,
}

impl Emulator {
    /// All orders, oldest first.
    pub fn orders(&self) -> Vec<OrderRecord> {
        self.with_state(|state| state.world.orders().iter().map(OrderRecord::of).collect())
    }

    /// The orders of that number that the account has, oldest first. More than one is a duplicate.
    pub fn orders_numbered(&self, account: &str, number: &str) -> Vec<OrderRecord> {
        self.with_state(|state| {
            let found = state.world.numbered(number).filter(|order| order.account.as_deref() == Some(account));
            found.map(OrderRecord::of).collect()
        })
    }

    /// How many orders each account has of each number, `(account, number)`. Orders from the start are left out.
    pub fn order_counts(&self) -> BTreeMap<(String, String), usize> {
        self.with_state(|state| {
            let mut counts = BTreeMap::new();
            for order in state.world.orders() {
                if let Some(account) = &order.account {
                    *counts.entry((account.clone(), order.number.clone())).or_default() += 1;
                }
            }
            counts
        })
    }

    /// The create, cancel and status calls from the `first`-th on (0: all), in the order in which they were received. At
    /// most a million are kept.
    pub fn calls_from(&self, first: usize) -> Vec<CallRecord> {
        self.with_state(|state| state.journal.calls().get(first..).unwrap_or_default().to_vec())
    }

    /// Replaces all faults and lies; the counts of calls begin anew.
    pub fn set_faults(&self, faults: FaultRules) {
        self.with_state(|state| state.faults = Injector::new(faults, self.0.options.seed));
    }

    fn with_state<T>(&self, use_state: impl FnOnce(&mut EmulatorState) -> T) -> T {
        use_state(&mut self.0.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl OrderRecord {
    fn of(order: &Order) -> Self {
        let line = |line: &super::world::Line| LineRecord {
            id: line.id.clone(),
            sku: line.sku.clone(),
            ordered: line.ordered,
            cancelled: line.cancelled(),
            shipped: line.shipped(),
        };
        Self {
            account: order.account.clone(),
            number: order.number.clone(),
            channel: order.channel.clone(),
            accepted: order.accepted,
            request_id: order.request_id.clone(),
            lines: order.lines.iter().map(line).collect(),
        }
    }
}
