//! The seller's orders and their changes. Pure: time is passed in, and HTTP is unknown.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::charges::full_charges;
use crate::emulator::world::TRANSIT;

/// Time from the date to ship by until Walmart cancels what was not shipped.
const LATE: SignedDuration = SignedDuration::from_hours(4 * 24);
/// Age at which Walmart cancels what was not shipped.
const OLDEST: SignedDuration = SignedDuration::from_hours(30 * 24);

/// An order that the seller fulfills.
#[derive(Clone, Debug)]
pub(crate) struct SellerOrder {
    /// Client id of the account. `None` for an order of the initial state, and empty for a simulated one: both belong to
    /// every account.
    pub(crate) account: Option<String>,
    pub(crate) purchase_order: String,
    pub(crate) customer_order: String,
    pub(crate) created: Timestamp,
    pub(crate) modified: Timestamp,
    /// The time to ship by.
    pub(crate) ship_by: Timestamp,
    pub(crate) ship_node_type: String,
    pub(crate) lines: Vec<SellerLine>,
    /// The lines before each change, with the time of the change, for reads that lag.
    pub(crate) earlier: Vec<(Timestamp, Vec<SellerLine>)>,
}

/// A line of an order. `ordered` = created + acknowledged + cancelled + in parcels.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SellerLine {
    pub(crate) number: String,
    pub(crate) sku: String,
    pub(crate) name: String,
    pub(crate) ordered: u64,
    pub(crate) created: u64,
    pub(crate) acknowledged: u64,
    /// Units with the reason, one entry for each cancellation.
    pub(crate) cancelled: Vec<(String, u64)>,
    pub(crate) parcels: Vec<SellerParcel>,
    pub(crate) refunds: Vec<LineRefund>,
    /// Units in parcels that were refunded in full.
    pub(crate) refunded_units: u64,
    /// Price of a unit, in cents.
    pub(crate) price_cents: i64,
    /// Shipping of the line, in cents.
    pub(crate) shipping_cents: i64,
    /// Whether the customer wants the line cancelled.
    pub(crate) intent: bool,
    /// Number of the line's return.
    pub(crate) return_order_id: Option<String>,
}

/// Units shipped in one parcel.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SellerParcel {
    pub(crate) units: u64,
    pub(crate) shipped: Timestamp,
    /// Delivered before its time, by the simulation.
    pub(crate) delivered: bool,
    pub(crate) tracking_number: String,
    /// `trackingInfo` as sent.
    pub(crate) tracking: Value,
}

/// A refund of a line.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct LineRefund {
    pub(crate) id: String,
    pub(crate) comments: String,
    pub(crate) cents: i64,
    /// `refundCharges` as shown.
    pub(crate) charges: Value,
}

impl SellerParcel {
    pub(crate) fn is_delivered(&self, now: Timestamp) -> bool {
        self.delivered || now.duration_since(self.shipped) >= TRANSIT
    }
}

impl SellerLine {
    pub(crate) fn shipped_units(&self) -> u64 {
        self.parcels.iter().map(|parcel| parcel.units).sum()
    }

    pub(crate) fn open(&self) -> u64 {
        self.created + self.acknowledged
    }

    /// What was charged for the units in parcels and is not refunded yet, in cents.
    pub(crate) fn allowance(&self) -> i64 {
        let refunded: i64 = self.refunds.iter().map(|refund| refund.cents).sum();
        let shipped = i64::try_from(self.shipped_units()).unwrap_or(i64::MAX);
        if shipped == 0 {
            return 0;
        }
        self.price_cents.saturating_mul(shipped).saturating_add(self.shipping_cents).saturating_sub(refunded)
    }

    /// The first state that has units, for refusals.
    pub(crate) fn status(&self, now: Timestamp) -> &'static str {
        if self.created > 0 {
            "Created"
        } else if self.acknowledged > 0 {
            "Acknowledged"
        } else if self.parcels.is_empty() {
            "Cancelled"
        } else if self.parcels.iter().all(|parcel| parcel.is_delivered(now)) {
            "Delivered"
        } else {
            "Shipped"
        }
    }

    /// Whether any unit is in this state.
    pub(crate) fn has_status(&self, status: &str, now: Timestamp) -> bool {
        match status {
            "Created" => self.created > 0,
            "Acknowledged" => self.acknowledged > 0,
            "Cancelled" => !self.cancelled.is_empty(),
            "Shipped" => self.parcels.iter().any(|parcel| !parcel.is_delivered(now)),
            "Delivered" => self.parcels.iter().any(|parcel| parcel.is_delivered(now)),
            _ => false,
        }
    }

    fn cancel(&mut self, reason: &str, units: u64) {
        let from_created = units.min(self.created);
        self.created -= from_created;
        self.acknowledged = self.acknowledged.saturating_sub(units - from_created);
        self.cancelled.push((reason.to_owned(), units));
    }
}

/// Why a change was refused. Nothing was changed.
#[derive(Debug, PartialEq)]
pub(crate) enum ChangeRefused {
    UnknownOrder,
    UnknownLine(String),
    /// Some or all units are past the acknowledgement.
    HigherStatus,
    /// The line is in this state.
    InStatus(String, &'static str),
    OverShipped(String),
    NotSoMany(String),
    NotAcknowledged(String),
    WantsCancel(String),
    OverAllowance(String),
}

/// Units of a line to cancel.
#[derive(Debug)]
pub(crate) struct CancelWish {
    pub(crate) line: String,
    pub(crate) units: u64,
    pub(crate) reason: String,
}

/// Parcels of a line.
#[derive(Debug)]
pub(crate) struct ShipWish {
    pub(crate) line: String,
    pub(crate) overrides_intent: bool,
    pub(crate) parcels: Vec<SellerParcel>,
}

/// A refund of a line: of everything, or of these.
#[derive(Debug)]
pub(crate) struct RefundWish {
    pub(crate) line: String,
    pub(crate) in_full: bool,
    pub(crate) refunds: Vec<LineRefund>,
}

/// All of the seller's orders.
#[derive(Debug, Default)]
pub(crate) struct SellerBook {
    orders: Vec<SellerOrder>,
    by_number: HashMap<String, usize>,
    pub(super) refunds: u64,
}

impl SellerBook {
    /// Adds an order; an order of the same number is replaced.
    pub(crate) fn add(&mut self, order: SellerOrder) {
        if let Some(&at) = self.by_number.get(&order.purchase_order) {
            self.orders[at] = order;
            return;
        }
        self.by_number.insert(order.purchase_order.clone(), self.orders.len());
        self.orders.push(order);
    }

    /// All orders, oldest first.
    pub(crate) fn orders(&self) -> &[SellerOrder] {
        &self.orders
    }

    /// The account's order of this number.
    pub(crate) fn get(&self, account: &str, number: &str) -> Option<&SellerOrder> {
        let order = &self.orders[*self.by_number.get(number)?];
        order.is_visible_to(account).then_some(order)
    }

    /// Cancels what Walmart cancels by time.
    pub(crate) fn lapse(&mut self, now: Timestamp) {
        for order in &mut self.orders {
            let is_late = now.duration_since(order.ship_by) > LATE || now.duration_since(order.created) > OLDEST;
            if is_late && order.lines.iter().any(|line| line.open() > 0) {
                order.change(now, |lines| {
                    for line in lines.iter_mut().filter(|line| line.open() > 0) {
                        line.cancel("AUTO_CANCEL", line.open());
                    }
                });
            }
        }
    }

    /// Orders of the initial state are as old as at the start until their first change: a session may be hours old when a
    /// call first names them.
    pub(crate) fn keep_fresh(&mut self, now: Timestamp) {
        let from_the_start = self.orders.iter_mut().take_while(|order| order.account.is_none());
        for order in from_the_start.filter(|order| order.earlier.is_empty()) {
            let by = now.duration_since(order.modified);
            for time in [&mut order.created, &mut order.modified, &mut order.ship_by] {
                *time = time.saturating_add(by).unwrap_or(*time);
            }
            for parcel in order.lines.iter_mut().flat_map(|line| &mut line.parcels) {
                parcel.shipped = parcel.shipped.saturating_add(by).unwrap_or(parcel.shipped);
            }
        }
    }

    fn find(&mut self, account: &str, number: &str) -> Result<&mut SellerOrder, ChangeRefused> {
        let at = self.by_number.get(number).copied();
        let order = at.map(|at| &mut self.orders[at]).filter(|order| order.is_visible_to(account));
        order.ok_or(ChangeRefused::UnknownOrder)
    }

    /// Acknowledges the whole order. Repeating it is allowed until units are past it.
    pub(super) fn acknowledge(&mut self, account: &str, number: &str, now: Timestamp) -> Result<(), ChangeRefused> {
        let order = self.find(account, number)?;
        if order.lines.iter().any(|line| line.open() < line.ordered) {
            return Err(ChangeRefused::HigherStatus);
        }
        order.change(now, |lines| {
            for line in lines {
                line.acknowledged += std::mem::take(&mut line.created);
            }
        });
        Ok(())
    }

    /// Cancels units. One bad line changes nothing.
    pub(super) fn cancel(
        &mut self,
        account: &str,
        number: &str,
        wishes: &[CancelWish],
        now: Timestamp,
    ) -> Result<(), ChangeRefused> {
        let order = self.find(account, number)?;
        for wish in wishes {
            let line = order.line(&wish.line)?;
            if wish.units > line.ordered {
                return Err(ChangeRefused::NotSoMany(wish.line.clone()));
            }
            if wish.units > line.open() {
                return Err(ChangeRefused::InStatus(wish.line.clone(), line.status_past_open(now)));
            }
        }
        order.change(now, |lines| {
            for wish in wishes {
                for line in lines.iter_mut().filter(|line| line.number == wish.line) {
                    line.cancel(&wish.reason, wish.units.min(line.open()));
                }
            }
        });
        Ok(())
    }

    /// Ships parcels. One bad line changes nothing.
    pub(super) fn ship(
        &mut self,
        account: &str,
        number: &str,
        wishes: &[ShipWish],
        now: Timestamp,
    ) -> Result<(), ChangeRefused> {
        let order = self.find(account, number)?;
        for wish in wishes {
            let line = order.line(&wish.line)?;
            let units: u64 = wish.parcels.iter().map(|parcel| parcel.units).sum();
            if line.intent && !wish.overrides_intent {
                return Err(ChangeRefused::WantsCancel(wish.line.clone()));
            }
            if line.created > 0 {
                return Err(ChangeRefused::NotAcknowledged(wish.line.clone()));
            }
            if units > line.acknowledged {
                return Err(ChangeRefused::OverShipped(wish.line.clone()));
            }
        }
        order.change(now, |lines| {
            for wish in wishes {
                for line in lines.iter_mut().filter(|line| line.number == wish.line) {
                    for parcel in &wish.parcels {
                        line.acknowledged = line.acknowledged.saturating_sub(parcel.units);
                        line.parcels.push(parcel.clone());
                    }
                }
            }
        });
        Ok(())
    }

    /// Replaces the tracking of parcels by their present number.
    pub(super) fn correct(
        &mut self,
        account: &str,
        number: &str,
        corrections: &[(String, String, Value)],
        now: Timestamp,
    ) -> Result<(), ChangeRefused> {
        let order = self.find(account, number)?;
        for (line, present, _) in corrections {
            let found = order.line(line)?;
            if !found.parcels.iter().any(|parcel| parcel.tracking_number == *present) {
                return Err(ChangeRefused::InStatus(line.clone(), found.status(now)));
            }
        }
        order.change(now, |lines| {
            for (number, present, tracking) in corrections {
                let line = lines.iter_mut().filter(|line| line.number == *number);
                for parcel in line.flat_map(|line| &mut line.parcels).filter(|p| p.tracking_number == *present) {
                    parcel.tracking_number = tracking["trackingNumber"].as_str().unwrap_or_default().to_owned();
                    parcel.tracking = tracking.clone();
                }
            }
        });
        Ok(())
    }

    /// Refunds lines. One bad line changes nothing.
    pub(super) fn refund(
        &mut self,
        account: &str,
        number: &str,
        wishes: Vec<RefundWish>,
        now: Timestamp,
    ) -> Result<(), ChangeRefused> {
        let mut serial = self.refunds;
        let order = self.find(account, number)?;
        for wish in &wishes {
            let line = order.line(&wish.line)?;
            if line.parcels.is_empty() {
                return Err(ChangeRefused::InStatus(wish.line.clone(), line.status(now)));
            }
            let wanted = wish.refunds.iter().try_fold(0i64, |sum, refund| sum.checked_add(refund.cents));
            let allowance = line.allowance();
            if allowance <= 0 || (!wish.in_full && wanted.is_none_or(|wanted| wanted > allowance)) {
                return Err(ChangeRefused::OverAllowance(wish.line.clone()));
            }
        }
        order.change(now, |lines| {
            for wish in wishes {
                for line in lines.iter_mut().filter(|line| line.number == wish.line) {
                    if wish.in_full {
                        serial += 1;
                        let (id, cents) = (refund_id(serial), line.allowance());
                        line.refunded_units = line.shipped_units();
                        let (comments, charges) = (String::new(), full_charges(cents));
                        line.refunds.push(LineRefund { id, comments, cents, charges });
                        continue;
                    }
                    for refund in &wish.refunds {
                        serial += 1;
                        let id = if refund.id.is_empty() { refund_id(serial) } else { refund.id.clone() };
                        line.refunds.push(LineRefund { id, ..refund.clone() });
                    }
                }
            }
        });
        self.refunds = serial;
        Ok(())
    }

    /// Delivers all parcels of an order. Returns whether there is such an order.
    pub(crate) fn deliver(&mut self, number: &str, now: Timestamp) -> bool {
        let Some(&at) = self.by_number.get(number) else { return false };
        self.orders[at].change(now, |lines| {
            lines.iter_mut().flat_map(|line| &mut line.parcels).for_each(|parcel| parcel.delivered = true);
        });
        true
    }

    /// Whether there is an order of this number, whoever owns it.
    pub(crate) fn has(&self, number: &str) -> bool {
        self.by_number.contains_key(number)
    }

    /// Notes that the customer wants the open units of a line, or of all lines, cancelled. Returns the order; `None` when
    /// there is none, or nothing is open.
    pub(crate) fn want_cancelled(&mut self, number: &str, line: Option<&str>, now: Timestamp) -> Option<&SellerOrder> {
        let order = &mut self.orders[*self.by_number.get(number)?];
        let meant = |one: &SellerLine| line.is_none_or(|line| one.number == line) && one.open() > 0;
        if !order.lines.iter().any(meant) {
            return None;
        }
        order.change(now, |lines| {
            lines.iter_mut().filter(|line| meant(line)).for_each(|line| line.intent = true);
        });
        Some(order)
    }
}

fn refund_id(serial: u64) -> String {
    format!("RF{serial:08}")
}

impl SellerLine {
    /// The state that keeps units from being cancelled.
    fn status_past_open(&self, now: Timestamp) -> &'static str {
        let closed = Self { created: 0, acknowledged: 0, ..self.clone() };
        closed.status(now)
    }
}

impl SellerOrder {
    pub(crate) fn is_visible_to(&self, account: &str) -> bool {
        self.account.as_deref().is_none_or(|owner| owner.is_empty() || owner == account)
    }

    fn line(&self, number: &str) -> Result<&SellerLine, ChangeRefused> {
        let line = self.lines.iter().find(|line| line.number == number);
        line.ok_or_else(|| ChangeRefused::UnknownLine(number.to_owned()))
    }

    fn change(&mut self, now: Timestamp, change: impl FnOnce(&mut Vec<SellerLine>)) {
        let before = self.lines.clone();
        change(&mut self.lines);
        if before != self.lines {
            self.earlier.push((now, before));
            self.modified = now;
        }
    }

    /// The lines as they were at `time`.
    pub(crate) fn lines_at(&self, time: Timestamp) -> &[SellerLine] {
        let before = self.earlier.iter().find(|(changed, _)| *changed > time);
        before.map_or(&self.lines, |(_, lines)| lines)
    }
}
