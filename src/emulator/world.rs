//! Orders and stock: the state that calls change. Pure: time is passed in, and HTTP is unknown.
//!
//! Invariants: the units ever stocked of a SKU are the available units plus the units in open and shipped lines; a line
//! never cancels and ships more than was ordered.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::DuplicatePolicy;

/// Longest age of a cancellable order. Source: seed 001, "60 minutes".
pub(crate) const CANCEL_WINDOW: SignedDuration = SignedDuration::from_mins(60);
/// Time from shipping to delivery of a line.
pub(crate) const TRANSIT: SignedDuration = SignedDuration::from_hours(72);

#[derive(Clone, Debug)]
pub(crate) struct Order {
    /// Client id of the account that placed the order; `None` for an order of the initial state, which belongs to every
    /// account.
    pub(crate) account: Option<String>,
    pub(crate) number: String,
    pub(crate) channel: String,
    pub(crate) accepted: Timestamp,
    /// `orderPlacedTime`, as sent.
    pub(crate) placed: String,
    pub(crate) buyer: String,
    pub(crate) email: String,
    pub(crate) request_id: String,
    pub(crate) lines: Vec<Line>,
}

/// A line of an order. `ordered` = open + shipped + cancelled.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Line {
    pub(crate) id: String,
    pub(crate) sku: String,
    pub(crate) description: String,
    pub(crate) method: String,
    pub(crate) address: Value,
    pub(crate) ordered: u64,
    pub(crate) cancellations: Vec<CancelledUnits>,
    pub(crate) parcels: Vec<ShippedParcel>,
}

/// Units of a line cancelled at the same time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct CancelledUnits {
    pub(crate) units: u64,
    pub(crate) time: Timestamp,
}

/// Units of a line shipped at the same time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ShippedParcel {
    pub(crate) quantity: u64,
    pub(crate) shipped: Timestamp,
    pub(crate) carrier: String,
    pub(crate) tracking: String,
    pub(crate) shipment: String,
}

impl Line {
    pub(crate) fn shipped(&self) -> u64 {
        self.parcels.iter().map(|p| p.quantity).sum()
    }

    pub(crate) fn cancelled(&self) -> u64 {
        self.cancellations.iter().map(|c| c.units).sum()
    }

    /// Units neither shipped nor cancelled.
    pub(crate) fn open(&self) -> u64 {
        self.ordered.saturating_sub(self.cancelled()).saturating_sub(self.shipped())
    }

    fn changed_after(&self, time: Timestamp) -> bool {
        self.cancellations.iter().any(|c| c.time > time) || self.parcels.iter().any(|p| p.shipped > time)
    }

    pub(crate) fn status(&self, now: Timestamp) -> &'static str {
        if self.open() > 0 {
            "PROCESSING"
        } else if self.parcels.is_empty() {
            "CANCELLED"
        } else if self.parcels.iter().all(|p| p.delivered(now)) {
            "DELIVERED"
        } else {
            "SHIPPED"
        }
    }
}

impl ShippedParcel {
    pub(crate) fn delivered(&self, now: Timestamp) -> bool {
        now.duration_since(self.shipped) >= TRANSIT
    }
}

impl Order {
    pub(crate) fn status(&self, now: Timestamp) -> &'static str {
        let has = |status: &str| self.lines.iter().any(|line| line.status(now) == status);
        ["PROCESSING", "SHIPPED", "DELIVERED"].into_iter().find(|status| has(status)).unwrap_or("CANCELLED")
    }

    pub(crate) fn visible_to(&self, account: &str) -> bool {
        self.account.as_deref().is_none_or(|owner| owner == account)
    }

    /// The order without the cancellations and shipments after `time`.
    pub(crate) fn with_changes_until(&self, time: Timestamp) -> Cow<'_, Self> {
        if !self.lines.iter().any(|line| line.changed_after(time)) {
            return Cow::Borrowed(self);
        }
        let mut earlier = self.clone();
        for line in &mut earlier.lines {
            line.cancellations.retain(|c| c.time <= time);
            line.parcels.retain(|p| p.shipped <= time);
        }
        Cow::Owned(earlier)
    }
}

/// The reason why an order was not placed.
#[derive(Debug, PartialEq)]
pub(crate) enum PlaceRefused {
    Duplicate,
    Short { sku: String, available: u64, wanted: u64 },
}

/// The reason why nothing was cancelled.
#[derive(Debug, PartialEq)]
pub(crate) enum CancelRefused {
    UnknownOrder,
    UnknownLine(String),
    MoreThanOrdered(String),
    WindowPassed,
    NothingOpen,
}

/// The reason why nothing was shipped.
#[derive(Debug, PartialEq)]
pub(crate) enum ShipRefused {
    UnknownOrder,
    UnknownLine,
    NotSoManyOpen(u64),
}

/// The stock and the order book.
#[derive(Debug, Default)]
pub(crate) struct World {
    stock: BTreeMap<String, u64>,
    orders: Vec<Order>,
    by_number: HashMap<String, Vec<usize>>,
    duplicates: u64,
    parcels: u64,
}

impl World {
    /// Units for sale; `None` for a SKU never stocked.
    pub(crate) fn available(&self, sku: &str) -> Option<u64> {
        self.stock.get(sku).copied()
    }

    pub(crate) fn set_stock(&mut self, sku: &str, units: u64) {
        self.stock.insert(sku.to_owned(), units);
    }

    pub(crate) fn stock(&self) -> &BTreeMap<String, u64> {
        &self.stock
    }

    /// All orders, oldest first.
    pub(crate) fn orders(&self) -> &[Order] {
        &self.orders
    }

    /// All orders with this number, oldest first: several when duplicates are accepted, or when accounts use the same
    /// number.
    pub(crate) fn numbered<'a>(&'a self, number: &str) -> impl Iterator<Item = &'a Order> + use<'a> {
        let positions = self.by_number.get(number).map(Vec::as_slice).unwrap_or_default();
        positions.iter().map(|&i| &self.orders[i])
    }

    /// Whether the account has an order with this number.
    pub(crate) fn is_used(&self, account: &str, number: &str) -> bool {
        self.numbered(number).any(|order| order.visible_to(account))
    }

    /// The number of accepted duplicates: orders whose number the account had used.
    pub(crate) fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Adds an order of the initial state, without taking stock.
    pub(crate) fn preload(&mut self, order: Order) {
        self.by_number.entry(order.number.clone()).or_default().push(self.orders.len());
        self.orders.push(order);
    }

    /// Orders of the initial state count as accepted just now until their first change: a session may be hours old when
    /// a call first names them.
    pub(crate) fn keep_fresh(&mut self, now: Timestamp) {
        let untouched = |order: &Order| order.lines.iter().all(|line| line.open() == line.ordered);
        // They come first; scanning all orders on every request would get slower with every order.
        let from_the_start = self.orders.iter_mut().take_while(|order| order.account.is_none());
        for order in from_the_start.filter(|order| untouched(order)) {
            order.accepted = now;
            order.placed = now.to_string();
        }
    }

    /// Places an order as a whole and takes all its units from stock, or changes nothing. Returns whether the order is
    /// a duplicate.
    pub(crate) fn place(&mut self, order: Order, duplicates: DuplicatePolicy) -> Result<bool, PlaceRefused> {
        let duplicate = self.is_used(order.account.as_deref().unwrap_or_default(), &order.number);
        if duplicate && duplicates == DuplicatePolicy::Refuse {
            return Err(PlaceRefused::Duplicate);
        }
        let mut wanted: BTreeMap<&str, u64> = BTreeMap::new();
        for line in &order.lines {
            let units = wanted.entry(&line.sku).or_default();
            *units = units.saturating_add(line.ordered);
        }
        for (&sku, &wanted) in &wanted {
            let available = self.available(sku).unwrap_or(0);
            if wanted > available {
                return Err(PlaceRefused::Short { sku: sku.to_owned(), available, wanted });
            }
        }
        for (sku, wanted) in wanted {
            if let Some(units) = self.stock.get_mut(sku) {
                *units -= wanted; // wanted <= available was checked above, under the same borrow
            }
        }
        self.duplicates += u64::from(duplicate);
        self.preload(order);
        Ok(duplicate)
    }

    /// Cancels the cancellable units of the requested lines and returns them to stock; shipped and cancelled units stay
    /// unchanged. Returns the units cancelled, at least 1. Among several orders with the number, the oldest with
    /// something to cancel is chosen.
    pub(crate) fn cancel(
        &mut self,
        account: &str,
        number: &str,
        wanted: &[(String, u64)],
        now: Timestamp,
    ) -> Result<u64, CancelRefused> {
        let positions = self.by_number.get(number).cloned().unwrap_or_default();
        let mut refused = CancelRefused::UnknownOrder;
        for position in positions {
            let order = &mut self.orders[position];
            if !order.visible_to(account) {
                continue;
            }
            match cancel_lines(order, wanted, now) {
                Ok(given_back) => {
                    for (sku, units) in &given_back {
                        let available = self.stock.entry(sku.clone()).or_default();
                        *available = available.saturating_add(*units);
                    }
                    return Ok(given_back.iter().map(|(_, units)| units).sum());
                }
                Err(why) => refused = why,
            }
        }
        Err(refused)
    }

    /// Ships the open units of a line, or `quantity` of them. Among several orders with the number, the oldest with
    /// open units is chosen.
    pub(crate) fn ship(
        &mut self,
        number: &str,
        line: &str,
        quantity: Option<u64>,
        carrier: &str,
        tracking: Option<&str>,
        now: Timestamp,
    ) -> Result<(), ShipRefused> {
        let positions = self.by_number.get(number).cloned().unwrap_or_default();
        let mut refused = ShipRefused::UnknownOrder;
        for position in positions {
            let Some(line) = self.orders[position].lines.iter_mut().find(|l| l.id == line) else {
                refused = ShipRefused::UnknownLine;
                continue;
            };
            let open = line.open();
            let quantity = quantity.unwrap_or(open);
            if quantity == 0 || quantity > open {
                refused = ShipRefused::NotSoManyOpen(open);
                continue;
            }
            self.parcels += 1;
            let serial = self.parcels;
            line.parcels.push(ShippedParcel {
                quantity,
                shipped: now,
                carrier: carrier.to_owned(),
                tracking: tracking.map_or_else(|| format!("TRACK{serial:08}"), str::to_owned),
                shipment: format!("SHIP{serial:08}"),
            });
            return Ok(());
        }
        Err(refused)
    }
}

fn cancel_lines(
    order: &mut Order,
    wanted: &[(String, u64)],
    now: Timestamp,
) -> Result<Vec<(String, u64)>, CancelRefused> {
    for (id, units) in wanted {
        let line = order.lines.iter().find(|l| &l.id == id);
        let line = line.ok_or_else(|| CancelRefused::UnknownLine(id.clone()))?;
        if *units > line.ordered {
            return Err(CancelRefused::MoreThanOrdered(id.clone()));
        }
    }
    if now.duration_since(order.accepted) > CANCEL_WINDOW {
        return Err(CancelRefused::WindowPassed);
    }
    let mut given_back = Vec::new();
    for (id, units) in wanted {
        for line in order.lines.iter_mut().filter(|l| &l.id == id) {
            let units = (*units).min(line.open());
            if units > 0 {
                line.cancellations.push(CancelledUnits { units, time: now });
            }
            given_back.push((line.sku.clone(), units));
        }
    }
    given_back.retain(|(_, units)| *units > 0);
    if given_back.is_empty() { Err(CancelRefused::NothingOpen) } else { Ok(given_back) }
}
