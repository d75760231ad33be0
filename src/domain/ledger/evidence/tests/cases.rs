//! Answers with their right worth, as the project's design lists them.

use super::*;

/// One answer. In the body `{order}`, `{channel}`, `{sku}` and `{now}` stand for the order's own values.
struct Case {
    name: &'static str,
    /// A creation, or else a cancellation of 1 unit of 3.
    is_create: bool,
    http_status: u16,
    body: &'static str,
    right: Evidence,
}

const fn nothing(reason: NoEvidence) -> Evidence {
    Evidence::Nothing(reason)
}

fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "the order itself, as a list",
            is_create: true,
            http_status: 200,
            body: r#"{"status":"OK","header":{"headerAttributes":{"buId":"0","martId":"202","totalCount":1,"pageCount":1}},"payload":[{"sellerOrderId":"{order}","orderChannelId":"{channel}","orderType":"DOMESTIC","status":"PROCESSING","orderDate":"{now}","shipments":[],"orderLines":[{"fulfillmentType":"DELIVERY","shippingMethod":"STANDARD","orderProduct":{"productName":"Blue jug"},"orderedQty":{"unitOfMeasure":"EACH","measurementValue":1}}]}]}"#,
            right: PRESENT,
        },
        Case {
            name: "the order itself, as one object",
            is_create: true,
            http_status: 200,
            body: r#"{"status":"OK","header":null,"errors":[],"payload":{"orderNumber":"{order}","orderChannelId":"{channel}","orderStatus":"CREATED","shipments":[],"orderItems":[{"sellerLineId":"1","sku":"{sku}","qty":{"unitOfMeasure":"EACH","measurementValue":1},"lineStatus":"CREATED"}]}}"#,
            right: PRESENT,
        },
        Case {
            name: "an empty list that says it is all",
            is_create: true,
            http_status: 200,
            body: r#"{"status":"OK","header":{"headerAttributes":{"buId":"0","martId":"202","totalCount":0,"pageCount":0}},"payload":[]}"#,
            right: absent_list(),
        },
        Case {
            name: "the order service's own not-found",
            is_create: true,
            http_status: 400,
            body: r#"{"status":"FAIL","errors":[{"code":"OS_NOT_FOUND_ERROR","description":"order not found","severity":"ERROR","category":"DATA"}]}"#,
            right: not_found("OS_NOT_FOUND_ERROR"),
        },
        Case {
            name: "not found, the other code",
            is_create: true,
            http_status: 404,
            body: r#"{"status":"FAIL","errors":[{"code":"404.WSAAS.100","description":"Data not found in WSAAS","severity":"ERROR","category":"DATA"}]}"#,
            right: not_found("404.WSAAS.100"),
        },
        Case {
            name: "partial success with an error",
            is_create: true,
            http_status: 200,
            body: r#"{"status":"PARTIAL_SUCCESS","payload":[],"errors":[{"code":"SYSTEM_ERROR.GMP_ORDER_API","description":"part of the system did not answer","severity":"ERROR","category":"SYSTEM"}]}"#,
            right: nothing(NoEvidence::PartialSuccess),
        },
        Case {
            name: "a list beside an error",
            is_create: true,
            http_status: 200,
            body: r#"{"status":"OK","payload":[],"errors":[{"code":"SYSTEM_ERROR.GMP_ORDER_API","description":"part of the system did not answer","severity":"ERROR","category":"SYSTEM"}]}"#,
            right: nothing(NoEvidence::Errors),
        },
        Case {
            name: "no payload at all",
            is_create: true,
            http_status: 200,
            body: r#"{"status":"OK"}"#,
            right: nothing(NoEvidence::PayloadMissing),
        },
        Case {
            name: "payload null",
            is_create: true,
            http_status: 200,
            body: r#"{"status":"OK","header":null,"payload":null,"errors":[]}"#,
            right: nothing(NoEvidence::PayloadNull),
        },
        Case {
            name: "payload is a text",
            is_create: true,
            http_status: 200,
            body: r#"{"status":"OK","payload":"temporarily unavailable"}"#,
            right: nothing(NoEvidence::PayloadNotList),
        },
        Case {
            name: "the total contradicts the list",
            is_create: true,
            http_status: 200,
            body: r#"{"status":"OK","header":{"headerAttributes":{"buId":"0","martId":"202","totalCount":1,"pageCount":1}},"payload":[]}"#,
            right: nothing(NoEvidence::TotalsContradict),
        },
        Case {
            name: "206 with an empty list",
            is_create: true,
            http_status: 206,
            body: r#"{"status":"OK","payload":[]}"#,
            right: nothing(NoEvidence::HttpStatus),
        },
        Case {
            name: "a gateway before Walmart knows no such path",
            is_create: true,
            http_status: 404,
            body: r#"{"error":[{"code":"CONTENT_NOT_FOUND.GMP_GATEWAY_API","field":"CONTENT_NOT_FOUND","description":"nothing is served here","info":"no route","severity":"INFO","category":"APPLICATION","causes":[],"errorIdentifiers":{}}]}"#,
            right: nothing(NoEvidence::GatewayNotFound),
        },
        Case {
            name: "a proxy's own 404 code",
            is_create: true,
            http_status: 404,
            body: r#"{"errors":[{"code":"404.PROXY.1","description":"no upstream"}]}"#,
            right: nothing(NoEvidence::GatewayNotFound),
        },
        Case {
            name: "payload is an empty object",
            is_create: true,
            http_status: 200,
            body: r#"{"status":"OK","header":null,"payload":{},"errors":[]}"#,
            right: nothing(NoEvidence::NumberMissing),
        },
        Case {
            name: "an object with a message",
            is_create: true,
            http_status: 200,
            body: r#"{"status":"OK","payload":{"message":"no orders found"}}"#,
            right: nothing(NoEvidence::NumberMissing),
        },
        Case {
            name: "an object with an empty list inside",
            is_create: true,
            http_status: 200,
            body: r#"{"status":"OK","payload":{"orders":[],"totalCount":0}}"#,
            right: nothing(NoEvidence::NumberMissing),
        },
        Case {
            name: "a list with an error in it",
            is_create: true,
            http_status: 200,
            body: r#"{"status":"PARTIAL_SUCCESS","payload":[{"error":{"code":"SYSTEM_ERROR"}}]}"#,
            right: nothing(NoEvidence::PartialSuccess),
        },
        Case {
            name: "another seller's order of that number",
            is_create: true,
            http_status: 200,
            body: r#"{"status":"OK","header":{"headerAttributes":{"buId":"0","martId":"202","totalCount":1,"pageCount":1}},"payload":[{"sellerOrderId":"{order}","orderChannelId":"OTHER_CHANNEL","orderType":"DOMESTIC","status":"DELIVERED","orderDate":"2020-03-01T08:00:00.000Z","shipments":[],"orderLines":[{"fulfillmentType":"DELIVERY","shippingMethod":"STANDARD","orderProduct":{"productName":"KETTLE-9","sku":"KETTLE-9"},"orderedQty":{"unitOfMeasure":"EACH","measurementValue":7}}]}]}"#,
            right: Evidence::Contradicted(Contradiction { channel: true, order_date: true, lines: false, sku: true }),
        },
        Case {
            name: "a cancel: partial success with an error",
            is_create: false,
            http_status: 200,
            body: r#"{"status":"PARTIAL_SUCCESS","payload":[],"errors":[{"code":"SYSTEM_ERROR.GMP_ORDER_API","description":"part of the system did not answer","severity":"ERROR","category":"SYSTEM"}]}"#,
            right: nothing(NoEvidence::PartialSuccess),
        },
    ]
}

#[test]
fn each_answer_has_its_worth() {
    for case in cases() {
        let body = case.body.replace("{order}", NUMBER).replace("{channel}", CHANNEL);
        let answer = raw(case.http_status, body.replace("{sku}", SKU).replace("{now}", NOW));
        let judged = if case.is_create {
            judge_create(&expected(), &answer)
        } else {
            judge_cancel(&batch(&[("1", 1.0)]), Some(&snapshot(&[("1", 0.0)])), &answer)
        };
        assert_eq!(judged, case.right, "{}", case.name);
    }
}
