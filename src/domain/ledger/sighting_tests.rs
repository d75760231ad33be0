//! What is seen in both forms of the status answer.

use prost::Message as _;

use super::Sighting::{Absent, Found, Unclear};
use super::*;
use crate::pb::OrderStatusLine;

const NUMBER: &str = "SO1";
const DONE: Sighting = Found { copies: 1 };

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

/// A line of the production form with its units in each state.
type Line<'a> = (&'a str, &'a [(&'a str, f64)]);

fn production(lines: &[Line<'_>]) -> OrderStatus {
    let part = |(status, units): &(&str, f64)| OrderLineQuantityInfo {
        status: (*status).into(),
        status_quantity: each(*units),
        ..Default::default()
    };
    let line = |(id, parts): &Line<'_>| OrderStatusLine {
        seller_line_id: (*id).into(),
        order_line_quantity_info: parts.iter().map(part).collect(),
        ..Default::default()
    };
    OrderStatus { seller_order_id: NUMBER.into(), order_lines: lines.iter().map(line).collect(), ..Default::default() }
}

/// Lines of the sandbox's form: id, units, state.
fn sandbox(lines: &[(&str, f64, &str)]) -> OrderStatus {
    let item = |(id, units, status): &(&str, f64, &str)| OrderStatusItem {
        seller_line_id: (*id).into(),
        qty: each(*units),
        line_status: (*status).into(),
        ..Default::default()
    };
    OrderStatus { order_number: NUMBER.into(), order_items: lines.iter().map(item).collect(), ..Default::default() }
}

fn numbered(seller: &str, sandbox: &str, customer: &str) -> OrderStatus {
    OrderStatus {
        seller_order_id: seller.into(),
        order_number: sandbox.into(),
        customer_order_no: customer.into(),
        ..Default::default()
    }
}

fn snapshot(lines: &[(&str, f64)]) -> Snapshot {
    let line = |(id, units): &(&str, f64)| SnapshotLine { seller_line_id: (*id).into(), cancelled: *units };
    Snapshot { lines: lines.iter().map(line).collect() }
}

#[test]
fn a_creation_is_found_by_any_name_of_its_number() {
    for (orders, expected) in [
        (vec![], Absent),
        (vec![numbered("SO1", "", "")], DONE),
        (vec![numbered("", "SO1", "")], DONE),
        (vec![numbered("", "", "SO1")], DONE),
        (vec![numbered("C-7", "", "SO1")], DONE),
        (vec![numbered("", "", "")], DONE),
        (vec![numbered("SO2", "", "")], Unclear),
        (vec![numbered("SO10", "", ""), numbered("so1", "", "")], Unclear),
        (vec![numbered("SO2", "", ""), numbered("SO1", "", "")], DONE),
        (vec![numbered("SO1", "", ""), numbered("", "SO1", "")], Found { copies: 2 }),
        (vec![numbered("SO1", "", ""), numbered("SO2", "", ""), numbered("", "", "")], Found { copies: 2 }),
    ] {
        assert_eq!(of_creation(NUMBER, &orders), expected, "{orders:?}");
    }
}

/// One line of two units of which all were open before; `now` is what became of it.
#[test]
fn a_line_is_compared_with_the_snapshot() {
    let none = snapshot(&[("1", 0.0)]);
    let one = snapshot(&[("1", 1.0)]);
    let two = snapshot(&[("1", 2.0)]);
    for (wanted, before, now, expected) in [
        (2.0, &none, &[("SOURCED", 2.0)][..], Absent),
        (2.0, &none, &[("SHIPPED", 2.0)], Absent),
        (2.0, &none, &[("CANCELLED", 2.0)], DONE),
        (2.0, &none, &[("canceled", 2.0)], DONE),
        (2.0, &none, &[("Line Cancelled By Seller", 1.0), ("CANCELED", 1.0)], DONE),
        (1.0, &none, &[("SOURCED", 1.0), ("CANCELLED", 1.0)], DONE),
        // More than was asked for: another cancellation as well.
        (1.0, &none, &[("SOURCED", 1.0), ("CANCELLED", 2.0)], DONE),
        // What shipped could not be cancelled.
        (2.0, &none, &[("SHIPPED", 1.0), ("CANCELLED", 1.0)], DONE),
        (2.0, &none, &[("delivered", 1.0), ("CANCELLED", 1.0)], DONE),
        // Something else could be cancelled, and was not.
        (2.0, &none, &[("SOURCED", 1.0), ("CANCELLED", 1.0)], Unclear),
        (2.0, &none, &[("UNSHIPPED", 1.0), ("CANCELLED", 1.0)], Unclear),
        (1.0, &one, &[("SOURCED", 1.0), ("CANCELLED", 1.0)], Absent),
        (1.0, &one, &[("CANCELLED", 2.0)], DONE),
        (1.0, &two, &[("CANCELLED", 2.0)], Absent),
        // Fewer than before: it is not to be trusted.
        (1.0, &two, &[("CANCELLED", 1.0), ("SHIPPED", 1.0)], Unclear),
    ] {
        let orders = [production(&[("1", now)])];
        assert_eq!(of_cancellation(&batch(&[("1", wanted)]), Some(before), &orders), expected, "{wanted} {now:?}");
    }
}

#[test]
fn a_line_without_a_snapshot_is_judged_by_itself() {
    let other = snapshot(&[("2", 0.0)]);
    for before in [None, Some(&other)] {
        for (wanted, now, expected) in [
            (2.0, &[("SOURCED", 2.0)][..], Absent),
            (2.0, &[("SHIPPED", 2.0)], Absent),
            (2.0, &[("CANCELLED", 2.0)], DONE),
            (1.0, &[("CANCELLED", 1.0), ("Cancelled", 1.0)], DONE),
            (1.0, &[("SOURCED", 1.0), ("CANCELLED", 1.0)], Unclear),
            (2.0, &[("SHIPPED", 1.0), ("CANCELLED", 1.0)], Unclear),
        ] {
            let orders = [production(&[("1", now)])];
            assert_eq!(of_cancellation(&batch(&[("1", wanted)]), before, &orders), expected, "{wanted} {now:?}");
        }
    }
}

#[test]
fn one_line_that_shows_it_is_enough_and_an_absence_needs_all() {
    let open: &[(&str, f64)] = &[("SOURCED", 1.0)];
    let gone: &[(&str, f64)] = &[("CANCELLED", 1.0)];
    let before = snapshot(&[("1", 0.0), ("2", 0.0)]);
    for (lines, expected) in [
        (vec![("1", open), ("2", open)], Absent),
        (vec![("1", open), ("2", gone)], DONE),
        (vec![("2", gone)], DONE),
        (vec![("1", open)], Unclear),
        (vec![("1", open), ("", open)], Unclear),
        (vec![("1", open), ("3", gone)], Unclear),
        (vec![("1", open), ("2", &[][..])], Unclear),
        (vec![], Unclear),
        // One line in two parts.
        (vec![("1", open), ("2", open), ("2", gone)], DONE),
        (vec![("1", open), ("2", open), ("2", open)], Absent),
    ] {
        let orders = [production(&lines)];
        assert_eq!(of_cancellation(&batch(&[("1", 1.0), ("2", 1.0)]), Some(&before), &orders), expected, "{lines:?}");
    }
}

#[test]
fn an_answer_without_the_order_says_so_or_says_nothing() {
    let wanted = batch(&[("1", 1.0)]);
    let before = snapshot(&[("1", 0.0)]);
    let other = OrderStatus { seller_order_id: "SO2".into(), ..production(&[("1", &[("CANCELLED", 1.0)])]) };
    assert_eq!(of_cancellation(&wanted, Some(&before), &[]), Absent);
    assert_eq!(of_cancellation(&wanted, Some(&before), &[other]), Unclear);
    let unnumbered = OrderStatus { seller_order_id: String::new(), ..production(&[("1", &[("CANCELLED", 1.0)])]) };
    assert_eq!(of_cancellation(&wanted, Some(&before), &[unnumbered]), DONE);
}

#[test]
fn what_the_answer_leaves_out_is_not_guessed() {
    let wanted = batch(&[("1", 1.0)]);
    let before = snapshot(&[("1", 0.0)]);
    let with = |quantity: Option<Quantity>, status: &str| {
        let mut order = production(&[("1", &[("SOURCED", 1.0), ("CANCELLED", 1.0)])]);
        let part = &mut order.order_lines[0].order_line_quantity_info[1];
        (part.status_quantity, part.status) = (quantity, status.into());
        of_cancellation(&wanted, Some(&before), &[order])
    };
    assert_eq!(with(each(1.0), "CANCELLED"), DONE);
    assert_eq!(with(None, "CANCELLED"), Unclear);
    assert_eq!(with(Some(Quantity::default()), "CANCELLED"), Unclear);
    assert_eq!(with(each(f64::NAN), "CANCELLED"), Unclear);
    assert_eq!(with(each(f64::INFINITY), "CANCELLED"), Unclear);
    assert_eq!(with(each(-1.0), "SOURCED"), Unclear);
    assert_eq!(with(each(1.0), ""), Unclear);
    assert_eq!(with(each(0.0), "CANCELLED"), Absent);

    let nameless = Cancellation { order_items: vec![CancelItem::default()], ..wanted.clone() };
    let order = production(&[("", &[("CANCELLED", 1.0)])]);
    assert_eq!(of_cancellation(&nameless, None, std::slice::from_ref(&order)), Unclear);
    assert_eq!(Snapshot::of(&nameless, &[order]), None);
}

#[test]
fn in_the_sandbox_a_line_is_cancelled_wholly_or_it_does_not_show() {
    let none = snapshot(&[("1", 0.0)]);
    let two = snapshot(&[("1", 2.0)]);
    for (wanted, before, status, expected) in [
        (2.0, Some(&none), "PROCESSING", Absent),
        (2.0, None, "PROCESSING", Absent),
        (2.0, Some(&none), "CANCELLED", DONE),
        (1.0, Some(&none), "Canceled", DONE),
        (1.0, None, "CANCELLED", DONE),
        (2.0, Some(&two), "CANCELLED", Absent),
        // Half of it may be cancelled without a trace.
        (1.0, Some(&none), "PROCESSING", Unclear),
        (1.0, None, "SHIPPED", Unclear),
        (2.0, None, "", Unclear),
    ] {
        let orders = [sandbox(&[("1", 2.0, status)])];
        assert_eq!(of_cancellation(&batch(&[("1", wanted)]), before, &orders), expected, "{wanted} {status}");
    }
    let orders = [sandbox(&[("2", 2.0, "PROCESSING")])];
    assert_eq!(of_cancellation(&batch(&[("1", 2.0)]), Some(&none), &orders), Unclear);
}

/// Walmart cancels in one of them, and does not say in which.
#[test]
fn units_of_several_orders_of_the_number_are_added() {
    let open: &[(&str, f64)] = &[("SOURCED", 2.0)];
    let half: &[(&str, f64)] = &[("SOURCED", 1.0), ("CANCELLED", 1.0)];
    let gone: &[(&str, f64)] = &[("CANCELLED", 2.0)];
    let [none, two] = [0.0, 2.0].map(|units| snapshot(&[("1", units)]));
    for (before, first, second, expected) in [
        (Some(&none), open, open, Absent),
        (Some(&none), open, gone, DONE),
        (Some(&none), half, half, DONE),
        (Some(&none), open, half, Unclear),
        (Some(&two), open, gone, Absent),
        (Some(&two), gone, open, Absent),
        (Some(&two), gone, gone, DONE),
        (None, open, open, Absent),
        (None, gone, open, Unclear),
        (None, gone, gone, DONE),
        // The second does not show the line.
        (Some(&none), gone, &[], Unclear),
    ] {
        let orders = [production(&[("1", first)]), production(&[("1", second)])];
        assert_eq!(of_cancellation(&batch(&[("1", 2.0)]), before, &orders), expected, "{first:?} {second:?}");
    }
}

#[test]
fn a_snapshot_has_the_lines_that_can_be_read() {
    let wanted = batch(&[("1", 1.0), ("2", 1.0), ("3", 2.0)]);
    let half: &[(&str, f64)] = &[("SOURCED", 1.0), ("CANCELLED", 3.0)];
    let lines: &[Line<'_>] = &[("3", half), ("", half), ("1", &[("SOURCED", 1.0)]), ("9", half)];
    let order = production(lines);
    let taken = Snapshot::of(&wanted, &[order.clone(), order.clone()]).unwrap();
    assert_eq!(taken, snapshot(&[("1", 0.0), ("3", 6.0)]));
    assert_eq!(Snapshot::decode(taken.encode_to_vec().as_slice()).unwrap(), taken);

    let in_sandbox = sandbox(&[("1", 1.0, "PROCESSING"), ("2", 2.0, "CANCELLED"), ("3", 3.0, "PROCESSING")]);
    assert_eq!(Snapshot::of(&wanted, &[in_sandbox]), Some(snapshot(&[("1", 0.0), ("2", 2.0)])));

    let other = OrderStatus { seller_order_id: "SO2".into(), ..order };
    assert_eq!(Snapshot::of(&wanted, &[other]), None);
    assert_eq!(Snapshot::of(&wanted, &[]), None);
    assert_eq!(Snapshot::of(&wanted, &[production(&[("9", half)])]), None);
}
