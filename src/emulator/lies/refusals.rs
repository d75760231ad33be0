//! Lies of mutations: duplicates and refusals with other texts, refusals in unusual places, outages that look like
//! refusals.

use serde_json::json;

use super::LieScope::{Cancels, Creates, Mutations};
use super::{Lie, LieContext, changes, says};
use crate::emulator::answer::WalmartAnswer;

/// A refusal in the fulfillment service's envelope.
macro_rules! refusal {
    ($description:literal, $info:literal, $field:literal) => {
        concat!(
            r#"{"status":"FAIL","errors":[{"code":"INVALID_MCS_REQUEST","description":""#,
            $description,
            r#"","info":""#,
            $info,
            r#"","severity":"ERROR","category":"REQUEST","field":""#,
            $field,
            r#""}]}"#
        )
    };
}

const IN_200: &str = r#"{"errors":{"error":[{"code":"INVALID_REQUEST_CONTENT.GMP_ORDER_API","field":"data","description":"orderChannelId is unknown","info":"Request content is invalid.","severity":"ERROR","category":"DATA"}]}}"#;
const IN_202: &str = r#"{"errors":[{"code":"INVALID_REQUEST_PARAM","message":"orderChannelId is unknown","severity":"ERROR","category":"DATA","field":"orderChannelId"}]}"#;
const OUTAGE_IN_INFO: &str = r#"{"errors":{"error":[{"code":"INVALID_REQUEST.GMP_ORDER_API","field":"data","description":"Invalid Request","info":"Request invalid.","severity":"ERROR","category":"DATA","causes":[],"errorIdentifiers":{}}]}}"#;
const OUTAGE_IN_DESCRIPTION: &str = r#"{"status":"FAIL","errors":[{"code":"INVALID_REQUEST.GMP_ORDER_API","description":"Request invalid.","severity":"ERROR","category":"REQUEST"}]}"#;
const THRESHOLD: &str = r#"{"error":[{"code":"REQUEST_THRESHOLD_VIOLATED.GMP_GATEWAY_API","field":"REQUEST_THRESHOLD_VIOLATED","description":"Request threshold exceeded","info":"Too many requests for this API","severity":"ERROR","category":"REQUEST","causes":[],"errorIdentifiers":{}}]}"#;

pub(super) const LIES: &[Lie] = &[
    duplicate(
        "duplicate-exists",
        400,
        refusal!("duplicate order", "order {order} already exists", "customerOrderNo"),
        "400, \"duplicate order\", \"already exists\"",
    ),
    duplicate(
        "duplicate-unique",
        400,
        refusal!("order number is not unique", "", ""),
        "400, \"order number is not unique\"",
    ),
    duplicate(
        "duplicate-used",
        422,
        refusal!("this number has been used before", "", ""),
        "422, \"this number has been used before\"",
    ),
    duplicate(
        "duplicate-in-use",
        400,
        refusal!("sellerOrderId {order} is in use", "", "sellerOrderId"),
        "400, \"is in use\"",
    ),
    duplicate("duplicate-conflict", 409, refusal!("conflict", "", ""), "409, \"conflict\""),
    duplicate(
        "duplicate-sku",
        400,
        refusal!("Duplicate SKU in order items", "lines 1 and 2", "orderItems"),
        "400, a duplicate that is a SKU: the order number is free",
    ),
    says(
        "late-shipped",
        Cancels,
        400,
        refusal!("line 1 of order {order} is already SHIPPED", "", "orderItems"),
        "400, \"already SHIPPED\"",
    ),
    says(
        "late-cancelled",
        Cancels,
        400,
        refusal!("order {order} has already been cancelled", "", "orderItems"),
        "400, \"already been cancelled\"",
    ),
    says(
        "late-in-process",
        Cancels,
        400,
        refusal!("order {order} is in process and cannot be cancelled", "", ""),
        "400, \"in process\"",
    ),
    says(
        "late-window",
        Cancels,
        400,
        refusal!("past the cancellation window", "", ""),
        "400, \"past the cancellation window\"",
    ),
    says("refused-in-200", Mutations, 200, IN_200, "200 with errors, neither status nor payload: a refusal"),
    says("refused-in-202", Mutations, 202, IN_202, "202 with errors, neither status nor payload: a refusal"),
    says("outage-in-info", Mutations, 400, OUTAGE_IN_INFO, "400 INVALID_REQUEST.GMP_ORDER_API: an outage, in `info`"),
    says(
        "outage-in-description",
        Mutations,
        400,
        OUTAGE_IN_DESCRIPTION,
        "400 INVALID_REQUEST.GMP_ORDER_API: an outage, in `description`",
    ),
    says("threshold-in-400", Mutations, 400, THRESHOLD, "400 REQUEST_THRESHOLD_VIOLATED: a rate limit"),
    says("client-closed", Mutations, 499, "", "499 without a body: a proxy that lost its client"),
    changes(
        "errors-beside-acceptance",
        Mutations,
        errors_beside_acceptance,
        "the truth; an acceptance has an error beside it",
    ),
];

const fn duplicate(name: &'static str, status: u16, body: &'static str, does: &'static str) -> Lie {
    says(name, Creates, status, body, does)
}

fn errors_beside_acceptance(_: &LieContext<'_>, truth: WalmartAnswer) -> WalmartAnswer {
    if !(200..300).contains(&truth.status) {
        return truth;
    }
    truth.with_value(|body| {
        body["errors"] = json!([{"code": "SOME_CONTENT_NOT_FOUND", "field": "shippingMethod",
            "description": "STANDARD was taken", "severity": "INFO", "category": "APPLICATION"}]);
    })
}
