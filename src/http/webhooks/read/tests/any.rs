use proptest::prelude::*;
use serde_json::{Value, json};

use super::{INTENT, ORDER_UPDATE, read_bytes, read_json, read_text};

/// Puts `value` in the place of every field of `event`, one after the other.
fn with_each_field(event: &Value, value: &Value) -> Vec<(String, Value)> {
    fn paths(value: &Value, at: String, all: &mut Vec<String>) {
        let inner: Vec<(String, &Value)> = match value {
            Value::Object(fields) => fields.iter().map(|(name, inner)| (name.clone(), inner)).collect(),
            Value::Array(items) => items.iter().enumerate().map(|(i, inner)| (i.to_string(), inner)).collect(),
            _ => Vec::new(),
        };
        for (name, inner) in inner {
            let path = format!("{at}/{name}");
            all.push(path.clone());
            paths(inner, path, all);
        }
    }
    let mut all = Vec::new();
    paths(event, String::new(), &mut all);
    let replaced = |path: String| {
        let mut event = event.clone();
        *event.pointer_mut(&path).unwrap() = value.clone();
        (path, event)
    };
    all.into_iter().map(replaced).collect()
}

#[test]
fn a_wrong_type_in_any_field_leaves_the_others_as_they_are() {
    let wrong = [
        json!(null),
        json!(true),
        json!(-1),
        json!(1.5e300),
        json!("text"),
        json!([]),
        json!({}),
        json!([[[{"a": [1]}]]]),
        json!({"orderLine": {"orderLine": 1}}),
    ];
    // Without these nobody can tell what it is.
    let needed =
        ["/source", "/source/eventType", "/payload", "/payload/order", "/payload/meta", "/payload/meta/subEventType"];
    for sample in [INTENT, ORDER_UPDATE] {
        let event: Value = serde_json::from_str(sample).unwrap();
        let whole = read_json(&event).intent.unwrap();
        for value in &wrong {
            for (path, changed) in with_each_field(&event, value) {
                let read = read_text(&changed.to_string());
                if needed.contains(&path.as_str()) {
                    continue;
                }
                let intent = read.unwrap().intent.unwrap();
                if !path.contains("purchaseOrderId") {
                    assert_eq!(intent.purchase_order_id, whole.purchase_order_id, "{path} = {value}");
                }
                if !path.contains("orderLines") {
                    assert_eq!(intent.order_lines, whole.order_lines, "{path} = {value}");
                }
            }
        }
    }
}

pub(in crate::http::webhooks) fn any_json() -> impl Strategy<Value = Value> {
    let names = [
        "source",
        "eventType",
        "eventId",
        "eventTime",
        "eventVersion",
        "payload",
        "order",
        "meta",
        "subEventType",
        "partnerId",
        "purchaseOrderId",
        "orderLines",
        "orderLine",
        "orderLineStatuses",
        "orderLineStatus",
        "intentToCancel",
        "item",
        "shippingInfo",
        "shipNode",
        "lineNumber",
        "quantity",
        "orderLineQuantity",
        "unitOfMeasure",
        "unitOfMeasurement",
        "measurementValue",
        "amount",
        "orderDate",
        "x",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        prop::sample::select(vec!["INTENT_TO_CANCEL", "ORDER_UPDATES", "1", "2024-05-08T08:38:59Z"])
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((prop::sample::select(names.to_vec()), inner), 0..10)
                .prop_map(|all| all.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Value>()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn only_several_orders_make_an_intent_unreadable(payload in any_json().prop_filter("object", Value::is_object)) {
        for event in [
            json!({"source": {"eventType": "INTENT_TO_CANCEL"}, "payload": payload}),
            json!({"source": {"eventType": "ORDER_UPDATES"}, "payload": {"subEventType": "INTENT_TO_CANCEL", "order": payload}}),
        ] {
            match read_text(&event.to_string()) {
                Ok(read) => prop_assert!(read.intent.is_some()),
                Err(unreadable) => prop_assert_eq!(unreadable.reason(), "the intent has several orders"),
            }
        }
    }

    #[test]
    fn no_json_and_no_bytes_panic(event in any_json(), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read_text(&event.to_string());
        let _ = read_bytes(&bytes);
        let mut cut = event.to_string().into_bytes();
        cut.truncate(bytes.len());
        let _ = read_bytes(&cut);
    }
}
