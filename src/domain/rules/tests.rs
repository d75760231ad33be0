//! The rules, one by one, over Walmart's own sample bodies.

use std::sync::LazyLock;

use proptest::prelude::*;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::{Value, json};

use super::*;
use crate::pb::{self, CancelOrderRequest, CreateOrderRequest, FetchDeliveryPromiseRequest, GetOrderStatusRequest};

const CREATE: &str = include_str!("../../../examples/create.json");
const CANCEL: &str = include_str!("../../../examples/cancel-production.json");
const CANCEL_BOTH_NAMES: &str = include_str!("../../../examples/cancel.json");
const PROMISE: &str = include_str!("../../../examples/promise.json");

/// Reads protobuf's JSON form, as grpcurl does.
fn message<T: Message + Default>(name: &str, body: &Value) -> T {
    static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| DescriptorPool::decode(pb::FILE_DESCRIPTOR_SET).unwrap());
    let descriptor = POOL.get_message_by_name(&format!("ordergateway.v1.{name}")).unwrap();
    DynamicMessage::deserialize(descriptor, body).unwrap().transcode_to().unwrap()
}

fn sample(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn fields(result: Result<(), FieldFaults>) -> Vec<String> {
    result.err().map(|faults| faults.kept.into_iter().map(|fault| fault.field).collect()).unwrap_or_default()
}

fn create(body: &Value) -> Vec<String> {
    fields(check_order(&message::<CreateOrderRequest>("CreateOrderRequest", body)))
}

fn cancel(body: &Value) -> Vec<String> {
    fields(check_cancellation(&message::<CancelOrderRequest>("CancelOrderRequest", body)))
}

fn promise(body: &Value) -> Vec<String> {
    fields(check_promise(&message::<FetchDeliveryPromiseRequest>("FetchDeliveryPromiseRequest", body)))
}

/// The body with another value at a JSON pointer; without it when there is none.
fn with(body: &Value, pointer: &str, value: Option<Value>) -> Value {
    let mut body = body.clone();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = body.pointer_mut(parent).unwrap();
    match value {
        Some(value) => parent[key] = value,
        None => drop(parent.as_object_mut().unwrap().remove(key)),
    }
    body
}

/// Pointers to all members of the payload.
fn members(value: &Value, at: &str, into: &mut Vec<String>) {
    match value {
        Value::Object(all) => {
            for (key, value) in all {
                into.push(format!("{at}/{key}"));
                members(value, &format!("{at}/{key}"), into);
            }
        }
        Value::Array(all) => all.iter().enumerate().for_each(|(i, value)| members(value, &format!("{at}/{i}"), into)),
        _ => {}
    }
}

/// `/payload/orderItems/0/qty` as `payload.order_items[0].qty`.
fn path(pointer: &str) -> String {
    let mut path = String::new();
    for part in pointer.split('/').skip(1) {
        if part.parse::<usize>().is_ok() {
            path += &format!("[{part}]");
            continue;
        }
        if !path.is_empty() {
            path.push('.');
        }
        for c in part.chars() {
            if c.is_uppercase() {
                path.push('_');
            }
            path.push(c.to_ascii_lowercase());
        }
    }
    path
}

type Check = fn(&Value) -> Vec<String>;

#[test]
fn each_field_that_is_missing_null_or_empty_is_named_alone() {
    let optional =
        ["email", "description", "sellerId", "sellerOrderId", "header", "headerAttributes", "martId", "buId"];
    let mut tried = 0;
    let table: [(&str, &str, Check); 4] = [
        ("create", CREATE, create),
        ("cancel", CANCEL, cancel),
        ("both", CANCEL_BOTH_NAMES, cancel),
        ("p", PROMISE, promise),
    ];
    for (name, text, check) in table {
        let body = sample(text);
        assert_eq!(check(&body), Vec::<String>::new(), "{name}");
        let mut pointers = Vec::new();
        members(&body, "", &mut pointers);
        for pointer in pointers {
            let key = pointer.rsplit('/').next().unwrap();
            // In two samples there is the other name of the order number.
            let other_name = key == "customerOrderNo" && body["payload"].get("sellerOrderId").is_some();
            let expected = if optional.contains(&key) || other_name { vec![] } else { vec![path(&pointer)] };
            let empty = match body.pointer(&pointer).unwrap() {
                Value::String(_) => Some(json!("")),
                Value::Array(_) => Some(json!([])),
                _ => None,
            };
            for value in [None, Some(Value::Null)].into_iter().chain(empty.map(Some)) {
                assert_eq!(check(&with(&body, &pointer, value.clone())), expected, "{name} {pointer} {value:?}");
                tried += 1;
            }
        }
    }
    assert!(tried > 150, "{tried}");
}

#[test]
fn all_faults_are_told_at_once_in_the_order_of_the_fields() {
    let body = json!({ "requestId": " ", "payload": { "orderItems": [{ "chargeDetails": [{}] }, {}] } });
    let item =
        |i: usize, fields: &[&str]| Vec::from_iter(fields.iter().map(|f| format!("payload.order_items[{i}].{f}")));
    let all = ["seller_line_id", "fulfillment_type", "shipping_method", "item_detail", "qty", "shipping_to"];
    let mut expected =
        ["request_id", "payload.order_channel_id", "payload.customer_order_no"].map(String::from).to_vec();
    expected.extend(["payload.order_placed_time", "payload.customer"].map(String::from));
    expected.extend(item(0, &all));
    expected.extend(item(0, &["charge_details[0].charge_category", "charge_details[0].charge_per_unit"]));
    expected.extend(item(1, &all));
    expected.extend(item(1, &["charge_details"]));
    assert_eq!(create(&body), expected);

    let body =
        json!({ "payload": { "offerSelections": [{}, { "offers": [{}] }], "destinations": [{ "address": {} }] } });
    let offer = |field: &str| format!("payload.offer_selections[1].offers[0].{field}");
    let mut expected = vec!["payload.offer_selections[0].offers".to_owned()];
    expected.extend(["sku", "line_id", "sales_unit", "requested_quantity", "shipping_method"].map(offer));
    expected.push("payload.destinations[0].fulfillment_type".into());
    let address = ["line1", "city", "state", "country", "zip"];
    expected.extend(address.map(|field| format!("payload.destinations[0].address.{field}")));
    assert_eq!(promise(&body), expected);

    assert_eq!(cancel(&json!({ "payload": {} })), ["payload.customer_order_no", "payload.order_items"]);
    for check in [create, cancel, promise] {
        assert_eq!(check(&json!({})), ["payload"]);
    }
}

#[test]
fn quantities_are_whole_and_at_least_one() {
    let places: [(&str, Check, &str); 3] = [
        (CREATE, create, "/payload/orderItems/0/qty/measurementValue"),
        (CANCEL, cancel, "/payload/orderItems/0/qty/measurementValue"),
        (PROMISE, promise, "/payload/offerSelections/0/offers/0/requestedQuantity/measurementValue"),
    ];
    for (text, check, pointer) in places {
        for good in [json!(1), json!(1.0), json!("7"), json!(9_007_199_254_740_992_u64), json!(1e300)] {
            assert!(check(&with(&sample(text), pointer, Some(good.clone()))).is_empty(), "{good}");
        }
        for bad in ["NaN", "Infinity", "-Infinity", "0", "-0", "-1", "1.5", "0.999", "-1e300", "5e-324"] {
            assert_eq!(check(&with(&sample(text), pointer, Some(json!(bad)))), [path(pointer)], "{bad}");
        }
    }
}

#[test]
fn amounts_are_finite_and_not_negative() {
    let charge = "/payload/orderItems/0/chargeDetails/0";
    let taxed = with(&sample(CREATE), &format!("{charge}/taxDetails"), Some(json!({ "taxPerLine": {} })));
    for money in ["chargePerUnit", "taxDetails/taxPerLine"] {
        let pointer = format!("{charge}/{money}/currencyAmount");
        for good in ["0", "-0", "0.01", "19.99", "1e15"] {
            assert!(create(&with(&taxed, &pointer, Some(json!(good)))).is_empty(), "{money} {good}");
        }
        for bad in ["NaN", "Infinity", "-Infinity", "-0.01", "-1"] {
            assert_eq!(create(&with(&taxed, &pointer, Some(json!(bad)))), [path(&pointer)], "{money} {bad}");
        }
    }
}

#[test]
fn a_selection_has_room_for_thirty_offers() {
    let offers = |n| {
        let offer = sample(PROMISE)["payload"]["offerSelections"][0]["offers"][0].clone();
        with(&sample(PROMISE), "/payload/offerSelections/0/offers", Some(json!(vec![offer; n])))
    };
    assert!(promise(&offers(30)).is_empty());
    assert_eq!(promise(&offers(31)), ["payload.offer_selections[0].offers"]);
    // Twice thirty in two selections is fine.
    let selection = offers(30)["payload"]["offerSelections"][0].clone();
    let two = with(&sample(PROMISE), "/payload/offerSelections", Some(json!([selection, selection])));
    assert!(promise(&two).is_empty());
}

#[test]
fn a_quantity_that_only_answers_have_must_be_a_number_all_the_same() {
    let pointer = "/payload/offerSelections/0/offers/0/availableQuantity";
    let body = |n: &str| with(&sample(PROMISE), pointer, Some(json!({ "measurementValue": n })));
    assert!(promise(&body("0")).is_empty());
    assert_eq!(promise(&body("NaN")), [path(&format!("{pointer}/measurementValue"))]);
}

#[test]
fn line_ids_are_unique_in_a_request() {
    for (text, check) in [(CREATE, create as Check), (CANCEL, cancel)] {
        let mut body = sample(text);
        let line = body["payload"]["orderItems"][0].clone();
        body["payload"]["orderItems"] = json!([line, line, line]);
        let twice = [1, 2].map(|i| format!("payload.order_items[{i}].seller_line_id"));
        assert_eq!(check(&body), twice);
        body["payload"]["orderItems"][1]["sellerLineId"] = json!("other");
        body["payload"]["orderItems"][2]["sellerLineId"] = json!("OTHER");
        assert!(check(&body).is_empty());
    }
}

#[test]
fn two_names_of_an_order_number_are_equal() {
    for (text, check) in [(CREATE, create as Check), (CANCEL_BOTH_NAMES, cancel)] {
        let body = |seller: Value, customer: Value| {
            let body = with(&sample(text), "/payload/sellerOrderId", Some(seller));
            check(&with(&body, "/payload/customerOrderNo", Some(customer)))
        };
        let fault = ["payload.customer_order_no"];
        assert_eq!(body(json!("A"), json!("B")), fault);
        assert_eq!(body(json!("A"), json!("a")), fault);
        assert_eq!(body(json!(""), json!("")), fault);
        assert_eq!(body(json!(null), json!(null)), fault);
        for (seller, customer) in [(json!("A"), json!("A")), (json!("A"), json!("")), (json!(null), json!("A"))] {
            assert!(body(seller, customer).is_empty());
        }
    }
}

#[test]
fn an_address_may_use_either_family_of_keys_or_both() {
    let second = json!({
        "addressLineOne": "1 A St", "city": "C", "stateCode": "CA", "countryCode": "US", "postalCode": "94103",
    });
    let mixed = json!({ "line1": "1 A St", "city": "C", "stateCode": "CA", "country": "US", "postalCode": "94103" });
    for address in [second, mixed] {
        let body = with(&sample(PROMISE), "/payload/destinations/0/address", Some(address.clone()));
        assert!(promise(&body).is_empty());
        let body = with(&sample(CREATE), "/payload/orderItems/0/shippingTo/address", Some(address));
        assert!(create(&body).is_empty());
    }
}

#[test]
fn what_is_walmarts_to_judge_is_not_judged_here() {
    let mut body = sample(CREATE);
    body["payload"]["sellerOrderId"] = json!("ä €  / \u{1f600} ".repeat(40));
    body["payload"]["customerOrderNo"] = body["payload"]["sellerOrderId"].clone();
    body["payload"]["customer"]["contact"]["phone"] = json!("call me");
    body["payload"]["customer"]["contact"]["email"] = json!("no at sign");
    body["payload"]["orderItems"][0]["shippingTo"]["address"]["zip"] = json!("94103-1234 and more");
    body["payload"]["orderItems"][0]["shippingMethod"] = json!("BY_BALLOON");
    assert!(create(&body).is_empty());
}

#[test]
fn a_request_id_is_short_and_visible() {
    let found = |id: &str| {
        let mut faults = FieldFaults::default();
        check_request_id(id, &mut faults);
        fields(faults.into_result())
    };
    for good in ["", "a", "!~", &"x".repeat(128), "0b4c4b52-6f5e-4b0c-9d1a-0d5f8c3c5b10"] {
        assert!(found(good).is_empty(), "{good}");
    }
    for bad in [" ", "a b", "a\n", "\u{7f}", "ä", "\0", &"x".repeat(129)] {
        assert_eq!(found(bad), ["request_id"], "{bad:?}");
    }
}

#[test]
fn a_search_needs_a_filter_and_keeps_to_walmarts_limits() {
    let check = |body: Value| fields(check_order_status(&message("GetOrderStatusRequest", &body)));
    for filter in ["orderNumber", "orderChannelId", "trackingNumber", "shipmentNumber", "fromOrderDate", "toOrderDate"]
    {
        assert!(check(json!({ filter: "1", "limit": 50, "offset": 50000 })).is_empty(), "{filter}");
    }
    assert_eq!(check(json!({ "sortBy": "orderDate", "account": "a" })), ["order_number"]);
    assert_eq!(check(json!({ "limit": 51, "offset": -1 })), ["order_number", "limit", "offset"]);
    assert_eq!(check(json!({ "orderNumber": "1", "limit": -1, "offset": 50001 })), ["limit", "offset"]);
}

#[test]
fn no_fault_repeats_a_value() {
    let canary = "canary-4711";
    let mut body = sample(CREATE);
    body["requestId"] = json!(format!("{canary} "));
    body["payload"]["sellerOrderId"] = json!(canary);
    let line = json!({ "sellerLineId": canary, "fulfillmentType": canary, "qty": { "unitOfMeasure": canary } });
    body["payload"]["orderItems"] = json!([line, line]);
    let faults = check_order(&message::<CreateOrderRequest>("CreateOrderRequest", &body)).unwrap_err();
    assert!(faults.kept.len() > 10);
    assert!(!format!("{faults:?}").contains(canary));
}

#[test]
fn a_flood_of_faults_is_counted_and_not_kept() {
    let order_items = vec![pb::OrderItem::default(); 10_000];
    let payload = pb::Order { order_items, ..Default::default() };
    let faults = check_order(&CreateOrderRequest { payload: Some(payload), ..Default::default() }).unwrap_err();
    // Channel, number, time and customer; of each line six fields and the charges.
    assert_eq!((faults.kept.len(), faults.omitted), (256, 4 + 7 * 10_000 - 256));

    let mut first = FieldFaults::default();
    first.add(&FieldPath::Top("account"), REQUIRED);
    first.extend(faults);
    assert_eq!(first.kept[0].field, "account");
    assert_eq!((first.kept.len(), first.omitted), (256, 1 + 4 + 7 * 10_000 - 256));
}

proptest! {
    /// Damaged messages that can still be read: missing, doubled, odd fields.
    #[test]
    fn no_message_is_too_odd(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        amount in any::<f64>(),
    ) {
        let create: CreateOrderRequest = message("CreateOrderRequest", &sample(CREATE));
        let promise: FetchDeliveryPromiseRequest = message("FetchDeliveryPromiseRequest", &sample(PROMISE));
        for mut bytes in [create.encode_to_vec(), promise.encode_to_vec()] {
            for (at, value) in &edits {
                let at = at.index(bytes.len());
                bytes[at] = *value;
            }
            if let Ok(mut request) = CreateOrderRequest::decode(bytes.as_slice()) {
                let items = request.payload.iter_mut().flat_map(|payload| &mut payload.order_items);
                items.flat_map(|item| &mut item.qty).for_each(|qty| qty.measurement_value = Some(amount));
                let _ = check_order(&request);
            }
            let _ = CancelOrderRequest::decode(bytes.as_slice()).map(|request| check_cancellation(&request));
            let _ = FetchDeliveryPromiseRequest::decode(bytes.as_slice()).map(|request| check_promise(&request));
            let _ = GetOrderStatusRequest::decode(bytes.as_slice()).map(|request| check_order_status(&request));
        }
    }
}
