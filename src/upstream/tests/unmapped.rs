//! What Walmart's answers have and the messages have not: kept beside every kind of answer.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::domain::mutations::{
    CancelMcsReturn, CancelOrder, CancelOrderLines, CreateMcsReturn, CreateOrder, RefundOrderLines, RefundReturn,
    ShipOrderLines,
};
use crate::domain::reads::{
    AcknowledgeOrder, CorrectTracking, FetchPromise, FindOrder, GetSellerOrder, ListMarketplaceReturns,
    ListMcsReturnOrders, ListSellerOrders, LookUp, SearchOrders,
};
use crate::pb;
use crate::upstream::call::AnswerReader;
use crate::upstream::codec::OperationCodec;

/// Reads an answer as a call does; what the message has no place for.
fn unmapped<C: OperationCodec>(body: &Value) -> Option<BTreeMap<String, String>> {
    let (_, unmapped) = AnswerReader::of::<C>().read(200, body.to_string().as_bytes()).unwrap();
    unmapped.map(|found| found.values)
}

/// An answer of this form, without and with more in it.
fn check<C: OperationCodec>(body: &Value, pointer: &str, path: &str) {
    assert_eq!(unmapped::<C>(body), None, "{body}");
    let mut more = body.clone();
    let place = more.pointer_mut(pointer).unwrap().as_object_mut().unwrap();
    place.insert("nothing".into(), json!([]));
    assert_eq!(unmapped::<C>(&more), None, "{more}");
    let place = more.pointer_mut(pointer).unwrap().as_object_mut().unwrap();
    place.insert("newField".into(), json!({"a": [1, "b"]}));
    more.as_object_mut().unwrap().insert("beside".into(), json!("it"));
    let found = unmapped::<C>(&more).unwrap_or_else(|| panic!("{more}"));
    let path = if path.is_empty() { "newField".to_owned() } else { format!("{path}.newField") };
    let expected = [(path, json!({"a": [1, "b"]}).to_string()), ("beside".to_owned(), json!("it").to_string())];
    assert_eq!(found, BTreeMap::from(expected), "{more}");
}

#[test]
fn every_kind_of_answer_keeps_what_its_message_has_no_place_for() {
    let header = json!({"headerAttributes": {"martId": "202", "buId": "0"}});
    let accepted = json!({"status": "ACCEPTED", "header": header, "payload": {"requestId": "R"}});
    check::<CreateOrder>(&accepted, "/payload", "payload");
    check::<CancelOrder>(&accepted, "/header/headerAttributes", "header.headerAttributes");
    let promise = json!({"status": "SUCCESS", "payload": {"offers": [{"sku": "A"}], "fulfillmentPlans": [{"fulfillmentModules": [
        {"name": "M", "fulfillmentGroups": [{"fulfillmentOptions": [{"fulfillments": [{"sla": {"tier": "T"}}]}]}]}]}]}});
    let deep =
        "fulfillmentPlans[0].fulfillmentModules[0].fulfillmentGroups[0].fulfillmentOptions[0].fulfillments[0].sla";
    let pointer =
        "/payload/fulfillmentPlans/0/fulfillmentModules/0/fulfillmentGroups/0/fulfillmentOptions/0/fulfillments/0/sla";
    check::<FetchPromise>(&promise, pointer, &format!("payload.{deep}"));
    let status = json!({"status": "OK", "payload": [{"sellerOrderId": "S", "shipments": [{"trackingNo": "1Z"}]}]});
    check::<SearchOrders>(&status, "/payload/0/shipments/0", "payload[0].shipments[0]");
    check::<FindOrder>(&status, "/payload/0", "payload[0]");
    let order =
        json!({"purchaseOrderId": "17", "orderLines": {"orderLine": [{"lineNumber": "1", "item": {"sku": "A"}}]}});
    let (pointer, path) = ("/orderLines/orderLine/0/item", "orderLines.orderLine[0].item");
    let wrapped = json!({ "order": order });
    let (in_order, path_in_order) = (format!("/order{pointer}"), format!("order.{path}"));
    check::<GetSellerOrder>(&wrapped, &in_order, &path_in_order);
    check::<GetSellerOrder>(&order, pointer, path);
    check::<AcknowledgeOrder>(&wrapped, &in_order, &path_in_order);
    check::<CorrectTracking>(&wrapped, &in_order, &path_in_order);
    check::<CancelOrderLines>(&wrapped, &in_order, &path_in_order);
    check::<ShipOrderLines>(&order, pointer, path);
    check::<RefundOrderLines>(&wrapped, &in_order, &path_in_order);
    let list = json!({"list": {"meta": {"totalCount": 1}, "elements": {"order": [order]}}});
    let in_list = "list.elements.order[0].orderLines.orderLine[0].item";
    check::<ListSellerOrders>(&list, &format!("/list/elements/order/0{pointer}"), in_list);
    let returns = json!({"meta": {"totalCount": 1}, "returnOrders": [{"returnOrderId": "1"}]});
    check::<ListMarketplaceReturns>(&returns, "/returnOrders/0", "returnOrders[0]");
    let refunded = json!({"returnOrderId": "1", "customerOrderId": "2", "refundLines": [{"returnOrderLineNumber": 1}]});
    check::<RefundReturn>(&refunded, "/refundLines/0", "refundLines[0]");
    let mcs = json!({"status": "OK", "payload": {"returnOrderId": "1", "returnOrderLines": [{"lineNo": "1"}]}});
    check::<CreateMcsReturn>(&mcs, "/payload/returnOrderLines/0", "payload.returnOrderLines[0]");
    check::<CancelMcsReturn>(&mcs, "/payload", "payload");
    let all = json!({"status": "OK", "payload": [{"returnOrderId": "1"}]});
    check::<ListMcsReturnOrders>(&all, "/payload/0", "payload[0]");
}

#[test]
fn look_ups_are_passed_on_as_they_are() {
    assert_eq!(unmapped::<LookUp>(&json!({"payload": [], "new": 1})), None);
}

#[test]
fn a_value_of_another_type_is_kept_as_well() {
    let odd = json!({"status": "OK", "payload": [{"sellerOrderId": "S", "shipments": "soon", "orderLines": [{"orderedQty": "many"}]}]});
    let found = unmapped::<SearchOrders>(&odd).unwrap();
    let expected = [("payload[0].shipments", "\"soon\""), ("payload[0].orderLines[0].orderedQty", "\"many\"")];
    assert_eq!(found, expected.map(|(path, value)| (path.to_owned(), value.to_owned())).into());
}

#[test]
fn fields_that_were_missing_once_have_their_places() {
    let tracking = json!({"preShipmentTrackingNumber": "P", "wtrnTrackingURL": "https://w.example/P", "carrierTrackingURL": "https://c.example/P"});
    let with = |mut object: Value| {
        object.as_object_mut().unwrap().extend(tracking.as_object().unwrap().clone());
        object
    };
    let address = json!({"name": {"firstName": "Ana", "lastName": "Roe"},
        "address": {"addressLine1": "12 Oak Ave", "addressLine2": "2", "stateOrProvinceCode": "OK", "stateOrProvinceName": "Oklahoma"}});
    let line = with(json!({"shipToAddress": address, "customerShipToAddress": address}));
    let order = with(json!({"sellerOrderId": "S", "shipments": [with(json!({}))], "orderLines": [line],
        "orderItems": [with(json!({"sku": "A"}))]}));
    let body = json!({"status": "OK", "payload": [order]});
    assert_eq!(unmapped::<SearchOrders>(&body), None);
    let read = SearchOrders::read(200, body.to_string().as_bytes()).unwrap();
    // All of it is in the message: protobuf's JSON form is what was sent.
    assert_eq!(serde_json::to_value(&read.payload).unwrap(), body["payload"]);
    let line = &read.payload[0].order_lines[0];
    assert_eq!(line.wtrn_tracking_url, "https://w.example/P");
    let address = line.ship_to_address.as_ref().unwrap();
    assert_eq!(address.name.as_ref().unwrap().last_name(), "Roe");
    assert_eq!(address.address.as_ref().unwrap().state_or_province_code(), "OK");
}

#[test]
fn the_message_of_an_error_is_its_description_at_every_level() {
    let error = json!({"code": "C", "message": "no stock", "severity": "INFO"});
    let body = json!({"status": "PARTIAL_SUCCESS", "errors": [error], "payload": {"fulfillmentPlans": {"fulfillmentModules": {
        "fulfillmentGroups": {"fulfillmentOptions": {"fulfillments": {"errors": [error, {"description": "told", "message": "twice"}]}}}}}}});
    let read = FetchPromise::read(206, body.to_string().as_bytes()).unwrap();
    let shipment = &read.payload.as_ref().unwrap().fulfillment_plans[0].fulfillment_modules[0].fulfillment_groups[0]
        .fulfillment_options[0]
        .fulfillments[0];
    let told = |errors: &[pb::WalmartError]| errors.iter().map(|one| one.description.clone()).collect::<Vec<_>>();
    assert_eq!(
        (told(&read.errors), told(&shipment.errors)),
        (vec!["no stock".into()], vec!["no stock".into(), "told".into()])
    );
    let found = unmapped::<FetchPromise>(&body).unwrap();
    let path = "payload.fulfillmentPlans.fulfillmentModules.fulfillmentGroups.fulfillmentOptions.fulfillments.errors[1].message";
    assert_eq!(found, BTreeMap::from([(path.to_owned(), "\"twice\"".to_owned())]));
    // Errors alone are an answer without offers.
    let alone = json!({"errors": [{"code": "SOME_CONTENT_NOT_FOUND", "message": "none", "severity": "INFO"}]});
    let read = FetchPromise::read(206, alone.to_string().as_bytes()).unwrap();
    assert_eq!((read.payload, told(&read.errors)), (None, vec!["none".to_owned()]));
    assert_eq!(unmapped::<FetchPromise>(&body_of_206(&alone)), None);
}

/// The same with a status, as 200.
fn body_of_206(errors: &Value) -> Value {
    json!({"status": "SUCCESS", "payload": {}, "errors": errors["errors"]})
}
