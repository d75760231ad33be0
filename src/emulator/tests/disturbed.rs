//! Magic values and faults, end to end.

use std::time::Duration;

use super::super::FaultRules;
use super::*;

async fn total(seller: &Seller, number: &str) -> u64 {
    seller.control("GET", &format!("orders/{number}"), "").await.body["total"].as_u64().unwrap_or(0)
}

#[tokio::test(start_paused = true)]
async fn magic_order_numbers_do_what_the_table_says() {
    let seller = Seller::new(options()).await;
    // number, status of the first call (0: dropped), executed by it, status of the second call
    for (number, first, executed, second) in [
        ("MAGIC-400-1", 400, false, 400),
        ("MAGIC-403-1", 403, false, 403),
        ("MAGIC-500-1", 500, false, 500),
        ("MAGIC-500-AFTER-1", 500, true, 202),
        ("MAGIC-503-1", 503, false, 503),
        ("MAGIC-520-1", 520, false, 520),
        ("MAGIC-429-1", 429, false, 202),
        ("MAGIC-DROP-BEFORE-1", 0, false, 202),
        ("MAGIC-DROP-AFTER-1", 0, true, 202),
        ("MAGIC-DUPLICATE-1", 409, false, 409),
        ("MAGIC-FAIL-1", 200, false, 200),
        ("MAGIC-UNREADABLE-1", 202, true, 202),
        ("MAGIC-HTML-1", 502, false, 202),
        ("MAGIC-OUTAGE-1", 400, false, 202),
        ("MAGIC-TOKEN-EXPIRED-1", 401, false, 202),
    ] {
        let body = create_body(number, "SKU-1", 1);
        let status = |got: Result<Got, DroppedCall>| got.map_or(0, |got| got.status);
        assert_eq!(status(seller.try_post(CREATE, &body).await), first, "{number}");
        assert_eq!(total(&seller, number).await, u64::from(executed), "{number}");
        assert_eq!(status(seller.try_post(CREATE, &body).await), second, "{number}");
        let log = seller.control("GET", &format!("requests?order_number={number}"), "").await.body;
        let entry = &log["requests"][0];
        assert_eq!(entry["effect"], if executed { "CREATED" } else { "NONE" }, "{number}");
        assert_eq!(entry["dropped"], first == 0);
        assert!(entry["disturbance"].is_string());
    }
}

#[tokio::test(start_paused = true)]
async fn shapes_of_magic_answers() {
    let seller = Seller::new(options()).await;
    let create = async |number: &str| seller.post(CREATE, &create_body(number, "SKU-1", 1)).await;
    assert_eq!(create("MAGIC-503-1").await.text, "");
    assert_eq!(create("MAGIC-FAIL-1").await.body["status"], "FAIL");
    assert_eq!(create("MAGIC-520-1").await.code(), "SYSTEM_ERROR.GMP_GATEWAY_API");
    assert_eq!(create("MAGIC-UNREADABLE-1").await.body, Value::Null);
    assert_eq!(create("MAGIC-HTML-1").await.headers["content-type"], "text/html");
    assert!(create("MAGIC-OUTAGE-1").await.text.contains("INVALID_REQUEST.GMP_ORDER_API"));
    let limited = create("MAGIC-429-1").await;
    assert_eq!(limited.headers["x-current-token-count"], "0");
    let mut body = create_body("SO1", "SKU-1", 1);
    body["payload"]["orderChannelId"] = json!("CHANNEL-UNKNOWN");
    assert_eq!(seller.post(CREATE, &body).await.code(), "ERR_EXT_DATA_0021001");
    assert_eq!(seller.post(PROMISE, &promise_body(&[("SKU-500", 1)])).await.status, 500);
    assert_eq!(
        seller.try_post(PROMISE, &promise_body(&[("SKU-DROP-AFTER", 1)])).await.err(),
        Some(DroppedCall::Interrupted)
    );
    seller.post(CREATE, &create_body("MAGIC-CANCEL-500-AFTER-1", "SKU-1", 1)).await;
    let cancel = cancel_body("MAGIC-CANCEL-500-AFTER-1", "1", 1);
    assert_eq!(seller.post(CANCEL, &cancel).await.status, 500);
    assert!(seller.post(CANCEL, &cancel).await.text.contains("already cancelled"));
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_is_executed_at_once_even_if_nobody_waits() {
    let seller = Seller::new(options()).await;
    let body = create_body("MAGIC-SLOW-1", "SKU-1", 1);
    assert!(tokio::time::timeout(Duration::from_secs(10), seller.post(CREATE, &body)).await.is_err());
    assert_eq!(total(&seller, "MAGIC-SLOW-1").await, 1);
    let began = tokio::time::Instant::now();
    assert_eq!(seller.post(CREATE, &create_body("MAGIC-SLOW-2", "SKU-1", 1)).await.status, 202);
    assert_eq!(began.elapsed(), Duration::from_secs(15));
}

#[tokio::test(start_paused = true)]
async fn faults_strike_the_call_they_name() {
    let faults = FaultRules::parse(
        "[[fault]]\noperation = \"create\"\ncount = 1\nstatus = 503\nwhen = \"after\"\nbody = \"gone\"\n\
         [[fault]]\noperation = \"status\"\ncount = 1\ndelay = \"2s\"\n\
         [[fault]]\noperation = \"cancel\"\ncount = 1\ndrop = \"after\"\n\
         [[fault]]\noperation = \"token\"\ncount = 1\nstatus = 401\n",
    );
    let mut seller = Seller::without_token(EmulatorOptions { faults: faults.unwrap(), ..options() });
    let request = token_request("aWQ6c2VjcmV0").body(Bytes::from("grant_type=client_credentials")).unwrap();
    assert_eq!(send(&seller.emulator, request).await.unwrap().status, 401);
    seller.sign_in("aWQ6c2VjcmV0").await;
    let created = seller.post(CREATE, &create_body("SO1", "SKU-1", 1)).await;
    assert_eq!((created.status, created.text.as_str()), (503, "gone"));
    assert_eq!(total(&seller, "SO1").await, 1);
    let began = tokio::time::Instant::now();
    assert_eq!(seller.get_status("orderNumber=SO1").await.status, 200);
    assert_eq!(began.elapsed(), Duration::from_secs(2));
    assert!(seller.try_post(CANCEL, &cancel_body("SO1", "1", 1)).await.is_err());
    assert_eq!(seller.get_status("orderNumber=SO1").await.body["payload"][0]["status"], "CANCELLED");
}

#[tokio::test(start_paused = true)]
async fn many_callers_see_the_same_faults_on_every_run() {
    async fn run(reverse: bool) -> Vec<u16> {
        let faults =
            FaultRules::parse("seed = 5\n[[fault]]\nprobability = 0.4\noperation = \"create\"\nstatus = 500").unwrap();
        let seller = Seller::new(EmulatorOptions { faults, ..options() }).await;
        let mut numbers: Vec<usize> = (0..60).collect();
        if reverse {
            numbers.reverse();
        }
        let mut calls = tokio::task::JoinSet::new();
        for n in numbers {
            let seller = seller.clone();
            calls.spawn(
                async move { (n, seller.post(CREATE, &create_body(&format!("SO{n}"), "SKU-1", 1)).await.status) },
            );
        }
        let mut seen = calls.join_all().await;
        seen.sort();
        seen.into_iter().map(|(_, status)| status).collect()
    }
    let seen = run(false).await;
    assert_eq!(seen, run(true).await);
    assert!(seen.contains(&500) && seen.contains(&202));
}
