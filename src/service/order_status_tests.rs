//! Searches for orders: shared, never kept, and what counts as not found.

use std::time::Duration;

use super::*;
use crate::domain::operation::Operation;
use crate::pb;
use crate::ports::upstream::ErrorKind;
use crate::testing::walmart::{ACME, LATENCY, Said, Walmart, call, found, kind, refused};

const LONG: Duration = Duration::from_secs(10);

fn by_number() -> GetOrderStatusRequest {
    GetOrderStatusRequest { order_number: "SO123".into(), ..Default::default() }
}

fn by_channel() -> GetOrderStatusRequest {
    GetOrderStatusRequest { order_channel_id: "CH".into(), ..Default::default() }
}

fn searching(walmart: Walmart) -> GetOrderStatus<Walmart> {
    GetOrderStatus::new(AccountDirectory::new(Vec::new()), walmart)
}

#[tokio::test(start_paused = true)]
async fn identical_calls_in_flight_share_one_and_nothing_is_kept() {
    let walmart = Walmart::default().answering(Operation::Status, [found("SO123"), found("SO123")]);
    let service = searching(walmart.clone());
    let long = call(LONG);
    let named = GetOrderStatusRequest { account: "acme".into(), ..by_number() };
    let (one, two) = tokio::join!(service.call(ACME, by_number(), &long), service.call(ACME, named, &long));
    assert_eq!(one.unwrap().payload, two.unwrap().payload);
    assert_eq!(walmart.asked().len(), 1);
    service.call(ACME, by_number(), &long).await.unwrap();
    assert_eq!(walmart.asked().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn other_searches_and_accounts_share_nothing() {
    let walmart = Walmart::default();
    let service = searching(walmart.clone());
    let long = call(LONG);
    let page = GetOrderStatusRequest { limit: 10, ..by_channel() };
    let _ = tokio::join!(
        service.call(ACME, by_channel(), &long),
        service.call(AccountIndex(1), by_channel(), &long),
        service.call(ACME, page, &long),
    );
    assert_eq!(walmart.asked().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_order_number_that_is_not_found_is_an_error_and_another_search_is_empty() {
    let absent = || {
        [
            Ok(Said::default()),
            refused(Operation::Status, ErrorKind::NotFound, "404.WSAAS.100", ""),
            refused(Operation::Status, ErrorKind::NotFound, "OS_NOT_FOUND_ERROR", ""),
            refused(Operation::Status, ErrorKind::NotFound, "CONTENT_NOT_FOUND.GMP_ORDER_API", ""),
        ]
    };
    let service = searching(Walmart::default().answering(Operation::Status, absent()));
    for expected in ["OrderNotFound", "NotFound", "NotFound", "NotFound"] {
        assert_eq!(kind(&service.call(ACME, by_number(), &call(LONG)).await), expected);
    }
    let service = searching(Walmart::default().answering(Operation::Status, absent()));
    for _ in absent() {
        let answer = service.call(ACME, by_channel(), &call(LONG)).await.unwrap();
        assert_eq!((answer.status.as_str(), answer.payload.len()), ("OK", 0));
        assert!(!answer.correlation_id.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_path_that_does_not_exist_is_no_empty_list() {
    for code in ["URI_NOT_FOUND", "", "CONTENT_NOT_FOUND.GMP_GATEWAY_API", "404.PROXY.1"] {
        for search in [by_channel(), by_number()] {
            let answer = refused(Operation::Status, ErrorKind::NotFound, code, "No static resource");
            let service = searching(Walmart::default().answering(Operation::Status, [answer]));
            assert_eq!(kind(&service.call(ACME, search, &call(LONG)).await), "Unavailable", "{code}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn not_found_among_other_errors_is_no_absence() {
    for search in [by_channel(), by_number()] {
        let mut answer = refused(Operation::Status, ErrorKind::NotFound, "OS_NOT_FOUND_ERROR", "");
        let other = pb::WalmartError { code: "SYSTEM_ERROR".into(), ..Default::default() };
        answer = answer.map_err(|error| UpstreamError { errors: [error.errors, vec![other]].concat(), ..error });
        let service = searching(Walmart::default().answering(Operation::Status, [answer]));
        assert_eq!(kind(&service.call(ACME, search, &call(LONG)).await), "Unavailable");
    }
}

#[tokio::test(start_paused = true)]
async fn a_short_deadline_is_the_callers_own() {
    let walmart = Walmart::default();
    let service = searching(walmart.clone());
    let (hurried, patient) = (call(LATENCY / 2), call(LONG));
    let (leader, follower) =
        tokio::join!(service.call(ACME, by_channel(), &hurried), service.call(ACME, by_channel(), &patient));
    assert_eq!((kind(&leader), kind(&follower)), ("DeadlineExceeded".into(), "OK".into()));
    assert_eq!(walmart.asked().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn faults_cost_no_call() {
    let walmart = Walmart::default();
    let result = searching(walmart.clone()).call(ACME, Default::default(), &call(LONG)).await;
    assert!(matches!(result, Err(ServiceError::Invalid(_))));
    assert!(walmart.asked().is_empty());
}

#[tokio::test(start_paused = true)]
async fn errors_beside_orders_say_nothing_of_their_customers() {
    let address = pb::Address { city: Some("Reno".into()), ..Default::default() };
    let line = pb::OrderStatusLine { ship_to_address: Some(address), ..Default::default() };
    let order = pb::OrderStatus { seller_order_id: "SO123".into(), order_lines: vec![line], ..Default::default() };
    let error =
        pb::WalmartError { code: "RENO".into(), description: "no carrier in RENO".into(), ..Default::default() };
    let answer = || Said { orders: vec![order.clone()], errors: vec![error.clone()], ..Default::default() };
    let service = searching(Walmart::default().answering(Operation::Status, [Ok(answer()), Ok(answer())]));
    for request in [by_number(), by_channel()] {
        let told = service.call(ACME, request, &call(LONG)).await.unwrap();
        let pb::WalmartError { code, description, .. } = &told.errors[0];
        assert_eq!([code, description], ["RENO", "no carrier in [redacted]"]);
        assert_eq!(told.payload, std::slice::from_ref(&order), "the order itself is the caller's");
    }
}
