pub(in crate::http::webhooks) mod any;
mod forms;

use bytes::Bytes;
use serde_json::json;

use super::*;
use crate::config::WebhookAuth;
use crate::domain::account::AccountId;
use crate::domain::timestamp::Timestamp;
use crate::http::webhooks::auth::{ProofVerifier, UnverifiedDelivery};
use crate::pb;

/// Seed 003's sample, which lacks a quote and a comma.
const AS_PRINTED: &str = include_str!("../../testdata/seed-003-as-printed.txt");
pub(super) const INTENT: &str = include_str!("../../testdata/intent.json");
pub(super) const ORDER_UPDATE: &str = include_str!("../../testdata/order-updates.json");

pub(super) fn read_bytes(body: &[u8]) -> Result<WebhookNotification, UnreadableBody> {
    let gate = ProofVerifier::new(AccountId::new("acme").unwrap(), WebhookAuth::None);
    let head = http::Request::post("/").body(()).unwrap().into_parts().0;
    let delivery = UnverifiedDelivery { head: &head, body: Bytes::copy_from_slice(body) };
    let (back, read) = read(gate.check(delivery, std::time::Duration::ZERO, None).unwrap());
    assert_eq!(back, body);
    read
}

pub(super) fn read_text(body: &str) -> Result<WebhookNotification, UnreadableBody> {
    read_bytes(body.as_bytes())
}

pub(super) fn read_json(body: &Value) -> WebhookNotification {
    read_text(&body.to_string()).unwrap()
}

fn intent_of(payload: Value) -> pb::CancelIntent {
    let event = json!({"source": {"eventType": "INTENT_TO_CANCEL", "eventId": "e-1"}, "payload": payload});
    read_json(&event).intent.unwrap()
}

fn why(body: &str) -> String {
    read_text(body).unwrap_err().reason().to_owned()
}

fn quantity(unit: Option<&str>, value: Option<f64>) -> Option<pb::Quantity> {
    Some(pb::Quantity { unit_of_measure: unit.map(str::to_owned), measurement_value: value })
}

#[test]
fn the_event_of_its_own_is_an_intent() {
    let read = read_text(INTENT).unwrap();
    assert_eq!(read.event_id, "0d16aa10-b5a4-11f0-8de9-0242ac120002");
    assert_eq!((read.event_type.as_str(), read.sub_event_type.as_str()), ("INTENT_TO_CANCEL", ""));
    assert_eq!(read.event_time, Some(Timestamp(1_793_373_611_482)));
    let line = pb::CancelIntentLine {
        line_number: "1".into(),
        sku: "MUG-RED-12".into(),
        product_name: "Red mug".into(),
        quantity: quantity(Some("EACH"), Some(1.0)),
        status: "PO Created".into(),
        status_date: "2026-10-30T15:20:10.101+00:00".into(),
        shipping_program_type: "TWO_DAY".into(),
        shipping_method: "VALUE".into(),
        cancellation_reason: "Customer changed mind".into(),
        cancel_sub_reason_code_description: "Ordered twice".into(),
    };
    let intent = pb::CancelIntent {
        partner_id: "10000000001".into(),
        purchase_order_id: "1700000000001".into(),
        customer_order_id: "5700000000009".into(),
        order_date: "2026-10-30T14:05:00+00:00".into(),
        estimated_delivery_date: "2026-11-06T19:00:00+00:00".into(),
        estimated_ship_date: "2026-11-02T21:00:00+00:00".into(),
        order_lines: vec![line],
        ship_node_type: "SellerFulfilled".into(),
    };
    assert_eq!(read.intent, Some(intent));
}

#[test]
fn the_printed_sample_is_no_json_and_repaired_it_is_an_intent() {
    let reason = why(AS_PRINTED);
    assert!(reason.starts_with("not JSON: key must be a string at line 1 column 3"), "{reason}");
    let half = AS_PRINTED.replacen("{ source", "{ \"source", 1);
    assert!(why(&half).starts_with("not JSON: expected `,` or `}`"), "{}", why(&half));
    let repaired = half.replacen("expiry\" \"cancel", "expiry\", \"cancel", 1);
    let read = read_text(&repaired).unwrap();
    assert_eq!(read.event_id, "6152fd40-0d16-11ef-a1eb-f54123823e1e");
    let intent = read.intent.unwrap();
    assert_eq!((intent.partner_id.as_str(), intent.purchase_order_id.as_str()), ("10000680931", "1805600225946"));
    assert_eq!(intent.order_lines[0].quantity, quantity(Some("EACH"), Some(1.0)));
    assert_eq!(intent.order_lines[0].cancel_sub_reason_code_description, "Used the wrong payment method.");
}

#[test]
fn an_order_update_is_an_intent_wherever_it_says_so() {
    let read = read_text(ORDER_UPDATE).unwrap();
    assert_eq!((read.event_type.as_str(), read.sub_event_type.as_str()), ("ORDER_UPDATES", "INTENT_TO_CANCEL"));
    assert_eq!(read.event_time, Some(Timestamp(1_793_373_611_000)));
    let intent = read.intent.unwrap();
    assert_eq!((intent.purchase_order_id.as_str(), intent.order_lines.len()), ("1700000000001", 1));
    assert_eq!(intent.partner_id, "");

    let order = json!({"purchaseOrderId": "7", "partnerId": null});
    for payload in [
        json!({"subEventType": "INTENT_TO_CANCEL", "partnerId": 100, "order": order}),
        json!({"meta": {"subEventType": "intent_to_cancel"}, "order": {"purchaseOrderId": "7", "partnerId": "100"}}),
        json!({"subEventType": null, "meta": {"subEventType": "INTENT_TO_CANCEL"}, "purchaseOrderId": 7, "partnerId": 100}),
    ] {
        let read = read_json(&json!({"source": {"eventType": "ORDER_UPDATES"}, "payload": payload}));
        let intent = read.intent.unwrap();
        assert_eq!((intent.purchase_order_id.as_str(), intent.partner_id.as_str()), ("7", "100"), "{payload}");
    }
}

#[test]
fn other_events_are_no_intents_and_can_be_told() {
    for (event_type, payload) in [
        ("PO_CREATED", json!({"purchaseOrderId": "1"})),
        ("INVENTORY_OOS", json!([])),
        ("SOMETHING_NEW", json!(null)),
        ("ORDER_UPDATES", json!({"subEventType": "PO_CREATED", "order": {"purchaseOrderId": "1"}})),
        ("ORDER_UPDATES", json!({"order": []})),
        ("ORDER_UPDATES", json!("x")),
    ] {
        let read = read_json(&json!({"source": {"eventType": event_type, "eventId": "e-1"}, "payload": payload}));
        assert_eq!((read.event_type.as_str(), read.event_id.as_str()), (event_type, "e-1"));
        assert_eq!(read.intent, None, "{event_type}");
    }
}

#[test]
fn the_other_names_of_an_intent_are_understood_and_kept() {
    for name in ["PO_INTENT_TO_CANCEL", "ORDER_INTENT_TO_CANCEL", "Intent_To_Cancel"] {
        let read = read_json(&json!({"source": {"eventType": name}, "payload": {"purchaseOrderId": "1"}}));
        assert_eq!(read.event_type, name);
        assert!(read.intent.is_some(), "{name}");
    }
}

#[test]
fn the_head_may_stand_at_the_top() {
    let event = json!({"eventType": "INTENT_TO_CANCEL", "eventId": "e-1", "eventVersion": "V1", "eventTime": 1_700_000_000,
        "payload": {"purchaseOrderId": "1"}});
    let read = read_json(&event);
    assert_eq!((read.event_id.as_str(), read.event_version.as_str()), ("e-1", "V1"));
    assert_eq!(read.event_time, Some(Timestamp(1_700_000_000_000)));
    let mixed = json!({"source": {"eventType": null, "eventId": "inner"}, "eventType": "X", "eventId": "outer"});
    let read = read_json(&mixed);
    assert_eq!((read.event_type.as_str(), read.event_id.as_str()), ("X", "inner"));
}

#[test]
fn times_are_read_in_every_usual_form() {
    let moment = Some(Timestamp(1_715_157_539_604));
    for (sent, expected) in [
        (json!("2024-05-08T08:38:59.604Z"), moment),
        (json!("2024-05-08T08:38:59.604+00:00"), moment),
        (json!("2024-05-08T10:38:59.604+0200"), moment),
        (json!("2024-05-08 08:38:59.604Z"), moment),
        (json!(" 2024-05-08T08:38:59.604 "), moment),
        (json!(1_715_157_539_604_u64), moment),
        (json!("1715157539604"), moment),
        (json!(1_715_157_539), Some(Timestamp(1_715_157_539_000))),
        (json!(1_715_157_539.604), moment),
        (json!("2024-05-08"), Some(Timestamp(1_715_126_400_000))),
        (json!(0), Some(Timestamp(0))),
        (json!(-1), None),
        (json!("1969-12-31T23:59:59Z"), None),
        (json!(1e300), None),
        (json!("NaN"), None),
        (json!("yesterday"), None),
        (json!(""), None),
        (json!(true), None),
        (json!(null), None),
        (json!([1_715_157_539]), None),
        (json!({"time": 1}), None),
    ] {
        let event = json!({"source": {"eventType": "X", "eventTime": sent}});
        assert_eq!(read_json(&event).event_time, expected, "{event}");
    }
}

#[test]
fn quantities_are_numbers_however_they_are_written() {
    let unit = Some("EACH");
    for (mut line, expected) in [
        (json!({"quantity": {"unitOfMeasure": "EACH", "measurementValue": "2"}}), quantity(unit, Some(2.0))),
        (json!({"quantity": {"unitOfMeasure": "EACH", "measurementValue": 2.5}}), quantity(unit, Some(2.5))),
        (json!({"quantity": {"unitOfMeasurement": "EACH", "amount": "2"}}), quantity(unit, Some(2.0))),
        (json!({"orderLineQuantity": {"unitOfMeasurement": "EACH", "amount": "2"}}), quantity(unit, Some(2.0))),
        (json!({"quantity": null, "orderLineQuantity": {"amount": 2}}), quantity(None, Some(2.0))),
        (json!({"quantity": "2"}), quantity(None, Some(2.0))),
        (json!({"quantity": {"unitOfMeasure": "EACH", "measurementValue": "two"}}), quantity(unit, None)),
        (json!({"quantity": {"unitOfMeasure": "EACH"}}), quantity(unit, None)),
        (json!({"quantity": "two"}), None),
        (json!({"quantity": true}), None),
        (json!({}), None),
    ] {
        line["lineNumber"] = json!("1");
        let read = intent_of(json!({"orderLines": [line]}));
        assert_eq!(read.order_lines[0].quantity, expected, "{line}");
    }
}

#[test]
fn lines_are_read_in_both_shapes_and_dates_as_numbers() {
    for lines in [
        json!([{"lineNumber": 1}, {"lineNumber": "2"}]),
        json!({"orderLine": [{"lineNumber": "1"}, {"lineNumber": "2"}]}),
    ] {
        let read = intent_of(json!({"orderLines": lines, "orderDate": 1_594_000_000_000_u64}));
        let numbers: Vec<_> = read.order_lines.iter().map(|line| line.line_number.as_str()).collect();
        assert_eq!(numbers, ["1", "2"], "{lines}");
        assert_eq!(read.order_date, "1594000000000");
    }
    for lines in [json!({"orderLine": {"lineNumber": "1", "quantity": {"amount": "3"}}}), json!({"lineNumber": "1"})] {
        assert_eq!(intent_of(json!({"orderLines": lines})).order_lines.len(), 1, "{lines}");
    }
}

#[test]
fn what_cannot_be_told_is_unreadable_and_says_why() {
    for (body, expected) in [
        ("", "not JSON: EOF while parsing a value at line 1 column 0"),
        ("\u{feff}", "not JSON: EOF while parsing a value at line 1 column 0"),
        ("[]", "not a JSON object"),
        ("null", "not a JSON object"),
        ("\"INTENT_TO_CANCEL\"", "not a JSON object"),
        ("{}", "no event type"),
        (r#"{"source":[],"payload":{}}"#, "no event type"),
        (r#"{"source":{"eventType":""}}"#, "no event type"),
        (r#"{"source":{"eventType":{"a":1}}}"#, "no event type"),
        (r#"{"source":{"eventType":"a\u0000b"}}"#, "no event type"),
        (r#"{"source":{"eventType":"INTENT_TO_CANCEL"}}"#, "the payload of the intent is no object"),
        (r#"{"source":{"eventType":"INTENT_TO_CANCEL"},"payload":[]}"#, "the payload of the intent is no object"),
        (r#"{"source":{"eventType":"INTENT_TO_CANCEL"},"payload":[{},{}]}"#, "the payload of the intent is no object"),
        (r#"[{"source":{"eventType":"X"}},{"source":{"eventType":"X"}}]"#, "several JSON objects in one body"),
        (
            r#"{"source":{"eventType":"ORDER_UPDATES"},"payload":{"subEventType":"INTENT_TO_CANCEL","order":7}}"#,
            "the order of the intent is no object",
        ),
        (
            r#"{"source":{"eventType":"ORDER_UPDATES"},"payload":{"subEventType":"INTENT_TO_CANCEL","order":[{},{}]}}"#,
            "the intent has several orders",
        ),
        (r#"{"source":{"eventType":"X"}} {}"#, "not JSON: trailing characters at line 1 column 30"),
    ] {
        assert_eq!(why(body), expected, "{body}");
    }
    for body in [&b"{\"source\":{\"eventType\":\"\xff\"}}"[..], b"\xff\xfe{\x00}\x00", b"\x00", b"{\"a\":\"\\ud800\"}"]
    {
        let reason = read_bytes(body).unwrap_err();
        assert!(reason.reason().starts_with("not JSON: "), "{reason:?}");
    }
}

#[test]
fn a_mark_at_the_beginning_is_passed_over() {
    assert!(read_text(&format!("\u{feff}{INTENT}")).unwrap().intent.is_some());
}

#[test]
fn what_is_deep_is_unreadable_and_no_crash() {
    for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
        for depth in [1_000, 40_000] {
            let deep = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            for body in [
                deep.clone(),
                open.repeat(depth),
                format!(r#"{{"source":{{"eventType":"INTENT_TO_CANCEL"}},"payload":{{"orderLines":{deep}}}}}"#),
                format!(r#"{{"source":{{"eventType":"INTENT_TO_CANCEL"}},"payload":{{}},"x":{deep}}}"#),
            ] {
                let reason = why(&body);
                assert!(reason.contains("recursion limit"), "{reason}");
            }
        }
    }
}

#[test]
fn ids_that_are_none_count_as_none() {
    let id_of = |id: Value| read_json(&json!({"source": {"eventType": "X", "eventId": id}})).event_id;
    assert_eq!(id_of(json!(" e-1 ")), "e-1");
    assert_eq!(id_of(json!(17)), "17");
    assert_eq!(id_of(json!("x".repeat(256))), "x".repeat(256));
    for none in [json!(""), json!("  "), json!(null), json!(1.5), json!(true), json!(["e-1"]), json!({"id": "e-1"})] {
        assert_eq!(id_of(none.clone()), "", "{none}");
    }
    for none in ["x".repeat(257), "a\0b".to_owned(), "a\nb".to_owned()] {
        assert_eq!(id_of(json!(none)), "");
    }
}

#[test]
fn lines_that_say_nothing_are_left_out() {
    let lines = json!([{}, {"sku": "A"}, {"unknown": 1}, {"lineNumber": 2}, {"sku": null}]);
    let intent = intent_of(json!({"purchaseOrderId": "1", "orderLines": lines}));
    let left: Vec<_> = intent.order_lines.iter().map(|line| (line.line_number.as_str(), line.sku.as_str())).collect();
    assert_eq!(left, [("", "A"), ("2", "")]);
}
