//! The true state of the emulator, for tests in the same process: without lies, lags and faults.
//!
//! The control API has the same as JSON (`GET orders`, `GET history`).

use std::collections::BTreeMap;
use std::sync::PoisonError;

use jiff::Timestamp;

use super::calls::CallEffect;
use super::faults::{FaultRules, Injector};
use super::world::Order;
use super::{Emulator, EmulatorState};

/// An order in the order book.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderRecord {
    /// Client id of the account that placed the order; `None` for an order of the initial state, which belongs to every
    /// account.
    pub account: Option<String>,
    /// The number in `sellerOrderId`.
    pub number: String,
    /// The channel in `orderChannelId`.
    pub channel: String,
    /// Time of acceptance, by the emulator's clock.
    pub accepted: Timestamp,
    /// Request id of the acceptance.
    pub request_id: String,
    /// The lines, as sent.
    pub lines: Vec<LineRecord>,
}

/// A line of an order.
#[derive(Clone, Debug, PartialEq)]
pub struct LineRecord {
    /// The id in `sellerLineId`.
    pub id: String,
    /// The SKU, as sent.
    pub sku: String,
    /// Units ordered in the line.
    pub ordered: u64,
    /// Units cancelled, of the ordered ones.
    pub cancelled: u64,
    /// Units shipped, of the ordered ones.
    pub shipped: u64,
}

/// A received create, cancel or status call.
#[derive(Clone, Debug, PartialEq)]
pub struct CallRecord {
    /// Time at which the whole request had arrived, by the emulator's clock.
    pub time: Timestamp,
    /// The name of the call, such as `create` or `ship`.
    pub operation: &'static str,
    /// Client id; `None` when the token was refused.
    pub account: Option<String>,
    /// The order number; empty for searches.
    pub order_number: String,
    /// The id in `WM_QOS.CORRELATION_ID`.
    pub correlation_id: String,
    /// The effect of the call.
    pub effect: CallEffect,
    /// The status sent; `None` when no answer was sent.
    pub status: Option<u16>,
}

impl Emulator {
    /// All orders, oldest first.
    pub fn orders(&self) -> Vec<OrderRecord> {
        self.with_state(|state| state.world.orders().iter().map(OrderRecord::of).collect())
    }

    /// The account's orders with this number, oldest first. More than one is a duplicate.
    pub fn orders_numbered(&self, account: &str, number: &str) -> Vec<OrderRecord> {
        self.with_state(|state| {
            let found = state.world.numbered(number).filter(|order| order.account.as_deref() == Some(account));
            found.map(OrderRecord::of).collect()
        })
    }

    /// Number of orders by account and order number, `(account, number)`. Orders of the initial state are left out.
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

    /// The create, cancel and status calls from position `first` on (0: all), in the order of arrival. At most a
    /// million are kept.
    pub fn calls_from(&self, first: usize) -> Vec<CallRecord> {
        self.with_state(|state| state.journal.calls().get(first..).unwrap_or_default().to_vec())
    }

    /// Walmart's id of the account's return of a Multichannel order with this id of the seller's.
    pub fn mcs_return_id(&self, account: &str, seller_id: &str) -> Option<String> {
        self.with_state(|state| state.mcs_returns.id_of(account, seller_id).map(str::to_owned))
    }

    /// Replaces all faults and lies, and resets the call counts.
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
