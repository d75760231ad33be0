//! Forms in which an intent to cancel may come as ORDER_UPDATES, and where each ends. The inner form is not public.

use serde_json::json;

use super::*;

/// Where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    /// In the feed of intents.
    Intent,
    /// Among the order updates, as a kind that is known.
    Update,
    /// Among the order updates, with a warning.
    Warned(UnclearReason),
    /// In quarantine, for this reason.
    Quarantine(&'static str),
}

use Ends::{Intent, Quarantine, Update, Warned};

fn end_of(body: &Value) -> Ends {
    match read_text(&body.to_string()) {
        Ok(WebhookNotification { intent: Some(_), unclear: None, .. }) => Intent,
        Ok(WebhookNotification { intent: None, unclear: None, .. }) => Update,
        Ok(WebhookNotification { intent: None, unclear: Some(why), .. }) => Warned(why),
        Ok(both) => panic!("{both:?}"),
        Err(unreadable) => {
            let reasons = ["the order of the intent is no object", "the intent has several orders", "no event type"];
            let known = reasons.into_iter().find(|reason| *reason == unreadable.reason());
            Quarantine(known.unwrap_or_else(|| panic!("{unreadable:?}")))
        }
    }
}

/// ORDER_UPDATES with this payload.
fn update(payload: Value) -> Value {
    json!({"source": {"eventType": "ORDER_UPDATES", "eventId": "e-1"}, "payload": payload})
}

/// The same, with further fields in `source`.
fn update_of(more: Value, payload: Value) -> Value {
    let mut event = update(payload);
    for (name, value) in more.as_object().unwrap() {
        event["source"][name] = value.clone();
    }
    event
}

/// An order in the names of the event INTENT_TO_CANCEL.
fn order() -> Value {
    json!({"partnerId": "10", "purchaseOrderId": "17", "shipNodeType": "SellerFulfilled", "estimatedShipDate": "S",
        "orderLines": [{"lineNumber": "1", "sku": "MUG", "productName": "Red mug", "shippingMethod": "VALUE",
            "quantity": {"unitOfMeasure": "EACH", "measurementValue": "2"}, "status": "Created"}]})
}

/// The same order in the names of the Orders API.
fn order_of_the_api() -> Value {
    json!({"purchaseOrderId": "17", "shipNode": {"type": "SellerFulfilled", "name": "here"},
        "shippingInfo": {"estimatedShipDate": "S", "methodCode": "VALUE", "phone": "1", "postalAddress": {"name": "Ann"}},
        "orderLines": {"orderLine": [line_of_the_api()]}})
}

fn line_of_the_api() -> Value {
    json!({"lineNumber": "1", "item": {"sku": "MUG", "productName": "Red mug"},
        "orderLineQuantity": {"unitOfMeasurement": "EACH", "amount": "2"},
        "orderLineStatuses": {"orderLineStatus": [{"status": "Created",
            "statusQuantity": {"unitOfMeasurement": "EACH", "amount": "2"}}]}})
}

/// An order with this in its line.
fn order_with(field: &str, value: Value) -> Value {
    let mut order = order();
    order["orderLines"][0][field] = value;
    order
}

fn api_order_with(field: &str, value: Value) -> Value {
    let mut order = order_of_the_api();
    order["orderLines"]["orderLine"][0][field] = value;
    order
}

#[test]
fn every_form_of_an_order_update_ends_in_the_place_that_it_belongs_to() {
    const KIND: &str = "INTENT_TO_CANCEL";
    let flagged = |value: Value| update(json!({"order": order_with("intentToCancel", value)}));
    let status_flag = |entry: Value| update(json!({"order": api_order_with("orderLineStatuses", entry)}));
    let cases = [
        // The sub-event type, wherever it stands.
        ("in payload", update(json!({"subEventType": KIND, "order": order()})), Intent),
        ("in payload.meta", update(json!({"meta": {"subEventType": KIND}, "order": order()})), Intent),
        ("in payload.order", update(json!({"order": {"subEventType": KIND, "purchaseOrderId": "17"}})), Intent),
        ("in payload.order.meta", update(json!({"order": {"meta": {"subEventType": KIND}}})), Intent),
        ("in payload.header", update(json!({"header": {"subEventType": KIND}, "order": order()})), Intent),
        ("in a list of one meta", update(json!({"meta": [{"subEventType": KIND}], "order": order()})), Intent),
        ("in source", update_of(json!({"subEventType": KIND}), json!({"order": order()})), Intent),
        ("in source.meta", update_of(json!({"meta": {"subEventType": KIND}}), json!({"order": order()})), Intent),
        (
            "beside source",
            json!({"source": {"eventType": "ORDER_UPDATES"}, "subEventType": KIND, "payload": {"order": order()}}),
            Intent,
        ),
        ("as a list", update(json!({"subEventType": [KIND], "order": order()})), Intent),
        ("in other letters", update(json!({"subEventType": "intent_to_cancel", "order": order()})), Intent),
        ("in words", update(json!({"subEventType": "Intent To Cancel", "order": order()})), Intent),
        ("in one word", update(json!({"subEventType": "intentToCancel", "order": order()})), Intent),
        ("with a prefix", update(json!({"subEventType": "PO_INTENT_TO_CANCEL", "order": order()})), Intent),
        ("under another spelling", update(json!({"sub_event_type": KIND, "order": order()})), Intent),
        (
            "beside another one",
            update(json!({"subEventType": "PO_CREATED", "meta": {"subEventType": KIND}, "order": order()})),
            Intent,
        ),
        (
            "with another event type",
            json!({"source": {"eventType": "ORDER_UPDATES_V2"}, "payload": {"subEventType": KIND, "order": order()}}),
            Intent,
        ),
        ("without an event type", json!({"payload": {"subEventType": KIND, "order": order()}}), Intent),
        // An intent flag, whatever the sub-event type is.
        ("a flag, TRUE", flagged(json!("TRUE")), Intent),
        ("a flag, true", flagged(json!(true)), Intent),
        ("a flag, Yes", flagged(json!("Yes")), Intent),
        ("a flag, y", flagged(json!(" y ")), Intent),
        ("a flag, 1", flagged(json!(1)), Intent),
        ("a flag, false", flagged(json!("FALSE")), Warned(UnclearReason::NoKind)),
        ("a flag, no", flagged(json!("no")), Warned(UnclearReason::NoKind)),
        ("a flag, 0", flagged(json!(0)), Warned(UnclearReason::NoKind)),
        ("a flag, null", flagged(json!(null)), Warned(UnclearReason::NoKind)),
        ("a flag that is unreadable", flagged(json!("MAYBE")), Warned(UnclearReason::UnreadableFlag)),
        (
            "an unreadable flag and a known kind",
            update(json!({"subEventType": "PO_CREATED", "order": order_with("intentToCancel", json!({}))})),
            Warned(UnclearReason::UnreadableFlag),
        ),
        (
            "a flag and another kind",
            update(json!({"subEventType": "PO_CREATED", "order": order_with("intentToCancel", json!("TRUE"))})),
            Intent,
        ),
        (
            "a flag on a status entry",
            status_flag(json!({"orderLineStatus": [{"status": "Created"}, {"intentToCancel": "true"}]})),
            Intent,
        ),
        (
            "a flag on the only status entry",
            status_flag(json!({"orderLineStatus": {"intentToCancel": "TRUE"}})),
            Intent,
        ),
        ("a flag in a list of entries", status_flag(json!([{"intentToCancel": "TRUE"}])), Intent),
        ("a status that says so", status_flag(json!({"orderLineStatus": [{"status": KIND}]})), Intent),
        (
            "a flag on a line of the Orders API",
            update(json!({"order": api_order_with("intentToCancel", json!("TRUE"))})),
            Intent,
        ),
        ("a flag on the order", update(json!({"order": {"purchaseOrderId": "17", "intentToCancel": "TRUE"}})), Intent),
        (
            "a flag and no event type",
            json!({"payload": {"order": order_with("intentToCancel", json!("TRUE"))}}),
            Intent,
        ),
        (
            "a flag in an event of another type",
            json!({"source": {"eventType": "PO_CREATED"}, "payload": order_with("intentToCancel", json!("TRUE"))}),
            Intent,
        ),
        // The order.
        ("in the names of the Orders API", update(json!({"subEventType": KIND, "order": order_of_the_api()})), Intent),
        ("a list of one order", update(json!({"subEventType": KIND, "order": [order()]})), Intent),
        ("the payload is the order", update(json!({"subEventType": KIND, "purchaseOrderId": "17"})), Intent),
        ("a list of one payload", update(json!([{"subEventType": KIND, "order": order()}])), Intent),
        ("the payload as text", update(json!(json!({"subEventType": KIND, "order": order()}).to_string())), Intent),
        ("the order as text", update(json!({"subEventType": KIND, "order": order().to_string()})), Intent),
        (
            "no payload around it",
            json!({"source": {"eventType": "ORDER_UPDATES"}, "subEventType": KIND, "order": order()}),
            Intent,
        ),
        ("an event in a list", json!([update(json!({"subEventType": KIND, "order": order()}))]), Intent),
        (
            "the event of its own with an order inside",
            json!({"source": {"eventType": KIND}, "payload": {"order": order()}}),
            Intent,
        ),
        (
            "several orders",
            update(json!({"subEventType": KIND, "order": [order(), order()]})),
            Quarantine("the intent has several orders"),
        ),
        (
            "several orders, one with a flag",
            update(json!({"order": [order(), order_with("intentToCancel", json!("TRUE"))]})),
            Quarantine("the intent has several orders"),
        ),
        (
            "an order that is none",
            update(json!({"subEventType": KIND, "order": 7})),
            Quarantine("the order of the intent is no object"),
        ),
        ("no order", update(json!({"subEventType": KIND})), Quarantine("the order of the intent is no object")),
        // All else.
        ("no kind", update(json!({"order": order()})), Warned(UnclearReason::NoKind)),
        ("no payload", update(json!(null)), Warned(UnclearReason::NoKind)),
        ("a payload that is none", update(json!("x")), Warned(UnclearReason::NoKind)),
        ("an unknown kind", update(json!({"subEventType": "PO_LINE_MOVED"})), Warned(UnclearReason::UnknownKind)),
        (
            "a kind that contains the name",
            update(json!({"subEventType": "INTENT_TO_CANCEL_WITHDRAWN", "order": order()})),
            Warned(UnclearReason::UnknownKind),
        ),
        ("no kind and no event type", json!({"payload": {"order": order()}}), Warned(UnclearReason::NoKind)),
        ("a creation", update(json!({"subEventType": "PO_CREATED", "order": order()})), Update),
        ("a line that Walmart cancelled", update(json!({"subEventType": "PO_LINE_AUTOCANCELLED"})), Update),
        ("fraud", update(json!({"meta": {"subEventType": "FRAUD_CANCEL"}, "order": order()})), Update),
        ("another event", json!({"source": {"eventType": "SOMETHING_NEW"}, "payload": 7}), Update),
        ("nothing", json!({"payload": {}}), Quarantine("no event type")),
    ];
    for (form, body, expected) in cases {
        assert_eq!(end_of(&body), expected, "{form}: {body}");
    }
}

#[test]
fn the_names_of_the_orders_api_are_those_of_an_intent() {
    let intent = |order: Value| {
        let read = read_text(&update(json!({"subEventType": "INTENT_TO_CANCEL", "order": order})).to_string());
        read.unwrap().intent.unwrap()
    };
    let expected = crate::pb::CancelIntent { partner_id: String::new(), ..intent(order()) };
    assert_eq!((expected.order_lines[0].sku.as_str(), expected.ship_node_type.as_str()), ("MUG", "SellerFulfilled"));
    let one_or_many = |change: fn(&mut Value)| {
        let mut order = order_of_the_api();
        change(&mut order);
        order
    };
    for order in [
        order_of_the_api(),
        one_or_many(|order| order["orderLines"]["orderLine"] = line_of_the_api()),
        one_or_many(|order| order["orderLines"] = json!([{"orderLine": [line_of_the_api()]}])),
        one_or_many(|order| order["orderLines"] = json!([line_of_the_api()])),
        one_or_many(|order| order["orderLines"] = line_of_the_api()),
        one_or_many(|order| order["shipNode"] = json!([{"type": "SellerFulfilled"}])),
        one_or_many(|order| order["shipNode"] = json!("SellerFulfilled")),
        one_or_many(|order| order["shippingInfo"] = json!([order["shippingInfo"]])),
        one_or_many(|order| {
            let line = &mut order["orderLines"]["orderLine"][0];
            line["item"] = json!([line["item"]]);
            line["orderLineQuantity"] = json!([line["orderLineQuantity"]]);
            line["orderLineStatuses"] = json!([line["orderLineStatuses"]["orderLineStatus"][0]]);
        }),
        // Where the line has no quantity, that of its status.
        one_or_many(|order| {
            drop(order["orderLines"]["orderLine"][0].as_object_mut().unwrap().remove("orderLineQuantity"))
        }),
    ] {
        assert_eq!(intent(order.clone()), expected, "{order}");
    }
}

#[test]
fn lines_with_a_flag_are_the_intent_and_otherwise_all() {
    let lines = |lines: Value| {
        let body = update(json!({"subEventType": "INTENT_TO_CANCEL", "order": {"orderLines": lines}}));
        let lines = read_text(&body.to_string()).unwrap().intent.unwrap().order_lines;
        Vec::from_iter(lines.into_iter().map(|line| line.line_number))
    };
    let line = |number: &str, flag: Value| json!({"lineNumber": number, "intentToCancel": flag});
    assert_eq!(
        lines(json!([line("1", json!("TRUE")), line("2", json!("FALSE")), line("3", json!("true"))])),
        ["1", "3"]
    );
    assert_eq!(lines(json!([line("1", json!("FALSE")), line("2", json!(null))])), ["1", "2"]);
    let entry = json!({"lineNumber": "2", "orderLineStatuses": {"orderLineStatus": {"intentToCancel": "TRUE",
        "status": "Acknowledged", "cancellationReason": "late"}}});
    assert_eq!(lines(json!({"orderLine": [line("1", json!(null)), entry]})), ["2"]);
}

#[test]
fn the_sub_event_type_is_passed_on_as_received() {
    for (payload, expected) in [
        (json!({"subEventType": "PO_CREATED", "order": order_with("intentToCancel", json!("TRUE"))}), "PO_CREATED"),
        (json!({"subEventType": "Intent To Cancel", "order": order()}), "Intent To Cancel"),
        (json!({"order": order_with("intentToCancel", json!("TRUE"))}), ""),
        (json!({"meta": {"subEventType": "PO_LINE_MOVED"}}), "PO_LINE_MOVED"),
    ] {
        assert_eq!(read_text(&update(payload.clone()).to_string()).unwrap().sub_event_type, expected, "{payload}");
    }
}

#[test]
fn the_seller_may_stand_around_the_order() {
    let order = json!({"purchaseOrderId": "17"});
    for body in [
        update(json!({"subEventType": "INTENT_TO_CANCEL", "partnerId": 10, "order": order})),
        update_of(json!({"partnerId": "10"}), json!({"subEventType": "INTENT_TO_CANCEL", "order": order})),
    ] {
        assert_eq!(read_text(&body.to_string()).unwrap().intent.unwrap().partner_id, "10", "{body}");
    }
}

#[test]
fn a_status_update_is_known_by_its_form() {
    let status = json!([{"sellerLineId": "1", "itemStatus": [{"qty": 1, "status": "ACKNOWLEDGED"}]}]);
    for body in [
        json!({"payload": {"originSystemOrderId": "A-1", "lineItemStatus": status}}),
        json!({"payload": {"originSystemOrderId": "A-1", "shipmentDetails": []}}),
        json!({"source": {}, "payload": {"originSystemOrderId": "A-1", "lineItemStatus": status}}),
        json!({"originSystemOrderId": "A-1", "lineItemStatus": status}),
    ] {
        let read = read_text(&body.to_string()).unwrap();
        assert_eq!((read.event_type.as_str(), read.event_id.as_str()), ("ORDER_STATUS_UPDATE", ""), "{body}");
        assert_eq!((read.intent, read.unclear), (None, None), "{body}");
    }
    for body in [
        json!({"payload": {"lineItemStatus": status}}),
        json!({"payload": {"originSystemOrderId": null, "lineItemStatus": status}}),
        json!({"payload": {"originSystemOrderId": "A-1"}}),
    ] {
        assert_eq!(end_of(&body), Quarantine("no event type"), "{body}");
    }
    // A name that is there counts.
    let named = json!({"source": {"eventType": "ORDER_SHIPMENT_UPDATE"},
        "payload": {"originSystemOrderId": "A-1", "shipmentDetails": []}});
    assert_eq!(read_text(&named.to_string()).unwrap().event_type, "ORDER_SHIPMENT_UPDATE");
}
