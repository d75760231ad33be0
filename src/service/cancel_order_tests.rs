//! Batches, what is told of them, and what goes on without a caller.

use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_util::sync::DropGuard;

use super::super::CreateOrder;
use super::super::error::SLACK;
use super::*;
use crate::domain::effect::Effect;
use crate::domain::ledger::machine::OperatorVerdict;
use crate::domain::operation::Operation::{Cancel, Create, Status};
use crate::pb;
use crate::ports::upstream::ErrorKind;
use crate::service::Operations;
use crate::service::ServiceError;
use crate::store::memory::MemoryLedger;
use crate::testing::ledger::Faulty;
use crate::testing::walmart::{
    ACME, Answer, LATENCY, SETTLE, Said, Walmart, call, error, kind, lost, mutations, over, refused, resolving, sample,
};

type Service<L = MemoryLedger> = CancelOrder<Walmart, L>;

const LONG: Duration = Duration::from_secs(60);

/// A cancellation of this many lines, `0`, `1`, ...
fn request(lines: usize) -> CancelOrderRequest {
    let mut request: CancelOrderRequest = sample("CancelOrderRequest", include_str!("../../examples/cancel.json"));
    let items = &mut request.payload.as_mut().unwrap().order_items;
    let line = items[0].clone();
    *items = (0..lines).map(|i| CancelItem { seller_line_id: Some(i.to_string()), ..line.clone() }).collect();
    request
}

fn named(request_id: &str, lines: usize) -> CancelOrderRequest {
    CancelOrderRequest { request_id: request_id.into(), ..request(lines) }
}

/// Without snapshots and without a resolver.
fn service(walmart: &Walmart) -> Service {
    CancelOrder::new(mutations(walmart, 1), TaskTracker::new())
}

/// With both, where the limit allows.
fn resolved(walmart: &Walmart, status_limit: u32) -> (Service, DropGuard) {
    let mutations = mutations(walmart, status_limit);
    let guard = resolving(&mutations);
    (CancelOrder::new(mutations, TaskTracker::new()), guard)
}

async fn told<L: Ledger>(service: &Service<L>, request: CancelOrderRequest, time: Duration) -> String {
    outcome(&service.call(ACME, request, &call(time)).await)
}

fn not_sent(kind: ErrorKind) -> Answer {
    Err(error(Cancel, kind, Effect::None))
}

/// The first line of each request, in the order sent.
fn first_lines(walmart: &Walmart) -> Vec<String> {
    let first =
        |sent: &String| sent.split_once("seller_line_id: Some(\"")?.1.split_once('"').map(|(id, _)| id.to_owned());
    walmart.sent().iter().filter_map(first).collect()
}

/// Line 0 of the order, of one unit, in this state.
fn line(status: &str) -> Answer {
    let qty = pb::Quantity { measurement_value: Some(1.0), ..Default::default() };
    let line = pb::OrderStatusItem {
        seller_line_id: "0".into(),
        line_status: status.into(),
        qty: Some(qty),
        ..Default::default()
    };
    let order = pb::OrderStatus { order_number: "SO123".into(), order_items: vec![line], ..Default::default() };
    Ok(Said { orders: vec![order], ..Default::default() })
}

fn rejected() -> Answer {
    refused(Cancel, ErrorKind::Rejected, "INVALID_MCS_REQUEST", "")
}

fn outcome(result: &Result<CancellationReply, MutationError>) -> String {
    match result {
        Ok(done) => done.batches.iter().map(|batch| kind(&batch.result)).collect::<Vec<_>>().join(" "),
        Err(failed) => kind::<()>(&Err(failed.error.clone())),
    }
}

#[tokio::test(start_paused = true)]
async fn lines_go_in_order_in_batches_of_a_hundred() {
    for (lines, sizes) in [(1, vec![1]), (100, vec![100]), (101, vec![100, 1]), (250, vec![100, 100, 50])] {
        let walmart = Walmart::default();
        let done = service(&walmart).call(ACME, request(lines), &call(LONG)).await.unwrap();
        assert_eq!(Vec::from_iter(done.batches.iter().map(|batch| batch.line_ids.len())), sizes);
        let ids: Vec<_> = done.batches.iter().flat_map(|batch| batch.line_ids.clone()).collect();
        assert_eq!(ids, Vec::from_iter((0..lines).map(|i| i.to_string())));
        let sent = walmart.sent();
        assert_eq!(sent.len(), sizes.len());
        for ((sent, batch), size) in sent.iter().zip(&done.batches).zip(sizes) {
            assert_eq!(sent.matches("CancelItem {").count(), size);
            assert!(sent.contains(&format!("seller_line_id: Some({:?})", batch.line_ids[0])));
            // What is no line goes with every batch.
            assert!(sent.contains("SO123") && sent.contains("ACCOUNT_ID") && sent.contains("mart_id: Some(\"202\")"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_batch_does_not_stop_the_rest() {
    let walmart = Walmart::default().answering(Cancel, [rejected(), lost(Cancel)]);
    let result = service(&walmart).call(ACME, request(300), &call(LONG)).await;
    assert_eq!(outcome(&result), "Rejected Pending OK");
    let done = result.unwrap();
    assert_eq!(done.batches[2].result.as_ref().unwrap().answer.acceptance.request_id, "walmart-3");
    assert_eq!(Vec::from_iter(done.batches.iter().map(|batch| kind(&batch.result) == "Pending")), [false, true, false]);
}

#[tokio::test(start_paused = true)]
async fn none_accepted_is_pending_if_any_is_unknown_and_else_the_first_error() {
    let not_found = || refused(Cancel, ErrorKind::NotFound, "404.WSAAS.100", "");
    for (answers, expected) in [
        ([rejected(), not_found()], "Rejected"),
        ([not_found(), rejected()], "NotFound"),
        ([rejected(), lost(Cancel)], "Pending"),
        ([lost(Cancel), rejected()], "Pending"),
    ] {
        let walmart = Walmart::default().answering(Cancel, answers);
        let result = service(&walmart).call(ACME, request(101), &call(LONG)).await;
        assert_eq!(outcome(&result), expected);
        assert_eq!(walmart.asked().len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn the_id_is_the_callers_or_one_that_is_made() {
    let walmart = Walmart::default().answering(Cancel, [rejected()]);
    let service = service(&walmart);
    let failed = service.call(ACME, request(1), &call(LONG)).await.unwrap_err();
    let first: uuid::Uuid = failed.request_id.parse().unwrap();
    let done = service.call(ACME, request(1), &call(LONG)).await.unwrap();
    let second: uuid::Uuid = done.request_id.parse().unwrap();
    assert_ne!(first, second);
    let mine = CancelOrderRequest { request_id: "mine".into(), ..request(1) };
    assert_eq!(service.call(ACME, mine, &call(LONG)).await.unwrap().request_id, "mine");
    let invalid = service.call(ACME, Default::default(), &call(LONG)).await.unwrap_err();
    assert!(matches!(invalid.error, ServiceError::Invalid(_)) && !invalid.request_id.is_empty());
    assert_eq!(walmart.asked().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn without_an_id_the_same_call_joins_the_one_under_way() {
    let walmart = Walmart::default();
    let service = service(&walmart);
    let long = call(LONG);
    let (one, two) = tokio::join!(service.call(ACME, request(1), &long), service.call(ACME, request(1), &long));
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one.request_id, two.request_id);
    assert_eq!((one.replayed, two.replayed), (false, true));
    assert_eq!(walmart.asked().len(), 1);
    // Afterwards it is a new one.
    let three = service.call(ACME, request(1), &long).await.unwrap();
    assert_ne!(one.request_id, three.request_id);
    assert_eq!(walmart.asked().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn other_ids_lines_and_accounts_are_calls_of_their_own() {
    let walmart = Walmart::default();
    let service = service(&walmart);
    let long = call(LONG);
    let with_id = |id: &str| CancelOrderRequest { request_id: id.into(), ..request(1) };
    let _ = tokio::join!(
        service.call(ACME, request(1), &long),
        service.call(ACME, request(2), &long),
        service.call(AccountIndex(1), request(1), &long),
        service.call(ACME, with_id("a"), &long),
        service.call(ACME, with_id("a"), &long),
        service.call(ACME, with_id("b"), &long),
    );
    assert_eq!(walmart.asked().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn the_same_id_is_answered_again_and_other_content_under_it_is_refused() {
    let walmart = Walmart::default().answering(Cancel, [rejected()]);
    let service = service(&walmart);
    for replayed in [false, true] {
        let done = service.call(ACME, named("mine", 101), &call(LONG)).await.unwrap();
        assert_eq!((done.request_id.as_str(), done.replayed), ("mine", replayed));
        assert_eq!(outcome(&Ok(done)), "Rejected OK");
    }
    assert_eq!(told(&service, named("mine", 1), LONG).await, "RequestIdReused");
    assert_eq!(walmart.asked(), [Cancel, Cancel]);
}

#[tokio::test(start_paused = true)]
async fn one_that_only_the_ledger_knows_is_joined_by_its_content() {
    let walmart = Walmart::default();
    let mutations = mutations(&walmart, 1);
    let services = [(); 2].map(|()| CancelOrder::new(mutations.clone(), TaskTracker::new()));
    let long = call(LONG);
    let (one, two) =
        tokio::join!(services[0].call(ACME, named("mine", 1), &long), services[1].call(ACME, request(1), &long));
    assert_eq!((one.unwrap().request_id, two.unwrap().request_id), ("mine".into(), "mine".into()));
    assert_eq!(walmart.asked(), [Cancel]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_settled_by_what_the_lines_looked_like_before() {
    let looks = [line("PROCESSING"), line("PROCESSING"), line("CANCELLED")];
    let walmart = Walmart::default().answering(Cancel, [lost(Cancel)]).answering(Status, looks);
    let (service, _guard) = resolved(&walmart, 20);
    assert_eq!(told(&service, named("mine", 1), LONG).await, "OK");
    // A repeat costs no call, not even a look at the order.
    assert_eq!(told(&service, named("mine", 1), LONG).await, "OK");
    assert_eq!(walmart.asked(), [Status, Cancel, Status, Status]);
}

#[tokio::test(start_paused = true)]
async fn what_stays_as_it_was_is_sent_again() {
    let looks = (0..8).map(|_| line("PROCESSING"));
    let walmart = Walmart::default().answering(Cancel, [lost(Cancel)]).answering(Status, looks);
    let (service, _guard) = resolved(&walmart, 20);
    assert_eq!(told(&service, request(1), SETTLE * 2).await, "OK");
    assert_eq!(walmart.asked().iter().filter(|operation| **operation == Cancel).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_look_before_leaves_the_time_to_cancel() {
    let walmart = Walmart::default();
    let (service, _guard) = resolved(&walmart, 20);
    assert_eq!(told(&service, request(1), LATENCY * 3 / 2).await, "OK");
    assert_eq!(walmart.asked(), [Status, Cancel]);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_leaves_no_batch_out() {
    let walmart = Walmart::default();
    let service = service(&walmart);
    let long = call(LONG);
    assert!(tokio::time::timeout(LATENCY / 2, service.call(ACME, request(300), &long)).await.is_err());
    tokio::time::sleep(LATENCY * 3).await;
    assert_eq!(walmart.done(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_the_wait() {
    let walmart = Walmart::default().deaf();
    let short = call(LATENCY / 2);
    assert_eq!(outcome(&service(&walmart).call(ACME, request(1), &short).await), "Pending");
    assert!(Instant::now() <= short.deadline + SLACK * 2);
    let walmart = Walmart::default().answering(Cancel, [not_sent(ErrorKind::DeadlineExceeded)]);
    assert_eq!(told(&service(&walmart), request(1), LONG).await, "DeadlineExceeded");
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_was_told_that_the_outcome_is_pending_hears_it_once_by_asking_again() {
    for found_later in [false, true] {
        let answers = if found_later { vec![lost(Cancel)] } else { vec![Ok(Said::default())] };
        let walmart = Walmart::default().answering(Cancel, answers).answering(Status, [line("CANCELLED")]);
        let walmart = if found_later { walmart } else { walmart.deaf() };
        let (service, _guard) = resolved(&walmart, 1);
        let cancels = || walmart.asked().iter().filter(|operation| **operation == Cancel).count();
        let short = if found_later { LATENCY * 6 / 5 } else { LATENCY / 2 };
        assert_eq!(told(&service, request(1), short).await, "Pending");
        tokio::time::sleep(LATENCY * 5).await;
        // The library of the client repeats the call: nothing is cancelled twice.
        let again = service.call(ACME, request(1), &call(LONG)).await.unwrap();
        assert_eq!((again.replayed, cancels()), (true, 1), "{found_later}");
        // Only then is the same content a new call.
        let new = service.call(ACME, request(1), &call(LONG)).await.unwrap();
        assert_eq!((new.replayed, cancels()), (false, 2), "{found_later}");
        assert_ne!(new.request_id, again.request_id);
    }
}

#[tokio::test(start_paused = true)]
async fn so_does_a_caller_whose_deadline_passes_while_the_outcome_is_written() {
    for lines in [1_usize, 101] {
        let (walmart, ledger) = (Walmart::default(), Faulty::default());
        let service = CancelOrder::new(over(&walmart, ledger.clone(), 1), TaskTracker::new());
        let batches = lines.div_ceil(100);
        // Walmart answers in time, the store does not.
        ledger.be_slow(LATENCY * 5);
        assert!(told(&service, request(lines), LATENCY * 2).await.starts_with("Pending"));
        tokio::time::sleep(LATENCY * 30).await;
        ledger.be_slow(Duration::ZERO);
        let again = service.call(ACME, request(lines), &call(LONG)).await.unwrap();
        assert_eq!((again.replayed, walmart.asked().len()), (true, batches));
        let new = service.call(ACME, request(lines), &call(LONG)).await.unwrap();
        assert_eq!((new.replayed, walmart.asked().len()), (false, 2 * batches));
    }
}

#[tokio::test(start_paused = true)]
async fn an_outcome_is_owed_by_the_write_that_a_caller_may_not_wait_for() {
    let soon = Duration::from_millis(100);
    for lines in [1_usize, 101] {
        let (walmart, ledger) = (Walmart::default(), Faulty::default());
        let service = || CancelOrder::new(over(&walmart, ledger.clone(), 1), TaskTracker::new());
        let batches = lines.div_ceil(100);
        // The last write begins just before the deadline.
        let deadline = LATENCY * batches as u32 + soon * (2 * batches as u32 - 1);
        ledger.be_slow(soon * 2);
        ledger.end_after_writes();
        assert!(told(&service(), request(lines), deadline).await.contains("Pending"));
        tokio::time::sleep(LATENCY * 30).await;
        ledger.be_slow(Duration::ZERO);
        let again = service().call(ACME, request(lines), &call(LONG)).await.unwrap();
        assert_eq!((again.replayed, walmart.asked().len()), (true, batches), "{lines}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_waits_to_the_end_is_owed_nothing() {
    let (walmart, ledger) = (Walmart::default(), Faulty::default());
    let service = CancelOrder::new(over(&walmart, ledger.clone(), 1), TaskTracker::new());
    ledger.be_slow(Duration::from_millis(50));
    assert_eq!(told(&service, request(1), LATENCY + Duration::from_millis(200)).await, "OK");
    let new = service.call(ACME, request(1), &call(LONG)).await.unwrap();
    assert_eq!((new.replayed, walmart.asked().len()), (false, 2));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_in_the_middle_tells_what_is_known_and_the_rest_goes_on() {
    let walmart = Walmart::default();
    let service = service(&walmart);
    let done = service.call(ACME, named("mine", 300), &call(LATENCY * 3 / 2)).await;
    assert_eq!(outcome(&done), "OK Pending Pending");
    assert_eq!(told(&service, named("mine", 300), LONG).await, "OK OK OK");
    assert_eq!(first_lines(&walmart), ["0", "100", "200"]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_did_not_leave_when_nobody_waited_goes_later_and_the_others_after_it() {
    let late = not_sent(ErrorKind::RateLimited);
    let walmart = Walmart::default().answering(Cancel, [Ok(Said::default()), late]);
    let (service, _guard) = resolved(&walmart, 1);
    assert_eq!(told(&service, named("mine", 300), LATENCY * 3 / 2).await, "OK Pending Pending");
    assert_eq!(told(&service, named("mine", 300), LONG).await, "OK OK OK");
    assert_eq!(first_lines(&walmart), ["0", "100", "100", "200"]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_did_not_leave_while_the_caller_waits_is_told_and_ends() {
    let walmart = Walmart::default().answering(Cancel, [Ok(Said::default()), not_sent(ErrorKind::RateLimited)]);
    let (service, _guard) = resolved(&walmart, 1);
    assert_eq!(told(&service, request(300), LONG).await, "OK RateLimited OK");
    tokio::time::sleep(LONG * 20).await;
    assert_eq!(first_lines(&walmart), ["0", "100", "200"]);
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_first_batch_did_not_leave_ends_as_a_whole_and_may_be_repeated() {
    // Walmart would refuse the second, which would hold the id.
    let answers = [not_sent(ErrorKind::CircuitOpen), rejected()];
    for request in [named("mine", 250), request(250)] {
        let walmart = Walmart::default().answering(Cancel, answers.clone().into_iter().take(1));
        let (service, _guard) = resolved(&walmart, 1);
        assert_eq!(told(&service, request.clone(), LONG).await, "CircuitOpen");
        tokio::time::sleep(LONG * 20).await;
        assert_eq!(first_lines(&walmart), ["0"]);
        assert_eq!(told(&service, request.clone(), LONG).await, "OK OK OK");
        assert_eq!(first_lines(&walmart), ["0", "0", "100", "200"]);
    }
    // That of a caller who has left, too.
    let walmart = Walmart::default().answering(Cancel, answers);
    let (service, _guard) = resolved(&walmart, 1);
    assert!(timeout(LATENCY / 2, told(&service, named("mine", 101), LONG)).await.is_err());
    tokio::time::sleep(LATENCY).await;
    assert_eq!(first_lines(&walmart), ["0"]);
    assert_eq!(told(&service, named("mine", 101), LONG).await, "Rejected OK");
    assert_eq!(first_lines(&walmart), ["0", "0", "100"]);
}

#[tokio::test(start_paused = true)]
async fn a_leader_without_the_time_to_send_fails_alone() {
    for (leader, follower) in [(request(1), request(1)), (named("mine", 1), request(1))] {
        let walmart = Walmart::default().answering(Cancel, [not_sent(ErrorKind::DeadlineExceeded)]);
        let service = service(&walmart);
        let (hurried, patient) = (call(LATENCY * 2), call(LONG));
        let (leader, follower) =
            tokio::join!(service.call(ACME, leader, &hurried), service.call(ACME, follower, &patient));
        assert_eq!((outcome(&leader), outcome(&follower)), ("DeadlineExceeded".into(), "OK".into()));
        assert_eq!(walmart.asked(), [Cancel, Cancel]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_order_that_we_have_just_created_is_waited_for() {
    let not_found = || refused(Cancel, ErrorKind::NotFound, "404.WSAAS.100", "");
    let walmart = Walmart::default().answering(Cancel, [not_found(), not_found()]);
    let mutations = mutations(&walmart, 1);
    let _guard = resolving(&mutations);
    let tasks = TaskTracker::new();
    let (create, service) = (CreateOrder::new(mutations.clone(), tasks.clone()), CancelOrder::new(mutations, tasks));
    let order: crate::pb::CreateOrderRequest = sample("CreateOrderRequest", include_str!("../../examples/create.json"));
    create.call(ACME, order, &call(LONG)).await.unwrap();
    assert_eq!(told(&service, request(101), LONG).await, "OK OK");
    assert_eq!(walmart.asked(), [Create, Cancel, Cancel, Cancel, Cancel]);
    assert_eq!(first_lines(&walmart)[1..], ["0", "0", "0", "100"]);
    // No longer, when it is old.
    tokio::time::sleep(SETTLE).await;
    walmart.push(Cancel, not_found());
    assert_eq!(told(&service, request(1), LONG).await, "NotFound");
}

#[tokio::test(start_paused = true)]
async fn the_outcome_of_one_and_the_beginning_of_the_next_are_one_write() {
    let (walmart, ledger) = (Walmart::default(), Faulty::default());
    let service = CancelOrder::new(over(&walmart, ledger.clone(), 1), TaskTracker::new());
    assert_eq!(told(&service, request(300), LONG).await, "OK OK OK");
    assert_eq!(ledger.saves(), 3);
}

#[tokio::test(start_paused = true)]
async fn without_the_store_nothing_is_sent_and_an_outcome_is_written_when_it_works_again() {
    let (walmart, ledger) = (Walmart::default(), Faulty::default());
    let service = CancelOrder::new(over(&walmart, ledger.clone(), 1), TaskTracker::new());
    ledger.fail(true, false);
    assert_eq!(told(&service, request(1), LONG).await, "Store");
    assert!(walmart.asked().is_empty());
    ledger.fail(false, false);
    let fails = async {
        tokio::time::sleep(LATENCY / 2).await;
        ledger.fail(true, true);
    };
    let (first, ()) = tokio::join!(told(&service, named("mine", 101), LONG), fails);
    assert_eq!((first.as_str(), walmart.asked().len()), ("Pending", 1));
    ledger.fail(false, false);
    assert_eq!(told(&service, named("mine", 101), LONG).await, "OK OK");
    assert_eq!(walmart.asked().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_an_operator_sends_again_goes_once() {
    let walmart = Walmart::default();
    let (service, _guard) = resolved(&walmart, 1);
    let operator = async {
        tokio::time::sleep(LATENCY / 2).await;
        let mutations = &service.0.mutations;
        let open = mutations.ledger().in_hand(crate::domain::ledger::OperationId(0), 9).await.unwrap();
        let (operations, name) = (Operations::new(mutations.clone()), open[1].id.to_string());
        operations.resolve(&name, Some(OperatorVerdict::Resend), "now", &call(LONG)).await.unwrap();
        operations.resolve(&open[2].id.to_string(), Some(OperatorVerdict::Rejected), "not", &call(LONG)).await.unwrap();
    };
    let long = call(LONG);
    let (done, ()) = tokio::join!(service.call(ACME, request(400), &long), operator);
    assert_eq!(outcome(&done), "OK OK Rejected OK");
    let mut sent = first_lines(&walmart);
    sent.sort();
    assert_eq!(sent, ["0", "100", "300"]);
}

#[tokio::test(start_paused = true)]
async fn a_bug_in_the_middle_leaves_no_batch_out() {
    let walmart = Walmart::default().answering(Status, [line("CANCELLED")]);
    walmart.panic_at(2);
    let (service, _guard) = resolved(&walmart, 1);
    assert_eq!(told(&service, named("mine", 300), LONG).await, "Internal");
    let done = service.call(ACME, named("mine", 300), &call(LONG)).await;
    // What became of the second cannot be told: the order does not show its lines.
    assert_eq!(outcome(&done), "OK Pending OK");
    assert_eq!(first_lines(&walmart), ["0", "100", "200"]);
}

/// Line 0 of Ana Roe's order, of one unit, which is open.
fn order_of_ana() -> Answer {
    let body = serde_json::json!({"status": "OK", "payload": [{
        "orderNumber": "SO123",
        "customer": {"contact": {"name": {"firstName": "Ana", "lastName": "Roe"}, "phone": "555-111-2222"}},
        "orderItems": [{"sellerLineId": "0", "lineStatus": "PROCESSING", "qty": {"measurementValue": 1}}],
    }]});
    Ok(Said { body: Some(body), ..Default::default() })
}

fn refused_by_name() -> Answer {
    refused(Cancel, ErrorKind::Rejected, "ROE", "ana ROE at (555) 1112222 cancels too often")
}

fn description(result: Result<CancellationReply, MutationError>) -> String {
    match result {
        Err(MutationError { error: ServiceError::Upstream(error), .. }) => {
            assert_eq!(error.errors[0].code, "ROE", "a code stays");
            error.errors[0].description.clone()
        }
        other => panic!("{other:?}"),
    }
}

const CLEAN: &str = "[redacted] [redacted] at [redacted] cancels too often";

#[tokio::test(start_paused = true)]
async fn an_error_says_nothing_of_the_customer_whose_order_was_read() {
    let walmart = Walmart::default().answering(Status, [order_of_ana()]).answering(Cancel, [refused_by_name()]);
    let service = CancelOrder::new(mutations(&walmart, 20), TaskTracker::new());
    assert_eq!(description(service.call(ACME, named("mine", 1), &call(LONG)).await), CLEAN);
    assert_eq!(walmart.asked(), [Status, Cancel]);
    assert_eq!(description(service.call(ACME, named("mine", 1), &call(LONG)).await), CLEAN, "as kept");
}

#[tokio::test(start_paused = true)]
async fn nor_does_the_error_of_what_is_sent_again_after_a_look_up() {
    let walmart = Walmart::default()
        .answering(Status, (0..40).map(|_| order_of_ana()))
        .answering(Cancel, [lost(Cancel), refused_by_name()]);
    // Without a snapshot: the order is read by the resolver only.
    let (service, _guard) = resolved(&walmart, 1);
    assert_eq!(told(&service, named("mine", 1), Duration::from_secs(1)).await, "Pending");
    tokio::time::sleep(Duration::from_secs(10 * 60)).await;
    assert_eq!(description(service.call(ACME, named("mine", 1), &call(LONG)).await), CLEAN);
}

#[tokio::test(start_paused = true)]
async fn nor_do_errors_beside_an_acceptance() {
    let errors = vec![pb::WalmartError { info: "for Ana".into(), ..Default::default() }];
    let accepted = Ok(Said { request_id: "R".into(), errors, ..Default::default() });
    let walmart = Walmart::default().answering(Status, [order_of_ana()]).answering(Cancel, [accepted]);
    let service = CancelOrder::new(mutations(&walmart, 20), TaskTracker::new());
    let done = service.call(ACME, request(1), &call(LONG)).await.unwrap();
    assert_eq!(done.batches[0].result.as_ref().unwrap().answer.errors[0].info, "for [redacted]");
}
