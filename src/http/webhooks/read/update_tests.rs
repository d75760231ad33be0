use serde_json::json;

use super::*;
use crate::domain::feed::{FeedName, WebhookNotification};
use crate::http::webhooks::read::tests::read_json;

/// What is read of an event of this type.
fn read(event_type: &str, payload: Value) -> WebhookNotification {
    let read = read_json(&json!({"source": {"eventType": event_type, "eventId": "u-1"}, "payload": payload}));
    assert_eq!(read.feed(), FeedName::OrderUpdates);
    read
}

/// As Walmart prints it: without a `source`.
fn printed_status() -> Value {
    json!({"payload": {
        "partnerId": "10000000001", "originSystemOrderId": "acme000123", "orderChannelId": "web",
        "lineItemStatus": [{"sellerLineId": "1", "itemDetail": {"sku": "MUG-RED-12"}, "itemStatus": [
            {"qty": 2, "status": "cancelled", "statusDetail": "by the seller", "reasonCode": "R1", "reasonDetail": "why",
             "errors": [{"code": "E1", "description": "no stock"}]}]}],
        "shipmentDetails": [{"actualShipmentDate": "2026-12-16", "shipmentMethod": "STANDARD", "shipmentNo": "S1"}],
    }})
}

#[test]
fn the_printed_order_status_has_no_source_and_is_read() {
    let read = read_json(&printed_status());
    assert_eq!((read.event_type.as_str(), read.event_id.as_str()), ("ORDER_STATUS_UPDATE", ""));
    let UpdateContent { content: Some(Update::OrderStatus(status)), ordering_key, partner_id } = read.update else {
        panic!("{:?}", read.update)
    };
    assert_eq!((ordering_key.as_str(), partner_id.as_str()), ("acme000123", "10000000001"));
    let error = pb::WalmartError { code: "E1".into(), description: "no stock".into(), ..Default::default() };
    let expected = pb::McsOrderStatus {
        partner_id: "10000000001".into(),
        origin_system_order_id: "acme000123".into(),
        order_channel_id: "web".into(),
        line_item_status: vec![pb::McsLineStatus {
            seller_line_id: "1".into(),
            item_detail: Some(pb::ItemDetail { sku: Some("MUG-RED-12".into()), description: None }),
            item_status: vec![pb::McsItemStatus {
                qty: Some(2.0),
                status: "cancelled".into(),
                status_detail: "by the seller".into(),
                reason_code: "R1".into(),
                reason_detail: "why".into(),
                errors: vec![error],
            }],
        }],
        shipment_details: vec![pb::McsShipmentDetail {
            actual_shipment_date: "2026-12-16".into(),
            shipment_method: "STANDARD".into(),
            shipment_no: "S1".into(),
            ..Default::default()
        }],
    };
    assert_eq!(status, expected);
}

#[test]
fn an_order_status_of_another_form_has_no_content() {
    for payload in
        [json!({}), json!({"originSystemOrderId": "1"}), json!({"lineItemStatus": []}), json!([1]), json!(null)]
    {
        let read = read("ORDER_STATUS_UPDATE", payload.clone());
        assert_eq!(read.update.content, None, "{payload}");
    }
    // Many lines that say nothing take no room.
    let empty =
        json!({"originSystemOrderId": "1", "lineItemStatus": vec![json!({}); 1000], "shipmentDetails": [{}, {"x": 1}]});
    let Some(Update::OrderStatus(status)) = read("ORDER_STATUS_UPDATE", empty).update.content else { panic!() };
    assert_eq!((status.line_item_status.len(), status.shipment_details.len()), (0, 0));
}

#[test]
fn a_shipment_is_read_by_likely_names() {
    let expected = pb::McsShipmentDetail {
        shipment_no: "S1".into(),
        status: "IN_TRANSIT".into(),
        tracking_no: "1Z".into(),
        carrier: "UPS".into(),
        ..Default::default()
    };
    let forms = [
        json!({"originSystemOrderId": "a", "shipmentNo": "S1", "shipmentStatus": "IN_TRANSIT", "trackingNo": "1Z", "carrier": "UPS"}),
        json!({"originSystemOrderId": "a", "shipmentDetails": [
            {"shipmentNumber": "S1", "status": "IN_TRANSIT", "trackingNumber": "1Z", "carrierName": "UPS"}]}),
        json!({"originSystemOrderId": "a", "shipments": {"shipmentId": "S1", "status": "IN_TRANSIT",
            "trackingInfo": {"trackNumber": "1Z", "carrierDescription": "UPS"}}}),
    ];
    for form in forms {
        let read = read("ORDER_SHIPMENT_UPDATE", form.clone());
        let Some(Update::Shipment(shipment)) = read.update.content else { panic!("{form}") };
        assert_eq!((read.update.ordering_key.as_str(), shipment.origin_system_order_id.as_str()), ("a", "a"));
        assert_eq!(shipment.shipment_details, std::slice::from_ref(&expected), "{form}");
    }
    assert_eq!(read("ORDER_SHIPMENT_UPDATE", json!({"shipmentNo": "S1"})).update.content, None);
}

#[test]
fn the_kind_of_a_return_is_its_event_name() {
    let fields = json!({"partnerId": 10, "returnOrderId": "r1", "sellerReturnOrderId": "mine", "sellerOrderId": "acme000123",
        "status": "OPEN", "returnOrderLines": [{"lineNo": "1", "itemDetail": {"sku": "MUG"}, "qty": {"measurementValue": 1},
        "returnReason": "DAMAGED", "itemDisposition": "SELLABLE", "lineStatus": "RECEIVED"}, {}]});
    let named = |at: &str| {
        let header = json!({"eventName": "MCS_RETURN_ORDER_CREATED"});
        if at.is_empty() {
            let mut payload = fields.clone();
            payload["header"] = header;
            payload
        } else {
            json!({"header": header, at: fields})
        }
    };
    for at in ["", "payload", "returnOrder"] {
        let read = read("MCS_RETURN_ORDER_STATUS_UPDATE", named(at));
        assert_eq!(read.sub_event_type, "MCS_RETURN_ORDER_CREATED");
        assert_eq!(read.update.ordering_key, "acme000123", "{at}");
        let Some(Update::ReturnStatus(it)) = read.update.content else { panic!("{at}") };
        let ids = [&it.partner_id, &it.return_order_id, &it.seller_return_order_id, &it.seller_order_id, &it.status];
        assert_eq!(ids, ["10", "r1", "mine", "acme000123", "OPEN"], "{at}");
        assert_eq!(it.event_name, "MCS_RETURN_ORDER_CREATED");
        let [line] = &it.return_order_lines[..] else { panic!("{it:?}") };
        let told = [&line.line_no, &line.status, &line.disposition, &line.return_reason];
        assert_eq!(told, ["1", "RECEIVED", "SELLABLE", "DAMAGED"]);
    }
    let cancelled =
        read("MCS_RETURN_ORDER_STATUS_UPDATE", json!({"header": {"eventName": "MCS_RETURN_ORDER_CANCELLED"}}));
    assert_eq!(
        (cancelled.sub_event_type.as_str(), cancelled.update.ordering_key.as_str()),
        ("MCS_RETURN_ORDER_CANCELLED", "")
    );
    let no_order = read("MCS_RETURN_ORDER_STATUS_UPDATE", json!({"returnOrderId": "r1"}));
    assert_eq!(no_order.update.ordering_key, "r1");
    assert_eq!(read("MCS_RETURN_ORDER_STATUS_UPDATE", json!({"x": 1})).update.content, None);
}

#[test]
fn orders_of_the_marketplace_are_read_in_every_envelope() {
    let order = json!({"partnerId": "7", "purchaseOrderId": "17", "customerOrderId": "57", "shipNodeType": "SellerFulfilled",
        "orderLines": {"orderLine": [{"lineNumber": "1", "item": {"sku": "MUG", "productName": "Red mug"},
            "orderLineQuantity": {"unitOfMeasurement": "EACH", "amount": "2"}}]}});
    let forms = [
        ("ORDER_UPDATES", json!({"subEventType": "PO_CREATED", "order": order}), "PO_CREATED"),
        ("ORDER_UPDATES", json!({"meta": {"subEventType": "FRAUD_CANCEL"}, "order": order}), "FRAUD_CANCEL"),
        ("ORDER_UPDATES", json!({"subEventType": "PO_LINE_MOVED", "order": order}), "PO_LINE_MOVED"),
        ("ORDER_UPDATES", json!({"order": order}), ""),
        ("PO_CREATED", order.clone(), ""),
        ("PO_LINE_AUTOCANCELLED", order.clone(), ""),
    ];
    for (event_type, payload, kind) in forms {
        let read = read(event_type, payload);
        assert_eq!(read.sub_event_type, kind, "{event_type}");
        assert_eq!((read.update.ordering_key.as_str(), read.update.partner_id.as_str()), ("17", "7"));
        let Some(Update::SellerOrder(it)) = read.update.content else { panic!("{event_type} {kind}") };
        let told = [&it.partner_id, &it.purchase_order_id, &it.customer_order_id, &it.ship_node_type];
        assert_eq!(told, ["7", "17", "57", "SellerFulfilled"]);
        let [line] = &it.order_lines[..] else { panic!("{it:?}") };
        assert_eq!([&line.line_number, &line.sku, &line.product_name], ["1", "MUG", "Red mug"]);
        assert_eq!(line.quantity.as_ref().unwrap().measurement_value, Some(2.0));
    }
}

#[test]
fn an_unknown_type_has_a_key_and_no_content() {
    for (payload, key) in [
        (json!({"purchaseOrderId": "17"}), "17"),
        (json!({"order": {"purchaseOrderId": 18}}), "18"),
        (json!({"originSystemOrderId": "a", "purchaseOrderId": "17"}), "a"),
        (json!({"returnOrderId": "r1"}), "r1"),
        (json!({"sku": "MUG"}), ""),
        (json!(null), ""),
    ] {
        let read = read("DRIVER_STATUS", payload.clone());
        assert_eq!((read.update.content, read.update.ordering_key.as_str()), (None, key), "{payload}");
    }
}
