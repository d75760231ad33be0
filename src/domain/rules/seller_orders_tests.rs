//! Every fault of a request, with its path.

use serde_json::{Value, json};

use super::*;
use crate::pb;

fn fields(checked: Result<(), FieldFaults>) -> Vec<String> {
    checked.err().map(|faults| faults.kept.into_iter().map(|fault| fault.field).collect()).unwrap_or_default()
}

fn search(change: impl FnOnce(&mut pb::ListOrdersRequest)) -> Vec<String> {
    let mut request = pb::ListOrdersRequest::default();
    change(&mut request);
    fields(check_list_orders(&request))
}

#[test]
fn dates_have_two_forms_and_limits_two_ends() {
    assert_eq!(search(|_| {}), [""; 0]);
    for date in ["2026-11-01", "2026-11-01T08:00:00Z"] {
        assert_eq!(search(|request| request.created_start_date = date.into()), [""; 0], "{date}");
    }
    for date in ["2026-11-01T08:00:00.000Z", "2026-11-01T08:00:00", "2026-13-01", "11/01/2026", "2026-11-01 08:00:00Z"]
    {
        assert_eq!(
            search(|request| request.last_modified_end_date = date.into()),
            ["last_modified_end_date"],
            "{date}"
        );
    }
    assert_eq!(search(|request| request.limit = 200), [""; 0]);
    assert_eq!(search(|request| request.limit = 201), ["limit"]);
    assert_eq!(search(|request| request.limit = -1), ["limit"]);
}

#[test]
fn a_cursor_stands_alone_and_is_walmarts() {
    assert_eq!(search(|request| request.next_cursor = "?limit=1&soIndex=2&seal=a+b==".into()), [""; 0]);
    for cursor in ["limit=1", "?a b", "?a#b", "?\u{e9}", &format!("?{}", "x".repeat(4096))] {
        assert_eq!(search(|request| request.next_cursor = cursor.into()), ["next_cursor"], "{cursor}");
    }
    let all = search(|request| {
        request.next_cursor = "?x".into();
        request.sku = "S".into();
        request.order_type = "REGULAR".into();
        request.limit = 5;
        request.replacement_info = true;
    });
    assert_eq!(all, ["sku", "order_type", "limit", "replacement_info"]);
}

#[test]
fn an_id_is_one_segment_of_a_path() {
    for (id, wanted) in [("1", 0), ("a/b?c", 0), ("", 1), (".", 1), ("..", 1)] {
        let request = pb::GetOrderRequest { purchase_order_id: id.into(), ..Default::default() };
        assert_eq!(fields(check_get_order(&request)).len(), wanted, "{id}");
    }
}

fn cancellation(lines: Value) -> Vec<String> {
    let order_cancellation = serde_json::from_value(json!({"orderLines": {"orderLine": lines}})).unwrap();
    let request = pb::CancelOrderLinesRequest {
        purchase_order_id: "1".into(),
        order_cancellation: Some(order_cancellation),
        ..Default::default()
    };
    fields(check_line_cancellation(&request))
}

fn cancelled(number: &str, amount: &str) -> Value {
    json!({"lineNumber": number, "orderLineStatuses": {"orderLineStatus": [
        {"cancellationReason": "SELLER_CANCEL_OUT_OF_STOCK", "statusQuantity": {"amount": amount}}]}})
}

#[test]
fn every_fault_of_a_cancellation_is_told_at_once() {
    assert_eq!(cancellation(json!([cancelled("1", "1"), cancelled("2", "999999999")])), [""; 0]);
    assert_eq!(
        fields(check_line_cancellation(&Default::default())),
        ["purchase_order_id", "order_cancellation.order_lines"]
    );
    let at = "order_cancellation.order_lines.order_line";
    let status = |line: usize| format!("{at}[{line}].order_line_statuses.order_line_status[0]");
    for amount in ["0", "1.5", "-1", "", " 1", "one", "1000000000", "00"] {
        assert_eq!(cancellation(json!([cancelled("1", amount)])), [format!("{}.status_quantity.amount", status(0))]);
    }
    let bad = json!([
        cancelled("1", "1"),
        cancelled("1", "1"),
        {"lineNumber": "", "orderLineStatuses": {"orderLineStatus": [{"status": "Shipped"}]}},
        {"lineNumber": "4"}
    ]);
    let wanted = [
        format!("{at}[1].line_number"),
        format!("{at}[2].line_number"),
        format!("{}.status", status(2)),
        format!("{}.cancellation_reason", status(2)),
        format!("{}.status_quantity.amount", status(2)),
        format!("{at}[3].order_line_statuses"),
    ];
    assert_eq!(cancellation(bad), wanted);
}

fn shipment(parcels: &[Value]) -> pb::ShipOrderLinesRequest {
    let status = |parcel: &Value| json!({"statusQuantity": {"amount": "1"}, "trackingInfo": parcel});
    let statuses: Vec<Value> = parcels.iter().map(status).collect();
    let lines = json!([{"lineNumber": "1", "orderLineStatuses": {"orderLineStatus": statuses}}]);
    pb::ShipOrderLinesRequest {
        purchase_order_id: "1".into(),
        order_shipment: Some(serde_json::from_value(json!({"orderLines": {"orderLine": lines}})).unwrap()),
        ..Default::default()
    }
}

fn parcel(change: impl FnOnce(&mut Value)) -> Value {
    let mut parcel = json!({"shipDateTime": 1761990000000i64, "carrierName": {"carrier": "UPS"}, "methodCode": "Standard",
        "trackingNumber": "1Z"});
    change(&mut parcel);
    parcel
}

#[test]
fn parcels_have_a_time_a_carrier_and_a_number_of_their_own() {
    let at = "order_shipment.order_lines.order_line[0].order_line_statuses.order_line_status";
    let faults = |change: fn(&mut Value)| fields(check_shipment(&shipment(&[parcel(change)])));
    assert_eq!(faults(|_| {}), [""; 0]);
    for (change, field) in [
        ((|p| p["shipDateTime"] = json!(1761990000)) as fn(&mut Value), "ship_date_time"),
        (|p| p["shipDateTime"] = json!(638978280000000000i64), "ship_date_time"),
        (|p| p["shipDateTime"] = json!(1761990000000.5), "ship_date_time"),
        (|p| p["shipDateTime"] = Value::Null, "ship_date_time"),
        (|p| p["carrierName"] = Value::Null, "carrier_name"),
        (|p| p["carrierName"]["otherCarrier"] = json!("Me"), "carrier_name"),
        (|p| p["carrierName"] = json!({"otherCarrier": "Me"}), "tracking_url"),
        (|p| p["methodCode"] = Value::Null, "method_code"),
        (|p| p["trackingNumber"] = json!(""), "tracking_number"),
    ] {
        let faults = faults(change);
        assert!(faults.contains(&format!("{at}[0].tracking_info.{field}")), "{field}: {faults:?}");
    }
    let twice = shipment(&[parcel(|_| {}), parcel(|p| p["trackingNumber"] = json!("2Z")), parcel(|_| {})]);
    assert_eq!(fields(check_shipment(&twice)), [format!("{at}[2].tracking_info.tracking_number")]);
    let none = shipment(&[Value::Null]);
    assert_eq!(fields(check_shipment(&none)), [format!("{at}[0].tracking_info")]);
    let with_id = pb::ShipOrderLinesRequest { request_id: "x".into(), ..shipment(&[parcel(|_| {})]) };
    assert_eq!(fields(check_shipment(&with_id)), [""; 0]);
    assert_eq!(fields(check_correction(&with_id)), ["request_id"]);
}

fn refund(lines: Value, inside: Value) -> Vec<String> {
    let order_refund = json!({"purchaseOrderId": inside, "orderLines": {"orderLine": lines}});
    let request = pb::RefundOrderLinesRequest {
        purchase_order_id: "1".into(),
        order_refund: Some(serde_json::from_value(order_refund).unwrap()),
        ..Default::default()
    };
    fields(check_refund(&request))
}

fn refunded(number: &str, charge: Value) -> Value {
    json!({"lineNumber": number, "refunds": {"refund": [{"refundCharges": {"refundCharge": [charge]}}]}})
}

fn charge(amount: f64, tax: f64) -> Value {
    json!({"refundReason": "DamagedItem", "charge": {"chargeType": "PRODUCT", "chargeName": "Item Price",
        "chargeAmount": {"currency": "USD", "amount": amount}, "tax": {"taxName": "T", "taxAmount": {"amount": tax}}}})
}

#[test]
fn a_refund_is_negative_and_all_in_full_or_all_in_part() {
    let at = "order_refund.order_lines.order_line";
    let at_charge = format!("{at}[0].refunds.refund[0].refund_charges.refund_charge[0]");
    assert_eq!(
        refund(json!([refunded("1", charge(-4.25, 0.0)), refunded("2", charge(-0.01, -0.36))]), json!(null)),
        [""; 0]
    );
    assert_eq!(refund(json!([{"lineNumber": "1", "isFullRefund": true}]), json!("1")), [""; 0]);
    for amount in [4.25, 0.0] {
        let faults = refund(json!([refunded("1", charge(amount, 0.0))]), json!(null));
        assert_eq!(faults, [format!("{at_charge}.charge.charge_amount.amount")]);
    }
    let faults = refund(json!([refunded("1", charge(-1.0, 0.1))]), json!(null));
    assert_eq!(faults, [format!("{at_charge}.charge.tax.tax_amount.amount")]);
    let mixed = json!([{"lineNumber": "1", "isFullRefund": true}, refunded("2", charge(-1.0, 0.0))]);
    assert_eq!(refund(mixed, json!(null)), ["order_refund.order_lines"]);
    assert_eq!(
        refund(json!([{"lineNumber": "1", "isFullRefund": true}]), json!("2")),
        ["order_refund.purchase_order_id"]
    );
    let bare = refund(json!([refunded("1", json!({"charge": {}}))]), json!(null));
    let wanted = ["refund_reason", "charge.charge_type", "charge.charge_name", "charge.charge_amount.amount"];
    assert_eq!(bare, wanted.map(|field| format!("{at_charge}.{field}")));
    assert_eq!(refund(json!([{"lineNumber": "1"}]), json!(null)), [format!("{at}[0].refunds")]);
    assert_eq!(fields(check_refund(&Default::default())), ["purchase_order_id", "order_refund.order_lines"]);
}
