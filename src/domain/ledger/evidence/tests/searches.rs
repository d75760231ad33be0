//! Pages of a search by date.

use super::*;

fn page(total: u64, rows: &Value) -> SearchPage {
    let header = json!({"headerAttributes": {"totalCount": total, "pageCount": 1}});
    read_search_page(&answer(200, &json!({"status": "OK", "header": header, "payload": rows}))).unwrap()
}

fn order(number: &str, date: &str) -> Value {
    json!({"sellerOrderId": number, "orderDate": date})
}

fn progress(pages: &[SearchPage]) -> SearchProgress {
    pages.iter().fold(SearchProgress::default(), |mut progress, page| {
        progress.add(page);
        progress
    })
}

#[test]
fn a_page_finds_and_never_settles_an_absence() {
    let rows = json!([order("SO-2", NOW), order(NUMBER, NOW), {"sellerOrderId": "SO-3", "orderChannelId": "OTHER"}]);
    let page = page(3, &rows);
    assert_eq!((page.rows(), page.total()), (3, Some(3)));
    assert_eq!(page.judge(&expected()), Some(PRESENT));
    assert_eq!(page.judge(&ExpectedOrder::of_number("SO-4")), None);
    let third = {
        let mut request = request(&[]);
        request.payload.as_mut().unwrap().seller_order_id = Some("SO-3".into());
        ExpectedOrder::of_request(&request, SENT).unwrap()
    };
    let differs = Contradiction { channel: true, ..Default::default() };
    assert_eq!(page.judge(&third), Some(Evidence::Contradicted(differs)));
    let almost = Evidence::Nothing(NoEvidence::NumberAlmostEqual);
    assert_eq!(page.judge(&ExpectedOrder::of_number("so-2")), Some(almost));
    assert_eq!(["SO-2", "so-2", "SO-4"].map(|number| page.shows(number)), [true, true, false]);
}

#[test]
fn what_is_no_page_has_a_reason() {
    for (reason, http_status, body) in [
        (NoEvidence::HttpStatus, 206, json!({"status": "OK", "payload": []})),
        (NoEvidence::GatewayNotFound, 404, json!({})),
        (NoEvidence::StatusFailed, 200, json!({"status": "FAIL", "payload": []})),
        (NoEvidence::Errors, 404, json!({"errors": [{"code": "OS_NOT_FOUND_ERROR"}]})),
        (NoEvidence::PayloadMissing, 200, json!({"status": "OK"})),
        (NoEvidence::PayloadNull, 200, json!({"status": "OK", "payload": null})),
        (NoEvidence::PayloadNotList, 200, json!({"status": "OK", "payload": "none"})),
        (NoEvidence::NumberMissing, 200, json!({"status": "OK", "payload": {"orders": []}})),
        (NoEvidence::Unreadable, 200, json!([])),
    ] {
        assert_eq!(read_search_page(&answer(http_status, &body)).unwrap_err(), reason, "{body}");
    }
}

#[test]
fn a_search_goes_on_until_its_total_and_tells_how_far_it_came() {
    let first = page(3, &json!([order("A", "2026-11-30T12:00:00Z"), order("B", "2026-11-30T11:00:00Z")]));
    let second = page(3, &json!([order("C", "2026-11-30T10:00:00Z")]));
    let hour = |hours: u64| SENT.minus(std::time::Duration::from_secs(hours * 60 * 60));
    let begun = progress(&[first]);
    assert_eq!((begun.next_offset(), begun.is_complete()), (Some(2), false));
    assert_eq!([0, 1, 2].map(|hours| begun.has_passed(hour(hours))), [true, false, false]);
    let mut done = begun;
    done.add(&second);
    assert_eq!((done.next_offset(), done.is_complete()), (None, true));
    assert_eq!([1, 2].map(|hours| done.has_passed(hour(hours))), [true, false]);
    assert!(progress(&[page(0, &json!([]))]).is_complete());
    let not_begun = SearchProgress::default();
    assert_eq!((not_begun.is_complete(), not_begun.next_offset()), (false, Some(0)));
}

#[test]
fn a_search_with_a_flaw_is_never_complete() {
    let whole = || json!([order("A", NOW)]);
    let body = |body: Value| read_search_page(&answer(200, &body)).unwrap();
    let counted = |total: Value| json!({"headerAttributes": {"totalCount": total}});
    assert!(progress(&[page(1, &whole())]).is_complete());
    for flawed in [
        body(json!({"status": "OK", "payload": whole()})),
        body(json!({"payload": whole(), "header": counted(json!(1))})),
        body(json!({"status": "PARTIAL_SUCCESS", "payload": whole(), "header": counted(json!(1))})),
        body(json!({"status": "OK", "payload": whole(), "header": counted(json!(1)), "errors": [{"code": "X"}]})),
        body(json!({"status": "OK", "payload": whole(), "header": counted(json!("many"))})),
        page(1, &json!([null])),
        page(1, &json!([{"message": "none"}])),
        page(2, &whole()),
        page(0, &whole()),
    ] {
        assert!(!progress(&[flawed]).is_complete());
    }
    // Orders came in between: the pages have moved.
    assert!(!progress(&[page(2, &whole()), page(3, &whole())]).is_complete());
    assert!(!progress(&[page(3, &whole()), page(2, &whole())]).is_complete());
    // A page without rows ends the search, whatever the total says.
    let ended = progress(&[page(5, &whole()), page(5, &json!([]))]);
    assert_eq!((ended.next_offset(), ended.is_complete()), (None, false));
}
