//! Each lie, as a caller hears it, and that nothing but what is told changes.

use std::collections::HashSet;
use std::io::Read as _;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{LieKind, LieScope, all};
use crate::emulator::tests::{CANCEL, CREATE, Got, PROMISE, Seller, cancel_body, create_body, options, promise_body};
use crate::emulator::{CallEffect, DroppedCall, DuplicatePolicy, EmulatorOptions, FaultRules};

fn faults(rule: &str) -> FaultRules {
    FaultRules::parse(&format!("[[fault]]\n{rule}\n")).unwrap()
}

/// A seller whose Walmart tells this lie.
async fn told(rule: &str) -> Seller {
    let seller = Seller::new(options()).await;
    seller.emulator.set_faults(faults(rule));
    seller
}

async fn make(seller: &Seller, number: &str) -> Got {
    seller.post(CREATE, &create_body(number, "SKU-1", 3)).await
}

/// The answer to a look-up of the order `SO-ab1`.
async fn look_up(lie: &str, made: bool) -> Got {
    let seller = told(&format!("lie = \"{lie}\"")).await;
    if made {
        assert_eq!(make(&seller, "SO-ab1").await.status, 202);
    }
    let got = seller.get_status("orderNumber=SO-ab1").await;
    assert_eq!(seller.emulator.orders_numbered("id", "SO-ab1").len(), usize::from(made), "{lie}");
    got
}

#[tokio::test(start_paused = true)]
async fn reads_without_an_order_have_the_same_form_whether_it_exists_or_not() {
    let error = |code: &str| json!({"code": code});
    // lie, status, and the body's parts
    for (lie, status, parts) in [
        ("no-payload", 200, vec![("/status", json!("OK"))]),
        ("null-payload", 200, vec![("/payload", Value::Null), ("/status", json!("OK"))]),
        ("text-payload", 200, vec![("/payload", json!("temporarily unavailable"))]),
        ("empty-object", 200, vec![("/payload", json!({}))]),
        ("null-object", 200, vec![("/payload/orderNumber", Value::Null), ("/payload/orderItems", Value::Null)]),
        ("message-object", 200, vec![("/payload", json!({"message": "no orders found"}))]),
        ("list-in-object", 200, vec![("/payload", json!({"orders": [], "totalCount": 0}))]),
        ("odd-rows", 200, vec![("/payload", json!([null, "", []]))]),
        ("error-rows", 200, vec![("/status", json!("PARTIAL_SUCCESS")), ("/payload/0/error", error("SYSTEM_ERROR"))]),
        ("partial", 200, vec![("/status", json!("PARTIAL_SUCCESS")), ("/payload", json!([]))]),
        (
            "partial-with-errors",
            200,
            vec![("/status", json!("PARTIAL_SUCCESS")), ("/errors/0/code", json!("SYSTEM_ERROR.GMP_ORDER_API"))],
        ),
        ("partial-content", 206, vec![("/payload", json!([])), ("/status", json!("OK"))]),
        ("accepted-read", 202, vec![("/payload", json!([]))]),
        ("errors-beside-list", 200, vec![("/payload", json!([])), ("/errors/0/category", json!("SYSTEM"))]),
        ("total-beside-nothing", 200, vec![("/payload", json!([])), ("/header/headerAttributes/totalCount", json!(1))]),
        ("gateway-404", 404, vec![("/error/0/code", json!("CONTENT_NOT_FOUND.GMP_GATEWAY_API"))]),
        ("proxy-404", 404, vec![("/errors/0/code", json!("404.PROXY.1"))]),
        (
            "not-found-among-errors",
            400,
            vec![("/errors/0/code", json!("OS_NOT_FOUND_ERROR")), ("/errors/1/category", json!("SYSTEM"))],
        ),
    ] {
        let there = look_up(lie, true).await;
        assert_eq!(there.status, status, "{lie}");
        for (pointer, value) in parts {
            assert_eq!(there.body.pointer(pointer), Some(&value), "{lie} {}", there.text);
        }
        assert_eq!(look_up(lie, false).await.text, there.text, "{lie}");
    }
    assert_eq!(look_up("no-payload", true).await.body.get("payload"), None);
    for (lie, status, text) in [("no-content", 204, ""), ("bare-404", 404, ""), ("html-404", 404, "<html>")] {
        let got = look_up(lie, true).await;
        assert!(got.status == status && got.text.starts_with(text) && got.body.is_null(), "{lie} {}", got.text);
    }
}

#[tokio::test(start_paused = true)]
async fn another_order_under_the_number_differs_in_what_the_lie_names() {
    let truth = look_up("high-total", true).await.body["payload"][0].clone();
    let parts = |row: &Value| {
        let line = &row["orderLines"][0];
        [&row["orderChannelId"], &row["orderDate"], &line["sellerLineId"], &line["orderProduct"]["sku"]]
            .map(Value::clone)
    };
    let changed = |row: &Value| -> Vec<bool> {
        parts(row).iter().zip(parts(&truth)).map(|(told, true_one)| *told != true_one).collect()
    };
    for (lie, differs) in [
        ("other-channel", [true, false, false, false]),
        ("other-date", [false, true, false, false]),
        ("other-lines", [false, false, true, true]),
        ("other-order", [true; 4]),
    ] {
        for made in [true, false] {
            let got = look_up(lie, made).await;
            let rows = got.body["payload"].as_array().unwrap();
            assert_eq!((got.status, rows.len(), &rows[0]["sellerOrderId"]), (200, 1, &json!("SO-ab1")), "{lie}");
            assert_eq!(changed(&rows[0]), differs, "{lie} {made}");
        }
    }
    let sandbox = told("lie = \"other-order\"").await.in_sandbox();
    make(&sandbox, "SO-ab1").await;
    let order = sandbox.get_status("orderNumber=SO-ab1").await.body["payload"].clone();
    assert_eq!(order["orderNumber"], "SO-ab1");
    assert_eq!(
        (&order["orderChannelId"], &order["orderItems"][0]["sku"]),
        (&json!("OTHER_CHANNEL"), &json!("KETTLE-9"))
    );
    assert!(order["orderPlacedTime"].as_str().unwrap().starts_with("2020-"), "{order}");
}

#[tokio::test(start_paused = true)]
async fn numbers_are_bent_as_the_lie_says() {
    for (lie, number) in [
        ("other-numbers", json!("OTHERSO-ab1")),
        ("no-number", Value::Null),
        ("padded-number", json!(" SO-ab1 ")),
        ("folded-number", json!("so-AB1")),
        ("wide-number", json!("\u{ff33}\u{ff2f}\u{ff0d}\u{ff41}\u{ff42}\u{ff11}")),
    ] {
        for made in [true, false] {
            let got = look_up(lie, made).await;
            let row = &got.body["payload"][0];
            assert!(got.status == 200 && row["sellerOrderId"] == number && row["orderChannelId"].is_string(), "{row}");
        }
    }
    let digits = told("lie = \"folded-number\"").await.get_status("orderNumber=123").await;
    assert_eq!(digits.body["payload"][0]["sellerOrderId"], " 123 ");
}

#[tokio::test(start_paused = true)]
async fn true_rows_with_something_wrong_about_them() {
    let pointer = |got: &Got, at: &str| got.body.pointer(at).cloned().unwrap_or_default();
    let beside = look_up("errors-beside-rows", true).await;
    assert_eq!(pointer(&beside, "/payload/0/sellerOrderId"), "SO-ab1");
    assert_eq!(pointer(&beside, "/errors/0/code"), "SYSTEM_ERROR.GMP_ORDER_API");
    let twice = look_up("repeated-row", true).await;
    assert_eq!(pointer(&twice, "/payload/0"), pointer(&twice, "/payload/1"));
    assert_eq!(pointer(&look_up("high-total", true).await, "/header/headerAttributes/totalCount"), 2);
    assert_eq!(pointer(&look_up("no-total", true).await, "/header"), Value::Null);
    let short = look_up("short-page", true).await;
    assert_eq!(
        (pointer(&short, "/payload"), pointer(&short, "/header/headerAttributes/totalCount")),
        (json!([]), json!(1))
    );
    // What is not there is not made up.
    for lie in ["errors-beside-rows", "repeated-row", "high-total", "no-total", "short-page", "low-total"] {
        assert_eq!(look_up(lie, false).await.code(), "OS_NOT_FOUND_ERROR", "{lie}");
    }
}

fn numbers(got: &Got) -> Vec<String> {
    let rows = got.body["payload"].as_array().unwrap();
    rows.iter().map(|row| row["sellerOrderId"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_search_pages_to_its_end_and_its_lies_cut_it_short() {
    const ORDERS: usize = 130;
    let seller = Seller::new(EmulatorOptions { limit_scale: 100.0, ..options() }).await;
    for n in 0..ORDERS {
        assert_eq!(make(&seller, &format!("SO{n}")).await.status, 202);
        // Several orders share a date.
        if n % 3 == 0 {
            tokio::time::advance(Duration::from_millis(1)).await;
        }
    }
    for order in ["asc", "desc"] {
        let mut seen = Vec::new();
        for page in 0.. {
            let query = format!(
                "orderChannelId=ORDER_CHANNEL_ID&fromOrderDate=2026-11-21&sortOrder={order}&offset={}",
                page * 50
            );
            let got = seller.get_status(&query).await;
            let header = &got.body["header"]["headerAttributes"];
            assert_eq!((&header["totalCount"], &header["pageCount"]), (&json!(ORDERS + 1), &json!(3)));
            let rows = got.body["payload"].as_array().unwrap();
            let dates: Vec<Timestamp> =
                rows.iter().map(|row| row["orderDate"].as_str().unwrap().parse().unwrap()).collect();
            assert!(if order == "asc" { dates.is_sorted() } else { dates.iter().rev().is_sorted() });
            if numbers(&got).is_empty() {
                assert_eq!(page, 3);
                break;
            }
            seen.extend(numbers(&got));
        }
        assert_eq!((seen.len(), seen.iter().collect::<HashSet<_>>().len()), (ORDERS + 1, ORDERS + 1), "{order}");
    }
    for (lie, rows, total) in
        [("short-page", 25, json!(131)), ("low-total", 50, json!(50)), ("high-total", 50, json!(132))]
    {
        seller.emulator.set_faults(faults(&format!("lie = \"{lie}\"")));
        let got = seller.get_status("fromOrderDate=2026-11-21").await;
        assert_eq!(
            (numbers(&got).len(), &got.body["header"]["headerAttributes"]["totalCount"]),
            (rows, &total),
            "{lie}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn reads_by_number_searches_and_changes_lag_apart() {
    let seller = Seller::new(options()).await;
    let rules = "[[fault]]\nlie = \"read-lag\"\nlag = \"10s\"\n[[fault]]\nlie = \"search-lag\"\nlag = \"20s\"\n\
                 [[fault]]\nlie = \"change-lag\"\nlag = \"5s\"";
    seller.emulator.set_faults(FaultRules::parse(rules).unwrap());
    make(&seller, "SO1").await;
    let by_number = async || {
        let got = seller.get_status("orderNumber=SO1").await;
        if got.status == 200 { got.body["payload"][0]["status"].clone() } else { json!(got.code()) }
    };
    let searched =
        async || numbers(&seller.get_status("orderChannelId=ORDER_CHANNEL_ID").await).contains(&"SO1".to_owned());
    let wait = async |seconds| tokio::time::advance(Duration::from_secs(seconds)).await;

    assert_eq!((by_number().await, searched().await), (json!("OS_NOT_FOUND_ERROR"), false));
    wait(9).await;
    assert_eq!((by_number().await, searched().await), (json!("OS_NOT_FOUND_ERROR"), false));
    wait(1).await;
    assert_eq!((by_number().await, searched().await), (json!("PROCESSING"), false));
    wait(10).await;
    assert_eq!((by_number().await, searched().await), (json!("PROCESSING"), true));
    assert_eq!(seller.post(CANCEL, &cancel_body("SO1", "1", 3)).await.status, 202);
    assert_eq!(
        (by_number().await, seller.emulator.orders_numbered("id", "SO1")[0].lines[0].cancelled),
        (json!("PROCESSING"), 3)
    );
    wait(4).await;
    assert_eq!(by_number().await, json!("PROCESSING"));
    wait(1).await;
    assert_eq!(by_number().await, json!("CANCELLED"));
}

#[tokio::test(start_paused = true)]
async fn refusals_are_worded_as_the_lie_says_and_change_nothing() {
    // lie, path, status, words
    for (lie, path, status, words) in [
        ("duplicate-exists", CREATE, 400, "order SO1 already exists"),
        ("duplicate-unique", CREATE, 400, "order number is not unique"),
        ("duplicate-used", CREATE, 422, "this number has been used before"),
        ("duplicate-in-use", CREATE, 400, "sellerOrderId SO1 is in use"),
        ("duplicate-conflict", CREATE, 409, "conflict"),
        ("duplicate-sku", CREATE, 400, "Duplicate SKU in order items"),
        ("late-shipped", CANCEL, 400, "already SHIPPED"),
        ("late-cancelled", CANCEL, 400, "already been cancelled"),
        ("late-in-process", CANCEL, 400, "is in process"),
        ("late-window", CANCEL, 400, "past the cancellation window"),
        ("refused-in-200", CREATE, 200, "INVALID_REQUEST_CONTENT.GMP_ORDER_API"),
        ("refused-in-202", CANCEL, 202, "INVALID_REQUEST_PARAM"),
        ("outage-in-info", CREATE, 400, r#""info":"Request invalid.""#),
        ("outage-in-description", CREATE, 400, r#""description":"Request invalid.""#),
        ("threshold-in-400", CANCEL, 400, "REQUEST_THRESHOLD_VIOLATED.GMP_GATEWAY_API"),
        ("client-closed", CREATE, 499, ""),
    ] {
        for after in [false, true] {
            let seller = Seller::new(options()).await;
            if path == CANCEL {
                make(&seller, "SO1").await;
            }
            let when = if after { "\nwhen = \"after\"" } else { "" };
            seller.emulator.set_faults(faults(&format!("lie = \"{lie}\"{when}")));
            let body = if path == CREATE { create_body("SO1", "SKU-1", 3) } else { cancel_body("SO1", "1", 1) };
            let got = seller.post(path, &body).await;
            assert!(got.status == status && got.text.contains(words), "{lie} {} {}", got.status, got.text);
            assert!(got.text.is_empty() || got.body.is_object(), "{lie} {}", got.text);
            let effect = seller.emulator.calls_from(0).last().unwrap().effect;
            assert_eq!(effect != CallEffect::None, after, "{lie}");
        }
    }
    let seller = told("lie = \"errors-beside-acceptance\"").await;
    let got = make(&seller, "SO1").await;
    assert_eq!(
        (got.status, &got.body["status"], &got.body["errors"][0]["severity"]),
        (202, &json!("ACCEPTED"), &json!("INFO"))
    );
    assert!(got.body["payload"]["requestId"].is_string());
    assert_eq!(seller.emulator.orders_numbered("id", "SO1").len(), 1);
    assert!(seller.post(CREATE, &json!({})).await.body["errors"][0]["severity"] == "ERROR");
}

#[tokio::test(start_paused = true)]
async fn only_real_duplicates_are_refused_where_the_rule_says_so() {
    for duplicates in [DuplicatePolicy::Accept, DuplicatePolicy::Refuse] {
        let seller = Seller::new(EmulatorOptions { duplicates, ..options() }).await;
        let rule = "operation = \"create\"\nlie = \"duplicate-used\"\nwhen = \"duplicate\"";
        seller.emulator.set_faults(faults(rule));
        assert_eq!(make(&seller, "SO1").await.status, 202);
        assert_eq!(make(&seller, "SO1").await.status, 422);
        assert_eq!(seller.emulator.orders_numbered("id", "SO1").len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn bodies_are_cut_and_compressed_on_the_way() {
    let truth = make(&Seller::new(options()).await, "SO1").await;
    let cut = make(&told("lie = \"cut-body\"").await, "SO1").await;
    assert_eq!((cut.status, cut.text.as_str()), (202, &truth.text[..truth.text.len() / 2]));
    let html = make(&told("lie = \"html-body\"").await, "SO1").await;
    assert_eq!((html.status, &html.headers["content-type"]), (202, &"text/html".parse().unwrap()));
    for (lie, labelled) in [("gzip-body", true), ("bare-gzip-body", false)] {
        let seller = told(&format!("lie = \"{lie}\"\nstatus = 400\noperation = \"create\"\nwhen = \"after\"")).await;
        let got = make(&seller, "SO1").await;
        assert_eq!((got.status, got.headers.contains_key("content-encoding")), (400, labelled));
        let mut plain = String::new();
        flate2::read::GzDecoder::new(got.bytes.as_ref()).read_to_string(&mut plain).unwrap();
        assert!(plain.contains("INVALID_MCS_REQUEST"), "{plain}");
        assert_eq!(seller.emulator.orders_numbered("id", "SO1").len(), 1);
    }
    // A status alone says which answer is cut, and that nothing was done.
    let seller = told("lie = \"cut-body\"\nstatus = 400\noperation = \"create\"").await;
    let got = make(&seller, "SO1").await;
    assert!(got.status == 400 && got.text.starts_with(r#"{"errors":"#) && got.body.is_null(), "{}", got.text);
    assert_eq!(seller.emulator.orders_numbered("id", "SO1"), []);
}

#[tokio::test(start_paused = true)]
async fn connections_break_without_sockets_too() {
    let turned_away = told("lie = \"goaway\"\ncount = 1\noperation = \"create\"").await;
    let body = create_body("SO1", "SKU-1", 1);
    assert_eq!(turned_away.try_post(CREATE, &body).await.err(), Some(DroppedCall::NotSent));
    assert_eq!(turned_away.emulator.orders_numbered("id", "SO1"), []);
    assert_eq!(turned_away.post(CREATE, &body).await.status, 202);
    for (when, orders) in [("", 0), ("\nwhen = \"after\"", 1)] {
        let seller = told(&format!("lie = \"half-dead\"\noperation = \"create\"{when}")).await;
        let silent = tokio::time::timeout(Duration::from_secs(3600), seller.try_post(CREATE, &body)).await;
        assert!(silent.is_err());
        assert_eq!(seller.emulator.orders_numbered("id", "SO1").len(), orders, "{when}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_lie_has_a_magic_number() {
    let seller = Seller::new(options()).await;
    for lie in all() {
        let name = lie.name.to_uppercase();
        let lost = format!("MAGIC-LOST-{name}-1");
        match (lie.about, lie.tell) {
            (LieScope::Connections, _) | (_, LieKind::Breaks(_)) => continue,
            (LieScope::Reads, LieKind::Lags(lagging)) => {
                assert!(seller.try_post(CREATE, &create_body(&lost, "SKU-1", 1)).await.is_err());
                let by_number = seller.get_status(&format!("orderNumber={lost}")).await;
                assert_eq!(by_number.status == 400, lagging == super::LagKind::ByNumber, "{lost}");
                tokio::time::advance(Duration::from_secs(14)).await;
                assert_eq!(seller.get_status(&format!("orderNumber={lost}")).await.status, 200, "{lost}");
                continue;
            }
            (LieScope::Reads, _) => {
                assert!(seller.try_post(CREATE, &create_body(&lost, "SKU-1", 1)).await.is_err(), "{lost}");
                seller.get_status(&format!("orderNumber={lost}")).await;
            }
            (LieScope::Cancels, _) => {
                let number = format!("MAGIC-CANCEL-{name}-1");
                seller.post(CANCEL, &cancel_body(&number, "1", 1)).await;
            }
            (LieScope::Creates | LieScope::Mutations | LieScope::Calls, _) => {
                make(&seller, &format!("MAGIC-{name}-1")).await;
            }
        }
        tokio::time::advance(Duration::from_secs(3)).await;
        let log = seller.control("GET", "requests", "").await.body;
        let last = log["requests"].as_array().unwrap().last().unwrap();
        assert_eq!(last["disturbance"], lie.name, "{last}");
    }
    let cut = seller.post(PROMISE, &promise_body(&[("SKU-CUT-BODY", 1)])).await;
    assert!(cut.status == 206 && cut.body.is_null(), "{}", cut.text);
    assert_eq!(make(&seller, "MAGIC-PARTIAL-1").await.status, 202, "not about creates");
}

/// Everything that callers hear under a mix of lies.
async fn trace(seed: u64) -> String {
    let mut rules = String::new();
    for lie in all().filter(|lie| !matches!(lie.tell, LieKind::Breaks(_) | LieKind::HangsConnect)) {
        let lag = if matches!(lie.tell, LieKind::Lags(_)) { "lag = [\"0s\", \"5s\"]\n" } else { "" };
        rules.push_str(&format!("[[fault]]\nlie = \"{}\"\nprobability = 0.03\n{lag}", lie.name));
    }
    let faults = FaultRules::parse(&rules).unwrap();
    let mut seller = Seller::without_token(EmulatorOptions { seed, faults, limit_scale: 100.0, ..options() });
    while seller.try_sign_in("aWQ6c2VjcmV0").await.is_none() {}
    let mut heard = String::new();
    for n in 0..150 {
        let number = format!("SO{}", n % 50);
        tokio::time::advance(Duration::from_millis(100)).await;
        for got in [
            make(&seller, &number).await,
            seller.get_status(&format!("orderNumber={number}")).await,
            seller.get_status("fromOrderDate=2026-11-21&limit=3").await,
            seller.post(CANCEL, &cancel_body(&number, "1", 1)).await,
        ] {
            heard.push_str(&format!("{} {:?} {}\n", got.status, got.headers, got.text));
        }
    }
    heard
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_tells_the_same_lies_byte_for_byte() {
    let first = trace(1).await;
    assert_eq!(first, trace(1).await);
    assert_ne!(first, trace(2).await);
}

#[tokio::test(start_paused = true)]
async fn the_control_api_lists_every_lie() {
    let listed = Seller::new(options()).await.control("GET", "lies", "").await.body;
    let names: Vec<&str> = listed["lies"].as_array().unwrap().iter().map(|lie| lie["lie"].as_str().unwrap()).collect();
    assert_eq!(names, all().map(|lie| lie.name).collect::<Vec<_>>());
    assert!(listed["lies"].as_array().unwrap().iter().all(|lie| lie["about"].is_string() && lie["tells"].is_string()));
}

#[test]
fn names_are_unique_and_the_documentation_lists_every_lie() {
    let docs = include_str!("../../../docs/EMULATOR.md");
    let names: HashSet<&str> = all().map(|lie| lie.name).collect();
    assert_eq!(names.len(), all().count());
    for lie in all() {
        let row = format!("| `{}` | {} | {} |", lie.name, lie.about.words(), lie.does);
        assert!(docs.contains(&row), "docs/EMULATOR.md has no line {row}");
    }
}
