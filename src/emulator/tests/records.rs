//! What tests in the same process are told.

use super::super::{CallEffect, FaultRules};
use super::*;

#[tokio::test(start_paused = true)]
async fn orders_and_calls_are_told_as_they_are_whatever_the_caller_was_told() {
    let seller = Seller::new(options()).await;
    seller.emulator.set_faults(
        FaultRules::parse("[[fault]]\noperation = \"create\"\ncount = 2\ndrop = \"after\"\n[[fault]]\noperation = \"cancel\"\nstatus = 500\nwhen = \"after\"")
            .unwrap(),
    );
    for _ in 0..2 {
        assert_eq!(
            seller.try_post(CREATE, &create_body("SO1", "SKU-1", 3)).await.err(),
            Some(DroppedCall::Interrupted)
        );
    }
    assert_eq!(seller.post(CANCEL, &cancel_body("SO1", "1", 2)).await.status, 500);
    seller.get_status("orderNumber=SO1").await;

    let orders = seller.emulator.orders_numbered("id", "SO1");
    let line = |order: &super::super::records::OrderRecord| {
        let line = &order.lines[0];
        (line.ordered, line.cancelled, line.shipped)
    };
    assert_eq!(orders.iter().map(line).collect::<Vec<_>>(), [(3, 2, 0), (3, 0, 0)]);
    assert_eq!(seller.emulator.orders_numbered("two", "SO1"), []);
    assert_eq!(seller.emulator.orders().len(), 4);
    let counts: Vec<_> = seller.emulator.order_counts().into_iter().collect();
    assert_eq!(counts, [(("id".to_owned(), "SO1".to_owned()), 2)]);
    let calls: Vec<_> =
        seller.emulator.calls_from(0).into_iter().map(|call| (call.operation, call.effect, call.status)).collect();
    let expected = [
        ("create", CallEffect::Created, None),
        ("create", CallEffect::CreatedAgain, None),
        ("cancel", CallEffect::Cancelled, Some(500)),
        ("status", CallEffect::Read, Some(200)),
    ];
    assert_eq!(calls, expected);
    assert_eq!(seller.emulator.calls_from(3).len(), 1);
    assert_eq!(seller.emulator.calls_from(9), []);
}

#[tokio::test(start_paused = true)]
async fn a_return_of_a_magic_delivered_order_is_known_by_the_sellers_id() {
    let seller = Seller::new(options()).await;
    let item = json!({"returnReason": "DAMAGED", "itemDetail": {"sku": "MUG-RED-12"},
        "qty": {"unitOfMeasure": "EA", "measurementValue": 100}});
    let payload = json!({"sellerReturnOrderId": "r-1", "sellerOrderId": "MAGIC-DELIVERED-1", "orderItems": [item]});
    assert_eq!(seller.emulator.mcs_return_id("id", "r-1"), None);
    let opened = seller.post("/v3/fulfillment/return-orders", &json!({"header": {}, "payload": payload})).await;
    assert_eq!(opened.status, 200, "{}", opened.text);
    let id = opened.body["payload"]["returnOrderId"].as_str().map(str::to_owned);
    assert!(id.is_some());
    assert_eq!(seller.emulator.mcs_return_id("id", "r-1"), id);
    assert_eq!(seller.emulator.mcs_return_id("two", "r-1"), None);
}
