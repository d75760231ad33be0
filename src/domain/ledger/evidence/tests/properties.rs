//! What holds of every answer, whatever JSON it is.

use proptest::prelude::*;

use super::*;

const NUMBER_FIELDS: [&str; 3] = ["sellerOrderId", "orderNumber", "customerOrderNo"];

/// Scalars near the ones that mean something.
fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        prop_oneof![Just(0), Just(1), Just(-1), any::<i64>()].prop_map(Value::from),
        Just(json!(0.5)),
        prop::sample::select(vec![
            "",
            "OK",
            "FAIL",
            "PARTIAL_SUCCESS",
            NUMBER,
            "so-1",
            "SO-2",
            CHANNEL,
            "CH-2",
            SKU,
            "1",
            "2",
            NOW,
            "2020-01-01",
            "OS_NOT_FOUND_ERROR",
            "404.WSAAS.100",
            "404.PROXY.1",
            "SYSTEM_ERROR",
            "CANCELLED",
            "SHIPPED",
        ])
        .prop_map(Value::from),
    ]
}

fn key() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "status",
        "payload",
        "header",
        "headerAttributes",
        "totalCount",
        "pageCount",
        "errors",
        "error",
        "code",
        "causes",
        "sellerOrderId",
        "orderNumber",
        "customerOrderNo",
        "orderChannelId",
        "orderDate",
        "orderPlacedTime",
        "orderLines",
        "orderItems",
        "sellerLineId",
        "sku",
        "qty",
        "lineStatus",
        "orderLineQuantityInfo",
        "statusQuantity",
        "measurementValue",
        "purchaseOrderId",
        "shipments",
        "message",
        "orders",
    ])
    .prop_map(str::to_owned)
}

fn tree() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(5, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key(), inner, 0..6).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// An envelope around anything, so that most bodies come past the first question.
fn body() -> impl Strategy<Value = Value> {
    let row =
        || prop::collection::btree_map(key(), tree(), 0..6).prop_map(|map| Value::Object(map.into_iter().collect()));
    let payload = prop_oneof![tree(), row(), prop::collection::vec(row(), 0..3).prop_map(Value::from), Just(json!([]))];
    let optional = || prop::option::of(tree());
    let status = prop_oneof![Just(Some(json!("OK"))), prop::option::of(scalar())];
    let parts = (status, prop::option::of(payload), optional(), optional(), optional());
    parts.prop_map(|(status, payload, errors, error, header)| {
        let parts =
            [("status", status), ("payload", payload), ("errors", errors), ("error", error), ("header", header)];
        Value::Object(parts.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect())
    })
}

/// Whether a row of the payload has the number in a field of its own.
fn shows_number(body: &Value) -> bool {
    let has = |row: &Value| NUMBER_FIELDS.iter().any(|field| row.get(field) == Some(&json!(NUMBER)));
    match body.get("payload") {
        Some(Value::Array(rows)) => rows.iter().any(has),
        Some(row) => has(row),
        None => false,
    }
}

/// Every object of the errors with a code.
fn codes(part: &Value, into: &mut Vec<String>) {
    match part {
        Value::Array(many) => many.iter().for_each(|one| codes(one, into)),
        Value::Object(object) => {
            into.extend(object.get("code").and_then(Value::as_str).map(str::to_owned));
            object.values().for_each(|value| codes(value, into));
        }
        _ => {}
    }
}

fn is_proof_of_absence(http_status: u16, body: &Value, proof: &AbsenceProof) -> bool {
    let mut found = Vec::new();
    for part in ["errors", "error"] {
        codes(body.get(part).unwrap_or(&Value::Null), &mut found);
    }
    match proof {
        AbsenceProof::NothingShipped | AbsenceProof::NothingRefunded | AbsenceProof::NoSubscription => false,
        AbsenceProof::EmptyList => {
            http_status == 200
                && body["payload"] == json!([])
                && body["status"] == "OK"
                && found.is_empty()
                && body["header"]["headerAttributes"]["totalCount"].as_f64().is_none_or(|total| total == 0.0)
        }
        AbsenceProof::OrderServiceNotFound { code } => {
            [200, 400, 404].contains(&http_status)
                && ["OS_NOT_FOUND_ERROR", "404.WSAAS.100"].contains(&code.as_str())
                && !found.iter().any(|other| other != code)
                && !shows_number(body)
        }
        AbsenceProof::NothingCancelled => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn presence_shows_the_number_and_absence_has_a_proof(
        body in body(),
        http_status in prop::sample::select(vec![200, 200, 200, 200, 204, 206, 400, 404]),
    ) {
        match judge_create(&expected(), &answer(http_status, &body)) {
            Evidence::Present(presence) => {
                prop_assert!(http_status == 200 && shows_number(&body) && presence.copies >= 1, "{}", body);
            }
            Evidence::Contradicted(differs) => {
                prop_assert!(http_status == 200 && shows_number(&body) && differs.is_any(), "{}", body);
            }
            Evidence::Absent(proof) => prop_assert!(is_proof_of_absence(http_status, &body, &proof), "{}", body),
            Evidence::Nothing(_) => {}
        }
    }

    #[test]
    fn a_cancellation_is_told_only_where_the_order_is_shown(body in body(), units in 0.0..3.0_f64) {
        let before = snapshot(&[("1", units.floor())]);
        match judge_cancel(&batch(&[("1", 1.0)]), Some(&before), &answer(200, &body)) {
            Evidence::Present(_) | Evidence::Absent(AbsenceProof::NothingCancelled) => {
                prop_assert!(shows_number(&body) && body["status"] == "OK", "{}", body);
            }
            Evidence::Nothing(_) => {}
            other => prop_assert!(false, "{:?} {}", other, body),
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), http_status in 100..600_u16) {
        let judged = judge_create(&expected(), &raw(http_status, bytes));
        prop_assert!(matches!(judged, Evidence::Nothing(_)));
    }
}

/// Bodies of 8 MiB, the longest that are read, in the forms that cost most.
#[test]
fn large_and_deep_bodies_are_read_quickly() {
    const SIZE: usize = 8 * 1024 * 1024;
    let filled = |start: &str, one: &str, end: &str| format!("{start}{}{end}", one.repeat((SIZE - 64) / one.len()));
    for body in [
        "[".repeat(SIZE),
        filled("{\"status\":\"OK\",\"payload\":[", "{},", "{}]}"),
        filled("{\"status\":\"OK\",\"payload\":[", "null,", "null]}"),
        filled("{\"status\":\"OK\",\"payload\":[{\"orderLines\":[", "{\"sku\":1},", "{}]}]}"),
        filled("{\"status\":\"OK\",\"payload\":[{\"orderLines\":[{\"a\":[", "{\"sku\":1},", "{}]}]}]}"),
        filled("{\"status\":\"OK\",\"payload\":[{\"orderLines\":[{\"a\":", "[", ""),
        filled("{\"status\":\"OK\",\"payload\":", "{\"payload\":", ""),
        filled("{\"errors\":", "{\"errors\":", ""),
        filled("{\"errors\":", "[", ""),
        filled("{", "\"a\":1,", "\"payload\":1}"),
        filled("{\"status\":\"OK\",\"payload\":[{\"sellerOrderId\":\"", "\u{df}", "\"}]}"),
        filled("{\"status\":\"OK\",\"x\":", "[", ""),
    ] {
        assert!(matches!(judge_create(&expected(), &raw(200, body)), Evidence::Nothing(_)));
    }
    // Many rows of one order are one order, and are counted in one pass.
    let rows: Vec<Value> = (0..1_000).map(|row| json!({"sellerOrderId": NUMBER, "purchaseOrderId": row})).collect();
    assert_eq!(listed(&json!(rows)), Evidence::Present(PresenceProof { copies: 1_000 }));
}
