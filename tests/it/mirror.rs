//! The mirror rule: Walmart's sample bodies are requests as they stand, and what is written upstream equals them.

use order_gateway::pb;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde::Serialize;
use serde_json::{Value, json};

/// Reads `body` as protobuf's JSON form of a request, as grpcurl does.
fn request<T: prost::Message + Default>(name: &str, body: &str) -> T {
    let pool = DescriptorPool::decode(pb::FILE_DESCRIPTOR_SET).unwrap();
    let descriptor = pool.get_message_by_name(&format!("ordergateway.v1.{name}")).unwrap();
    let mut reader = serde_json::Deserializer::from_str(body);
    let message = DynamicMessage::deserialize(descriptor, &mut reader).unwrap();
    reader.end().unwrap();
    message.transcode_to().unwrap()
}

/// What is written upstream, next to what the caller sent.
fn assert_mirrored(body: &str, header: impl Serialize, payload: impl Serialize) {
    let sent: Value = serde_json::from_str(body).unwrap();
    let written = json!({ "header": header, "payload": payload });
    // The text, because a value does not tell 2 from 2.0 to a reader that does.
    assert_eq!(serde_json::to_string(&written).unwrap(), serde_json::to_string(&sent).unwrap());
}

#[test]
fn promise_sample() {
    let body = include_str!("../../examples/promise.json");
    let request: pb::FetchDeliveryPromiseRequest = request("FetchDeliveryPromiseRequest", body);
    assert_mirrored(body, request.header.unwrap(), request.payload.unwrap());
}

#[test]
fn create_sample() {
    let body = include_str!("../../examples/create.json");
    let request: pb::CreateOrderRequest = request("CreateOrderRequest", body);
    assert_mirrored(body, request.header.unwrap(), request.payload.unwrap());
}

#[test]
fn cancel_samples_of_sandbox_and_production() {
    for body in [include_str!("../../examples/cancel.json"), include_str!("../../examples/cancel-production.json")] {
        let request: pb::CancelOrderRequest = request("CancelOrderRequest", body);
        assert_mirrored(body, request.header.unwrap(), request.payload.unwrap());
    }
}

/// The payload of a CreateOrder request as it is written upstream.
fn order(payload: Value) -> String {
    let request: pb::CreateOrderRequest = request("CreateOrderRequest", &json!({ "payload": payload }).to_string());
    serde_json::to_value(request.payload.unwrap()).unwrap().to_string()
}

#[test]
fn zero_empty_and_false_reach_walmart_as_sent() {
    let sent = json!({
        "sellerOrderId": "",
        "orderItems": [{
            "qty": { "measurementValue": 0 },
            "chargeDetails": [{ "chargePerUnit": { "currencyAmount": 0, "currencyUnit": "" } }],
        }],
        "needsConfirmation": false,
    });
    assert_eq!(order(sent.clone()), sent.to_string());
}

#[test]
fn null_equals_absent() {
    let sent = json!({ "sellerOrderId": null, "customer": null, "needsConfirmation": null, "customerOrderNo": "1" });
    assert_eq!(order(sent), r#"{"customerOrderNo":"1"}"#);
}

#[test]
fn amounts_keep_their_value_in_the_shortest_form() {
    for (sent, written) in
        [("1", "1"), ("2.0", "2"), ("1e2", "100"), ("9.50", "9.5"), ("0.1", "0.1"), ("19.99", "19.99")]
    {
        let amount = |number: &str| {
            format!(r#"{{"orderItems":[{{"chargeDetails":[{{"chargePerUnit":{{"currencyAmount":{number}}}}}]}}]}}"#)
        };
        let request: pb::CreateOrderRequest =
            request("CreateOrderRequest", &format!(r#"{{"payload":{}}}"#, amount(sent)));
        assert_eq!(serde_json::to_string(&request.payload.unwrap()).unwrap(), amount(written));
    }
}

#[test]
fn both_families_of_address_keys_pass() {
    let address = json!({
        "line1": "a", "line2": "b", "city": "c", "state": "d", "country": "e", "zip": "f", "addressType": "g",
        "addressLineOne": "h", "addressLineTwo": "i", "stateCode": "j", "countryCode": "k", "postalCode": "l",
        "isPOBox": false,
    });
    let sent = json!({ "orderItems": [{ "shippingTo": { "address": address } }] });
    assert_eq!(serde_json::from_str::<Value>(&order(sent.clone())).unwrap(), sent);
}

#[test]
fn fields_that_the_protos_lack_are_refused_as_grpcurl_refuses_them() {
    let pool = DescriptorPool::decode(pb::FILE_DESCRIPTOR_SET).unwrap();
    let descriptor = pool.get_message_by_name("ordergateway.v1.CreateOrderRequest").unwrap();
    let body = json!({ "payload": { "sellerOrderNo": "1" } });
    assert!(DynamicMessage::deserialize(descriptor, body).is_err());
}

#[test]
fn webhook_sample() {
    let body = include_str!("../../examples/webhook-subscription.json");
    let request: pb::CreateWebhookSubscriptionRequest = request("CreateWebhookSubscriptionRequest", body);
    let sent: Value = serde_json::from_str(body).unwrap();
    let written = json!({ "events": request.events });
    assert_eq!(serde_json::to_string(&written).unwrap(), serde_json::to_string(&sent).unwrap());
}
