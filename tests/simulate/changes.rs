//! Changes of seller orders and returns: the objects that exist at Walmart from the beginning, and what callers want of them.
//!
//! Most changes are partial, so that Walmart carries them out again when they come again. Changes of one object differ in
//! size, and no sum of some is the size of another: what Walmart shows tells which of them were carried out.

use order_gateway::domain::operation::Operation;
use order_gateway::ports::random::Random;

use crate::draw::Draw as _;

/// Units of each line, and of each return.
pub(crate) const UNITS: u64 = 100;
/// The SKU of the lines of seller orders.
pub(crate) const SKU: &str = "SKU-SIMULATED";
/// More than any line has been charged for, in cents.
const TOO_MANY_CENTS: u64 = 100_000_000;

/// What exists at Walmart from the beginning.
#[derive(Clone, Debug, Default)]
pub(crate) enum Object {
    /// Nothing: the order has to be created.
    #[default]
    None,
    /// A seller order.
    SellerOrder { lines: u32, status: &'static str },
    /// A return of a marketplace order.
    Return,
    /// A delivered Multichannel order.
    Delivered,
}

/// One change, which several callers may ask for.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) kind: ChangeKind,
    pub(crate) request_id: Option<String>,
    /// Another change of the story has the same key, and other content.
    pub(crate) clashes: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum ChangeKind {
    /// Cancels so many units of each of the first lines.
    CancelLines { lines: u32, units: u64 },
    /// Ships units of the first line, each parcel with its tracking number.
    Ship { parcels: Vec<(String, u64)> },
    /// Refunds so many cents of each of the first lines; `None`: all.
    Refund { lines: u32, cents: Option<u64> },
    /// Refunds units of a return.
    RefundReturn { units: u64 },
    /// Opens a return of so many units, under this id of the seller's.
    OpenReturn { seller_id: String, units: u64 },
    /// Takes back the return with this id of the seller's.
    CancelReturn { seller_id: String },
}

impl ChangeKind {
    /// The call that makes the change.
    pub(crate) const fn operation(&self) -> Operation {
        match self {
            Self::CancelLines { .. } => Operation::CancelLines,
            Self::Ship { .. } => Operation::Ship,
            Self::Refund { .. } => Operation::Refund,
            Self::RefundReturn { .. } => Operation::ReturnRefund,
            Self::OpenReturn { .. } => Operation::McsReturnCreate,
            Self::CancelReturn { .. } => Operation::McsReturnCancel,
        }
    }

    /// Whether a call without an id joins an open one, and is a new call afterwards.
    pub(crate) const fn joins(&self) -> bool {
        matches!(self, Self::CancelLines { .. } | Self::CancelReturn { .. })
    }
}

/// An object, and what is to be changed of it.
#[derive(Debug, Default)]
pub(crate) struct Subject {
    pub(crate) object: Object,
    pub(crate) changes: Vec<Change>,
    /// Walmart refuses every change that comes again.
    pub(crate) guarded: bool,
}

/// The read that shows the outcome of a change.
pub(crate) const fn probe_of(operation: Operation) -> Operation {
    match operation {
        Operation::CancelLines | Operation::Ship | Operation::Refund => Operation::Order,
        Operation::ReturnRefund => Operation::Returns,
        Operation::McsReturnCreate | Operation::McsReturnCancel => Operation::McsReturns,
        _ => Operation::Status,
    }
}

/// Whether the change moves money, which no look-up may have sent again.
pub(crate) const fn is_money(operation: Operation) -> bool {
    matches!(operation, Operation::Refund | Operation::ReturnRefund)
}

/// Draws what happens to the object with this name.
pub(crate) fn draw(draw: &Random, name: &str) -> Subject {
    let mut subject = match draw.whole(0, 15) {
        0..=3 => cancelled_lines(draw),
        4..=6 => shipped(draw, name),
        7..=9 => refunded(draw),
        10..=11 => refunded_return(draw),
        12..=13 => opened_returns(draw, name),
        _ => all_of_one_order(draw, name),
    };
    // The same twice on purpose takes two ids. A parcel is shipped once.
    let is_alone = matches!(&*subject.changes, [Change { kind, .. }] if !matches!(kind, ChangeKind::Ship { .. }));
    if is_alone && !subject.guarded && draw.chance(0.25) {
        subject.changes.push(subject.changes[0].clone());
        for (at, change) in subject.changes.iter_mut().enumerate() {
            change.request_id = Some(format!("twice-{name}-{at}"));
        }
    } else {
        for (at, change) in subject.changes.iter_mut().enumerate() {
            change.request_id = (!change.clashes && draw.chance(0.4)).then(|| format!("{name}-{at}"));
        }
    }
    subject
}

fn changes(kinds: Vec<ChangeKind>) -> Vec<Change> {
    kinds.into_iter().map(|kind| Change { kind, request_id: None, clashes: false }).collect()
}

fn seller_order(lines: u32, status: &'static str) -> Object {
    Object::SellerOrder { lines, status }
}

fn cancelled_lines(draw: &Random) -> Subject {
    let lines = if draw.chance(0.04) { 120 } else { draw.whole(1, 2) as u32 };
    let cancel = |units| ChangeKind::CancelLines { lines, units };
    let guarded = draw.chance(0.3);
    let kinds = match draw.whole(0, 9) {
        _ if guarded => vec![cancel(UNITS)],
        // Walmart refuses it.
        0 => vec![cancel(UNITS + 1), cancel(1)],
        1..=4 => vec![cancel(1), cancel(2)],
        _ => vec![cancel(1)],
    };
    let status = *draw.one_of(&["Created", "Acknowledged"]);
    Subject { object: seller_order(lines, status), changes: changes(kinds), guarded }
}

fn shipped(draw: &Random, name: &str) -> Subject {
    let parcel = |at: u32, units| (format!("1Z-{name}-{at}"), units);
    let guarded = draw.chance(0.3);
    let ship = |parcels: Vec<(String, u64)>| ChangeKind::Ship { parcels };
    let kinds = match draw.whole(0, 9) {
        _ if guarded => vec![ship(vec![parcel(0, UNITS)])],
        0 => vec![ship(vec![parcel(0, UNITS + 1)]), ship(vec![parcel(1, 1)])],
        1..=2 => vec![ship(vec![parcel(0, 1), parcel(1, 2)]), ship(vec![parcel(2, 4)])],
        // Parcels of one line that differ in nothing but their tracking numbers.
        3..=6 => vec![ship(vec![parcel(0, 1)]), ship(vec![parcel(1, 1)])],
        7 => {
            let mut changes = changes(vec![ship(vec![parcel(0, 1)]), ship(vec![parcel(0, 2)])]);
            changes.iter_mut().for_each(|change| change.clashes = true);
            return Subject { object: seller_order(1, "Acknowledged"), changes, guarded };
        }
        _ => vec![ship(vec![parcel(0, 1)])],
    };
    Subject { object: seller_order(1, "Acknowledged"), changes: changes(kinds), guarded }
}

fn refunded(draw: &Random) -> Subject {
    let lines = draw.whole(1, 2) as u32;
    let refund = |cents| ChangeKind::Refund { lines, cents };
    let guarded = draw.chance(0.3);
    let kinds = match draw.whole(0, 9) {
        _ if guarded => vec![refund(None)],
        0 => vec![refund(Some(TOO_MANY_CENTS)), refund(Some(25))],
        1..=4 => vec![refund(Some(25)), refund(Some(50))],
        _ => vec![refund(Some(25))],
    };
    let status = *draw.one_of(&["Shipped", "Delivered"]);
    Subject { object: seller_order(lines, status), changes: changes(kinds), guarded }
}

fn refunded_return(draw: &Random) -> Subject {
    let refund = |units| ChangeKind::RefundReturn { units };
    let guarded = draw.chance(0.3);
    let kinds = match draw.whole(0, 9) {
        _ if guarded => vec![refund(UNITS)],
        0 => vec![refund(UNITS + 1), refund(1)],
        1..=4 => vec![refund(1), refund(2)],
        _ => vec![refund(1)],
    };
    Subject { object: Object::Return, changes: changes(kinds), guarded }
}

/// Walmart refuses an id of the seller's that comes again where it refuses used numbers, and nothing is taken back twice.
fn opened_returns(draw: &Random, name: &str) -> Subject {
    let open = |at: u32, units| ChangeKind::OpenReturn { seller_id: format!("R-{name}-{at}"), units };
    let cancel = |at: u32| ChangeKind::CancelReturn { seller_id: format!("R-{name}-{at}") };
    let guarded = true;
    let kinds = match draw.whole(0, 9) {
        0 => {
            let mut changes = changes(vec![open(0, 1), open(0, 2)]);
            changes.iter_mut().for_each(|change| change.clashes = true);
            return Subject { object: Object::Delivered, changes, guarded };
        }
        1 => vec![open(0, UNITS + 1), open(1, 1)],
        2..=3 => vec![open(0, 1), open(1, 1), cancel(0)],
        4..=6 => vec![open(0, 1), cancel(0)],
        _ => vec![open(0, 1)],
    };
    Subject { object: Object::Delivered, changes: changes(kinds), guarded }
}

fn all_of_one_order(draw: &Random, name: &str) -> Subject {
    let parcel = |at: u32, units| ChangeKind::Ship { parcels: vec![(format!("1Z-{name}-{at}"), units)] };
    let mut kinds = vec![parcel(0, 1), ChangeKind::CancelLines { lines: 1, units: 1 }, parcel(1, 2)];
    if draw.chance(0.6) {
        kinds.push(ChangeKind::Refund { lines: 1, cents: Some(25) });
        kinds.push(ChangeKind::CancelLines { lines: 1, units: 2 });
    }
    Subject { object: seller_order(1, "Acknowledged"), changes: changes(kinds), guarded: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_change_of_an_object_has_the_size_of_others_of_its_kind_together() {
        let random = Random::from_seed(1);
        for n in 0..2_000 {
            let Subject { changes, .. } = draw(&random, &n.to_string());
            let sizes = |of: fn(&ChangeKind) -> Option<u64>| {
                let ids: Vec<_> = changes.iter().filter_map(|change| change.request_id.as_deref()).collect();
                let twice = ids.iter().any(|id| id.starts_with("twice-"));
                let sizes: Vec<u64> = changes.iter().filter_map(|change| of(&change.kind)).collect();
                (sizes, twice)
            };
            let kinds: [fn(&ChangeKind) -> Option<u64>; 3] = [
                |kind| if let ChangeKind::CancelLines { units, .. } = kind { Some(*units) } else { None },
                |kind| if let ChangeKind::Refund { cents, .. } = kind { *cents } else { None },
                |kind| if let ChangeKind::RefundReturn { units } = kind { Some(*units) } else { None },
            ];
            for (sizes, twice) in kinds.map(sizes) {
                let mut sorted = sizes.clone();
                sorted.sort_unstable();
                sorted.dedup();
                assert_eq!(sorted.len() < sizes.len(), twice && !sizes.is_empty(), "{sizes:?}");
                assert!(sorted.len() < 3, "{sizes:?}");
            }
        }
    }

    #[test]
    fn every_kind_is_drawn_with_and_without_an_id() {
        let random = Random::from_seed(1);
        let mut drawn = std::collections::BTreeSet::new();
        for n in 0..500 {
            for change in draw(&random, &n.to_string()).changes {
                drawn.insert((change.kind.operation().name(), change.request_id.is_some()));
            }
        }
        assert_eq!(drawn.len(), 12, "{drawn:?}");
    }
}
