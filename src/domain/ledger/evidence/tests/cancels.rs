//! Cancelled units, with line ids and without.

use prost::Message as _;

use super::NoEvidence::{
    Errors, GatewayNotFound, HttpStatus, LinesNotTold, ListNotComplete, NotFoundNotAlone, NumberAlmostEqual,
    NumberMissing, NumberOther, OrderNotShown, OtherCalls, PartialSuccess, RowsNotOrders, StatusFailed, StatusUnknown,
    TotalsUnreadable, UnitsNotShown, UnitsUnclear,
};
use super::*;

const DONE: Evidence = Evidence::Present(PresenceProof { copies: 1 });
const OPEN: Evidence = Evidence::Absent(AbsenceProof::NothingCancelled);

fn nothing(reason: NoEvidence) -> Evidence {
    Evidence::Nothing(reason)
}

/// A line of the production form: id (none where it is empty), units by state.
type Line<'a> = (&'a str, &'a [(&'a str, f64)]);

fn production(lines: &[Line<'_>]) -> Value {
    let state = |(status, units): &(&str, f64)| json!({"status": status, "statusQuantity": {"unitOfMeasure": "EACH", "measurementValue": units}});
    let line = |(id, states): &Line<'_>| {
        let states: Vec<Value> = states.iter().map(state).collect();
        if id.is_empty() {
            json!({ "orderLineQuantityInfo": states })
        } else {
            json!({"sellerLineId": id, "orderLineQuantityInfo": states})
        }
    };
    json!({"sellerOrderId": NUMBER, "orderLines": lines.iter().map(line).collect::<Vec<_>>()})
}

/// Lines of the sandbox form: id, units, state.
fn sandbox(lines: &[(&str, f64, &str)]) -> Value {
    let line = |(id, units, status): &(&str, f64, &str)| {
        let qty = json!({ "measurementValue": units });
        if id.is_empty() {
            json!({"qty": qty, "lineStatus": status})
        } else {
            json!({"sellerLineId": id, "qty": qty, "lineStatus": status})
        }
    };
    json!({"orderNumber": NUMBER, "orderItems": lines.iter().map(line).collect::<Vec<_>>()})
}

fn whole(orders: &[Value]) -> LookupAnswer {
    answer(200, &json!({"status": "OK", "payload": orders}))
}

/// One line of two units of which all were open before; `now` is what became of it.
#[test]
fn a_line_is_compared_with_the_snapshot() {
    let [none, one, two] = [0.0, 1.0, 2.0].map(|units| snapshot(&[("1", units)]));
    for (wanted, before, now, right) in [
        (2.0, &none, &[("SOURCED", 2.0)][..], OPEN),
        (2.0, &none, &[("SHIPPED", 2.0)], OPEN),
        (2.0, &none, &[("CANCELLED", 2.0)], DONE),
        (2.0, &none, &[("canceled", 2.0)], DONE),
        (2.0, &none, &[("Line Cancelled By Seller", 1.0), ("CANCELED", 1.0)], DONE),
        (1.0, &none, &[("SOURCED", 1.0), ("CANCELLED", 1.0)], DONE),
        // More than was asked for: another cancellation as well.
        (1.0, &none, &[("SOURCED", 1.0), ("CANCELLED", 2.0)], DONE),
        // The rest shipped and could not be cancelled.
        (2.0, &none, &[("SHIPPED", 1.0), ("CANCELLED", 1.0)], DONE),
        (2.0, &none, &[("delivered", 1.0), ("CANCELLED", 1.0)], DONE),
        // The rest could be cancelled, and was not.
        (2.0, &none, &[("SOURCED", 1.0), ("CANCELLED", 1.0)], nothing(UnitsUnclear)),
        (2.0, &none, &[("UNSHIPPED", 1.0), ("CANCELLED", 1.0)], nothing(UnitsUnclear)),
        (1.0, &one, &[("SOURCED", 1.0), ("CANCELLED", 1.0)], OPEN),
        (1.0, &one, &[("CANCELLED", 2.0)], DONE),
        (1.0, &two, &[("CANCELLED", 2.0)], OPEN),
        // Fewer than before.
        (1.0, &two, &[("CANCELLED", 1.0), ("SHIPPED", 1.0)], nothing(UnitsUnclear)),
        // Asked for, refused or done in part: not said which units.
        (2.0, &none, &[("CANCEL_REQUESTED", 2.0)], nothing(UnitsNotShown)),
        (2.0, &none, &[("CANCELLATION_FAILED", 2.0)], nothing(UnitsNotShown)),
        (2.0, &none, &[("PARTIALLY_CANCELLED", 2.0)], nothing(UnitsNotShown)),
        (2.0, &none, &[("NOT CANCELLED", 2.0)], nothing(UnitsNotShown)),
    ] {
        let orders = [production(&[("1", now)])];
        let judged = judge_cancel(&batch(&[("1", wanted)]), Some(before), &whole(&orders));
        assert_eq!(judged, right, "{wanted} {now:?}");
        // The sums of an order's only line say the same.
        let orders = [production(&[("", now)])];
        let before = snapshot(&[("", before.lines[0].cancelled)]);
        assert_eq!(judge_cancel(&batch(&[("1", wanted)]), Some(&before), &whole(&orders)), right, "{wanted} {now:?}");
    }
}

#[test]
fn a_line_without_a_snapshot_is_judged_by_itself() {
    let other = snapshot(&[("2", 0.0)]);
    for before in [None, Some(&other)] {
        for (wanted, now, right) in [
            (2.0, &[("SOURCED", 2.0)][..], OPEN),
            (2.0, &[("SHIPPED", 2.0)], OPEN),
            (2.0, &[("CANCELLED", 2.0)], DONE),
            (1.0, &[("CANCELLED", 1.0), ("Cancelled", 1.0)], DONE),
            (1.0, &[("SOURCED", 1.0), ("CANCELLED", 1.0)], nothing(UnitsUnclear)),
            (2.0, &[("SHIPPED", 1.0), ("CANCELLED", 1.0)], nothing(UnitsUnclear)),
        ] {
            for id in ["1", ""] {
                let orders = [production(&[(id, now)])];
                let judged = judge_cancel(&batch(&[("1", wanted)]), before, &whole(&orders));
                assert_eq!(judged, right, "{id} {wanted} {now:?}");
            }
        }
    }
}

#[test]
fn one_line_that_shows_it_is_enough_and_an_absence_needs_all() {
    let open: &[(&str, f64)] = &[("SOURCED", 1.0)];
    let gone: &[(&str, f64)] = &[("CANCELLED", 1.0)];
    let before = snapshot(&[("1", 0.0), ("2", 0.0)]);
    for (lines, right) in [
        (vec![("1", open), ("2", open)], OPEN),
        (vec![("1", open), ("2", gone)], DONE),
        (vec![("2", gone)], DONE),
        (vec![("1", open)], nothing(UnitsNotShown)),
        (vec![("1", open), ("", gone)], nothing(UnitsNotShown)),
        (vec![("9", gone), ("8", gone)], nothing(UnitsNotShown)),
        // One line in two parts.
        (vec![("1", open), ("2", open), ("2", gone)], DONE),
        (vec![("1", open), ("2", open), ("2", open)], OPEN),
        // No line at all.
        (vec![], nothing(LinesNotTold)),
    ] {
        let answer = whole(&[production(&lines)]);
        assert_eq!(judge_cancel(&batch(&[("1", 1.0), ("2", 1.0)]), Some(&before), &answer), right, "{lines:?}");
    }
}

#[test]
fn without_line_ids_a_cancellation_of_all_lines_is_told_by_sums() {
    let open: &[(&str, f64)] = &[("SOURCED", 2.0)];
    let half: &[(&str, f64)] = &[("SOURCED", 1.0), ("CANCELLED", 1.0)];
    let gone: &[(&str, f64)] = &[("CANCELLED", 2.0)];
    let both = batch(&[("1", 2.0), ("2", 2.0)]);
    let none = snapshot(&[("", 0.0)]);
    for (before, lines, right) in [
        (Some(&none), vec![("", open), ("", open)], OPEN),
        (Some(&none), vec![("", gone), ("", gone)], DONE),
        (Some(&none), vec![("", gone), ("", &[("SHIPPED", 2.0)])], DONE),
        (Some(&none), vec![("", half), ("", half)], nothing(UnitsUnclear)),
        (None, vec![("", open), ("", open)], OPEN),
        (None, vec![("", gone), ("", gone)], DONE),
        (None, vec![("", gone), ("", open)], nothing(UnitsUnclear)),
        // As many lines as the order has, or it cannot be told which of them were cancelled.
        (Some(&none), vec![("", gone)], nothing(LinesNotTold)),
        (Some(&none), vec![("", gone), ("", gone), ("", open)], nothing(LinesNotTold)),
        (Some(&none), vec![("", gone), ("", &[])], DONE),
        (Some(&none), vec![("", &[]), ("", &[])], nothing(UnitsNotShown)),
    ] {
        let answer = whole(&[production(&lines)]);
        assert_eq!(judge_cancel(&both, before, &answer), right, "{before:?} {lines:?}");
    }
    // One line of two: not told which.
    let answer = whole(&[production(&[("", gone), ("", open)])]);
    assert_eq!(judge_cancel(&batch(&[("1", 2.0)]), Some(&none), &answer), nothing(LinesNotTold));
    // Fewer units than the lines have.
    let one_each = batch(&[("1", 1.0), ("2", 1.0)]);
    let answer = whole(&[production(&[("", half), ("", half)])]);
    assert_eq!(judge_cancel(&one_each, Some(&none), &answer), DONE);
    assert_eq!(
        judge_cancel(&Cancellation { order_items: vec![], ..both }, None, &whole(&[production(&[])])),
        nothing(LinesNotTold)
    );
}

#[test]
fn a_snapshot_of_one_form_serves_the_other() {
    let half: &[(&str, f64)] = &[("SOURCED", 1.0), ("CANCELLED", 1.0)];
    let [by_line, by_sum] = [snapshot(&[("1", 1.0), ("2", 0.0)]), snapshot(&[("", 1.0)])];
    let both = batch(&[("1", 1.0), ("2", 1.0)]);
    let sums = |first, second| whole(&[production(&[("", first), ("", second)])]);
    assert_eq!(judge_cancel(&both, Some(&by_line), &sums(half, &[("SOURCED", 2.0)])), OPEN);
    assert_eq!(judge_cancel(&both, Some(&by_line), &sums(half, half)), nothing(UnitsUnclear));
    assert_eq!(judge_cancel(&both, Some(&by_line), &sums(half, &[("CANCELLED", 2.0)])), DONE);
    // A snapshot that lacks a line has no sum.
    let partly = snapshot(&[("1", 1.0)]);
    assert_eq!(judge_cancel(&both, Some(&partly), &sums(half, &[("SOURCED", 2.0)])), nothing(UnitsUnclear));
    let lines = whole(&[production(&[("1", half)])]);
    assert_eq!(judge_cancel(&batch(&[("1", 1.0)]), Some(&by_sum), &lines), OPEN);
    let lines = whole(&[production(&[("1", half), ("2", half)])]);
    assert_eq!(judge_cancel(&both, Some(&by_sum), &lines), nothing(UnitsUnclear));
}

#[test]
fn in_the_sandbox_a_line_is_cancelled_wholly_or_it_does_not_show() {
    let [none, two] = [0.0, 2.0].map(|units| snapshot(&[("1", units)]));
    for (wanted, before, status, right) in [
        (2.0, Some(&none), "PROCESSING", OPEN),
        (2.0, None, "PROCESSING", OPEN),
        (2.0, Some(&none), "CANCELLED", DONE),
        (1.0, Some(&none), "Canceled", DONE),
        (1.0, None, "CANCELLED", DONE),
        (2.0, Some(&two), "CANCELLED", OPEN),
        // Half of it may be cancelled without a trace.
        (1.0, Some(&none), "PROCESSING", nothing(UnitsNotShown)),
        (1.0, None, "SHIPPED", nothing(UnitsNotShown)),
        (2.0, None, "", nothing(UnitsNotShown)),
    ] {
        let body = json!({"status": "OK", "payload": sandbox(&[("1", 2.0, status)])});
        assert_eq!(judge_cancel(&batch(&[("1", wanted)]), before, &answer(200, &body)), right, "{wanted} {status}");
        let sums = before.map(|before| snapshot(&[("", before.lines[0].cancelled)]));
        let body = json!({"status": "OK", "payload": sandbox(&[("", 2.0, status)])});
        let judged = judge_cancel(&batch(&[("1", wanted)]), sums.as_ref(), &answer(200, &body));
        assert_eq!(judged, right, "{wanted} {status}");
    }
    let answer = whole(&[sandbox(&[("2", 2.0, "PROCESSING")])]);
    assert_eq!(judge_cancel(&batch(&[("1", 2.0)]), Some(&none), &answer), nothing(UnitsNotShown));
}

#[test]
fn units_that_are_not_shown_are_not_guessed() {
    let before = snapshot(&[("1", 0.0)]);
    let with = |status: Value, quantity: Value| {
        let states =
            json!([{"status": "SOURCED", "statusQuantity": 1}, {"status": status, "statusQuantity": quantity}]);
        let lines = json!([{"sellerLineId": "1", "orderLineQuantityInfo": states}]);
        judge_cancel(
            &batch(&[("1", 1.0)]),
            Some(&before),
            &whole(&[json!({"sellerOrderId": NUMBER, "orderLines": lines})]),
        )
    };
    let cancelled = || json!("CANCELLED");
    for (right, status, quantity) in [
        (DONE, cancelled(), json!(1)),
        (DONE, cancelled(), json!({"measurementValue": "1"})),
        (OPEN, cancelled(), json!(0)),
        (nothing(UnitsNotShown), cancelled(), json!(null)),
        (nothing(UnitsNotShown), cancelled(), json!({})),
        (nothing(UnitsNotShown), cancelled(), json!({"measurementValue": null})),
        (nothing(UnitsNotShown), cancelled(), json!({"measurementValue": "one"})),
        (nothing(UnitsNotShown), cancelled(), json!({"measurementValue": "inf"})),
        (nothing(UnitsNotShown), cancelled(), json!({"measurementValue": -1})),
        (nothing(UnitsNotShown), cancelled(), json!([1])),
        (nothing(UnitsNotShown), json!(""), json!(1)),
        (nothing(UnitsNotShown), json!(null), json!(1)),
        (nothing(UnitsNotShown), json!(["CANCELLED"]), json!(1)),
    ] {
        assert_eq!(with(status.clone(), quantity.clone()), right, "{status} {quantity}");
    }
    let unsaid = Cancellation { order_items: vec![CancelItem::default()], ..batch(&[]) };
    for id in ["1", ""] {
        let answer = whole(&[production(&[(id, &[("CANCELLED", 1.0)])])]);
        assert_eq!(judge_cancel(&unsaid, None, &answer), nothing(UnitsNotShown));
    }
}

/// Walmart cancels in one of them, and does not say in which.
#[test]
fn units_of_several_orders_of_the_number_are_added() {
    let open: &[(&str, f64)] = &[("SOURCED", 2.0)];
    let half: &[(&str, f64)] = &[("SOURCED", 1.0), ("CANCELLED", 1.0)];
    let gone: &[(&str, f64)] = &[("CANCELLED", 2.0)];
    for (before, first, second, right) in [
        (Some(0.0), open, open, OPEN),
        (Some(0.0), open, gone, DONE),
        (Some(0.0), half, half, DONE),
        (Some(0.0), open, half, nothing(UnitsUnclear)),
        (Some(2.0), open, gone, OPEN),
        (Some(2.0), gone, gone, DONE),
        (None, open, open, OPEN),
        (None, gone, open, nothing(UnitsUnclear)),
        (None, gone, gone, DONE),
        // The second does not show the line's units.
        (Some(0.0), gone, &[], nothing(UnitsNotShown)),
    ] {
        for id in ["1", ""] {
            let before = before.map(|units| snapshot(&[(id, units)]));
            let answer = whole(&[production(&[(id, first)]), production(&[(id, second)])]);
            let judged = judge_cancel(&batch(&[("1", 2.0)]), before.as_ref(), &answer);
            assert_eq!(judged, right, "{id} {first:?} {second:?}");
        }
    }
}

#[test]
fn an_answer_that_is_not_whole_or_without_the_order_says_nothing() {
    let order = || production(&[("1", &[("CANCELLED", 1.0)])]);
    let other = || json!({"sellerOrderId": "SO-2", "orderLines": order()["orderLines"]});
    let gone = json!({"code": "OS_NOT_FOUND_ERROR"});
    let counted = |attributes: Value| json!({ "headerAttributes": attributes });
    let judge = |http_status, body: &Value| {
        judge_cancel(&batch(&[("1", 1.0)]), Some(&snapshot(&[("1", 0.0)])), &answer(http_status, body))
    };
    for (right, http_status, body) in [
        (DONE, 200, json!({"status": "OK", "payload": [order()]})),
        (
            DONE,
            200,
            json!({"status": "OK", "payload": [order(), other()], "header": counted(json!({"totalCount": 2}))}),
        ),
        (nothing(HttpStatus), 206, json!({"status": "OK", "payload": [order()]})),
        (nothing(GatewayNotFound), 404, json!({"status": "OK", "payload": [order()]})),
        (nothing(StatusUnknown), 200, json!({"payload": [order()]})),
        (nothing(StatusFailed), 200, json!({"status": "FAIL", "payload": [order()]})),
        (nothing(PartialSuccess), 200, json!({"status": "PARTIAL_SUCCESS", "payload": [order()]})),
        (nothing(Errors), 200, json!({"status": "OK", "payload": [order()], "errors": [{"code": "X"}]})),
        (nothing(RowsNotOrders), 200, json!({"status": "OK", "payload": [order(), null]})),
        (
            nothing(ListNotComplete),
            200,
            json!({"status": "OK", "payload": [order()], "header": counted(json!({"totalCount": 2}))}),
        ),
        (
            nothing(ListNotComplete),
            200,
            json!({"status": "OK", "payload": [order()], "header": counted(json!({"pageCount": 2}))}),
        ),
        (
            nothing(TotalsUnreadable),
            200,
            json!({"status": "OK", "payload": [order()], "header": counted(json!({"totalCount": "?"}))}),
        ),
        (nothing(OrderNotShown), 200, json!({"status": "OK", "payload": []})),
        (nothing(OrderNotShown), 404, json!({"errors": [gone]})),
        (nothing(NotFoundNotAlone), 200, json!({"status": "OK", "payload": [order()], "errors": [gone]})),
        (nothing(NumberOther), 200, json!({"status": "OK", "payload": [other()]})),
        (nothing(NumberMissing), 200, json!({"status": "OK", "payload": [{"orderLines": order()["orderLines"]}]})),
        (nothing(NumberAlmostEqual), 200, json!({"status": "OK", "payload": [{"sellerOrderId": "so-1"}, other()]})),
    ] {
        assert_eq!(judge(http_status, &body), right, "{http_status} {body}");
    }
}

#[test]
fn a_snapshot_has_the_lines_that_can_be_read() {
    let wanted = batch(&[("1", 1.0), ("2", 1.0), ("3", 2.0)]);
    let half: &[(&str, f64)] = &[("SOURCED", 1.0), ("CANCELLED", 3.0)];
    let order = production(&[("3", half), ("", half), ("1", &[("SOURCED", 1.0)]), ("9", half)]);
    let taken = CancelSnapshot::read(&wanted, &whole(&[order.clone(), order.clone()])).unwrap();
    assert_eq!(taken, snapshot(&[("1", 0.0), ("3", 6.0)]));
    assert_eq!(CancelSnapshot::decode(taken.encode_to_vec().as_slice()).unwrap(), taken);

    let in_sandbox = sandbox(&[("1", 1.0, "PROCESSING"), ("2", 2.0, "CANCELLED"), ("3", 3.0, "PROCESSING")]);
    assert_eq!(CancelSnapshot::read(&wanted, &whole(&[in_sandbox])), Some(snapshot(&[("1", 0.0), ("2", 2.0)])));
    // The sum of all lines, where they show no ids.
    let order_without_ids = production(&[("", half), ("", half), ("", &[("SOURCED", 1.0)])]);
    assert_eq!(
        CancelSnapshot::read(&wanted, &whole(std::slice::from_ref(&order_without_ids))),
        Some(snapshot(&[("", 6.0)]))
    );
    assert_eq!(CancelSnapshot::read(&batch(&[("1", 1.0)]), &whole(&[order_without_ids])), None);

    let other = json!({"sellerOrderId": "SO-2", "orderLines": order["orderLines"]});
    assert_eq!(CancelSnapshot::read(&wanted, &whole(&[other])), None);
    assert_eq!(CancelSnapshot::read(&wanted, &whole(&[])), None);
    assert_eq!(CancelSnapshot::read(&wanted, &whole(&[production(&[("9", half)])])), None);
    assert_eq!(CancelSnapshot::read(&wanted, &answer(206, &json!({"status": "OK", "payload": [order]}))), None);
    assert_eq!(CancelSnapshot::read(&wanted, &raw(200, "")), None);
}

#[test]
fn the_only_line_of_an_order_in_productions_form_is_told_by_the_sums() {
    let before = whole(&[production(&[("", &[("SUCCESSFULLY_SOURCED", 3.0)])])]);
    let cancellation = batch(&[("1", 1.0)]);
    let taken = CancelSnapshot::read(&cancellation, &before).unwrap();
    assert_eq!(judge_cancel(&cancellation, Some(&taken), &before), OPEN);
    let after = whole(&[production(&[("", &[("SUCCESSFULLY_SOURCED", 2.0), ("CANCELLED", 1.0)])])]);
    assert_eq!(judge_cancel(&cancellation, Some(&taken), &after), DONE);
    assert_eq!(judge_cancel(&cancellation, None, &after), nothing(UnitsUnclear));
}

#[test]
fn units_that_another_call_may_have_cancelled_prove_nothing() {
    let (asked, before) = (batch(&[("1", 1.0)]), snapshot(&[("1", 0.0)]));
    let judged = |others: &[(&str, f64)], cancelled: f64| {
        let others = OtherChanges::new([Some(change_of_cancel(&batch(others)))]);
        let shown = [("SOURCED", 3.0 - cancelled), ("CANCELLED", cancelled)];
        let orders = [production(&[("1", &shown)])];
        super::super::judge_cancel(&asked, Some(&before), &others, &whole(&orders))
    };
    assert_eq!(judged(&[("1", 1.0)], 1.0), nothing(OtherCalls));
    assert_eq!(judged(&[("1", 1.0)], 2.0), DONE, "more than the other has cancelled");
    assert_eq!(judged(&[("2", 1.0)], 1.0), DONE, "of another line");
    assert_eq!(judged(&[("1", 1.0)], 0.0), OPEN);
    assert_eq!(judged(&[("1", 3.0)], 3.0), DONE, "the whole line is cancelled, as it was asked for");
}
