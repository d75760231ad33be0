//! How each operation is asked and how its answers are read.

use http::Method;
use serde_json::{Value, json};

use crate::domain::mutations::{CancelOrder, CreateOrder};
use crate::domain::reads::{FetchPromise, SearchOrders};
use crate::pb::{self, HeaderAttributes};
use crate::upstream::codec::{AnswerError, OperationCodec};

/// Request bodies as Walmart's pages print them.
const PROMISE: &str = r#"{ "header": { "headerAttributes": { "martId": "202", "buId": "0" } }, "payload": { "offerSelections": [ { "offers": [ { "sku": "SKU-1", "lineId": "1", "salesUnit": "EACH", "requestedQuantity": { "measurementValue": 1, "unitOfMeasure": "EACH" }, "shippingMethod": "STANDARD" } ] } ], "destinations": [ { "fulfillmentType": "S2H", "address": { "line1": "100 Main St", "city": "San Francisco", "state": "CA", "country": "US", "zip": "94103" } } ] } }"#;
const CREATE: &str = r#"{ "header": { "headerAttributes": { "martId": "202", "buId": "0" } }, "payload": { "orderChannelId": "ORDER_CHANNEL_ID", "sellerOrderId": "SO123", "customerOrderNo": "SO123", "orderPlacedTime": "2017-07-21T17:32:28Z", "customer": { "contact": { "name": { "firstName": "A", "lastName": "B" }, "phone": "555-111-2222", "email": "a@example.org" } }, "orderItems": [ { "sellerLineId": "1", "fulfillmentType": "S2H", "shippingMethod": "STANDARD", "itemDetail": { "sku": "SKU-1", "description": "Example product description" }, "qty": { "unitOfMeasure": "EACH", "measurementValue": 1 }, "shippingTo": { "contact": { "name": { "firstName": "A", "lastName": "B" }, "phone": "555-111-2222", "email": "a@example.org" }, "address": { "line1": "100 Main St", "city": "San Francisco", "state": "CA", "country": "US", "zip": "94103" } }, "chargeDetails": [ { "chargeCategory": "ITEM", "chargePerUnit": { "currencyAmount": 100, "currencyUnit": "USD" } } ] } ] } }"#;
const CANCEL: &str = r#"{ "header": { "headerAttributes": { "martId": "202", "buId": "0" } }, "payload": { "sellerId": "ACCOUNT_ID", "sellerOrderId": "SO123", "customerOrderNo": "SO123", "orderItems": [ { "sellerLineId": "1", "qty": { "unitOfMeasure": "EACH", "measurementValue": 1 } } ] } }"#;
/// Answers.
const PROMISED: &str = r#"{ "header": { "headerAttributes": { "martId": "202", "buId": "0" } }, "payload": { "destinations": [ { "fulfillmentType": "DELIVERY", "address": { "city": "jordan", "addressType": "RESIDENTIAL", "line1": "x", "zip": "94102", "country": "US", "state": "CA", "postalCode": "94102" } } ], "offers": [ { "availableQuantity": { "measurementValue": 10, "unitOfMeasure": "EA" }, "requestedQuantity": { "measurementValue": 2, "unitOfMeasure": "EA" }, "lineId": "1", "salesUnit": "Each", "sku": "SKU-3" } ], "fulfillmentPlans": [ { "fulfillmentModules": [ { "name": "UNSCHEDULED_DELIVERY" } ] } ] }, "status": "SUCCESS" }"#;
const ACCEPTED: &str = r#"{ "status": "ACCEPTED", "header": { "headerAttributes": { "martId": "202", "buId": "0" } }, "payload": { "requestId": "SO123" } }"#;
const FOUND: &str = r#"{ "status": "OK", "header": null, "payload": [ { "orderNumber": "SO123" } ] }"#;

fn account() -> HeaderAttributes {
    HeaderAttributes { mart_id: Some("303".into()), bu_id: Some("9".into()), ..Default::default() }
}

fn parts(body: &str) -> (pb::Header, Value) {
    let value: Value = serde_json::from_str(body).unwrap();
    (serde_json::from_value(value["header"].clone()).unwrap(), value["payload"].clone())
}

#[test]
fn what_walmart_gets_is_what_its_pages_print() {
    let same = |built: crate::upstream::codec::RestRequest, path: &str, body: &str| {
        assert_eq!((built.method, &*built.target), (Method::POST, path));
        let (sent, printed): (Value, Value) =
            (serde_json::from_slice(&built.body).unwrap(), serde_json::from_str(body).unwrap());
        assert_eq!(sent, printed);
    };
    let base = "/v3/fulfillment/orders-fulfillments";
    let (header, payload) = parts(PROMISE);
    let request = pb::FetchDeliveryPromiseRequest {
        header: Some(header),
        payload: Some(serde_json::from_value(payload).unwrap()),
        ..Default::default()
    };
    same(FetchPromise::build(&request, &account()), &format!("{base}/fetchOrderPromiseOptions"), PROMISE);
    let (header, payload) = parts(CREATE);
    let request = pb::CreateOrderRequest {
        header: Some(header),
        payload: Some(serde_json::from_value(payload).unwrap()),
        ..Default::default()
    };
    same(CreateOrder::build(&request, &account()), base, CREATE);
    let (header, payload) = parts(CANCEL);
    let request = pb::CancelOrderRequest {
        header: Some(header),
        payload: Some(serde_json::from_value(payload).unwrap()),
        ..Default::default()
    };
    same(CancelOrder::build(&request, &account()), &format!("{base}/cancel"), CANCEL);
}

#[test]
fn the_header_is_filled_only_where_it_was_left_out() {
    for (sent, want) in [
        (json!(null), json!({ "martId": "303", "buId": "9" })),
        (json!({ "headerAttributes": null }), json!({ "martId": "303", "buId": "9" })),
        (json!({ "headerAttributes": { "martId": "1" } }), json!({ "martId": "1", "buId": "9" })),
        (json!({ "headerAttributes": { "martId": "", "buId": "0" } }), json!({ "martId": "", "buId": "0" })),
    ] {
        let header = serde_json::from_value::<Option<pb::Header>>(sent.clone()).unwrap();
        let request = pb::CancelOrderRequest { header, ..Default::default() };
        let built = CancelOrder::build(&request, &account());
        let body: Value = serde_json::from_slice(&built.body).unwrap();
        assert_eq!(body["header"]["headerAttributes"], want, "{sent}");
    }
}

#[test]
fn a_search_is_escaped_and_says_only_what_was_asked() {
    let request = pb::GetOrderStatusRequest {
        order_number: "a b&c=d/é?#%+\"".into(),
        order_channel_id: "x".into(),
        from_order_date: "2026-10-30T14:05:00+02:00".into(),
        limit: 10,
        ..Default::default()
    };
    let built = SearchOrders::build(&request, &account());
    assert_eq!((built.method, built.body.len()), (Method::GET, 0));
    let (path, query) = built.target.split_once('?').unwrap();
    assert_eq!(path, "/v3/fulfillment/orders-fulfillments/status");
    let want = "orderNumber=a+b%26c%3Dd%2F%C3%A9%3F%23%25%2B%22&orderChannelId=x\
                &fromOrderDate=2026-10-30T14%3A05%3A00%2B02%3A00&limit=10";
    assert_eq!(query, want);
    let read: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    assert_eq!(read[0], ("orderNumber".to_owned(), request.order_number));
    assert!(built.target.parse::<http::uri::PathAndQuery>().is_ok());
}

#[test]
fn every_shape_of_success_is_read() {
    for body in [
        PROMISED.to_owned(),
        PROMISED.replace("SUCCESS", "PARTIAL_SUCCESS"),
        PROMISED.replace("SUCCESS", "ACCEPTED"),
        PROMISED.replace("SUCCESS", "success"),
        PROMISED.replace(r#""measurementValue": 10"#, r#""measurementValue": "10""#),
        PROMISED.replace(r#""status""#, r#""errors": [], "more": {"deep": [1]}, "status""#),
        PROMISED.replace(r#""header": {"#, r#""header": null, "other": {"#),
    ] {
        let answer = FetchPromise::read(200, body.as_bytes()).unwrap_or_else(|e| panic!("{e:?}: {body}"));
        let offer = &answer.payload.as_ref().unwrap().offers[0];
        assert_eq!(offer.available_quantity.as_ref().unwrap().measurement_value, Some(10.0), "{body}");
    }
    for body in [
        ACCEPTED.to_owned(),
        ACCEPTED.replace(r#""ACCEPTED""#, r#""OK""#),
        ACCEPTED.replace(r#""ACCEPTED""#, "null"),
        ACCEPTED.replace(r#"{ "requestId": "SO123" }"#, r#"[{ "requestId": "SO123" }]"#),
        r#"{"header":null,"errors":null,"payload":{"requestId":"SO123","new":1e400},"status":"ACCEPTED"}"#.to_owned(),
    ] {
        let answer = CreateOrder::read(200, body.as_bytes()).unwrap_or_else(|e| panic!("{e:?}: {body}"));
        assert_eq!(answer.acceptance.request_id, "SO123");
        assert_eq!(CancelOrder::read(200, body.as_bytes()), Ok(answer));
    }
    let number = r#"{"status":"ACCEPTED","payload":{"requestId":123}}"#;
    assert_eq!(CreateOrder::read(200, number.as_bytes()).unwrap().acceptance.request_id, "123");
    for (body, orders) in [
        (FOUND.to_owned(), 1),
        (FOUND.replace(['[', ']'], ""), 1),
        (r#"{"status":"OK","payload":[]}"#.to_owned(), 0),
        (r#"{"status":"OK"}"#.to_owned(), 0),
        (r#"{"payload":[{"orderNumber":"1"},{"orderNumber":"2"}]}"#.to_owned(), 2),
    ] {
        let answer = SearchOrders::read(200, body.as_bytes()).unwrap_or_else(|e| panic!("{e:?}: {body}"));
        assert_eq!((answer.payload.len(), answer.status.as_str()), (orders, "OK"), "{body}");
    }
}

#[test]
fn a_failure_in_a_success_is_a_failure() {
    let body = br#"{"status":"FAIL","header":null,"payload":{"requestId":"R1"},"errors":[{"code":"404.WSAAS.100"}]}"#;
    let failed = |result| match result {
        Err(AnswerError::Failed(body)) => body.errors[0].code.clone(),
        _ => String::new(),
    };
    assert_eq!(failed(CreateOrder::read(200, body).map(drop)), "404.WSAAS.100");
    assert_eq!(failed(CancelOrder::read(200, body).map(drop)), "404.WSAAS.100");
    assert_eq!(failed(FetchPromise::read(200, body).map(drop)), "404.WSAAS.100");
    assert_eq!(failed(SearchOrders::read(200, body).map(drop)), "404.WSAAS.100");
}

fn unreadable(body: &[u8]) -> [bool; 4] {
    fn of<X: OperationCodec>(body: &[u8]) -> bool {
        matches!(X::read(200, body), Err(AnswerError::Unreadable))
    }
    [of::<FetchPromise>(body), of::<CreateOrder>(body), of::<CancelOrder>(body), of::<SearchOrders>(body)]
}

#[test]
fn errors_without_status_and_payload_are_a_refusal() {
    for body in [
        r#"{"errors":{"error":[{"code":"404.WSAAS.100"}]}}"#,
        r#"{"error":[{"code":"404.WSAAS.100"}],"header":null}"#,
        r#"{"errors":[{"code":"404.WSAAS.100"}],"payload":null,"status":null}"#,
        r#"[{"code":"404.WSAAS.100"}]"#,
        "<errors><error><code>404.WSAAS.100</code></error></errors>",
    ] {
        fn code<X: OperationCodec>(status: u16, body: &str) -> String {
            match X::read(status, body.as_bytes()) {
                Err(AnswerError::Failed(body)) => body.errors[0].code.clone(),
                _ => String::new(),
            }
        }
        for status in [200, 202, 206] {
            assert_eq!(code::<CreateOrder>(status, body), "404.WSAAS.100", "{status} {body}");
            assert_eq!(code::<CancelOrder>(status, body), "404.WSAAS.100", "{status} {body}");
            assert_eq!(code::<SearchOrders>(status, body), "404.WSAAS.100", "{status} {body}");
        }
        assert_eq!(code::<FetchPromise>(200, body), "404.WSAAS.100", "{body}");
    }
    // Beside a status or a payload they do not say what became of the request.
    for body in [
        r#"{"status":"ACCEPTED","errors":[{"code":"C"}]}"#,
        r#"{"payload":{},"errors":[{"code":"C"}]}"#,
        r#"{"errors":[]}"#,
        r#"{"errors":["text"]}"#,
        r#"{"code":"C","message":"m"}"#,
    ] {
        assert_eq!(CreateOrder::read(200, body.as_bytes()), Err(AnswerError::Unreadable), "{body}");
    }
}

#[test]
fn errors_beside_an_answer_are_told_with_it() {
    let with = |body: &str, errors: &str| body.replacen('{', &format!("{{{errors},"), 1);
    for errors in [
        r#""errors":[{"code":"C","message":"m"}]"#,
        r#""errors":{"error":{"code":"C","description":"m"}}"#,
        r#""error":[{"code":"C","description":"m"}],"errors":[]"#,
    ] {
        let told = |errors: Vec<pb::WalmartError>| {
            assert_eq!(errors.len(), 1);
            assert_eq!((errors[0].code.as_str(), errors[0].description.as_str()), ("C", "m"));
        };
        let accepted = CreateOrder::read(202, with(ACCEPTED, errors).as_bytes()).unwrap();
        assert_eq!(accepted.acceptance.request_id, "SO123");
        told(accepted.errors);
        told(SearchOrders::read(200, with(FOUND, errors).as_bytes()).unwrap().errors);
        told(FetchPromise::read(200, with(PROMISED, errors).as_bytes()).unwrap().errors);
    }
}

#[test]
fn a_partial_promise_may_be_errors_alone() {
    let alone = r#"{"errors":[{"code":"SOME_CONTENT_NOT_FOUND","description":"sku unknown","severity":"INFO"}]}"#;
    let partial = alone.replacen('{', r#"{"status":"PARTIAL_SUCCESS","#, 1);
    for (status, body) in [(206, alone), (206, partial.as_str()), (200, partial.as_str())] {
        let answer = FetchPromise::read(status, body.as_bytes()).unwrap_or_else(|e| panic!("{e:?}: {status} {body}"));
        assert_eq!((answer.status.as_str(), answer.payload), ("PARTIAL_SUCCESS", None));
        assert_eq!(answer.errors[0].description, "sku unknown");
    }
    let failed = alone.replacen('{', r#"{"status":"FAIL","#, 1);
    let throttled = alone.replace("SOME_CONTENT_NOT_FOUND", "REQUEST_THRESHOLD_VIOLATED.GMP_GATEWAY_API");
    for (status, body) in [(206, failed.as_str()), (206, throttled.as_str()), (200, alone)] {
        assert!(matches!(FetchPromise::read(status, body.as_bytes()), Err(AnswerError::Failed(_))), "{status} {body}");
    }
    for (status, body) in [(206, r#"{"status":"SUCCESS"}"#), (200, r#"{"status":"SUCCESS","errors":[{"code":"C"}]}"#)] {
        assert!(matches!(FetchPromise::read(status, body.as_bytes()), Err(AnswerError::Unreadable)), "{status} {body}");
    }
}

#[test]
fn what_is_no_answer_is_no_success() {
    for body in [
        "",
        " ",
        "null",
        "true",
        "42",
        "[]",
        "{}",
        "\"ACCEPTED\"",
        "<html><body>OK</body></html>",
        "<OAuthTokenDTO/>",
        r#"{"status":"PENDING","payload":{"requestId":"R1"}}"#,
        r#"{"status":"OK\ud800","payload":{"requestId":"R1"}}"#,
        r#"{"status":"OK","status":"OK","payload":{"requestId":"R1"}}"#,
        r#"{"status":"OK","payload":{"requestId":"R1"},"payload":{"requestId":"R2"}}"#,
        r#"{"status":1e999,"payload":{"requestId":"R1"}}"#,
        "{\"status\":\"\u{0}\"}",
    ] {
        assert_eq!(unreadable(body.as_bytes()), [true; 4], "{body}");
    }
    assert_eq!(unreadable(b"\xff\xfe{\"status\":\"OK\"}"), [true; 4]);
    let deep = format!(r#"{{"status":"OK","payload":{}"#, "[".repeat(1_000_000));
    assert_eq!(unreadable(deep.as_bytes()), [true; 4]);
    for body in [
        r#"{"payload":{"requestId":"\ud800"}}"#,
        r#"{"status":"ACCEPTED"}"#,
        r#"{"status":"ACCEPTED","payload":{"requestId":""}}"#,
        r#"{"status":"OK","payload":[1]}"#,
    ] {
        assert_eq!(unreadable(body.as_bytes())[1..3], [true; 2], "no id is no proof: {body}");
    }
}

#[test]
fn what_is_cut_off_is_no_success() {
    for body in [PROMISED, ACCEPTED, FOUND] {
        for end in 0..body.len() {
            assert_eq!(unreadable(&body.as_bytes()[..end]), [true; 4], "{}", &body[..end]);
        }
    }
}

proptest::proptest! {
    #[test]
    fn no_body_is_a_crash(body in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        unreadable(&body);
    }

    #[test]
    fn a_changed_byte_is_no_crash(at in 0usize..500, byte in proptest::num::u8::ANY) {
        for body in [PROMISED, ACCEPTED, FOUND] {
            let mut body = body.as_bytes().to_vec();
            let at = at % body.len();
            body[at] = byte;
            unreadable(&body);
        }
    }
}
