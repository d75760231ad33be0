//! Wordings seen, documented or likely, and what each of them means.

use super::*;

fn error(field: &str, description: &str, info: &str) -> WalmartError {
    let [field, description, info] = [field, description, info].map(str::to_owned);
    WalmartError { code: "INVALID_MCS_REQUEST".into(), field, description, info, ..WalmartError::default() }
}

fn coded(code: &str) -> WalmartError {
    WalmartError { code: code.into(), ..WalmartError::default() }
}

#[test]
fn the_number_of_the_order_is_called_taken() {
    for error in [
        error("customerOrderNo", "duplicate order", "order SO1 already exists"),
        error("payload.sellerOrderId", "Duplicate value", ""),
        error("CUSTOMER_ORDER_NO", "", "must be unique"),
        error("", "order number is not unique", ""),
        error("data", "this number has been used before", ""),
        error("", "customerOrderNo is already in use", ""),
        error("", "Duplicate", "order SO1"),
        error("", "The order’s number isn't unique", ""),
        error("", "An order with this number was already created", ""),
        error("", "sellerOrderId SO-7 already used", ""),
        coded("DUPLICATE_ORDER.GMP_ORDER_API"),
        coded("ORDER_ALREADY_EXISTS"),
    ] {
        assert!(calls_order_number_taken(&error), "{error:?}");
        assert!(hints_at_order(&error), "{error:?}");
    }
}

#[test]
fn what_else_is_taken_leaves_the_number_free() {
    for error in [
        error("orderItems", "Duplicate SKU in order items", "lines 1 and 2"),
        error("", "Duplicate SKU in order items", ""),
        error("payload.orderItems[0].sellerLineId", "must be unique", ""),
        error("", "sellerLineId already exists", ""),
        error("", "duplicate order lines", ""),
        error("", "fulfillment plan is already in use", ""),
        error("", "duplicate", "SKU A1"),
        error("orderChannelId", "already assigned", ""),
        error("", "phone number has been used", ""),
        error("", "tracking number already exists", ""),
        error("", "order number does not exist", ""),
        error("", "the order is not a duplicate", ""),
        error("", "order in user's account is invalid", ""),
        coded("DUPLICATE_SKU.GMP_ORDER_API"),
        coded("INVALID_REQUEST_CONTENT.GMP_ORDER_API"),
    ] {
        assert!(!calls_order_number_taken(&error), "{error:?}");
        assert!(!hints_at_order(&error), "{error:?}");
    }
}

#[test]
fn what_may_be_the_order_is_a_hint_and_no_duplicate() {
    for error in [
        error("", "Duplicate request", ""),
        error("", "already exists", ""),
        error("", "order SO1 already exists for line 1", ""),
        error("", "Order SO1 is already in process", ""),
        error("customerOrderNo", "is already SHIPPED", ""),
        coded("DUPLICATE_ENTRY.GMP_ORDER_API"),
    ] {
        assert!(!calls_order_number_taken(&error), "{error:?}");
        assert!(hints_at_order(&error), "{error:?}");
    }
}

#[test]
fn too_late_is_told_in_many_words() {
    for error in [
        error("data", "Line 1 of PO 1700000000001 is already SHIPPED", "Request content is invalid."),
        error("", "Order cannot be cancelled", ""),
        error("", "The order can't be canceled any more", ""),
        error("", "lines have shipped", ""),
        error("", "line 2 was shipped yesterday", ""),
        error("", "Already cancelled", ""),
        error("", "this line has already been canceled", ""),
        error("", "order is in process", ""),
        error("", "Order is being picked at the fulfillment center", ""),
        error("", "The cancellation window has passed", ""),
        error("", "request is past the window", ""),
        error("", "It is too late to cancel", ""),
        error("", "", "line is in a higher status"),
        error("", "invalid state", ""),
        coded("INVALID_ORDER_STATE.GMP_ORDER_API"),
        coded("ORDER_NOT_CANCELLABLE"),
    ] {
        assert!(says_too_late(&error), "{error:?}");
    }
    for error in [
        error("shippingTo.address.state", "Invalid state", ""),
        error("", "invalid state and zip code", ""),
        error("", "orderChannelId is unknown", ""),
        error("", "item cannot be shipped to this region", ""),
        error("", "quantity too high", ""),
        error("", "the order is not already shipped", ""),
        coded("INVALID_SYSTEM_STATE"),
        coded("INVALID_MCS_REQUEST"),
    ] {
        assert!(!says_too_late(&error), "{error:?}");
    }
}

#[test]
fn only_the_order_service_knows_no_order() {
    let own = [
        "404.WSAAS.100",
        "404.WSAAS.7",
        "OS_NOT_FOUND_ERROR",
        "CONTENT_NOT_FOUND.GMP_ORDER_API",
        "CONTENT_NOT_FOUND.WFS_FULFILLMENT_API",
    ];
    assert!(own.iter().all(|code| tells_unknown_order(Operation::Status, &coded(code))));
    for code in [
        "",
        "404",
        "404.PROXY.1",
        "404.WSAAS",
        "CONTENT_NOT_FOUND",
        "CONTENT_NOT_FOUND.",
        "CONTENT_NOT_FOUND.GMP_GATEWAY_API",
        "SOME_CONTENT_NOT_FOUND.GMP_ORDER_API",
        "URI_NOT_FOUND",
        "OS_NOT_FOUND_ERRORS",
    ] {
        assert!(!tells_unknown_order(Operation::Status, &coded(code)), "{code}");
    }
}

#[test]
fn any_service_may_say_that_it_does_not_know_a_sellers_order_but_no_gateway() {
    for code in [
        "404.WSAAS.100",
        "OS_NOT_FOUND_ERROR",
        "CONTENT_NOT_FOUND.GMP_ORDER_API",
        "CONTENT_NOT_FOUND.GMP_RETURNS_API",
        "500.OS_SERVICE.200",
    ] {
        assert!(tells_unknown_order(Operation::Order, &coded(code)), "{code}");
    }
    for code in ["", "CONTENT_NOT_FOUND", "CONTENT_NOT_FOUND.GMP_GATEWAY_API", "URI_NOT_FOUND.GMP_ORDER_API", "500.509"]
    {
        assert!(!tells_unknown_order(Operation::Order, &coded(code)), "{code}");
    }
}

#[test]
fn lines_and_returns_have_wrong_states_in_words_of_their_own() {
    let says = |operation, text: &str| {
        says_wrong_state(operation, &WalmartError { description: text.into(), ..Default::default() })
    };
    for text in [
        "The Line: 1 of PO: 1700000000003 is in SHIPPED status",
        "Line 1 is in Partially Shipped status",
        "PO has some or all qty in higher status",
        "Qty OverShipped for Line: 1",
        "The line cannot be Shipped",
        "Return order cannot be cancelled",
        "Order status not eligible for returns",
        "the quantity is not available",
        "has an intent to cancel; intentToCancelOverride is needed",
    ] {
        assert!(says(Operation::Ship, text), "{text}");
    }
    for text in [
        "The Line: 7 of PO: 1 does not exist",
        "Method code is not supported in line number 1",
        "The refund amount is more than what is left of the charges",
        "is in the list of status",
    ] {
        assert!(!says(Operation::Refund, text), "{text}");
    }
    // An order that cannot be shipped to an address is in no wrong state.
    assert!(!says(Operation::Create, "the item cannot be shipped to this address"));
}

#[test]
fn words_are_split_where_names_are() {
    assert_eq!(words("customerOrderNo"), " customer order no ");
    assert_eq!(words("  It's DUPLICATE_ORDER: SO-1!"), " its duplicate order so 1 ");
    assert_eq!(words(""), " ");
    assert_eq!(words("Größe ÜBER"), " größe über ");
}

proptest::proptest! {
    #[test]
    fn no_text_is_too_odd(text in ".{0,80}") {
        let error = error(&text, &text, &text);
        calls_order_number_taken(&error);
        hints_at_order(&error);
        says_too_late(&error);
    }
}
