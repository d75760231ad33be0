//! The two proofs of absence, and everything that looks like one.

use super::NoEvidence::{
    Errors, GatewayNotFound, HttpStatus, NotFoundNotAlone, NumberAlmostEqual, NumberMissing, NumberOther,
    PartialSuccess, PayloadMissing, PayloadNotList, PayloadNull, RowsNotOrders, StatusFailed, StatusUnknown,
    TotalsContradict, TotalsUnreadable, Unreadable,
};
use super::*;

fn nothing(reason: NoEvidence) -> Evidence {
    Evidence::Nothing(reason)
}

#[test]
fn an_empty_list_is_an_absence_only_in_a_whole_answer() {
    for (right, body) in [
        (absent_list(), json!({"status": "OK", "payload": []})),
        (absent_list(), json!({"status": "SUCCESS", "payload": [], "errors": [], "header": {}})),
        (absent_list(), json!({"status": "OK", "payload": [], "errors": null, "error": []})),
        (absent_list(), json!({"status": "OK", "payload": [], "errors": {"error": []}})),
        (nothing(StatusUnknown), json!({"payload": []})),
        (nothing(StatusUnknown), json!({"status": null, "payload": []})),
        (nothing(StatusUnknown), json!({"status": "", "payload": []})),
        (nothing(StatusUnknown), json!({"status": "NO_CONTENT", "payload": []})),
        (nothing(StatusUnknown), json!({"status": "ACCEPTED", "payload": []})),
        (nothing(StatusUnknown), json!({"status": 200, "payload": []})),
        (nothing(StatusUnknown), json!({"status": ["OK"], "payload": []})),
        (nothing(PartialSuccess), json!({"status": "PARTIAL_SUCCESS", "payload": []})),
        (nothing(PartialSuccess), json!({"status": "partial", "payload": [], "errors": []})),
        (nothing(StatusFailed), json!({"status": "FAIL", "payload": []})),
        (nothing(Errors), json!({"status": "OK", "payload": [], "errors": [{"code": "SYSTEM_ERROR"}]})),
        (nothing(Errors), json!({"status": "OK", "payload": [], "error": [{"code": "SYSTEM_ERROR"}]})),
        (nothing(Errors), json!({"status": "OK", "payload": [], "error": {"description": "no"}})),
        (nothing(Errors), json!({"status": "OK", "payload": [], "errors": {"error": [{"code": "X"}]}})),
        (nothing(Errors), json!({"status": "OK", "payload": [], "errors": [{}]})),
        (nothing(Errors), json!({"status": "OK", "payload": [], "errors": [null]})),
        (nothing(Errors), json!({"status": "OK", "payload": [], "errors": {}})),
        (nothing(Errors), json!({"status": "OK", "payload": [], "errors": {"error": [], "message": "timeout"}})),
        (nothing(Errors), json!({"status": "OK", "payload": [], "errors": "timeout"})),
        (nothing(Errors), json!({"status": "OK", "payload": [], "errors": false})),
    ] {
        assert_eq!(judged(&body), right, "{body}");
    }
}

#[test]
fn only_a_list_is_a_list() {
    for (right, payload) in [
        (PayloadNull, json!(null)),
        (PayloadNotList, json!("")),
        (PayloadNotList, json!("[]")),
        (PayloadNotList, json!(0)),
        (PayloadNotList, json!(false)),
        (NumberMissing, json!({})),
        (NumberMissing, json!({"orders": []})),
        (NumberMissing, json!({"order": {"sellerOrderId": NUMBER}})),
        (NumberMissing, json!({"sellerOrderId": null, "orderNumber": "", "customerOrderNo": "  "})),
        (NumberMissing, json!({"sellerOrderId": [NUMBER], "orderNumber": {"value": NUMBER}})),
        (NumberMissing, json!([{}])),
        (NumberMissing, json!([{"message": "none"}, null])),
        (NumberOther, json!([{"sellerOrderId": "SO-2"}])),
        (NumberOther, json!({"orderNumber": "SO-10"})),
        (RowsNotOrders, json!([null])),
        (RowsNotOrders, json!([[]])),
        (RowsNotOrders, json!([[{"sellerOrderId": NUMBER}]])),
        (RowsNotOrders, json!(["none", 0, true])),
    ] {
        assert_eq!(listed(&payload), nothing(right), "{payload}");
    }
    assert_eq!(judged(&json!({"status": "OK"})), nothing(PayloadMissing));
    assert_eq!(judged(&json!({"status": "OK", "Payload": []})), nothing(PayloadMissing));
}

#[test]
fn totals_have_to_agree_with_the_list() {
    let with =
        |attributes: Value| judged(&json!({"status": "OK", "header": {"headerAttributes": attributes}, "payload": []}));
    for (right, attributes) in [
        (absent_list(), json!({"totalCount": 0, "pageCount": 0})),
        (absent_list(), json!({"totalCount": 0, "pageCount": 1})),
        (absent_list(), json!({"totalCount": "0", "pageCount": "1"})),
        (absent_list(), json!({"totalCount": null, "pageCount": null})),
        (absent_list(), json!({"totalCount": 0.0})),
        (absent_list(), json!({"pageCount": 1})),
        (nothing(TotalsContradict), json!({"totalCount": 1})),
        (nothing(TotalsContradict), json!({"totalCount": "1"})),
        (nothing(TotalsContradict), json!({"totalCount": 0, "pageCount": 2})),
        (nothing(TotalsContradict), json!({"pageCount": "3"})),
        (nothing(TotalsUnreadable), json!({"totalCount": "none"})),
        (nothing(TotalsUnreadable), json!({"totalCount": -1})),
        (nothing(TotalsUnreadable), json!({"totalCount": 0.5})),
        (nothing(TotalsUnreadable), json!({"totalCount": []})),
        (nothing(TotalsUnreadable), json!({"totalCount": false})),
        (nothing(TotalsUnreadable), json!({"totalCount": 1e300})),
        (nothing(TotalsUnreadable), json!("none")),
    ] {
        assert_eq!(with(attributes.clone()), right, "{attributes}");
    }
    for (right, body) in [
        (TotalsContradict, json!({"status": "OK", "payload": [], "totalCount": 3})),
        (TotalsContradict, json!({"status": "OK", "payload": [], "header": {"totalCount": 3}})),
        (TotalsUnreadable, json!({"status": "OK", "payload": [], "header": "none"})),
        (TotalsUnreadable, json!({"status": "OK", "payload": [], "header": []})),
    ] {
        assert_eq!(judged(&body), nothing(right), "{body}");
    }
}

#[test]
fn an_empty_list_under_another_http_status_is_none() {
    let body = json!({"status": "OK", "payload": []});
    for http_status in [201, 202, 203, 204, 206, 207, 301, 304, 400, 409, 410, 422] {
        assert_eq!(judge_create(&expected(), &answer(http_status, &body)), nothing(HttpStatus), "{http_status}");
    }
    assert_eq!(judge_create(&expected(), &answer(404, &body)), nothing(GatewayNotFound));
}

#[test]
fn a_body_that_is_no_json_object_says_nothing() {
    for body in ["", " ", "null", "[]", "\"none\"", "0", "{", "{\"status\":\"OK\",\"payload\":[]", "<html></html>"] {
        assert_eq!(judge_create(&expected(), &raw(200, body)), nothing(Unreadable), "{body}");
        assert_eq!(judge_create(&expected(), &raw(204, body)), nothing(HttpStatus), "{body}");
        assert_eq!(judge_create(&expected(), &raw(404, body)), nothing(GatewayNotFound), "{body}");
    }
    let whole = r#"{"status":"OK","payload":[]}"#;
    assert_eq!(judge_create(&expected(), &raw(200, whole)), absent_list());
    for trailing in ["}", "{}", "[]", "x"] {
        assert_eq!(judge_create(&expected(), &raw(200, format!("{whole}{trailing}"))), nothing(Unreadable));
    }
    assert_eq!(judge_create(&expected(), &raw(200, format!("\u{feff}{whole}"))), nothing(Unreadable));
    assert_eq!(
        judge_create(&expected(), &raw(200, b"{\"status\":\"OK\xff\",\"payload\":[]}".to_vec())),
        nothing(Unreadable)
    );
}

#[test]
fn a_field_that_stands_twice_makes_the_answer_unreadable() {
    for body in [
        r#"{"status":"OK","payload":[{"sellerOrderId":"SO-1"}],"payload":[]}"#,
        r#"{"status":"OK","payload":[],"errors":[{"code":"X"}],"errors":[]}"#,
        r#"{"status":"PARTIAL_SUCCESS","payload":[],"status":"OK"}"#,
        r#"{"status":"OK","payload":[],"p\u0061yload":[{}]}"#,
        r#"{"status":"OK","header":{"headerAttributes":{"totalCount":1,"totalCount":0}},"payload":[]}"#,
        r#"{"status":"OK","payload":[{"sellerOrderId":"SO-1","sellerOrderId":"SO-2"}]}"#,
    ] {
        assert_eq!(judge_create(&expected(), &raw(200, body)), nothing(Unreadable), "{body}");
    }
    // What is not read may stand as often as it likes.
    assert_eq!(judge_create(&expected(), &raw(200, r#"{"x":1,"x":2,"status":"OK","payload":[]}"#)), absent_list());
}

#[test]
fn not_found_is_the_order_services_own() {
    let codes = [
        ("404.WSAAS.100", true),
        ("404.WSAAS.7", true),
        ("OS_NOT_FOUND_ERROR", true),
        ("CONTENT_NOT_FOUND.GMP_ORDER_API", true),
        ("CONTENT_NOT_FOUND.GMP_FULFILLMENT_API", true),
        ("CONTENT_NOT_FOUND.GMP_GATEWAY_API", false),
        ("CONTENT_NOT_FOUND.ORDER_GATEWAY", false),
        ("CONTENT_NOT_FOUND.GMP_ITEM_API", false),
        ("CONTENT_NOT_FOUND.REORDERING", false),
        ("CONTENT_NOT_FOUND", false),
        ("CONTENT_NOT_FOUND.", false),
        ("SOME_CONTENT_NOT_FOUND", false),
        ("404.PROXY.1", false),
        ("404.WSAAS", false),
        ("404.WSAAS.", false),
        ("404.WSAASX.100", false),
        ("400.WSAAS.106", false),
        ("OS_NOT_FOUND_ERRORS", false),
        (" OS_NOT_FOUND_ERROR", false),
        ("os_not_found_error", false),
        ("URI_NOT_FOUND", false),
        ("NOT_FOUND", false),
        ("404", false),
        ("", false),
    ];
    for (code, is_proof) in codes {
        for http_status in [200, 400, 404] {
            let body = json!({"status": "FAIL", "errors": [{"code": code, "description": "order not found"}]});
            let judged = judge_create(&expected(), &answer(http_status, &body));
            assert_eq!(matches!(judged, Evidence::Absent(_)), is_proof, "{code} {http_status}");
            if is_proof {
                assert_eq!(judged, not_found(code));
            }
        }
    }
}

#[test]
fn not_found_proves_an_absence_only_where_nothing_stands_beside_it() {
    let gone = json!({"code": "OS_NOT_FOUND_ERROR"});
    let other = json!({"code": "SYSTEM_ERROR.GMP_ORDER_API"});
    let proof = not_found("OS_NOT_FOUND_ERROR");
    for (right, body) in [
        (proof.clone(), json!({"errors": [gone]})),
        (proof.clone(), json!({"error": [gone]})),
        (proof.clone(), json!({"error": gone})),
        (proof.clone(), json!({"errors": {"error": [gone]}})),
        (proof.clone(), json!({"status": "NOT_FOUND", "errors": [gone], "payload": null})),
        (proof.clone(), json!({"status": "FAIL", "errors": [gone], "payload": {}, "error": []})),
        (proof, json!({"errors": [{"code": "OS_NOT_FOUND_ERROR", "causes": [], "errorIdentifiers": {}}]})),
        (nothing(NotFoundNotAlone), json!({"errors": [gone, other]})),
        (nothing(NotFoundNotAlone), json!({"errors": [other, gone]})),
        (nothing(NotFoundNotAlone), json!({"errors": [gone, gone]})),
        (nothing(NotFoundNotAlone), json!({"errors": [gone, {}]})),
        (nothing(NotFoundNotAlone), json!({"errors": [gone, null]})),
        (nothing(NotFoundNotAlone), json!({"errors": [gone], "error": [other]})),
        (nothing(NotFoundNotAlone), json!({"errors": [{"code": "OS_NOT_FOUND_ERROR", "causes": [other]}]})),
        (nothing(NotFoundNotAlone), json!({"errors": [gone], "payload": []})),
        (nothing(NotFoundNotAlone), json!({"errors": [gone], "payload": "none"})),
        (nothing(NotFoundNotAlone), json!({"errors": [gone], "payload": [{"sellerOrderId": NUMBER}]})),
        (nothing(NotFoundNotAlone), json!({"errors": [gone], "payload": {"sellerOrderId": NUMBER}})),
        (nothing(PartialSuccess), json!({"status": "PARTIAL_SUCCESS", "errors": [gone]})),
        (nothing(TotalsContradict), json!({"errors": [gone], "header": {"headerAttributes": {"totalCount": 1}}})),
    ] {
        assert_eq!(judged(&body), right, "{body}");
    }
    for http_status in [202, 206, 401, 403, 409, 410, 422] {
        let judged = judge_create(&expected(), &answer(http_status, &json!({"errors": [gone]})));
        assert_eq!(judged, nothing(HttpStatus), "{http_status}");
    }
    // The words are not the code.
    let told = json!({"errors": [{"code": "X", "description": "OS_NOT_FOUND_ERROR"}]});
    assert_eq!(judge_create(&expected(), &answer(404, &told)), nothing(GatewayNotFound));
    assert_eq!(judge_create(&expected(), &answer(400, &told)), nothing(HttpStatus));
}

#[test]
fn an_almost_equal_number_blocks_an_absence_and_has_a_reason_of_its_own() {
    for number in [json!("so-1"), json!(" SO-1"), json!("SO-1\u{a0}"), json!("SO-\u{ff11}"), json!("S\u{200b}O-1")] {
        assert_eq!(listed(&json!([{"sellerOrderId": number}])), nothing(NumberAlmostEqual), "{number}");
        let rows = json!([{"orderNumber": "SO-2"}, {"customerOrderNo": number}]);
        assert_eq!(listed(&rows), nothing(NumberAlmostEqual), "{rows}");
    }
    // A JSON number is not the text that was sent.
    let numeric = ExpectedOrder::of_number("12345");
    let body = json!({"status": "OK", "payload": [{"sellerOrderId": 12345}]});
    assert_eq!(judge_create(&numeric, &answer(200, &body)), nothing(NumberAlmostEqual));
    // The same letters, composed in two ways.
    let composed = ExpectedOrder::of_number("caf\u{e9}");
    let body = json!({"status": "OK", "payload": [{"sellerOrderId": "cafe\u{301}"}]});
    assert_eq!(judge_create(&composed, &answer(200, &body)), nothing(NumberAlmostEqual));
    // The exact number beside it is what counts.
    assert_eq!(listed(&json!([{"sellerOrderId": "so-1"}, {"sellerOrderId": NUMBER}])), PRESENT);
}
