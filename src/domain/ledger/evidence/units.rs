//! The units of lines by state, in the two forms of Walmart's answers.

use super::NoEvidence;
use super::json::{JsonScalar, objects};
use super::order::{LineRow, OrderRow, StateRow, amount};
use crate::pb::{CancelItem, Cancellation};

/// How the lines of a cancellation are matched with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineScope {
    /// Every line by its seller line id.
    ByLine,
    /// No line shows an id, and the cancellation names as many lines as the order has: all lines.
    WholeOrder,
}

impl LineScope {
    pub(super) fn of(batch: &Cancellation, orders: &[&OrderRow]) -> Result<Self, NoEvidence> {
        if orders.iter().flat_map(|order| order.lines()).any(|line| line.id().is_some()) {
            return Ok(Self::ByLine);
        }
        let wanted = batch.order_items.len();
        let names_all = |order: &&OrderRow| lines_of(order).len() == wanted;
        if wanted > 0 && orders.iter().all(names_all) { Ok(Self::WholeOrder) } else { Err(NoEvidence::LinesNotTold) }
    }
}

/// Units by state. Floats with whole numbers add and compare exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct LineUnits {
    pub(super) all: f64,
    pub(super) cancelled: f64,
    /// Units neither cancelled nor shipped.
    pub(super) open: f64,
}

impl LineUnits {
    /// The units of a line, over all orders of the number. `None` when any order does not show the line, or does not
    /// show enough.
    pub(super) fn of_line(item: &CancelItem, orders: &[&OrderRow]) -> Option<Self> {
        let id = line_id(item).trim();
        if id.is_empty() {
            return None;
        }
        sum(orders.iter().map(|order| {
            let lines: Vec<&LineRow> =
                lines_of(order).into_iter().filter(|line| line.id().as_deref() == Some(id)).collect();
            Self::of_lines(&lines, wanted(item))
        }))
    }

    /// The units of all lines, over all orders of the number.
    pub(super) fn of_order(batch: &Cancellation, orders: &[&OrderRow]) -> Option<Self> {
        sum(orders.iter().map(|order| Self::of_lines(&lines_of(order), Self::wanted(batch))))
    }

    /// The units asked for by a cancellation.
    pub(super) fn wanted(batch: &Cancellation) -> Option<f64> {
        batch.order_items.iter().try_fold(0.0, |sum, item| Some(sum + wanted(item)?))
    }

    fn of_lines(lines: &[&LineRow], wanted: Option<f64>) -> Option<Self> {
        if lines.is_empty() {
            return None;
        }
        let has_states = |line: &&LineRow| objects(&line.states).next().is_some();
        let by_state = lines.iter().copied().filter(has_states).collect::<Vec<_>>();
        if !by_state.is_empty() {
            return sum(by_state.into_iter().flat_map(|line| objects(&line.states)).map(Self::of_state));
        }
        let whole = sum(lines.iter().map(|line| Self::in_state(&line.line_status, amount(&line.qty)?)))?;
        // The sandbox form has one state for a whole line; a partial cancellation would not show.
        let may_hide_a_part = whole.cancelled < whole.all && wanted? < whole.all;
        (!may_hide_a_part).then_some(whole)
    }

    fn of_state(state: &StateRow) -> Option<Self> {
        Self::in_state(&state.status, amount(&state.units)?)
    }

    fn in_state(status: &Option<JsonScalar>, all: f64) -> Option<Self> {
        let status = status.as_ref()?.shown()?.to_ascii_uppercase();
        let words: Vec<&str> = status.split(|c: char| !c.is_ascii_alphanumeric()).collect();
        let has = |any: &[&str]| words.iter().any(|word| any.contains(word));
        if has(&["CANCELLED", "CANCELED"]) && !has(&["NOT", "CANNOT", "PARTIAL", "PARTIALLY"]) {
            Some(Self { all, cancelled: all, open: 0.0 })
        } else if status.contains("CANCEL") {
            // A cancellation that was requested, failed or was partial; the units cannot be told.
            None
        } else if ["SHIPPED", "DELIVERED"].contains(&status.as_str()) {
            Some(Self { all, ..Self::default() })
        } else {
            Some(Self { all, cancelled: 0.0, open: all })
        }
    }

    fn plus(self, other: Self) -> Self {
        Self { all: self.all + other.all, cancelled: self.cancelled + other.cancelled, open: self.open + other.open }
    }
}

fn sum(mut units: impl Iterator<Item = Option<LineUnits>>) -> Option<LineUnits> {
    units.try_fold(LineUnits::default(), |sum, more| Some(sum.plus(more?)))
}

/// The lines of an order in the production form, or else in the sandbox form.
fn lines_of(order: &OrderRow) -> Vec<&LineRow> {
    let production: Vec<&LineRow> = objects(&order.order_lines).collect();
    if production.is_empty() { objects(&order.order_items).collect() } else { production }
}

/// The units asked for by a line of a cancellation.
pub(super) fn wanted(item: &CancelItem) -> Option<f64> {
    item.qty.as_ref()?.measurement_value.filter(|units| units.is_finite() && *units >= 0.0)
}

/// The seller's id of a line; empty when missing.
pub(super) fn line_id(item: &CancelItem) -> &str {
    item.seller_line_id.as_deref().unwrap_or_default()
}
