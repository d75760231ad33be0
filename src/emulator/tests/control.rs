//! The control API.

use super::*;

#[tokio::test(start_paused = true)]
async fn rubbish_is_a_readable_4xx() {
    let seller = Seller::new(options()).await;
    for (method, path, body) in [
        ("GET", "", ""),
        ("GET", "nothing", ""),
        ("POST", "intents", "{}"),
        ("POST", "intents", "[]"),
        ("POST", "intents", r#"{"event": "PO_CREATED"}"#),
        ("POST", "intents", r#"{"count": 0}"#),
        ("POST", "intents", r#"{"count": 10001}"#),
        ("PUT", "intents", "{}"),
        ("PUT", "webhook", "{}"),
        ("PUT", "webhook", r#"{"url": "nowhere", "secret": "s"}"#),
        ("PUT", "webhook", r#"{"url": "http://127.0.0.1/", "secret": "s", "header": "a b"}"#),
        ("DELETE", "stock/A", ""),
        ("PUT", "stock/", "1"),
        ("PUT", "stock/A", ""),
        ("PUT", "stock/A", "-1"),
        ("PUT", "stock/A", "1.5"),
        ("PUT", "stock/A", "99999999999999999999"),
        ("PUT", "stock/A", "18446744073709551615"),
        ("PUT", "stock/%ff", "1"),
        ("GET", "orders/NO", ""),
        ("POST", "orders/NO/lines/1/ship", ""),
        ("POST", "orders/sellername001ABC123/lines/9/ship", ""),
        ("POST", "orders/sellername001ABC123/lines/1232456/ship", r#"{"quantity": 3}"#),
        ("POST", "orders/sellername001ABC123/lines/1232456/ship", r#"{"quantity": 0}"#),
        ("POST", "orders/sellername001ABC123/lines/1232456/ship", "[]"),
        ("POST", "clock/advance", ""),
        ("POST", "clock/advance", r#"{"by": "soon"}"#),
        ("POST", "clock/advance", r#"{"by": "-1h"}"#),
        ("POST", "clock/advance", r#"{"seconds": 9223372036854775807}"#),
        ("POST", "clock/advance", r#"{"by": "1h", "seconds": 1}"#),
        ("GET", "requests?page=1", ""),
        ("GET", "history?page=1", ""),
        ("PUT", "history", ""),
        ("PUT", "faults", "[[fault]]"),
        ("PUT", "faults", "{"),
    ] {
        let got = seller.control(method, path, body).await;
        assert!((400..500).contains(&got.status), "{method} {path} {body}: {}", got.status);
        assert!(got.body["error"].as_str().is_some_and(|text| !text.is_empty()), "{method} {path}: {}", got.text);
    }
}

#[tokio::test(start_paused = true)]
async fn stock_can_be_set_and_read() {
    let seller = Seller::new(options()).await;
    for (path, body, sku, units) in [
        ("stock/A", r#"{"availableToSellUnits": 5}"#, "A", 5),
        ("stock/B%2F1%20x", "7", "B/1 x", 7),
        ("stock/A", r#"{"available": 0}"#, "A", 0),
    ] {
        assert_eq!(seller.control("PUT", path, body).await.status, 200);
        assert_eq!(seller.stock(sku).await, units);
    }
}

#[tokio::test(start_paused = true)]
async fn the_clock_moves_windows_and_tokens() {
    let seller = Seller::new(options()).await;
    seller.post(CREATE, &create_body("SO1", "SKU-1", 1)).await;
    let got = seller.control("POST", "clock/advance", r#"{"by": "14m 59s"}"#).await;
    assert_eq!(got.body["now"], "2026-11-21T12:14:59Z");
    assert_eq!(seller.get_status("orderNumber=SO1").await.status, 200);
    seller.control("POST", "clock/advance", r#"{"seconds": 1}"#).await;
    assert_eq!(seller.get_status("orderNumber=SO1").await.status, 401);
}

#[tokio::test(start_paused = true)]
async fn history_has_a_line_for_every_call_of_an_order() {
    let faults = "[[fault]]\noperation = \"create\"\ncount = 1\ndrop = \"after\"";
    let seller = Seller::new(options()).await;
    seller.control("PUT", "faults", faults).await;
    let body = create_body("SO1", "SKU-1", 1);
    assert!(seller.try_post(CREATE, &body).await.is_err());
    seller.post(CREATE, &body).await;
    assert!(seller.try_post(CREATE, &create_body("SO2", "SKU-1", 1)).await.is_err());
    seller.get_status("orderNumber=SO1").await;
    let got = seller.control("GET", "history?order_number=SO1", "").await;
    let line = |i: usize| {
        let call = &got.body["calls"][i];
        assert_eq!((&call["account"], &call["order_number"]), (&json!("id"), &json!("SO1")));
        (call["operation"].as_str().unwrap(), call["effect"].as_str().unwrap(), call["status"].as_u64())
    };
    assert_eq!(line(0), ("create", "CREATED", None));
    assert_eq!(line(1), ("create", "CREATED_AGAIN", Some(202)));
    assert_eq!(line(2), ("status", "READ", Some(200)));
    assert_eq!((&got.body["calls"][3], &got.body["left_out"]), (&json!(null), &json!(0)));
}

#[tokio::test(start_paused = true)]
async fn requests_tell_what_was_received_and_done() {
    let seller = Seller::new(options()).await;
    let body = create_body("SO1", "SKU-1", 1);
    seller.post(CREATE, &body).await;
    seller.post(CREATE, &body).await;
    let all = seller.control("GET", "requests", "").await;
    assert_eq!(all.body["received"], 3);
    assert_eq!(all.body["totals"]["token"]["TOKEN_ISSUED"], 1);
    assert_eq!(all.body["totals"]["create"], json!({"CREATED": 1, "CREATED_AGAIN": 1}));
    assert!(!all.text.contains(&seller.token) && !all.text.contains("aWQ6c2VjcmV0"));
    let got = seller.control("GET", "requests?operation=create&correlation_id=corr-1", "").await;
    let entry = &got.body["requests"][0];
    assert_eq!(entry["body"], body);
    assert_eq!((&entry["order_number"], &entry["account"]), (&json!("SO1"), &json!("id")));
    assert_eq!((&entry["status"], &entry["path"]), (&json!(202), &json!(CREATE)));
    assert_eq!(entry["headers"]["wm_sec.access_token"], "[redacted]");
    assert_eq!(entry["headers"]["wm_svc.name"], "test");
}

#[tokio::test(start_paused = true)]
async fn reset_goes_back_to_the_start_and_keeps_tokens() {
    let seller = Seller::new(options()).await;
    let first = seller.post(CREATE, &create_body("SO1", "SKU-1", 1)).await;
    seller.control("POST", "clock/advance", r#"{"by": "2h"}"#).await;
    seller.control("PUT", "faults", "[[fault]]\nstatus = 500").await;
    assert_eq!(seller.control("POST", "reset", "").await.status, 200);
    assert_eq!(seller.stock("SKU-1").await, 1_000_000_000);
    assert_eq!(seller.control("GET", "requests", "").await.body["received"], 0);
    let again = seller.post(CREATE, &create_body("SO1", "SKU-1", 1)).await;
    assert_eq!(again.text, first.text);
    assert_eq!(seller.post(CANCEL, &cancel_body("sellername001ABC123", "1232456", 2)).await.status, 202);
}

#[tokio::test(start_paused = true)]
async fn faults_can_be_json_too() {
    let seller = Seller::new(options()).await;
    let request = Request::put("/_emulator/v1/faults")
        .header("content-type", "application/json")
        .body(Bytes::from(r#"{"fault": [{"operation": "create", "status": 503, "probability": 1}]}"#))
        .unwrap();
    let got = send(&seller.emulator, request).await.unwrap();
    assert_eq!((got.status, &got.body), (200, &json!({"faults": 1})));
    assert_eq!(seller.post(CREATE, &create_body("SO1", "SKU-1", 1)).await.status, 503);
    assert_eq!(seller.control("PUT", "faults", "").await.body["faults"], 0);
    assert_eq!(seller.post(CREATE, &create_body("SO1", "SKU-1", 1)).await.status, 202);
}
