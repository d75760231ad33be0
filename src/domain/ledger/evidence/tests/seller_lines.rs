//! Cancelled, shipped and refunded lines of a seller's order.

use serde_json::{Value, json};

use super::super::*;
use crate::pb;

/// The values of answers where no other call changes the order.
fn judge_cancelled_lines(
    asked: &pb::CancelOrderLinesRequest,
    snapshot: Option<&SellerSnapshot>,
    answer: &LookupAnswer,
) -> Evidence {
    super::super::judge_cancelled_lines(asked, snapshot, &OtherChanges::default(), answer)
}

fn judge_shipped_lines(
    asked: &pb::ShipOrderLinesRequest,
    snapshot: Option<&SellerSnapshot>,
    answer: &LookupAnswer,
) -> Evidence {
    super::super::judge_shipped_lines(asked, snapshot, &OtherChanges::default(), answer)
}

fn judge_refunded_lines(
    purchase_order: &str,
    asked: &pb::RefundOrderLinesRequest,
    snapshot: Option<&SellerSnapshot>,
    answer: &LookupAnswer,
) -> Evidence {
    super::super::judge_refunded_lines(purchase_order, asked, snapshot, &OtherChanges::default(), answer)
}

fn answer(body: &Value) -> LookupAnswer {
    LookupAnswer { http_status: 200, body: body.to_string().into() }
}

fn status(state: &str, amount: Value, tracking: Option<&str>) -> Value {
    json!({"status": state, "statusQuantity": {"unitOfMeasurement": "EACH", "amount": amount},
        "trackingInfo": tracking.map(|number| json!({"trackingNumber": number}))})
}

fn line(number: &str, statuses: Value) -> Value {
    json!({"lineNumber": number, "orderLineStatuses": {"orderLineStatus": statuses}})
}

fn order(lines: Value) -> Value {
    json!({"order": {"purchaseOrderId": "1", "orderLines": {"orderLine": lines}}})
}

fn refund(id: &str, amounts: &[f64]) -> Value {
    let charge = |amount: &f64| json!({"charge": {"chargeAmount": {"amount": amount}}});
    json!({"refundId": id, "refundCharges": {"refundCharge": amounts.iter().map(charge).collect::<Vec<_>>()}})
}

fn cancellation(lines: &[(&str, &str)]) -> pb::CancelOrderLinesRequest {
    let one = |(number, amount): &(&str, &str)| line(number, json!([status("Cancelled", json!(amount), None)]));
    let lines: Vec<Value> = lines.iter().map(one).collect();
    pb::CancelOrderLinesRequest {
        purchase_order_id: "1".into(),
        order_cancellation: Some(serde_json::from_value(json!({"orderLines": {"orderLine": lines}})).unwrap()),
        ..Default::default()
    }
}

fn snapshot(body: &Value) -> Option<SellerSnapshot> {
    SellerSnapshot::read("1", ["1", "2"].into_iter(), &answer(body))
}

fn open(cancelled: u32) -> Value {
    json!([status("Acknowledged", json!("3"), None), status("Cancelled", json!(cancelled.to_string()), None)])
}

const DONE: Evidence = Evidence::Present(PresenceProof { copies: 1 });
const UNCLEAR: Evidence = Evidence::Nothing(NoEvidence::LinesUnclear);

#[test]
fn cancelled_units_have_risen_by_what_was_asked_in_all_lines_or_in_none() {
    let before = snapshot(&order(json!([line("1", open(1)), line("2", open(0))])));
    let asked = cancellation(&[("1", "2"), ("2", "1")]);
    let judged = |one, two| {
        judge_cancelled_lines(
            &asked,
            before.as_ref(),
            &answer(&order(json!([line("1", open(one)), line("2", open(two))]))),
        )
    };
    assert_eq!(judged(3, 1), DONE);
    assert_eq!(judged(1, 0), Evidence::Absent(AbsenceProof::NothingCancelled));
    for (one, two) in [(3, 0), (1, 1), (2, 1), (4, 1), (3, 2), (0, 0)] {
        assert_eq!(judged(one, two), UNCLEAR, "{one} {two}");
    }
}

#[test]
fn without_a_snapshot_only_all_or_nothing_can_be_told() {
    let asked = cancellation(&[("1", "3")]);
    let judged = |statuses| judge_cancelled_lines(&asked, None, &answer(&order(json!([line("1", statuses)]))));
    assert_eq!(judged(json!([status("Created", json!("3"), None)])), Evidence::Absent(AbsenceProof::NothingCancelled));
    assert_eq!(judged(json!([status("Cancelled", json!("3"), None)])), DONE);
    assert_eq!(judged(open(1)), UNCLEAR);
}

#[test]
fn an_answer_that_does_not_show_the_order_or_its_lines_proves_nothing() {
    let before = snapshot(&order(json!([line("1", open(0))])));
    let asked = cancellation(&[("1", "1")]);
    let judged = |body: &Value| judge_cancelled_lines(&asked, before.as_ref(), &answer(body));
    let good = order(json!([line("1", open(1))]));
    assert_eq!(judged(&good), DONE);
    assert_eq!(judged(&good["order"]), DONE, "without the wrapper");
    assert_eq!(judged(&order(line("1", open(1)))), DONE, "one line that is no list");
    for (body, why) in [
        (json!({}), NoEvidence::NumberMissing),
        (json!({"order": {}}), NoEvidence::NumberMissing),
        (json!({"order": null}), NoEvidence::NumberMissing),
        (json!([]), NoEvidence::Unreadable),
        (json!({"order": {"purchaseOrderId": 1}}), NoEvidence::NumberOther),
        (json!({"order": {"purchaseOrderId": "2"}}), NoEvidence::NumberOther),
        (json!({"order": {"purchaseOrderId": "1"}}), NoEvidence::UnitsNotShown),
        (order(json!([])), NoEvidence::UnitsNotShown),
        (order(json!([line("2", open(1))])), NoEvidence::UnitsNotShown),
        (order(json!([line("1", open(1)), line("1", open(1))])), NoEvidence::UnitsNotShown),
        (order(json!([line("1", json!([]))])), NoEvidence::UnitsNotShown),
        (order(json!([line("1", json!([status("Cancelled", json!("x"), None)]))])), NoEvidence::UnitsNotShown),
        (order(json!([line("1", json!([status("Cancelled", json!("1"), None), null]))])), NoEvidence::UnitsNotShown),
        (json!({"errors": {"error": [{"code": "X"}]}, "order": good["order"]}), NoEvidence::Errors),
    ] {
        assert_eq!(judged(&body), Evidence::Nothing(why), "{body}");
    }
    let twice = r#"{"order":{"purchaseOrderId":"1","purchaseOrderId":"1"}}"#;
    let twice = LookupAnswer { http_status: 200, body: twice.into() };
    assert_eq!(judge_cancelled_lines(&asked, None, &twice), Evidence::Nothing(NoEvidence::Unreadable));
    for (http_status, why) in
        [(404, NoEvidence::OrderNotShown), (202, NoEvidence::HttpStatus), (400, NoEvidence::HttpStatus)]
    {
        let told = LookupAnswer { http_status, ..answer(&good) };
        assert_eq!(judge_cancelled_lines(&asked, None, &told), Evidence::Nothing(why));
    }
}

fn shipment(parcels: &[(&str, &str)]) -> pb::ShipOrderLinesRequest {
    let statuses: Vec<Value> =
        parcels.iter().map(|(number, units)| status("Shipped", json!(units), Some(number))).collect();
    let lines = json!({"orderLines": {"orderLine": [line("1", json!(statuses))]}});
    pb::ShipOrderLinesRequest {
        purchase_order_id: "1".into(),
        order_shipment: Some(serde_json::from_value(lines).unwrap()),
        ..Default::default()
    }
}

#[test]
fn a_parcel_is_found_by_its_number_and_absent_while_its_units_are_open() {
    let asked = shipment(&[("A", "1"), ("B", "1")]);
    let judged = |before: Option<Value>, now: Value| {
        let before = before.and_then(|before| snapshot(&order(json!([line("1", before)]))));
        judge_shipped_lines(&asked, before.as_ref(), &answer(&order(json!([line("1", now)]))))
    };
    let open = |units: &str| status("Acknowledged", json!(units), None);
    let absent = Evidence::Absent(AbsenceProof::NothingShipped);
    let both = json!([status("Shipped", json!("1"), Some("A")), status("Delivered", json!("1"), Some("B"))]);
    assert_eq!(judged(None, both.clone()), DONE);
    assert_eq!(judged(None, json!([open("2")])), absent);
    assert_eq!(judged(None, json!([open("1")])), UNCLEAR, "gone under another number");
    assert_eq!(judged(None, json!([open("1"), status("Shipped", json!("1"), Some("A"))])), UNCLEAR);
    assert_eq!(judged(None, json!([open("2"), status("Shipped", json!("1"), Some("a"))])), absent, "case counts");
    // Units that were in the parcels before are of another call.
    assert_eq!(judged(Some(both.clone()), both.clone()), UNCLEAR);
    let more = json!([status("Shipped", json!("2"), Some("A")), status("Shipped", json!("2"), Some("B"))]);
    assert_eq!(judged(Some(both), more), DONE);
}

fn refunds(line: Value) -> pb::RefundOrderLinesRequest {
    let refund = json!({"orderLines": {"orderLine": [line]}});
    pb::RefundOrderLinesRequest {
        purchase_order_id: "1".into(),
        order_refund: Some(serde_json::from_value(refund).unwrap()),
        ..Default::default()
    }
}

fn refunded(form: &str, refunds: &Value, in_refund: u32) -> Value {
    let mut line = line("1", json!([status("Shipped", json!("3"), None), status("Refund", json!(in_refund), None)]));
    line[form] = refunds.clone();
    order(json!([line]))
}

#[test]
fn a_refund_is_found_by_its_cents() {
    let asked = refunds(json!({"lineNumber": "1", "refunds": {"refund": [refund("", &[-4.25, -0.1])]}}));
    let judged = |before: &Value, now: &Value| {
        judge_refunded_lines(&asked.purchase_order_id, &asked, snapshot(before).as_ref(), &answer(now))
    };
    let none = refunded("refund", &Value::Null, 0);
    let absent = Evidence::Absent(AbsenceProof::NothingRefunded);
    assert_eq!(judged(&none, &none), absent);
    assert_eq!(judged(&none, &refunded("refund", &refund("R1", &[-4.25, -0.1]), 0)), DONE);
    assert_eq!(judged(&none, &refunded("refund", &refund("R1", &[-4.35]), 0)), DONE);
    assert_eq!(judged(&none, &refunded("refund", &refund("R1", &[-4.36]), 0)), UNCLEAR);
    let many = |refunds: &[Value]| refunded("refunds", &json!({ "refund": refunds }), 0);
    let one = many(&[refund("R1", &[-1.0])]);
    assert_eq!(judged(&one, &many(&[refund("R1", &[-1.0]), refund("R2", &[-4.35])])), DONE);
    assert_eq!(judged(&one, &one), absent);
    // One object in the place of several does not show their sum.
    let single = refunded("refund", &refund("R1", &[-1.0]), 0);
    assert_eq!(judged(&single, &refunded("refund", &refund("R2", &[-4.35]), 0)), UNCLEAR);
    assert_eq!(judged(&single, &single), UNCLEAR);
    assert_eq!(
        judge_refunded_lines(&asked.purchase_order_id, &asked, None, &answer(&none)),
        Evidence::Nothing(NoEvidence::NoSnapshot)
    );
}

#[test]
fn a_refund_is_found_by_its_id_and_a_full_one_by_its_units_or_its_return() {
    let none = refunded("refund", &Value::Null, 0);
    let before = snapshot(&none);
    let asked = refunds(json!({"lineNumber": "1", "refunds": {"refund": [refund("mine", &[-4.25])]}}));
    let judged = |now: &Value| judge_refunded_lines(&asked.purchase_order_id, &asked, before.as_ref(), &answer(now));
    assert_eq!(judged(&refunded("refund", &refund("mine", &[-9.0]), 0)), DONE);
    assert_eq!(judged(&refunded("refund", &refund("other", &[-9.0]), 0)), UNCLEAR);
    let full = refunds(json!({"lineNumber": "1", "isFullRefund": true}));
    let judged = |now: &Value| judge_refunded_lines(&full.purchase_order_id, &full, before.as_ref(), &answer(now));
    assert_eq!(judged(&refunded("refund", &refund("R", &[-9.0]), 3)), DONE);
    let mut returned = none.clone();
    returned["order"]["orderLines"]["orderLine"][0]["returnOrderId"] = json!("100");
    assert_eq!(judged(&returned), DONE);
    assert_eq!(judged(&none), Evidence::Absent(AbsenceProof::NothingRefunded));
    assert_eq!(judged(&refunded("refund", &refund("R", &[-1.0]), 0)), UNCLEAR);
}

/// Nothing is known: another call may have made the change.
const EITHER: Evidence = Evidence::Nothing(NoEvidence::OtherCalls);

#[test]
fn units_that_another_call_may_have_cancelled_prove_nothing() {
    let before = snapshot(&order(json!([line("1", open(0)), line("2", open(0))])));
    let asked = cancellation(&[("1", "1")]);
    let judged = |others: &[&[(&str, &str)]], one| {
        let others = others.iter().map(|lines| Some(change_of_cancelled_lines(&cancellation(lines))));
        let now = answer(&order(json!([line("1", open(one)), line("2", open(0))])));
        super::super::judge_cancelled_lines(&asked, before.as_ref(), &OtherChanges::new(others), &now)
    };
    // The first of two equal calls has shown late; the second was lost.
    let same: &[(&str, &str)] = &[("1", "1")];
    assert_eq!(judged(&[same], 1), EITHER);
    assert_eq!(judged(&[same], 2), DONE, "both");
    assert_eq!(judged(&[same], 0), Evidence::Absent(AbsenceProof::NothingCancelled), "neither");
    assert_eq!(judged(&[same, same], 2), EITHER);
    assert_eq!(judged(&[&[("2", "1")]], 1), DONE, "of another line");
    assert_eq!(judged(&[&[("1", "2")]], 2), Evidence::Absent(AbsenceProof::NothingCancelled), "the other alone");
    assert_eq!(judged(&[&[("1", "2")]], 3), DONE, "the other too");
    let whole = cancellation(&[("1", "3")]);
    let gone = answer(&order(json!([line("1", json!([status("Cancelled", json!("3"), None)]))])));
    let others = OtherChanges::new([Some(change_of_cancelled_lines(&whole))]);
    assert_eq!(super::super::judge_cancelled_lines(&whole, None, &others, &gone), EITHER);
}

#[test]
fn units_of_a_parcel_that_another_call_may_have_shipped_prove_nothing() {
    let asked = shipment(&[("A", "1")]);
    let judged = |parcels: &[(&str, &str)], now: Value| {
        let others = OtherChanges::new([Some(change_of_shipped_lines(&shipment(parcels)))]);
        super::super::judge_shipped_lines(&asked, None, &others, &answer(&order(json!([line("1", now)]))))
    };
    let in_parcel = |units: &str| json!([status("Shipped", json!(units), Some("A"))]);
    assert_eq!(judged(&[("A", "1")], in_parcel("1")), EITHER);
    assert_eq!(judged(&[("A", "1")], in_parcel("2")), DONE);
    assert_eq!(judged(&[("B", "1")], in_parcel("1")), DONE, "another parcel");
}

#[test]
fn cents_that_another_call_may_have_refunded_prove_nothing() {
    let none = refunded("refund", &Value::Null, 0);
    let before = snapshot(&none);
    let partial = |id: &str| refunds(json!({"lineNumber": "1", "refunds": {"refund": [refund(id, &[-4.25])]}}));
    let full = refunds(json!({"lineNumber": "1", "isFullRefund": true}));
    let judged = |asked: &pb::RefundOrderLinesRequest, other: &pb::RefundOrderLinesRequest, now: &Value| {
        let others = OtherChanges::new([Some(change_of_refunded_lines(other))]);
        super::super::judge_refunded_lines("1", asked, before.as_ref(), &others, &answer(now))
    };
    let once = refunded("refund", &refund("R1", &[-4.25]), 0);
    let twice = refunded("refunds", &json!({"refund": [refund("R1", &[-4.25]), refund("R2", &[-4.25])]}), 0);
    assert_eq!(judged(&partial(""), &partial(""), &once), EITHER);
    assert_eq!(judged(&partial(""), &partial(""), &twice), DONE);
    assert_eq!(judged(&partial("R1"), &partial("R1"), &once), EITHER, "an id of both");
    assert_eq!(judged(&partial(""), &partial(""), &none), Evidence::Absent(AbsenceProof::NothingRefunded));
    assert_eq!(judged(&partial(""), &full, &once), EITHER, "a full refund may be of any amount");
    assert_eq!(judged(&full, &partial(""), &refunded("refund", &refund("R1", &[-9.0]), 3)), EITHER);
    assert_eq!(judged(&full, &partial(""), &none), Evidence::Absent(AbsenceProof::NothingRefunded));
}

#[test]
fn cents_are_whole() {
    for (amount, wanted) in [(0.0, Some(0)), (-4.25, Some(-425)), (19.99, Some(1999)), (1e9, Some(100_000_000_000))] {
        assert_eq!(cents(amount), wanted, "{amount}");
    }
    for amount in [0.001, f64::NAN, f64::INFINITY, 1e300] {
        assert_eq!(cents(amount), None, "{amount}");
    }
}
