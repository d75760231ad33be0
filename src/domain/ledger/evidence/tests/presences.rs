//! Orders that are the one that was sent, and orders that contradict it.

use super::*;

fn differs(fields: &[&str]) -> Evidence {
    Evidence::Contradicted(Contradiction {
        channel: fields.contains(&"channel"),
        order_date: fields.contains(&"date"),
        lines: fields.contains(&"lines"),
        sku: fields.contains(&"sku"),
    })
}

/// An order that shows its number and these fields.
fn row(fields: &Value) -> Value {
    let mut row = json!({"sellerOrderId": NUMBER});
    row.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    row
}

#[test]
fn the_number_stands_under_any_of_its_names() {
    for fields in [
        json!({"sellerOrderId": NUMBER}),
        json!({"orderNumber": NUMBER}),
        json!({"customerOrderNo": NUMBER}),
        json!({"sellerOrderId": "C-7", "customerOrderNo": NUMBER}),
        json!({"sellerOrderId": null, "orderNumber": NUMBER}),
    ] {
        assert_eq!(listed(&json!([fields])), PRESENT, "{fields}");
        assert_eq!(listed(&fields), PRESENT, "{fields}");
    }
    for fields in [
        json!({"purchaseOrderId": NUMBER, "sellerOrderId": "SO-2"}),
        json!({"shipments": [{"sellerOrderId": NUMBER}]}),
        json!({"orderLines": [{"sellerOrderId": NUMBER}]}),
        json!({"SellerOrderId": NUMBER}),
    ] {
        assert!(matches!(listed(&json!([fields])), Evidence::Nothing(_)), "{fields}");
    }
}

#[test]
fn an_order_is_seen_only_with_http_200_and_in_an_answer_that_did_not_fail() {
    let order = json!({"status": "OK", "payload": [row(&json!({}))]});
    for http_status in [201, 202, 204, 206, 301, 400, 404] {
        let judged = judge_create(&expected(), &answer(http_status, &order));
        assert!(matches!(judged, Evidence::Nothing(_)), "{http_status}");
    }
    let failed = json!({"status": "FAIL", "payload": [row(&json!({}))]});
    assert_eq!(judged(&failed), Evidence::Nothing(NoEvidence::StatusFailed));
    // Errors and a missing part make an absence impossible; the order is there.
    let partly =
        json!({"status": "PARTIAL_SUCCESS", "payload": [row(&json!({}))], "errors": [{"code": "SYSTEM_ERROR"}]});
    assert_eq!(judged(&partly), PRESENT);
    assert_eq!(judged(&json!({"payload": [null, row(&json!({}))]})), PRESENT);
}

#[test]
fn the_channel_has_to_agree_where_it_is_shown() {
    for (right, channel) in [
        (PRESENT, json!(CHANNEL)),
        (PRESENT, json!(" ch-0001 ")),
        (PRESENT, json!(null)),
        (PRESENT, json!("")),
        (PRESENT, json!({"id": "OTHER"})),
        (differs(&["channel"]), json!("CH-0002")),
        (differs(&["channel"]), json!(1)),
    ] {
        assert_eq!(listed(&json!([row(&json!({"orderChannelId": channel}))])), right, "{channel}");
    }
}

#[test]
fn the_order_date_is_not_before_the_order_less_a_day() {
    for (right, date) in [
        (PRESENT, json!(NOW)),
        (PRESENT, json!("2026-11-29T12:00:00.000Z")),
        (differs(&["date"]), json!("2026-11-29T11:59:59.999Z")),
        (PRESENT, json!("2026-11-29T13:00:00+01:00")),
        (differs(&["date"]), json!("2026-11-29T12:59:59+01:00")),
        (PRESENT, json!("2026-11-29T12:00:00")),
        (PRESENT, json!("2027-01-01T00:00:00Z")),
        // A day without a time is over at its end.
        (PRESENT, json!("2026-11-29")),
        (differs(&["date"]), json!("2026-11-28")),
        (PRESENT, json!(1_796_040_000_000_u64)),
        (PRESENT, json!("1796040000")),
        (differs(&["date"]), json!(1_700_000_000)),
        (differs(&["date"]), json!("1700000000000")),
        // Unreadable dates are not shown.
        (PRESENT, json!("yesterday")),
        (PRESENT, json!(0)),
        (PRESENT, json!(20_201_130)),
        (PRESENT, json!(-5)),
        (PRESENT, json!(null)),
        (PRESENT, json!(["2020-01-01"])),
    ] {
        for name in ["orderDate", "orderPlacedTime"] {
            assert_eq!(listed(&json!([row(&json!({name: date}))])), right, "{name} {date}");
        }
    }
}

#[test]
fn the_earlier_of_the_callers_time_and_the_first_attempt_counts() {
    let with = |placed: Option<&str>, sent: Timestamp| {
        let mut request = request(&[("1", SKU)]);
        request.payload.as_mut().unwrap().order_placed_time = placed.map(str::to_owned);
        ExpectedOrder::of_request(&request, sent).unwrap().earliest.unwrap()
    };
    let day = std::time::Duration::from_secs(24 * 60 * 60);
    assert_eq!(with(Some("2026-10-30T14:05:00Z"), SENT), Timestamp(1_793_369_100_000).minus(day));
    assert_eq!(with(Some("2026-12-24T00:00:00Z"), SENT), SENT.minus(day));
    assert_eq!(with(Some("not a time"), SENT), SENT.minus(day));
    assert_eq!(with(None, SENT), SENT.minus(day));
    assert_eq!(with(Some("2026-11-30"), SENT), Timestamp(1_795_996_800_000).minus(day));
    assert_eq!(with(Some("1850-01-01T00:00:00Z"), SENT), Timestamp(0));
}

#[test]
fn lines_are_compared_by_the_ids_and_skus_that_are_shown() {
    let two = ExpectedOrder::of_request(&request(&[("1", SKU), ("2", "SKU-2")]), SENT).unwrap();
    let judge = |field: &str, lines: &Value| {
        let body = json!({"status": "OK", "payload": [row(&json!({field: lines}))]});
        judge_create(&two, &answer(200, &body))
    };
    for (right, lines) in [
        (PRESENT, json!([])),
        (PRESENT, json!(null)),
        (PRESENT, json!("none")),
        (PRESENT, json!([null, {}])),
        (PRESENT, json!([{"sellerLineId": "2"}])),
        (PRESENT, json!([{"sellerLineId": 2, "sku": "sku-2"}])),
        (PRESENT, json!([{"sellerLineId": "1", "sku": null}, {"sellerLineId": null, "sku": "SKU-2"}])),
        (PRESENT, json!([{"sellerLineId": "1", "orderProduct": {"sku": SKU, "productName": "KETTLE-9"}}])),
        // A line in two rows, and any quantity.
        (
            PRESENT,
            json!([{"sellerLineId": "1", "qty": 7}, {"sellerLineId": "1", "orderedQty": {"measurementValue": 9}}]),
        ),
        (differs(&["lines"]), json!([{"sellerLineId": "3"}])),
        (differs(&["lines"]), json!([{"sellerLineId": "1"}, {"sellerLineId": "01"}])),
        (differs(&["lines", "sku"]), json!([{"sellerLineId": "3", "sku": "KETTLE-9"}])),
        (differs(&["sku"]), json!([{"sellerLineId": "1", "sku": "SKU-2"}])),
        (differs(&["sku"]), json!([{"sku": "KETTLE-9"}])),
        (differs(&["sku"]), json!([{"orderProduct": {"sku": "KETTLE-9"}}])),
        (differs(&["sku"]), json!([{"a": [{"b": {"c": [[{"sku": "KETTLE-9"}]]}}]}])),
        (differs(&["sku"]), json!({"orderLine": [{"sku": "KETTLE-9"}]})),
        (differs(&["sku"]), json!([{"sku": SKU, "itemDetail": {"sku": "KETTLE-9"}}])),
    ] {
        for field in ["orderLines", "orderItems"] {
            assert_eq!(judge(field, &lines), right, "{field} {lines}");
        }
    }
    // A SKU outside of the lines is not one of the order's.
    assert_eq!(listed(&json!([row(&json!({"promotion": {"sku": "KETTLE-9"}}))])), PRESENT);
}

#[test]
fn an_order_of_which_only_the_number_is_known_is_not_contradicted() {
    let body = json!({"status": "OK", "payload": [row(&json!({"orderChannelId": "OTHER", "orderDate": "2020-01-01",
        "orderLines": [{"sellerLineId": "9", "sku": "KETTLE-9"}]}))]});
    assert_eq!(judge_create(&ExpectedOrder::of_number(NUMBER), &answer(200, &body)), PRESENT);
    assert!(ExpectedOrder::of_request(&CreateOrderRequest::default(), SENT).is_none());
}

#[test]
fn rows_are_copies_only_if_they_are_different_orders() {
    let copies = |rows: &[Value]| {
        let rows: Vec<Value> = rows.iter().map(row).collect();
        match listed(&json!(rows)) {
            Evidence::Present(presence) => presence.copies,
            other => panic!("{other:?}"),
        }
    };
    let shipped = |ids: &[&str]| {
        let all: Vec<Value> = ids.iter().map(|id| json!({"purchaseOrderId": id})).collect();
        json!({ "shipments": all })
    };
    assert_eq!(copies(&[json!({}), json!({})]), 1);
    assert_eq!(copies(&[json!({"purchaseOrderId": "P1"}), json!({"purchaseOrderId": "P1"})]), 1);
    assert_eq!(copies(&[json!({"purchaseOrderId": "P1"}), json!({"purchaseOrderId": "P2"})]), 2);
    assert_eq!(copies(&[json!({"purchaseOrderId": 1}), json!({"purchaseOrderId": "1"}), json!({})]), 1);
    assert_eq!(copies(&[json!({"orderId": "O1"}), json!({"orderId": "O2"}), json!({"orderId": "O1"})]), 2);
    assert_eq!(
        copies(&[json!({"orderId": "O1", "purchaseOrderId": "P1"}), json!({"orderId": "O1", "purchaseOrderId": "P2"})]),
        1
    );
    assert_eq!(copies(&[shipped(&["P1"]), shipped(&["P2"])]), 2);
    assert_eq!(copies(&[shipped(&["P1"]), shipped(&["P2"]), shipped(&["P2", "P1"])]), 1);
    assert_eq!(copies(&[shipped(&["P1", "P2"]), shipped(&["P3"]), json!({"purchaseOrderId": "P2"})]), 2);
}

#[test]
fn another_order_under_the_number_changes_nothing_beside_one_that_agrees() {
    let ours = row(&json!({"orderChannelId": CHANNEL, "purchaseOrderId": "P1"}));
    let theirs = row(&json!({"orderChannelId": "OTHER", "purchaseOrderId": "P2"}));
    let bare = row(&json!({}));
    assert_eq!(listed(&json!([theirs, ours])), PRESENT);
    assert_eq!(listed(&json!([ours, theirs])), PRESENT);
    assert_eq!(listed(&json!([bare])), PRESENT);
    // A row that shows its number alone may be the other order's.
    assert_eq!(listed(&json!([theirs, bare])), differs(&["channel"]));
    let old = row(&json!({"orderDate": "2020-01-01"}));
    assert_eq!(listed(&json!([theirs, old])), differs(&["channel", "date"]));
}
