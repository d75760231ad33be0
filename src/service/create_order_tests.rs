//! One order a number, whatever becomes of the answer.

use super::super::testing::{ACME, LATENCY, SETTLE, Said, Walmart, call, error, found, kind, lost, refused, sample};
use super::*;
use crate::domain::operation::Operation::{Create, Status};
use crate::ports::upstream::UpstreamError;

const LONG: Duration = Duration::from_secs(10);

fn request() -> CreateOrderRequest {
    sample("CreateOrderRequest", include_str!("../../examples/create.json"))
}

/// The same order number with other content.
fn other() -> CreateOrderRequest {
    let mut other = request();
    other.payload.as_mut().unwrap().order_placed_time = Some("2026-10-30T14:05:00Z".into());
    other
}

fn service(walmart: &Walmart) -> CreateOrder<Walmart> {
    CreateOrder::new(walmart.clone(), SETTLE)
}

/// A service that has lost the answer to a create.
async fn after_a_loss(walmart: Walmart) -> (CreateOrder<Walmart>, Walmart) {
    let walmart = walmart.answering(Create, [lost(Create)]);
    let service = service(&walmart);
    assert_eq!(kind(&service.call(ACME, request(), &call(LONG)).await), "Pending");
    assert_eq!(walmart.asked(), [Create]);
    (service, walmart)
}

#[tokio::test(start_paused = true)]
async fn an_accepted_order_is_answered_as_walmart_did() {
    let walmart = Walmart::default();
    let service = service(&walmart);
    let answer = service.call(ACME, request(), &call(LONG)).await.unwrap();
    assert_eq!((answer.status.as_str(), answer.request_id.as_str(), answer.replayed), ("ACCEPTED", "SO123", false));
    assert_eq!(answer.payload.unwrap().request_id, "walmart-1");
    assert_eq!(answer.correlation_id, uuid::Uuid::from_u128(1).to_string());
    let with_id = CreateOrderRequest { request_id: "mine".into(), ..request() };
    assert_eq!(service.call(ACME, with_id, &call(LONG)).await.unwrap().request_id, "mine");
}

#[tokio::test(start_paused = true)]
async fn the_same_call_twice_at_a_time_is_one() {
    let walmart = Walmart::default();
    let service = service(&walmart);
    let long = call(LONG);
    let with_id = CreateOrderRequest { request_id: "mine".into(), header: None, ..request() };
    let (one, two) = tokio::join!(service.call(ACME, request(), &long), service.call(ACME, with_id, &long));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!((one.replayed, two.replayed), (false, true));
    assert_eq!((one.request_id.as_str(), two.request_id.as_str()), ("SO123", "mine"));
    assert_eq!(one.correlation_id, two.correlation_id);
    assert_eq!(walmart.asked(), [Create]);
}

#[tokio::test(start_paused = true)]
async fn another_account_is_another_order() {
    let walmart = Walmart::default();
    let service = service(&walmart);
    let long = call(LONG);
    let _ = tokio::join!(service.call(ACME, request(), &long), service.call(AccountIndex(1), request(), &long));
    assert_eq!(walmart.asked(), [Create, Create]);
}

#[tokio::test(start_paused = true)]
async fn another_order_of_that_number_waits_and_is_refused_once_the_first_is_accepted() {
    let walmart = Walmart::default();
    let service = service(&walmart);
    let long = call(LONG);
    let (one, two) = tokio::join!(service.call(ACME, request(), &long), service.call(ACME, other(), &long));
    assert_eq!((kind(&one), kind(&two)), ("OK".into(), "Duplicate".into()));
    assert_eq!(walmart.asked(), [Create]);
}

#[tokio::test(start_paused = true)]
async fn another_order_of_that_number_goes_on_once_the_first_is_refused() {
    let walmart = Walmart::default().answering(Create, [refused(Create, ErrorKind::Rejected, "X", "")]);
    let service = service(&walmart);
    let (long, short) = (call(LONG), call(LATENCY / 2));
    let (one, two, late) = tokio::join!(
        service.call(ACME, request(), &long),
        service.call(ACME, other(), &long),
        service.call(ACME, other(), &short),
    );
    assert_eq!((kind(&one), kind(&two), kind(&late)), ("Rejected".into(), "OK".into(), "DeadlineExceeded".into()));
    assert_eq!(walmart.asked(), [Create, Create]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_looked_up_and_found_as_often_as_asked() {
    let (service, walmart) = after_a_loss(Walmart::default().answering(Status, [found("SO123"), found("SO123")])).await;
    for _ in 0..2 {
        let answer = service.call(ACME, request(), &call(LONG)).await.unwrap();
        assert_eq!((answer.status.as_str(), answer.request_id.as_str(), answer.replayed), ("ACCEPTED", "SO123", true));
        assert!(!answer.correlation_id.is_empty());
    }
    assert_eq!(walmart.asked(), [Create, Status, Status]);
}

#[tokio::test(start_paused = true)]
async fn what_is_found_is_no_answer_to_another_order() {
    let (service, walmart) = after_a_loss(Walmart::default().answering(Status, [found("SO123"), found("SO123")])).await;
    assert_eq!(kind(&service.call(ACME, other(), &call(LONG)).await), "Duplicate");
    assert_eq!(kind(&service.call(ACME, request(), &call(LONG)).await), "OK");
    assert_eq!(walmart.asked(), [Create, Status, Status]);
}

#[tokio::test(start_paused = true)]
async fn absent_too_early_is_pending_and_absent_when_settled_is_sent_once() {
    let absent = || Ok(Said::default());
    let told = || refused(Status, ErrorKind::NotFound, "404.WSAAS.100", "");
    let (service, walmart) = after_a_loss(Walmart::default().answering(Status, [absent(), told(), told()])).await;
    assert_eq!(kind(&service.call(ACME, request(), &call(LONG)).await), "Pending");
    tokio::time::advance(SETTLE - LATENCY * 2).await;
    assert_eq!(kind(&service.call(ACME, request(), &call(LONG)).await), "Pending");
    assert_eq!(walmart.asked(), [Create, Status, Status]);
    tokio::time::advance(LATENCY).await;
    let long = call(LONG);
    let (one, two) = tokio::join!(service.call(ACME, request(), &long), service.call(ACME, request(), &long));
    assert_eq!((one.unwrap().replayed, two.unwrap().replayed), (false, true));
    assert_eq!(walmart.asked(), [Create, Status, Status, Status, Create]);
}

#[tokio::test(start_paused = true)]
async fn what_says_nothing_about_the_order_is_no_absence() {
    let nothing = [
        refused(Status, ErrorKind::NotFound, "URI_NOT_FOUND", ""),
        refused(Status, ErrorKind::NotFound, "", "<html>"),
        refused(Status, ErrorKind::RateLimited, "", ""),
        refused(Status, ErrorKind::Rejected, "404.WSAAS.100", ""),
        found("SO124"),
    ];
    let tries = nothing.len();
    let (service, walmart) = after_a_loss(Walmart::default().answering(Status, nothing)).await;
    tokio::time::advance(SETTLE).await;
    for _ in 0..tries {
        assert_eq!(kind(&service.call(ACME, request(), &call(LONG)).await), "Pending");
    }
    assert!(walmart.asked()[1..].iter().all(|operation| *operation == Status));
}

#[tokio::test(start_paused = true)]
async fn an_order_without_a_number_is_the_one_asked_for() {
    let (service, _) = after_a_loss(Walmart::default().answering(Status, [found("")])).await;
    assert_eq!(kind(&service.call(ACME, request(), &call(LONG)).await), "OK");
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_after_a_loss_is_pending_until_it_is_found() {
    let duplicate = || refused(Create, ErrorKind::Duplicate, "X", "already exists");
    let walmart = Walmart::default()
        .answering(Create, [lost(Create), duplicate()])
        .answering(Status, [Ok(Said::default()), found("SO123")]);
    let service = service(&walmart);
    assert_eq!(kind(&service.call(ACME, request(), &call(LONG)).await), "Pending");
    tokio::time::advance(SETTLE).await;
    assert_eq!(kind(&service.call(ACME, request(), &call(LONG)).await), "Pending");
    assert_eq!(kind(&service.call(ACME, request(), &call(LONG)).await), "OK");
    assert_eq!(walmart.asked(), [Create, Status, Create, Status]);
}

#[tokio::test(start_paused = true)]
async fn a_resend_that_did_not_leave_keeps_the_loss_in_mind() {
    let not_sent = Err(error(Create, ErrorKind::RateLimited, Effect::None));
    let walmart = Walmart::default()
        .answering(Create, [lost(Create), not_sent])
        .answering(Status, [Ok(Said::default()), found("SO123")]);
    let service = service(&walmart);
    service.call(ACME, request(), &call(LONG)).await.unwrap_err();
    tokio::time::advance(SETTLE).await;
    assert_eq!(kind(&service.call(ACME, request(), &call(LONG)).await), "RateLimited");
    assert_eq!(kind(&service.call(ACME, request(), &call(LONG)).await), "OK");
    assert_eq!(walmart.asked(), [Create, Status, Create, Status]);
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_out_of_the_blue_is_another_order() {
    let walmart = Walmart::default().answering(Create, [refused(Create, ErrorKind::Duplicate, "X", "")]);
    assert_eq!(kind(&service(&walmart).call(ACME, request(), &call(LONG)).await), "Duplicate");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_does_not_end_the_creation() {
    let walmart = Walmart::default();
    let service = service(&walmart);
    let long = call(LONG);
    assert!(tokio::time::timeout(LATENCY / 2, service.call(ACME, request(), &long)).await.is_err());
    assert_eq!(walmart.done(), 0);
    tokio::time::sleep(LATENCY).await;
    assert_eq!((walmart.asked().len(), walmart.done()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_the_wait_with_an_open_outcome() {
    let deaf = call(LATENCY / 2);
    let result = service(&Walmart::default().deaf()).call(ACME, request(), &deaf).await;
    assert_eq!(kind(&result), "Pending");
    assert!(tokio::time::Instant::now() <= deaf.deadline + SLACK * 2);
    let walmart = Walmart::default();
    let service = service(&walmart);
    let short = call(LATENCY / 2);
    assert_eq!(kind(&service.call(ACME, request(), &short).await), "Pending");
    assert!(tokio::time::Instant::now() <= short.deadline + SLACK);
    // The next one looks it up.
    assert_eq!(kind(&service.call(ACME, request(), &call(LONG)).await), "Pending");
    assert_eq!(walmart.asked(), [Create, Status]);
}

#[tokio::test(start_paused = true)]
async fn a_leader_without_the_time_to_send_fails_alone() {
    let late = Err(error(Create, ErrorKind::DeadlineExceeded, Effect::None));
    let walmart = Walmart::default().answering(Create, [late]);
    let service = service(&walmart);
    let (hurried, patient) = (call(LATENCY * 2), call(LONG));
    let (leader, follower) =
        tokio::join!(service.call(ACME, request(), &hurried), service.call(ACME, request(), &patient));
    assert_eq!((kind(&leader), kind(&follower)), ("DeadlineExceeded".into(), "OK".into()));
}

#[tokio::test(start_paused = true)]
async fn errors_say_nothing_personal_and_faults_cost_no_call() {
    let text = "555-111-2222 of 100 Main St, 94103 is wrong";
    let loss = Err(UpstreamError { errors: personal(text), ..error(Create, ErrorKind::Unavailable, Effect::Unknown) });
    let walmart = Walmart::default().answering(Create, [refused(Create, ErrorKind::Rejected, "X", text), loss]);
    let service = service(&walmart);
    for _ in 0..2 {
        let told = format!("{:?}", service.call(ACME, request(), &call(LONG)).await.unwrap_err());
        assert!(told.contains("[redacted] of [redacted], [redacted] is wrong"), "{told}");
    }
    let result = service.call(ACME, Default::default(), &call(LONG)).await;
    assert!(matches!(result, Err(ServiceError::Invalid(_))));
    assert_eq!(walmart.asked(), [Create, Create]);
}

fn personal(text: &str) -> Vec<crate::pb::WalmartError> {
    vec![crate::pb::WalmartError { description: text.into(), ..Default::default() }]
}
