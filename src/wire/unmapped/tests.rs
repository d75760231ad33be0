use serde_json::json;

use super::*;

fn values(message: &str, body: Value) -> Vec<(String, String)> {
    find(message, body.to_string().as_bytes()).values.into_iter().collect()
}

fn one(path: &str, value: &Value) -> Vec<(String, String)> {
    vec![(path.to_owned(), value.to_string())]
}

#[test]
fn what_the_message_knows_is_not_found() {
    for (message, body) in [
        (
            "FetchDeliveryPromiseResponse",
            json!({"status": "SUCCESS", "header": {"headerAttributes": {"martId": 202}},
            "payload": {"offers": [{"availableQuantity": "2"}]}, "errors": {"error": [{"message": "no stock"}]}}),
        ),
        ("GetOrderStatusResponse", json!({"payload": {"orderNumber": 1, "shipments": {"trackNumber": "1Z"}}})),
        (
            "ListOrdersResponse",
            json!({"list": {"elements": {"order": [{"orderLines": {"orderLine": {"lineNumber": 1}}}]}}}),
        ),
        ("GetOrderResponse", json!({"order": {"purchaseOrderId": "17"}})),
        ("GetOrderResponse", json!({"purchaseOrderId": "17", "shipNode": []})),
        ("ListOrdersResponse", json!({"list": {"new": null}, "more": [], "elements": {}, "text": ""})),
        ("ListReturnsResponse", json!({"meta": {"totalCount": "3"}, "returnOrders": [], "new": null, "more": {}})),
    ] {
        assert_eq!(find(message, body.to_string().as_bytes()), Unmapped::default(), "{body}");
    }
}

#[test]
fn each_value_without_a_place_is_found_with_its_path() {
    let order = json!({"order": {"purchaseOrderId": "17", "orderLines": {"orderLine": [
        {"lineNumber": "1"}, {"lineNumber": "2", "gift": {"note": "hello"}}]}}});
    assert_eq!(values("GetOrderResponse", order), one("order.orderLines.orderLine[1].gift", &json!({"note": "hello"})));
    let unwrapped = json!({"purchaseOrderId": "17", "gift": true});
    assert_eq!(values("GetOrderResponse", unwrapped), one("gift", &json!(true)));
    // The gateway's own fields are no fields of Walmart's.
    assert_eq!(
        values("GetOrderResponse", json!({"order": {}, "correlationId": "x"})),
        one("correlationId", &json!("x"))
    );
    for (known, odd) in [
        ("lineNumber", json!(["1", "2"])),
        ("lineNumber", json!({"number": 1})),
        ("charges", json!("none")),
        ("orderLineQuantity", json!([{"amount": "1"}, {"amount": "2"}])),
    ] {
        let found = values("GetOrderResponse", json!({"order": {"orderLines": {"orderLine": {known: odd}}}}));
        assert!(
            found.iter().all(|(path, _)| path.starts_with(&format!("order.orderLines.orderLine.{known}"))),
            "{found:?}"
        );
        assert!(!found.is_empty(), "{odd}");
    }
    let amount = json!({"payload": {"offers": {"availableQuantity": {"measurementValue": "some"}}}});
    let path = "payload.offers.availableQuantity.measurementValue";
    assert_eq!(values("FetchDeliveryPromiseResponse", amount), one(path, &json!("some")));
}

#[test]
fn a_message_beside_a_description_is_found() {
    let errors = |error: Value| json!({"payload": {}, "errors": [error]});
    let both = errors(json!({"code": "C", "message": "other words", "description": "words"}));
    assert_eq!(values("CreateOrderResponse", both), one("errors[0].message", &json!("other words")));
    let causes = errors(json!({"message": "words", "causes": [{"code": "D"}], "errorIdentifiers": {}}));
    assert_eq!(values("CreateOrderResponse", causes), one("errors[0].causes", &json!([{"code": "D"}])));
}

#[test]
fn names_that_are_data_are_in_the_path_only() {
    let body = json!({"payload": {"ana@example.org": {"x": 1}, "a b": 2, "ok_1": 3}});
    let found = find("CreateOrderResponse", body.to_string().as_bytes());
    let paths: Vec<_> = found.values.keys().map(String::as_str).collect();
    assert_eq!(paths, ["payload.ok_1", r#"payload["a b"]"#, r#"payload["ana@example.org"]"#]);
    assert_eq!(Vec::from_iter(&found.places), ["payload.*", "payload.ok_1"]);
}

#[test]
fn values_among_credentials_are_redacted() {
    let body = json!({"payload": {"authDetails": {"clientSecret": "s3cret"}, "headers": ["x"], "authDetail": 1}});
    let found = find("CreateOrderResponse", body.to_string().as_bytes());
    let expected = [("payload.authDetail", "1"), ("payload.authDetails", REDACTED), ("payload.headers", REDACTED)];
    assert_eq!(found.values, expected.map(|(path, value)| (path.to_owned(), value.to_owned())).into());
}

#[test]
fn values_are_bounded_and_places_are_counted_without_positions() {
    let order = |n: usize| json!({"purchaseOrderId": n.to_string(), "gift": "g".repeat(100), format!("new{n}"): n});
    let body = json!({"list": {"elements": {"order": (0..200).map(order).collect::<Vec<_>>()}}}).to_string();
    let found = find("ListOrdersResponse", body.as_bytes());
    let bytes: usize = found.values.iter().map(|(path, value)| path.len() + value.len()).sum();
    assert!(bytes <= MAX_BYTES && bytes > MAX_BYTES - 200, "{bytes}");
    assert!(found.values.contains_key("list.elements.order[0].gift"));
    assert!(found.places.contains("list.elements.order[].gift"));
    assert_eq!(found.places.len(), MAX_PLACES);
    // A value that does not fit leaves room for others.
    let body = json!({"payload": {"long": "l".repeat(5000), "short": 1}}).to_string();
    let found = find("CreateOrderResponse", body.as_bytes());
    assert_eq!((found.values.len(), found.places.len()), (1, 2));
}

#[test]
fn a_large_or_broken_answer_is_looked_through() {
    let body = json!({"payload": {"requestId": "x".repeat(MAX_VALUES_OF), "new": 1}}).to_string();
    let found = find("CreateOrderResponse", body.as_bytes());
    assert!(found.values.is_empty());
    assert_eq!(Vec::from_iter(&found.places), ["payload.new"]);
    let cut = find("CreateOrderResponse", br#"{"new": 1, "payload": {"more": "#);
    assert_eq!(cut.values, BTreeMap::from([("new".to_owned(), "1".to_owned())]));
    assert_eq!(find("CreateOrderResponse", b"<html>"), Unmapped::default());
    let deep = format!(r#"{{"new":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let found = find("CreateOrderResponse", deep.as_bytes());
    assert!(found.values.is_empty());
    assert_eq!(Vec::from_iter(&found.places), ["new"]);
    assert_eq!(find("NoSuchMessage", br#"{"new": 1}"#), Unmapped::default());
}
