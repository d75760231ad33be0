//! One order a number, whatever becomes of the answer.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::DropGuard;

use super::super::error::SLACK;
use super::*;
use crate::domain::effect::Effect;
use crate::domain::ledger::{Entry, EntryState, OperationId};
use crate::domain::operation::Operation::{Create, Status};
use crate::ports::ledger::SaveResult;
use crate::ports::upstream::{ErrorKind, UpstreamError};
use crate::shutdown::OnceEvent;
use crate::store::memory::MemoryLedger;
use crate::testing::ledger::Faulty;
use crate::testing::walmart::{
    ACME, Answer, LATENCY, SETTLE, Said, Walmart, call, error, found, kind, lost, mutations, over, refused, resolving,
    sample, until,
};

type Service<L = MemoryLedger> = CreateOrder<Walmart, L>;

const LONG: Duration = Duration::from_secs(10);
/// Long enough for all look-ups and what follows.
const VERY_LONG: Duration = Duration::from_secs(2000);
/// Look-ups until an absence is settled.
const LOOKUPS: usize = 7;

fn request() -> CreateOrderRequest {
    sample("CreateOrderRequest", include_str!("../../examples/create.json"))
}

fn named(request_id: &str) -> CreateOrderRequest {
    CreateOrderRequest { request_id: request_id.into(), ..request() }
}

/// The same order number with other content.
fn other() -> CreateOrderRequest {
    let mut other = request();
    other.payload.as_mut().unwrap().order_placed_time = Some("2026-10-30T14:05:00Z".into());
    other
}

fn service(walmart: &Walmart) -> (Service, DropGuard) {
    let mutations = mutations(walmart, 20);
    let guard = resolving(&mutations);
    (CreateOrder::new(mutations, TaskTracker::new()), guard)
}

async fn told<L: Ledger>(service: &Service<L>, request: CreateOrderRequest, time: Duration) -> String {
    kind(&service.call(ACME, request, &call(time)).await)
}

fn not_sent(kind: ErrorKind) -> Answer {
    Err(error(Create, kind, Effect::None))
}

fn rejected() -> Answer {
    refused(Create, ErrorKind::Rejected, "X", "")
}

fn absent() -> Vec<Answer> {
    let told = |code: &str| refused(Status, ErrorKind::NotFound, code, "");
    let all = [Ok(Said::default()), told("404.WSAAS.100"), told("OS_NOT_FOUND_ERROR")];
    all.into_iter().cycle_to(LOOKUPS)
}

trait CycleTo: Iterator + Sized {
    fn cycle_to(self, n: usize) -> Vec<Self::Item>
    where
        Self::Item: Clone,
    {
        let all: Vec<_> = self.collect();
        all.iter().cycle().take(n).cloned().collect()
    }
}

impl<I: Iterator> CycleTo for I {}

#[tokio::test(start_paused = true)]
async fn an_order_is_answered_as_walmart_did_and_so_are_its_repeats() {
    let walmart = Walmart::default();
    let (service, _guard) = service(&walmart);
    let first = service.call(ACME, request(), &call(LONG)).await.unwrap();
    assert_eq!((first.status.as_str(), first.request_id.as_str(), first.replayed), ("ACCEPTED", "SO123", false));
    assert_eq!(first.payload.as_ref().unwrap().request_id, "walmart-1");
    assert!(first.correlation_id.parse::<uuid::Uuid>().is_ok());
    let again = service.call(ACME, request(), &call(LONG)).await.unwrap();
    assert_eq!(again, CreateOrderResponse { replayed: true, ..first.clone() });
    let by_id = service.call(ACME, named("mine"), &call(LONG)).await.unwrap();
    assert_eq!(by_id, CreateOrderResponse { replayed: true, request_id: "mine".into(), ..first });
    assert_eq!(walmart.asked(), [Create]);
}

#[tokio::test(start_paused = true)]
async fn the_same_call_twice_at_a_time_is_one() {
    let walmart = Walmart::default();
    let (service, _guard) = service(&walmart);
    let long = call(LONG);
    let with_id = CreateOrderRequest { header: None, ..named("mine") };
    let (one, two, three) = tokio::join!(
        service.call(ACME, request(), &long),
        service.call(ACME, with_id, &long),
        service.call(ACME, request(), &long)
    );
    let (one, two, three) = (one.unwrap(), two.unwrap(), three.unwrap());
    assert_eq!((one.replayed, two.replayed, three.replayed), (false, true, true));
    assert_eq!((one.request_id.as_str(), two.request_id.as_str()), ("SO123", "mine"));
    assert_eq!((&one.correlation_id, &one.payload), (&two.correlation_id, &two.payload));
    assert_eq!(walmart.asked(), [Create]);
}

#[tokio::test(start_paused = true)]
async fn another_account_is_another_order() {
    let walmart = Walmart::default();
    let (service, _guard) = service(&walmart);
    let long = call(LONG);
    let _ = tokio::join!(service.call(ACME, request(), &long), service.call(AccountIndex(1), request(), &long));
    assert_eq!(walmart.asked(), [Create, Create]);
}

#[tokio::test(start_paused = true)]
async fn other_content_is_refused_at_once() {
    let walmart = Walmart::default();
    let (service, _guard) = service(&walmart);
    let long = call(LONG);
    let refused = async {
        let start = Instant::now();
        let by_number = told(&service, other(), LONG).await;
        let by_id = CreateOrderRequest { request_id: "mine".into(), ..other() };
        let by_id = told(&service, by_id, LONG).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
        (by_number, by_id)
    };
    let (one, refused) = tokio::join!(service.call(ACME, named("mine"), &long), refused);
    assert_eq!((kind(&one), refused), ("OK".into(), ("OrderNumberUsed".into(), "RequestIdReused".into())));
    assert_eq!(told(&service, other(), LONG).await, "OrderNumberUsed");
    assert_eq!(walmart.asked(), [Create]);
}

#[tokio::test(start_paused = true)]
async fn a_refused_order_frees_its_number_and_keeps_its_id() {
    let walmart = Walmart::default().answering(Create, [rejected(), rejected()]);
    let (service, _guard) = service(&walmart);
    for _ in 0..2 {
        assert_eq!(told(&service, named("mine"), LONG).await, "Rejected");
    }
    assert_eq!(walmart.asked(), [Create]);
    assert_eq!(told(&service, request(), LONG).await, "Rejected");
    assert_eq!(told(&service, other(), LONG).await, "OK");
    assert_eq!(walmart.asked(), [Create, Create, Create]);
}

#[tokio::test(start_paused = true)]
async fn what_was_not_sent_frees_number_and_id_and_is_never_sent_later() {
    let kinds = [
        ErrorKind::CredentialsRefused,
        ErrorKind::RateLimited,
        ErrorKind::Overloaded,
        ErrorKind::CircuitOpen,
        ErrorKind::Unavailable,
        ErrorKind::DeadlineExceeded,
    ];
    for failure in kinds {
        let walmart = Walmart::default().answering(Create, [not_sent(failure)]);
        let (service, _guard) = service(&walmart);
        assert_eq!(told(&service, named("mine"), LONG).await, format!("{failure:?}"));
        tokio::time::sleep(VERY_LONG).await;
        assert_eq!(walmart.asked(), [Create]);
        let changed = CreateOrderRequest { request_id: "mine".into(), ..other() };
        assert_eq!(told(&service, changed, LONG).await, "OK");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_given_up_is_told_and_frees_the_number() {
    let later = || {
        Err(UpstreamError {
            retry_after: Some(Duration::from_secs(300)),
            ..error(Create, ErrorKind::RateLimited, Effect::None)
        })
    };
    let walmart = Walmart::default().answering(Create, [lost(Create), later(), later(), later()]);
    let (service, _guard) = service(&walmart);
    assert_eq!(told(&service, named("mine"), VERY_LONG).await, "Expired { operation: Create }");
    // The first attempt, and three by the rule until it was too late.
    assert_eq!(walmart.asked().iter().filter(|operation| **operation == Create).count(), 4);
    assert_eq!(told(&service, named("mine"), LONG).await, "Expired { operation: Create }");
    assert_eq!(told(&service, other(), LONG).await, "OK");
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_looked_up_while_the_caller_waits() {
    let walmart = Walmart::default().answering(Create, [lost(Create)]).answering(Status, [found("SO123")]);
    let (service, _guard) = service(&walmart);
    let start = Instant::now();
    let first = service.call(ACME, request(), &call(LONG)).await.unwrap();
    assert!(start.elapsed() < LATENCY * 2 + Duration::from_millis(510), "{:?}", start.elapsed());
    assert_eq!((first.status.as_str(), first.request_id.as_str(), first.replayed), ("ACCEPTED", "SO123", false));
    // There was none.
    assert_eq!(first.payload, None);
    let again = service.call(ACME, request(), &call(LONG)).await.unwrap();
    assert_eq!(again, CreateOrderResponse { replayed: true, ..first });
    assert_eq!(told(&service, other(), LONG).await, "OrderNumberUsed");
    assert_eq!(walmart.asked(), [Create, Status]);
}

#[tokio::test(start_paused = true)]
async fn what_stays_absent_is_sent_once_more_and_all_who_wait_get_that_answer() {
    let walmart = Walmart::default().answering(Create, [lost(Create)]).answering(Status, absent());
    let (service, _guard) = service(&walmart);
    let (short, long) = (call(LONG), call(VERY_LONG));
    let late = async {
        tokio::time::sleep(SETTLE / 2).await;
        service.call(ACME, named("late"), &long).await
    };
    let (hurried, one, two, late) = tokio::join!(
        service.call(ACME, request(), &short),
        service.call(ACME, request(), &long),
        service.call(ACME, named("mine"), &long),
        late,
    );
    assert_eq!(kind(&hurried), "Pending");
    let answers = [one, two, late].map(Result::unwrap);
    assert!(answers.iter().all(|answer| answer.payload == answers[0].payload && answer.payload.is_some()));
    assert!(answers.iter().all(|answer| answer.correlation_id == answers[0].correlation_id));
    let mut expected = vec![Status; LOOKUPS + 2];
    (expected[0], expected[LOOKUPS + 1]) = (Create, Create);
    assert_eq!(walmart.asked(), expected);
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
    let walmart =
        Walmart::default().answering(Create, [lost(Create)]).answering(Status, nothing.into_iter().cycle_to(100));
    let (service, _guard) = service(&walmart);
    assert_eq!(told(&service, request(), Duration::from_secs(14 * 60)).await, "Pending");
    assert!(walmart.asked().len() > 10);
    assert!(walmart.asked()[1..].iter().all(|operation| *operation == Status));
}

#[tokio::test(start_paused = true)]
async fn an_order_without_a_number_proves_nothing() {
    let walmart = Walmart::default().answering(Create, [lost(Create)]).answering(Status, (0..99).map(|_| found("")));
    let (service, _guard) = service(&walmart);
    assert_eq!(told(&service, request(), VERY_LONG).await, "Pending");
    assert_eq!(walmart.asked().iter().filter(|operation| **operation == Create).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_after_a_loss_is_final_when_look_ups_agree() {
    let walmart = Walmart::default().answering(Create, [lost(Create), rejected()]);
    let (service, _guard) = service(&walmart);
    assert_eq!(told(&service, request(), VERY_LONG).await, "Rejected");
    let asked = walmart.asked();
    assert_eq!(asked.iter().filter(|operation| **operation == Create).count(), 2);
    // Looked up again for a whole window, before anybody heard of the refusal.
    assert_eq!(asked.len(), 2 + 2 * LOOKUPS);
}

#[tokio::test(start_paused = true)]
async fn walmarts_duplicate_after_a_loss_is_never_answered_without_effect() {
    let duplicate = refused(Create, ErrorKind::Duplicate, "X", "already exists");
    let walmart = Walmart::default().answering(Create, [lost(Create), duplicate]);
    let (service, _guard) = service(&walmart);
    assert_eq!(told(&service, request(), VERY_LONG).await, "Pending");
    let entry = service.0.mutations.ledger().get(OperationId(1)).await.unwrap().unwrap();
    assert_eq!((entry.state, entry.effect), (EntryState::NeedsOperator, Effect::Unknown));
    assert_eq!(walmart.asked().iter().filter(|operation| **operation == Create).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_after_a_loss_is_looked_up() {
    let duplicate = refused(Create, ErrorKind::Duplicate, "X", "already exists");
    // One that did not leave in between does not make it forget the loss.
    let answers = [lost(Create), not_sent(ErrorKind::RateLimited), duplicate];
    let mut looks = absent();
    looks.push(found("SO123"));
    let walmart = Walmart::default().answering(Create, answers).answering(Status, looks);
    let (service, _guard) = service(&walmart);
    assert_eq!(told(&service, request(), VERY_LONG).await, "OK");
    assert_eq!(walmart.asked()[LOOKUPS + 1..], [Create, Create, Status]);
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_out_of_the_blue_is_another_order() {
    let walmart = Walmart::default().answering(Create, [refused(Create, ErrorKind::Duplicate, "X", "")]);
    let (service, _guard) = service(&walmart);
    assert_eq!(told(&service, request(), LONG).await, "Duplicate");
    assert_eq!(walmart.asked(), [Create]);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_does_not_end_the_creation() {
    let walmart = Walmart::default();
    let (service, _guard) = service(&walmart);
    let long = call(LONG);
    assert!(tokio::time::timeout(LATENCY / 2, service.call(ACME, request(), &long)).await.is_err());
    assert_eq!(walmart.done(), 0);
    tokio::time::sleep(LATENCY).await;
    assert_eq!((walmart.asked().len(), walmart.done()), (1, 1));
    assert!(service.call(ACME, request(), &call(LONG)).await.unwrap().replayed);
}

#[tokio::test(start_paused = true)]
async fn what_somebody_else_closed_meanwhile_is_answered_as_they_left_it() {
    let walmart = Walmart::default();
    let (service, _guard) = service(&walmart);
    let ledger = service.0.mutations.ledger();
    let theirs = async {
        tokio::time::sleep(LATENCY / 2).await;
        let entry = ledger.get(OperationId(1)).await.unwrap().unwrap();
        let expired = Entry { state: EntryState::Expired, ..entry };
        assert!(matches!(ledger.save(vec![expired], Vec::new()).await, Ok(SaveResult::Done(_))));
    };
    let long = call(LONG);
    let (answer, ()) = tokio::join!(service.call(ACME, request(), &long), theirs);
    assert_eq!(kind(&answer), "Expired { operation: Create }");
    assert_eq!(walmart.asked(), [Create]);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_the_wait_and_the_next_call_joins() {
    let walmart = Walmart::default().deaf();
    let (service, _guard) = service(&walmart);
    let short = call(LATENCY / 2);
    assert_eq!(kind(&service.call(ACME, request(), &short).await), "Pending");
    assert!(Instant::now() <= short.deadline + SLACK * 2);
    let answer = service.call(ACME, request(), &call(LONG)).await.unwrap();
    assert_eq!((answer.replayed, answer.payload.unwrap().request_id.as_str()), (true, "walmart-1"));
    assert_eq!(walmart.asked(), [Create]);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_process_ends_the_wait_and_not_the_creation() {
    let walmart = Walmart::default().deaf();
    let (closing, ledger) = (OnceEvent::default(), MemoryLedger::new());
    let service = CreateOrder::new(until(&walmart, ledger.clone(), closing.clone()), TaskTracker::new());
    let began = Instant::now();
    let (answer, ()) = tokio::join!(told(&service, request(), LONG), async {
        sleep(LATENCY / 2).await;
        closing.set();
    });
    assert_eq!((answer.as_str(), began.elapsed()), ("Pending", LATENCY / 2));
    sleep(LONG).await;
    assert_eq!(walmart.asked(), [Create]);
    let entry = ledger.get(OperationId(1)).await.unwrap().unwrap();
    assert_eq!(entry.state, EntryState::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_leader_without_the_time_to_send_fails_alone() {
    for follower in [request(), named("mine")] {
        let walmart = Walmart::default().answering(Create, [not_sent(ErrorKind::DeadlineExceeded)]);
        let (service, _guard) = service(&walmart);
        let (hurried, patient) = (call(LATENCY * 2), call(LONG));
        let (leader, follower) =
            tokio::join!(service.call(ACME, request(), &hurried), service.call(ACME, follower, &patient));
        assert_eq!((kind(&leader), kind(&follower)), ("DeadlineExceeded".into(), "OK".into()));
        assert_eq!(walmart.asked(), [Create, Create]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_crowd_that_fails_fails_together() {
    let walmart = Walmart::default().answering(Create, (0..9).map(|_| not_sent(ErrorKind::RateLimited)));
    let (service, _guard) = service(&walmart);
    let long = call(LONG);
    let calls = (0..9).map(|_| service.call(ACME, request(), &long));
    let results = futures_util::future::join_all(calls).await;
    assert!(results.iter().all(|result| kind(result) == "RateLimited"));
    assert_eq!(walmart.asked(), [Create]);
}

#[tokio::test(start_paused = true)]
async fn errors_say_nothing_personal_and_faults_cost_no_call() {
    let text = "555-111-2222 of 100 Main St, 94103 is wrong";
    let loss = Err(UpstreamError { errors: personal(text), ..error(Create, ErrorKind::Unavailable, Effect::Unknown) });
    let walmart = Walmart::default().answering(Create, [refused(Create, ErrorKind::Rejected, "X", text), loss]);
    let service = CreateOrder::new(mutations(&walmart, 20), TaskTracker::new());
    for _ in 0..2 {
        let told = format!("{:?}", service.call(ACME, request(), &call(LONG)).await.unwrap_err());
        assert!(told.contains("[redacted] of [redacted], [redacted] is wrong"), "{told}");
    }
    let result = service.call(ACME, CreateOrderRequest::default(), &call(LONG)).await;
    assert!(matches!(result, Err(ServiceError::Invalid(_))));
    assert_eq!(walmart.asked(), [Create, Create]);
}

fn personal(text: &str) -> Vec<crate::pb::WalmartError> {
    vec![crate::pb::WalmartError { description: text.into(), ..Default::default() }]
}

#[tokio::test(start_paused = true)]
async fn without_the_store_nothing_is_sent() {
    let (walmart, ledger) = (Walmart::default(), Faulty::default());
    let service = CreateOrder::new(over(&walmart, ledger.clone(), 20), TaskTracker::new());
    ledger.fail(true, false);
    assert_eq!(told(&service, request(), LONG).await, "Store");
    assert!(walmart.asked().is_empty());
    ledger.fail(false, false);
    assert_eq!(told(&service, request(), LONG).await, "OK");
}

#[tokio::test(start_paused = true)]
async fn an_outcome_is_written_as_soon_as_the_store_can() {
    let (walmart, ledger) = (Walmart::default(), Faulty::default());
    let service = CreateOrder::new(over(&walmart, ledger.clone(), 20), TaskTracker::new());
    let fails = async {
        tokio::time::sleep(LATENCY / 2).await;
        ledger.fail(true, true);
    };
    let (told_first, ()) = tokio::join!(told(&service, request(), LONG), fails);
    assert_eq!(told_first, "Pending");
    assert_eq!(told(&service, request(), LONG).await, "Pending");
    ledger.fail(false, false);
    let answer = service.call(ACME, request(), &call(LONG)).await.unwrap();
    assert_eq!((answer.replayed, answer.payload.unwrap().request_id.as_str()), (true, "walmart-1"));
    assert_eq!(walmart.asked(), [Create]);
}

#[tokio::test(start_paused = true)]
async fn a_bug_in_the_middle_loses_no_order() {
    let walmart = Walmart::default().answering(Status, [found("SO123")]);
    walmart.panic_at(1);
    let (service, _guard) = service(&walmart);
    assert_eq!(told(&service, request(), LONG).await, "Internal");
    assert_eq!(told(&service, request(), LONG).await, "OK");
    assert_eq!(walmart.asked(), [Create, Status]);
}

#[tokio::test(start_paused = true)]
async fn an_old_order_keeps_its_number_for_good() {
    let walmart = Walmart::default();
    let (service, _guard) = service(&walmart);
    let first = service.call(ACME, request(), &call(LONG)).await.unwrap();
    let mutations = service.0.mutations.clone();
    assert_eq!(mutations.ledger().trim(mutations.now().plus(LONG), 10).await, Ok(1));
    let again = service.call(ACME, request(), &call(LONG)).await.unwrap();
    assert_eq!(again, CreateOrderResponse { replayed: true, ..first });
    assert_eq!(told(&service, other(), LONG).await, "OrderNumberUsed");
    assert_eq!(walmart.asked(), [Create]);
}
