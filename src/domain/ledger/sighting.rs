//! What a status answer of Walmart's says about a mutation whose answer was lost. Pure; for whoever asks Walmart.
//!
//! Both forms of the answer are read: production counts the units of a line by state, the sandbox gives a line one state.
//! Where an answer does not say enough the sighting is unclear: it never settles a doubt.

use super::evidence::SnapshotLine;
use crate::domain::order_number;
use crate::pb::{CancelItem, Cancellation, OrderLineQuantityInfo, OrderStatus, OrderStatusItem, Quantity};

pub use super::evidence::Snapshot;

/// What Walmart's orders say about a mutation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sighting {
    /// It was carried out.
    Found {
        /// How many orders of the number there are. Always 1 for a cancellation: units cancelled twice look like those of
        /// another cancellation.
        copies: usize,
    },
    /// It was not carried out, so far.
    Absent,
    /// It cannot be told.
    Unclear,
}

impl Snapshot {
    /// Of the lines that `batch` cancels, as Walmart listed them. `None` when none can be read.
    pub fn of(batch: &Cancellation, orders: &[OrderStatus]) -> Option<Self> {
        let copies = copies(order_number::of_cancellation(batch), orders);
        let read = |item| {
            let cancelled = Units::of(item, &copies)?.cancelled;
            Some(SnapshotLine { seller_line_id: line_id(item).to_owned(), cancelled })
        };
        Self::new(batch.order_items.iter().filter_map(read).collect())
    }
}

/// Of the orders that Walmart listed when asked for this order number. Orders of other numbers say nothing; one without
/// any number is what was asked for.
pub fn of_creation(order_number: &str, orders: &[OrderStatus]) -> Sighting {
    match copies(order_number, orders).len() {
        0 => of_no_order(orders),
        copies => Sighting::Found { copies },
    }
}

/// Of the cancellation that one upstream request asked for: `snapshot` was taken before it was sent, `orders` is what
/// Walmart lists now. Walmart cancels what can be cancelled of the lines, so one line that shows it is enough, and only
/// lines that all show nothing are an absence. Where there are several orders of the number their units are added:
/// Walmart cancels in one of them and does not say in which.
pub fn of_cancellation(batch: &Cancellation, snapshot: Option<&Snapshot>, orders: &[OrderStatus]) -> Sighting {
    let copies = copies(order_number::of_cancellation(batch), orders);
    if copies.is_empty() {
        return of_no_order(orders);
    }
    let lines: Vec<Sighting> = batch.order_items.iter().map(|item| of_line(item, snapshot, &copies)).collect();
    if let Some(found) = lines.iter().find(|line| matches!(line, Sighting::Found { .. })) {
        *found
    } else if lines.contains(&Sighting::Unclear) {
        Sighting::Unclear
    } else {
        Sighting::Absent
    }
}

/// Other orders than the one asked for say nothing about it.
fn of_no_order(orders: &[OrderStatus]) -> Sighting {
    if orders.is_empty() { Sighting::Absent } else { Sighting::Unclear }
}

fn of_line(item: &CancelItem, snapshot: Option<&Snapshot>, copies: &[&OrderStatus]) -> Sighting {
    let (Some(now), Some(wanted)) = (Units::of(item, copies), units(item.qty.as_ref())) else {
        return Sighting::Unclear;
    };
    let before = snapshot.and_then(|snapshot| snapshot.cancelled(line_id(item)));
    let (unchanged, done) = match before {
        Some(before) => {
            let risen = now.cancelled - before;
            // What could not be cancelled has shipped, once nothing is open.
            (risen == 0.0, risen > 0.0 && (risen >= wanted || now.open == 0.0))
        }
        None => (now.cancelled == 0.0, now.cancelled == now.all),
    };
    if unchanged {
        Sighting::Absent
    } else if done {
        Sighting::Found { copies: 1 }
    } else {
        Sighting::Unclear
    }
}

/// Whether the order says that it has this number. For searches that were not for a number.
pub fn is_named(order: &OrderStatus, order_number: &str) -> bool {
    [&order.seller_order_id, &order.order_number, &order.customer_order_no]
        .into_iter()
        .any(|number| number == order_number)
}

/// The orders that were asked for.
fn copies<'a>(order_number: &str, orders: &'a [OrderStatus]) -> Vec<&'a OrderStatus> {
    orders.iter().filter(|order| may_be(order, order_number)).collect()
}

/// Whether it has this number, under any of its names; one without a number is what was asked for.
fn may_be(order: &OrderStatus, order_number: &str) -> bool {
    let numbers = [&order.seller_order_id, &order.order_number, &order.customer_order_no];
    let mut given = numbers.into_iter().filter(|number| !number.is_empty()).peekable();
    given.peek().is_none() || given.any(|number| number == order_number)
}

/// Units of a line. Whole numbers in a float, so they add and compare exactly.
#[derive(Clone, Copy, Default)]
struct Units {
    all: f64,
    cancelled: f64,
    /// Neither cancelled nor on their way.
    open: f64,
}

impl Units {
    /// Of a line, in all copies of the order together. `None` when a copy does not show it, or does not say enough.
    fn of(item: &CancelItem, copies: &[&OrderStatus]) -> Option<Self> {
        if copies.is_empty() || line_id(item).is_empty() {
            return None;
        }
        copies.iter().try_fold(Self::default(), |sum, order| Some(sum.plus(Self::of_order(item, order)?)))
    }

    fn of_order(item: &CancelItem, order: &OrderStatus) -> Option<Self> {
        let id = line_id(item);
        let lines = order.order_lines.iter().filter(|line| line.seller_line_id == id);
        let states: Vec<&OrderLineQuantityInfo> = lines.flat_map(|line| &line.order_line_quantity_info).collect();
        if !states.is_empty() {
            return states.into_iter().try_fold(Self::default(), |sum, part| {
                Some(sum.plus(Self::in_state(&part.status, units(part.status_quantity.as_ref())?)?))
            });
        }
        let mut items = order.order_items.iter().filter(|line| line.seller_line_id == id).peekable();
        items.peek()?;
        items.try_fold(Self::default(), |sum, line| Some(sum.plus(Self::of_sandbox(item, line)?)))
    }

    /// One state stands for the whole line, so a part that was cancelled does not show.
    fn of_sandbox(item: &CancelItem, line: &OrderStatusItem) -> Option<Self> {
        let all = units(line.qty.as_ref())?;
        if !is_cancelled(&line.line_status) && units(item.qty.as_ref())? < all {
            return None;
        }
        Self::in_state(&line.line_status, all)
    }

    fn in_state(status: &str, all: f64) -> Option<Self> {
        let gone = ["SHIPPED", "DELIVERED"].iter().any(|gone| status.eq_ignore_ascii_case(gone));
        match status {
            "" => None,
            _ if is_cancelled(status) => Some(Self { all, cancelled: all, open: 0.0 }),
            _ if gone => Some(Self { all, ..Self::default() }),
            _ => Some(Self { all, cancelled: 0.0, open: all }),
        }
    }

    fn plus(self, other: Self) -> Self {
        Self { all: self.all + other.all, cancelled: self.cancelled + other.cancelled, open: self.open + other.open }
    }
}

/// "CANCELLED", "Canceled", ...
fn is_cancelled(status: &str) -> bool {
    status.to_ascii_uppercase().contains("CANCEL")
}

fn line_id(item: &CancelItem) -> &str {
    item.seller_line_id.as_deref().unwrap_or_default()
}

fn units(quantity: Option<&Quantity>) -> Option<f64> {
    quantity?.measurement_value.filter(|units| units.is_finite() && *units >= 0.0)
}

#[cfg(test)]
#[path = "sighting_tests.rs"]
mod tests;
