//! Checks of the requests of ReturnService.

use std::collections::HashSet;

use super::parts::{text, units};
use super::seller_orders::{cursor, date, limit, path_id};
use super::{FieldFaults, FieldPath, REQUIRED, check_request_id};
use crate::pb::{
    CancelMcsReturnRequest, CreateMcsReturnRequest, ListMcsReturnsRequest, ListReturnsRequest, RefundReturnRequest,
};

/// Walmart's limits of a list of marketplace returns, and of Multichannel returns.
const MAX_LIMIT: i32 = 200;
const MAX_MCS_LIMIT: i32 = 50;
const MAX_MCS_OFFSET: i32 = 50_000;

/// Checks a search for returns and returns all of its faults.
pub(crate) fn check_list_returns(request: &ListReturnsRequest) -> Result<(), FieldFaults> {
    let mut faults = FieldFaults::default();
    let texts = [
        ("return_order_id", &request.return_order_id),
        ("customer_order_id", &request.customer_order_id),
        ("status", &request.status),
        ("return_type", &request.return_type),
        ("return_creation_start_date", &request.return_creation_start_date),
        ("return_creation_end_date", &request.return_creation_end_date),
        ("return_last_modified_start_date", &request.return_last_modified_start_date),
        ("return_last_modified_end_date", &request.return_last_modified_end_date),
    ];
    for (name, value) in &texts[4..] {
        date(value, &FieldPath::Top(name), &mut faults);
    }
    let pair = [&texts[4], &texts[5]];
    if pair[0].1.is_empty() != pair[1].1.is_empty() {
        let missing = if pair[0].1.is_empty() { pair[0].0 } else { pair[1].0 };
        faults.add(&FieldPath::Top(missing), "is required with the other date of the pair");
    }
    limit(request.limit, MAX_LIMIT, &mut faults);
    let flags = [("replacement_info", request.replacement_info), ("is_wfs_enabled", request.is_wfs_enabled)];
    let given = texts.iter().filter(|(_, value)| !value.is_empty()).map(|(name, _)| *name);
    let given = given.chain((request.limit != 0).then_some("limit"));
    cursor(&request.next_cursor, given.chain(flags.iter().filter(|(_, set)| *set).map(|(name, _)| *name)), &mut faults);
    faults.into_result()
}

/// Checks a refund of a return and returns all of its faults.
pub(crate) fn check_return_refund(request: &RefundReturnRequest) -> Result<(), FieldFaults> {
    let mut faults = FieldFaults::default();
    check_request_id(&request.request_id, &mut faults);
    path_id(&request.return_order_id, &FieldPath::Top("return_order_id"), &mut faults);
    text(request.customer_order_id.as_ref(), &FieldPath::Top("customer_order_id"), &mut faults);
    let at = FieldPath::Top("refund_lines");
    if request.refund_lines.is_empty() {
        faults.add(&at, "needs at least one line");
    }
    let mut numbers = HashSet::new();
    for (i, line) in request.refund_lines.iter().enumerate() {
        let at = at.index(i);
        let number_at = at.field("return_order_line_number");
        match line.return_order_line_number {
            None if request.refund_lines.len() > 1 => faults.add(&number_at, "is required with several lines"),
            Some(number) if !numbers.insert(number) => faults.add(&number_at, "must be unique in the request"),
            _ => {}
        }
        units(line.quantity.as_ref(), &at.field("quantity"), &mut faults);
    }
    faults.into_result()
}

/// Checks a return to open and returns all of its faults.
pub(crate) fn check_mcs_return(request: &CreateMcsReturnRequest) -> Result<(), FieldFaults> {
    let mut faults = FieldFaults::default();
    check_request_id(&request.request_id, &mut faults);
    let at = FieldPath::Top("payload");
    let Some(payload) = &request.payload else {
        faults.add(&at, REQUIRED);
        return faults.into_result();
    };
    text(payload.seller_return_order_id.as_ref(), &at.field("seller_return_order_id"), &mut faults);
    text(payload.seller_order_id.as_ref(), &at.field("seller_order_id"), &mut faults);
    let items = at.field("order_items");
    if payload.order_items.is_empty() {
        faults.add(&items, "needs at least one item");
    }
    for (i, item) in payload.order_items.iter().enumerate() {
        let at = items.index(i);
        text(item.return_reason.as_ref(), &at.field("return_reason"), &mut faults);
        let detail = at.field("item_detail");
        match &item.item_detail {
            None => faults.add(&detail, REQUIRED),
            Some(one) => text(one.sku.as_ref(), &detail.field("sku"), &mut faults),
        }
        units(item.qty.as_ref(), &at.field("qty"), &mut faults);
    }
    faults.into_result()
}

/// Checks a search for returns of Multichannel orders and returns all of its faults.
pub(crate) fn check_list_mcs_returns(request: &ListMcsReturnsRequest) -> Result<(), FieldFaults> {
    let mut faults = FieldFaults::default();
    for (name, value) in [("from_order_date", &request.from_order_date), ("to_order_date", &request.to_order_date)] {
        let is_day = value.len() == 10 && value.parse::<jiff::civil::Date>().is_ok();
        if !value.is_empty() && !is_day {
            faults.add(&FieldPath::Top(name), "must be of the form 2026-11-01");
        }
    }
    if !(0..=MAX_MCS_LIMIT).contains(&request.limit) {
        faults.add(&FieldPath::Top("limit"), "must be 1 to 50, or 0 for Walmart's default");
    }
    if !(0..=MAX_MCS_OFFSET).contains(&request.offset) {
        faults.add(&FieldPath::Top("offset"), "must be 0 to 50000");
    }
    faults.into_result()
}

/// Checks a cancellation of a return and returns all of its faults.
pub(crate) fn check_mcs_return_cancellation(request: &CancelMcsReturnRequest) -> Result<(), FieldFaults> {
    let mut faults = FieldFaults::default();
    check_request_id(&request.request_id, &mut faults);
    path_id(&request.return_order_id, &FieldPath::Top("return_order_id"), &mut faults);
    faults.into_result()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn fields(checked: Result<(), FieldFaults>) -> Vec<String> {
        checked.err().map(|faults| faults.kept.into_iter().map(|fault| fault.field).collect()).unwrap_or_default()
    }

    #[test]
    fn creation_dates_come_as_a_pair_and_a_cursor_alone() {
        let search = |change: fn(&mut ListReturnsRequest)| {
            let mut request = ListReturnsRequest::default();
            change(&mut request);
            fields(check_list_returns(&request))
        };
        assert_eq!(search(|_| {}), [""; 0]);
        assert_eq!(search(|r| r.return_creation_start_date = "2026-11-01".into()), ["return_creation_end_date"]);
        assert_eq!(search(|r| r.return_creation_end_date = "2026-11-01".into()), ["return_creation_start_date"]);
        assert_eq!(search(|r| r.return_last_modified_start_date = "2026-11-01".into()), [""; 0]);
        assert_eq!(
            search(|r| r.return_last_modified_start_date = "1.11.2026".into()),
            ["return_last_modified_start_date"]
        );
        let with_cursor = search(|r| {
            r.next_cursor = "?a".into();
            r.is_wfs_enabled = true;
            r.return_order_id = "1".into();
        });
        assert_eq!(with_cursor, ["return_order_id", "is_wfs_enabled"]);
    }

    fn refund(lines: Value) -> Vec<String> {
        let mut request: RefundReturnRequest = serde_json::from_value(json!({"refundLines": lines})).unwrap();
        request.return_order_id = "1".into();
        request.customer_order_id = Some("2".into());
        fields(check_return_refund(&request))
    }

    #[test]
    fn a_refund_of_a_return_names_units_of_lines() {
        let each = |units: f64| json!({"unitOfMeasure": "EACH", "measurementValue": units});
        assert_eq!(refund(json!([{"quantity": each(1.0)}])), [""; 0]);
        let lines = json!([{"quantity": each(1.0)}, {"returnOrderLineNumber": 1, "quantity": each(0.5)},
            {"returnOrderLineNumber": 1, "quantity": null}]);
        let wanted = [
            "refund_lines[0].return_order_line_number",
            "refund_lines[1].quantity.measurement_value",
            "refund_lines[2].return_order_line_number",
            "refund_lines[2].quantity",
        ];
        assert_eq!(refund(lines), wanted);
        let none = fields(check_return_refund(&RefundReturnRequest::default()));
        assert_eq!(none, ["return_order_id", "customer_order_id", "refund_lines"]);
    }

    #[test]
    fn a_return_to_open_has_ids_reasons_and_units() {
        assert_eq!(fields(check_mcs_return(&CreateMcsReturnRequest::default())), ["payload"]);
        let payload = serde_json::from_value(json!({"orderItems": [{}]})).unwrap();
        let request = CreateMcsReturnRequest { payload: Some(payload), ..Default::default() };
        let wanted = [
            "payload.seller_return_order_id",
            "payload.seller_order_id",
            "payload.order_items[0].return_reason",
            "payload.order_items[0].item_detail",
            "payload.order_items[0].qty",
        ];
        assert_eq!(fields(check_mcs_return(&request)), wanted);
        let search =
            ListMcsReturnsRequest { limit: 51, offset: -1, from_order_date: "2026".into(), ..Default::default() };
        assert_eq!(fields(check_list_mcs_returns(&search)), ["from_order_date", "limit", "offset"]);
        assert_eq!(fields(check_mcs_return_cancellation(&Default::default())), ["return_order_id"]);
    }
}
