//! Promise, create, cancel and status.

use super::super::DuplicatePolicy;
use super::*;

#[tokio::test(start_paused = true)]
async fn every_seed_body_succeeds_as_printed() {
    let seller = Seller::new(options()).await;
    let seed_000 = json!({"header": {"headerAttributes": {"buId": "0", "martId": "202"}}, "payload": {
        "customerOrderNo": "sellername001ABC123",
        "orderItems": [{"sellerLineId": "1232456", "qty": {"unitOfMeasure": "EACH", "measurementValue": 2}}]}});
    for (path, body) in [
        (PROMISE, promise_body(&[("SKU-1", 1)])),
        (CREATE, create_body("SO123", "SKU-1", 1)),
        (CANCEL, cancel_body("SO123", "1", 1)),
        (CANCEL, seed_000),
    ] {
        let got = seller.post(path, &body).await;
        assert_eq!(got.status, 202, "{path} {}", got.text);
        assert_eq!(got.body["header"], body["header"]);
        if path != PROMISE {
            assert_eq!(got.body["status"], "ACCEPTED");
            uuid::Uuid::parse_str(got.body["payload"]["requestId"].as_str().unwrap()).unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_promise_has_walmarts_shape() {
    let seller = Seller::new(options()).await;
    let got = seller.post(PROMISE, &promise_body(&[("SKU-1", 2)])).await;
    assert_eq!(got.body["status"], "SUCCESS");
    let payload = &got.body["payload"];
    assert_eq!(payload["offers"][0]["requestedQuantity"], json!({"measurementValue": 2, "unitOfMeasure": "EA"}));
    assert_eq!(payload["offers"][0]["salesUnit"], "Each");
    let address = &payload["destinations"][0]["address"];
    assert_eq!((&address["zip"], &address["postalCode"]), (&json!("94103"), &json!("94103")));
    assert_eq!(payload["destinations"][0]["fulfillmentType"], "DELIVERY");
    let module = &payload["fulfillmentPlans"][0]["fulfillmentModules"][0];
    assert_eq!(module["name"], "UNSCHEDULED_DELIVERY");
    let fulfillment = &module["fulfillmentGroups"][0]["fulfillmentOptions"][0]["fulfillments"][0];
    assert_eq!(
        fulfillment["fulfillmentTime"]["date"],
        json!({"minPromiseDate": "2026-11-26", "maxPromiseDate": "2026-11-28"})
    );
    let again = seller.post(PROMISE, &promise_body(&[("SKU-1", 2)])).await;
    assert_eq!(again.text, got.text);
}

#[tokio::test(start_paused = true)]
async fn a_promise_is_partial_when_something_is_short_or_unknown() {
    let seller = Seller::new(options()).await;
    for short in [("SKU-OUT-OF-STOCK", 1), ("SKU-ONLY-ONE", 2), ("NEVER-HEARD-OF", 1)] {
        let got = seller.post(PROMISE, &promise_body(&[("SKU-1", 1), short])).await;
        assert_eq!((got.status, &got.body["status"]), (206, &json!("PARTIAL_SUCCESS")));
        let modules = &got.body["payload"]["fulfillmentPlans"][0]["fulfillmentModules"];
        assert_eq!((&modules[0]["name"], &modules[1]["name"]), (&json!("UNSCHEDULED_DELIVERY"), &json!("ERROR")));
        let failed = &modules[1]["fulfillmentGroups"][0]["fulfillmentOptions"][0]["fulfillments"][0];
        assert_eq!(failed["lineItemAttributesList"][0]["lineId"], "2");
        assert_eq!(failed["errors"][0]["field"], "2");
    }
}

#[tokio::test(start_paused = true)]
async fn bad_bodies_are_refused_and_change_nothing() {
    let seller = Seller::new(options()).await;
    let mut many = promise_body(&[("SKU-1", 1)]);
    let offer = many["payload"]["offerSelections"][0]["offers"][0].clone();
    many["payload"]["offerSelections"][0]["offers"] = (0..31).map(|_| offer.clone()).collect();
    let mut lines = cancel_body("SO123", "1", 1);
    let line =
        |i: usize| json!({"sellerLineId": i.to_string(), "qty": {"unitOfMeasure": "EACH", "measurementValue": 1}});
    lines["payload"]["orderItems"] = (0..101).map(line).collect();
    for (path, body) in [
        (PROMISE, json!({})),
        (PROMISE, json!([])),
        (PROMISE, promise_body(&[])),
        (PROMISE, promise_body(&[("SKU-1", 0)])),
        (PROMISE, many),
        (CANCEL, lines),
        (CANCEL, json!({"payload": {"orderItems": []}})),
        (CANCEL, cancel_body("SO123", "1", 0)),
    ] {
        let got = seller.post(path, &body).await;
        assert_eq!(
            (got.status, got.code(), &got.body["status"]),
            (400, "INVALID_MCS_REQUEST", &json!("FAIL")),
            "{body}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_create_needs_every_required_field() {
    let seller = Seller::new(options()).await;
    let good = create_body("SO1", "SKU-1", 1);
    let item = "/payload/orderItems/0";
    for pointer in [
        "/payload/orderChannelId".to_owned(),
        "/payload/orderPlacedTime".to_owned(),
        "/payload/customer/contact/name/firstName".to_owned(),
        "/payload/customer/contact/phone".to_owned(),
        "/payload/orderItems".to_owned(),
        format!("{item}/sellerLineId"),
        format!("{item}/itemDetail/sku"),
        format!("{item}/qty/unitOfMeasure"),
        format!("{item}/qty/measurementValue"),
        format!("{item}/shippingTo/contact/name/lastName"),
        format!("{item}/shippingTo/address/city"),
        format!("{item}/shippingTo/address/zip"),
        format!("{item}/chargeDetails"),
        format!("{item}/chargeDetails/0/chargeCategory"),
        format!("{item}/chargeDetails/0/chargePerUnit/currencyAmount"),
    ] {
        let mut body = good.clone();
        *body.pointer_mut(&pointer).unwrap() = Value::Null;
        let got = seller.post(CREATE, &body).await;
        assert_eq!((got.status, got.code()), (400, "INVALID_MCS_REQUEST"), "{pointer}");
    }
    let mut body = good.clone();
    body["payload"]["orderItems"][0]["itemDetail"]["description"] = Value::Null;
    body["payload"]["orderItems"][0]["shippingMethod"] = json!("PIGEON");
    body["payload"]["customer"]["contact"]["email"] = Value::Null;
    assert_eq!(seller.post(CREATE, &body).await.status, 202);
    let order = seller.control("GET", "orders/SO1", "").await.body["orders"][0].clone();
    assert_eq!(order["email"], "no-reply@emulator.invalid");
    assert_eq!(order["lines"][0]["shipping_method"], "STANDARD");
    assert_eq!(seller.stock("SKU-1").await, 999_999_999);
}

#[tokio::test(start_paused = true)]
async fn a_create_needs_one_order_number_and_no_second_one() {
    let seller = Seller::new(options()).await;
    let mut body = create_body("SO1", "SKU-1", 1);
    body["payload"]["customerOrderNo"] = json!("SO2");
    assert_eq!(seller.post(CREATE, &body).await.code(), "SELLER_ORDER_ID_CUSTOMER_ORDER_NO_SAME");
    body["payload"]["customerOrderNo"] = Value::Null;
    body["payload"]["sellerOrderId"] = json!(" ");
    assert_eq!(seller.post(CREATE, &body).await.code(), "INVALID_SELLER_ORDER_ID");
    body["payload"]["sellerOrderId"] = json!("SO1");
    assert_eq!(seller.post(CREATE, &body).await.status, 202);
}

#[tokio::test(start_paused = true)]
async fn stock_is_taken_and_given_back() {
    let seller = Seller::new(options()).await;
    seller.control("PUT", "stock/MUG", r#"{"availableToSellUnits": 3}"#).await;
    assert_eq!(seller.post(CREATE, &create_body("SO1", "MUG", 2)).await.status, 202);
    let short = seller.post(CREATE, &create_body("SO2", "MUG", 2)).await;
    assert_eq!((short.status, short.code()), (400, "INVALID_MCS_REQUEST"));
    assert!(short.text.contains("Seller Center"));
    assert_eq!(seller.stock("MUG").await, 1);
    assert_eq!(seller.post(CANCEL, &cancel_body("SO1", "1", 1)).await.status, 202);
    assert_eq!(seller.stock("MUG").await, 2);
    assert_eq!(seller.post(CREATE, &create_body("SO3", "NEVER-HEARD-OF", 1)).await.code(), "INVALID_MCS_REQUEST");
}

#[tokio::test(start_paused = true)]
async fn cancel_refuses_what_it_must() {
    let seller = Seller::new(options()).await;
    seller.post(CREATE, &create_body("SO1", "SKU-1", 2)).await;
    let unknown = seller.post(CANCEL, &cancel_body("SO9", "1", 1)).await;
    assert_eq!((unknown.status, unknown.code(), &unknown.body["status"]), (404, "404.WSAAS.100", &json!("FAIL")));
    for (line, units) in [("9", 1), ("1", 3)] {
        assert_eq!(seller.post(CANCEL, &cancel_body("SO1", line, units)).await.code(), "INVALID_MCS_REQUEST");
    }
    tokio::time::advance(std::time::Duration::from_secs(3601)).await;
    let mut seller = seller;
    seller.sign_in("aWQ6c2VjcmV0").await;
    let late = seller.post(CANCEL, &cancel_body("SO1", "1", 1)).await;
    assert!(late.status == 400 && late.text.contains("window"), "{}", late.text);
}

#[tokio::test(start_paused = true)]
async fn the_order_from_the_start_ages_once_something_happened_to_it() {
    let cancel = || cancel_body("sellername001ABC123", "1232456", 1);
    let mut seller = Seller::new(options()).await;
    for _ in 0..2 {
        tokio::time::advance(std::time::Duration::from_secs(5 * 3600)).await;
        seller.sign_in("aWQ6c2VjcmV0").await;
        let order = &seller.control("GET", "orders/sellername001ABC123", "").await.body["orders"][0];
        assert_ne!(order["accepted"], "2026-11-21T12:00:00Z", "{order}");
    }
    assert_eq!(seller.post(CANCEL, &cancel()).await.status, 202);
    tokio::time::advance(std::time::Duration::from_secs(3601)).await;
    seller.sign_in("aWQ6c2VjcmV0").await;
    assert!(seller.post(CANCEL, &cancel()).await.text.contains("window"));
}

#[tokio::test(start_paused = true)]
async fn moving_the_clock_makes_the_order_from_the_start_older() {
    let mut seller = Seller::new(options()).await;
    seller.control("POST", "clock/advance", r#"{"by": "61m"}"#).await;
    seller.sign_in("aWQ6c2VjcmV0").await;
    let late = seller.post(CANCEL, &cancel_body("sellername001ABC123", "1232456", 2)).await;
    assert!(late.status == 400 && late.text.contains("window"), "{}", late.text);
}

#[tokio::test(start_paused = true)]
async fn duplicates_are_second_orders_or_refused() {
    let seller = Seller::new(options()).await;
    for _ in 0..2 {
        assert_eq!(seller.post(CREATE, &create_body("SO1", "SKU-1", 1)).await.status, 202);
    }
    let orders = seller.control("GET", "orders", "").await.body;
    assert_eq!((&orders["total"], &orders["duplicates"]), (&json!(4), &json!(1)));
    assert_eq!(seller.get_status("orderNumber=SO1").await.body["header"]["headerAttributes"]["totalCount"], 2);

    let strict = Seller::new(EmulatorOptions { duplicates: DuplicatePolicy::Refuse, ..options() }).await;
    assert_eq!(strict.post(CREATE, &create_body("SO1", "SKU-1", 1)).await.status, 202);
    let refused = strict.post(CREATE, &create_body("SO1", "SKU-1", 1)).await;
    assert!(refused.status == 409 && refused.text.contains("Duplicate"), "{}", refused.text);
    assert_eq!(strict.stock("SKU-1").await, 999_999_999);
}

#[tokio::test(start_paused = true)]
async fn status_follows_an_order_in_both_forms() {
    let seller = Seller::new(options()).await;
    seller.post(CREATE, &create_body("SO1", "SKU-1", 3)).await;
    seller.post(CANCEL, &cancel_body("SO1", "1", 1)).await;
    seller.control("POST", "orders/SO1/lines/1/ship", r#"{"quantity": 1, "tracking_number": "1Z"}"#).await;
    let got = seller.get_status("orderNumber=SO1").await;
    let order = &got.body["payload"][0];
    assert_eq!((got.status, &got.body["status"], &order["status"]), (200, &json!("OK"), &json!("PROCESSING")));
    let quantities: Vec<&str> = order["orderLines"][0]["orderLineQuantityInfo"]
        .as_array()
        .unwrap()
        .iter()
        .map(|info| info["status"].as_str().unwrap())
        .collect();
    assert_eq!(quantities, ["SUCCESSFULLY_SOURCED", "SHIPPED", "CANCELLED"]);
    assert_eq!(seller.get_status("trackingNumber=1Z").await.body["payload"][0]["sellerOrderId"], "SO1");
    seller.control("POST", "orders/SO1/lines/1/ship", "").await;
    assert_eq!(seller.get_status("orderNumber=SO1").await.body["payload"][0]["status"], "SHIPPED");

    let sandbox = seller.in_sandbox();
    let got = sandbox.get_status("orderNumber=SO1").await;
    assert_eq!((&got.body["header"], &got.body["errors"]), (&Value::Null, &json!([])));
    assert_eq!(
        (&got.body["payload"]["orderNumber"], &got.body["payload"]["orderStatus"]),
        (&json!("SO1"), &json!("SHIPPED"))
    );
    let created = sandbox.post(CREATE, &create_body("SO2", "SKU-1", 1)).await;
    assert_eq!(created.body["payload"]["requestId"], "SO2");
}

#[tokio::test(start_paused = true)]
async fn status_filters_and_pages() {
    let seller = Seller::new(options()).await;
    for n in 1..=4 {
        seller.post(CREATE, &create_body(&format!("SO{n}"), "SKU-1", 1)).await;
    }
    let numbers = |got: &Got| -> Vec<String> {
        let orders = got.body["payload"].as_array().unwrap();
        orders.iter().map(|order| order["sellerOrderId"].as_str().unwrap().to_owned()).collect()
    };
    let page = seller.get_status("fromOrderDate=2026-11-21&limit=2&offset=1").await;
    assert_eq!(numbers(&page), ["SO3", "SO2"]);
    let header = &page.body["header"]["headerAttributes"];
    assert_eq!((&header["pageCount"], &header["totalCount"]), (&json!(3), &json!(5)));
    let oldest = seller.get_status("orderChannelId=ORDER_CHANNEL_ID&sortOrder=asc&sortBy=orderDate&limit=2").await;
    assert_eq!(numbers(&oldest), ["acme000123", "sellername001ABC123"]);
    assert_eq!(numbers(&seller.get_status("toOrderDate=2026-11-20").await), ["acme000123"]);
    assert_eq!(seller.get_status("orderNumber=NO").await.code(), "OS_NOT_FOUND_ERROR");
    for bad in
        ["", "limit=5", "orderNumber=SO1&limit=51", "orgId=1&orderNumber=SO1", "fromOrderDate=1.1.2026", "orderNumber="]
    {
        let got = seller.get_status(bad).await;
        assert_eq!((got.status, got.code()), (400, "INVALID_WFS_REQUEST"), "{bad}");
    }
}

#[tokio::test(start_paused = true)]
async fn accounts_have_their_own_orders() {
    let one = Seller::new(options()).await;
    one.post(CREATE, &create_body("SO1", "SKU-1", 1)).await;
    let mut two = one.clone();
    two.sign_in("dHdvOnNlY3JldA==").await; // two:secret
    assert_eq!(two.get_status("orderNumber=SO1").await.code(), "OS_NOT_FOUND_ERROR");
    assert_eq!(two.post(CANCEL, &cancel_body("SO1", "1", 1)).await.status, 404);
    assert_eq!(two.post(CREATE, &create_body("SO1", "SKU-1", 1)).await.status, 202);
    assert_eq!(one.control("GET", "orders", "").await.body["duplicates"], 0);
}
