//! Refunded, opened and cancelled returns.

use serde_json::{Value, json};

use super::super::*;
use crate::pb;

/// The values of answers where no other call changes the object.
fn judge_refunded_return(
    asked: &pb::RefundReturnRequest,
    snapshot: Option<&ReturnSnapshot>,
    answer: &LookupAnswer,
) -> Evidence {
    super::super::judge_refunded_return(asked, snapshot, &OtherChanges::default(), answer)
}

fn judge_opened_return(
    asked: &pb::CreateMcsReturnRequest,
    snapshot: Option<&McsReturnsSnapshot>,
    answer: &LookupAnswer,
) -> Evidence {
    super::super::judge_opened_return(asked, snapshot, &OtherChanges::default(), answer)
}

fn answer(body: &Value) -> LookupAnswer {
    LookupAnswer { http_status: 200, body: body.to_string().into() }
}

const DONE: Evidence = Evidence::Present(PresenceProof { copies: 1 });
const UNCLEAR: Evidence = Evidence::Nothing(NoEvidence::LinesUnclear);

fn market(lines: &[(i64, Value, &str)]) -> Value {
    let line = |(number, refunded, status): &(i64, Value, &str)| {
        json!({"returnOrderLineNumber": number, "refundedQty": refunded,
            "currentTrackingStatuses": [{"currentRefundStatus": status}]})
    };
    let lines: Vec<Value> = lines.iter().map(line).collect();
    json!({"meta": {"totalCount": 1}, "returnOrders": [{"returnOrderId": "100", "returnOrderLines": lines}]})
}

fn refund(lines: &[(Option<i32>, f64)]) -> pb::RefundReturnRequest {
    let line = |(number, units): &(Option<i32>, f64)| pb::RefundLine {
        return_order_line_number: *number,
        quantity: Some(pb::Quantity { unit_of_measure: None, measurement_value: Some(*units) }),
    };
    let refund_lines = lines.iter().map(line).collect();
    pb::RefundReturnRequest { return_order_id: "100".into(), refund_lines, ..Default::default() }
}

#[test]
fn refunded_units_of_a_return_have_risen_or_its_refund_has_begun() {
    let asked = refund(&[(Some(1), 1.0), (Some(2), 2.0)]);
    let before =
        market(&[(1, json!(0), "NOT_INITIATED"), (2, json!(null), "NOT_INITIATED"), (3, json!(1), "REFUND_ISSUED")]);
    let snapshot = ReturnSnapshot::read("100", &answer(&before));
    let judged = |now: &Value| judge_refunded_return(&asked, snapshot.as_ref(), &answer(now));
    assert_eq!(judged(&before), Evidence::Absent(AbsenceProof::NothingRefunded));
    let risen = market(&[(1, json!(1), "NOT_INITIATED"), (2, json!("2"), "NOT_INITIATED")]);
    assert_eq!(judged(&risen), DONE);
    let begun = market(&[(1, json!(0), "REFUND_INITIATED"), (2, json!(0), "REFUND_ISSUED")]);
    assert_eq!(judged(&begun), DONE);
    for now in [
        market(&[(1, json!(1), "NOT_INITIATED"), (2, json!(0), "NOT_INITIATED")]),
        market(&[(1, json!(2), "NOT_INITIATED"), (2, json!(2), "NOT_INITIATED")]),
    ] {
        assert_eq!(judged(&now), UNCLEAR, "{now}");
    }
    for (now, why) in [
        (json!({}), NoEvidence::OrderNotShown),
        (json!({"returnOrders": []}), NoEvidence::OrderNotShown),
        (json!({"returnOrders": [{"returnOrderId": "101"}]}), NoEvidence::OrderNotShown),
        (json!({"returnOrders": [{"returnOrderId": "100"}]}), NoEvidence::UnitsNotShown),
        (market(&[(1, json!("one"), "")]), NoEvidence::UnitsNotShown),
        (market(&[(1, json!(1), "")]), NoEvidence::UnitsNotShown),
        (json!({"errors": [{"code": "X"}]}), NoEvidence::Errors),
    ] {
        assert_eq!(judged(&now), Evidence::Nothing(why), "{now}");
    }
    assert_eq!(judge_refunded_return(&asked, None, &answer(&risen)), Evidence::Nothing(NoEvidence::NoSnapshot));
    let without_number = refund(&[(None, 1.0)]);
    let one = market(&[(7, json!(0), "")]);
    let snapshot = ReturnSnapshot::read("100", &answer(&one));
    let now = answer(&market(&[(7, json!(1), "")]));
    assert_eq!(judge_refunded_return(&without_number, snapshot.as_ref(), &now), DONE);
}

#[test]
fn units_of_a_return_that_another_call_may_have_refunded_prove_nothing() {
    let asked = refund(&[(Some(1), 1.0)]);
    let snapshot = ReturnSnapshot::read("100", &answer(&market(&[(1, json!(0), "")])));
    // The other call names the only line by no number.
    let others = OtherChanges::new([Some(change_of_refunded_return(&refund(&[(None, 1.0)])))]);
    let judged = |units: u32, status| {
        let now = answer(&market(&[(1, json!(units), status)]));
        super::super::judge_refunded_return(&asked, snapshot.as_ref(), &others, &now)
    };
    let either = Evidence::Nothing(NoEvidence::OtherCalls);
    assert_eq!(judged(1, ""), either);
    assert_eq!(judged(0, "REFUND_INITIATED"), either);
    assert_eq!(judged(2, ""), DONE);
    assert_eq!(judged(0, ""), Evidence::Absent(AbsenceProof::NothingRefunded));
    assert_eq!(judged(3, ""), UNCLEAR);
}

fn returns(rows: Value) -> Value {
    json!({"status": "OK", "header": null, "payload": rows})
}

fn mcs(seller_id: Option<&str>, id: &str, units: u32) -> Value {
    json!({"sellerReturnOrderId": seller_id, "returnOrderId": id, "sellerOrderId": "O", "returnOrderLines": [
        {"returnReason": "DAMAGED", "itemDetail": {"sku": "S"}, "qty": {"measurementValue": units}}]})
}

#[test]
fn an_opened_return_is_found_by_the_sellers_id_or_as_the_only_new_one_alike() {
    let payload = serde_json::from_value(json!({"sellerReturnOrderId": "mine", "sellerOrderId": "O", "orderItems": [
        {"returnReason": "DAMAGED", "itemDetail": {"sku": "S"}, "qty": {"measurementValue": 1}}]}))
    .unwrap();
    let asked = pb::CreateMcsReturnRequest { payload: Some(payload), ..Default::default() };
    let before = McsReturnsSnapshot::read(&answer(&returns(json!([mcs(None, "1", 1)]))));
    let judged = |rows: Value| judge_opened_return(&asked, before.as_ref(), &answer(&returns(rows)));
    let absent = Evidence::Absent(AbsenceProof::EmptyList);
    assert_eq!(judged(json!([mcs(Some("mine"), "9", 1)])), DONE);
    assert_eq!(judged(json!([])), absent);
    assert_eq!(judged(json!([mcs(None, "1", 1)])), absent, "it was there before");
    assert_eq!(judged(json!([mcs(None, "1", 1), mcs(None, "2", 1)])), DONE);
    assert_eq!(judged(json!([mcs(None, "2", 1), mcs(None, "3", 1)])), UNCLEAR, "two of them");
    assert_eq!(judged(json!([mcs(None, "2", 2), mcs(Some("other"), "3", 1)])), absent, "others");
    let new = answer(&returns(json!([mcs(None, "2", 1)])));
    assert_eq!(judge_opened_return(&asked, None, &new), UNCLEAR, "perhaps an older one");
    for (body, why) in [
        (json!({}), NoEvidence::StatusUnknown),
        (json!({"status": "PARTIAL_SUCCESS", "payload": []}), NoEvidence::PartialSuccess),
        (json!({"status": "OK"}), NoEvidence::PayloadMissing),
        (json!({"status": "OK", "payload": null}), NoEvidence::PayloadNull),
        (
            json!({"status": "OK", "payload": [], "header": {"headerAttributes": {"totalCount": 1}}}),
            NoEvidence::ListNotComplete,
        ),
        (json!({"status": "OK", "payload": [null]}), NoEvidence::RowsNotOrders),
        (json!({"status": "OK", "payload": {}}), NoEvidence::NumberMissing),
        (json!({"status": "OK", "payload": {"message": "no returns found"}}), NoEvidence::NumberMissing),
        (json!({"status": "OK", "payload": {"returns": [], "totalCount": 0}}), NoEvidence::NumberMissing),
        (
            json!({"status": "OK", "payload": [{"returnOrderId": null, "sellerOrderId": null}]}),
            NoEvidence::NumberMissing,
        ),
        (json!({"status": "OK", "payload": [{"returnOrderId": "9"}]}), NoEvidence::NumberMissing),
    ] {
        assert_eq!(judge_opened_return(&asked, before.as_ref(), &answer(&body)), Evidence::Nothing(why), "{body}");
    }
    let own = json!({"status": "FAIL", "errors": [{"code": "500.OS_SERVICE.200"}]});
    let own = LookupAnswer { http_status: 400, ..answer(&own) };
    assert_eq!(judge_opened_return(&asked, before.as_ref(), &own), absent);
    let gateway = json!({"errors": {"error": [{"code": "CONTENT_NOT_FOUND.GMP_GATEWAY_API"}]}});
    let gateway = LookupAnswer { http_status: 404, ..answer(&gateway) };
    assert_eq!(judge_opened_return(&asked, before.as_ref(), &gateway), Evidence::Nothing(NoEvidence::GatewayNotFound));
}

#[test]
fn a_return_that_another_call_may_have_opened_proves_nothing() {
    let asked = |seller_id: &str, units: u32| {
        let payload = json!({"sellerReturnOrderId": seller_id, "sellerOrderId": "O", "orderItems": [
            {"returnReason": "DAMAGED", "itemDetail": {"sku": "S"}, "qty": {"measurementValue": units}}]});
        let payload = Some(serde_json::from_value(payload).unwrap());
        pb::CreateMcsReturnRequest { payload, ..Default::default() }
    };
    let before = McsReturnsSnapshot::read(&answer(&returns(json!([]))));
    let judged = |other: &pb::CreateMcsReturnRequest, rows: Value| {
        let others = OtherChanges::new([Some(change_of_opened_return(other))]);
        super::super::judge_opened_return(&asked("mine", 1), before.as_ref(), &others, &answer(&returns(rows)))
    };
    let (same, more) = (asked("other", 1), asked("other", 2));
    assert_eq!(judged(&same, json!([mcs(None, "1", 1)])), Evidence::Nothing(NoEvidence::OtherCalls));
    assert_eq!(judged(&same, json!([mcs(None, "1", 1), mcs(None, "2", 1)])), DONE);
    assert_eq!(judged(&same, json!([mcs(Some("mine"), "1", 1)])), DONE, "the seller's id tells");
    assert_eq!(judged(&more, json!([mcs(None, "1", 1)])), DONE);
}

#[test]
fn a_return_is_cancelled_when_no_line_is_initiated_and_one_cancelled() {
    let asked = pb::CancelMcsReturnRequest { return_order_id: "1".into(), ..Default::default() };
    let judged = |statuses: &[&str]| {
        let units: Vec<Value> = statuses.iter().map(|status| json!({ "status": status })).collect();
        let row = json!({"returnOrderId": "1", "returnOrderLines": [{ "lineQuantityInfo": units }]});
        judge_cancelled_return(&asked, &answer(&returns(json!([row]))))
    };
    let absent = Evidence::Absent(AbsenceProof::NothingCancelled);
    assert_eq!(judged(&["RETURN_CANCELLED"]), DONE);
    assert_eq!(judged(&["RETURN_INITIATED"]), absent);
    assert_eq!(judged(&["MARKET_PLACE_RETURN_INITIATED"]), absent);
    // It has moved on: the same call again is refused.
    assert_eq!(judged(&["RETURN_IN_TRANSIT"]), absent);
    assert_eq!(judged(&["RETURN_CANCELLED", "RETURN_INITIATED"]), UNCLEAR);
    let other = answer(&returns(json!([{"returnOrderId": "2"}])));
    assert_eq!(judge_cancelled_return(&asked, &other), Evidence::Nothing(NoEvidence::OrderNotShown));
}
