//! What is kept reads back the same.

use super::*;
use crate::domain::ledger::machine::EntryEvent;
use crate::ports::ledger::Ledger as _;
use crate::testing::ledger::{creation, put};
use crate::testing::walmart::Walmart;
use crate::testing::walmart::{kind, mutations};

fn error(kind: ErrorKind, status: u16) -> UpstreamError {
    let full = pb::WalmartError {
        code: "C".into(),
        field: "f".into(),
        description: "d".into(),
        info: "i".into(),
        severity: "s".into(),
        category: "k".into(),
    };
    UpstreamError {
        operation: Operation::Create,
        kind,
        effect: Effect::None,
        http_status: status,
        errors: vec![full, pb::WalmartError::default()],
        omitted: 3,
        says_order_exists: false,
        after_lost_attempt: false,
        retry_after: (status == 429).then_some(Duration::from_millis(1_234)),
        correlation_id: Uuid::from_u128(u128::MAX - 1),
    }
}

#[test]
fn an_acceptance_reads_back_the_same() {
    let attributes = pb::HeaderAttributes { mart_id: Some("".into()), ..Default::default() };
    for header in [None, Some(pb::Header { header_attributes: Some(attributes) })] {
        for request_id in ["", "walmart-1"] {
            let acceptance = pb::Acceptance { request_id: request_id.into() };
            let errors = vec![pb::WalmartError { code: "LATE".into(), ..Default::default() }; request_id.len() % 2];
            let answer = AcceptedAnswer {
                status: "ACCEPTED".into(),
                header: header.clone(),
                acceptance,
                errors,
                ..AcceptedAnswer::default()
            };
            let reply = Reply { answer, correlation_id: Uuid::from_u128(5) };
            let read = read_acceptance(&accepted(&mut reply.clone())).unwrap();
            assert_eq!((read.answer, read.correlation_id), (reply.answer, reply.correlation_id));
        }
    }
    let read = read_acceptance(&seen(Uuid::from_u128(6))).unwrap();
    assert_eq!((read.answer.status.as_str(), read.correlation_id), ("ACCEPTED", Uuid::from_u128(6)));
    assert!(read.answer.acceptance.request_id.is_empty());
}

#[test]
fn a_refusal_of_every_kind_reads_back_the_same() {
    // A kind that is missing in the table would be read as another.
    for kind in KINDS {
        for status in [0, 400, 429, 599] {
            let error = error(kind, status);
            let ServiceError::Upstream(read) = read_refusal(Operation::Create, &refused(&error)) else { panic!() };
            assert_eq!(format!("{read:?}"), format!("{error:?}"));
        }
    }
    let numbers: Vec<_> =
        KINDS.iter().map(|kind| KeptRefusal::decode(&*refused(&error(*kind, 400))).unwrap().kind).collect();
    assert_eq!(numbers, Vec::from_iter(0..KINDS.len() as u32));
}

#[test]
fn every_kind_has_a_number() {
    // Whoever adds a kind is led here by the compiler: it belongs at the end of the table.
    let place = |kind| match kind {
        ErrorKind::Rejected => 0,
        ErrorKind::WrongState => 1,
        ErrorKind::NotFound => 2,
        ErrorKind::Duplicate => 3,
        ErrorKind::CredentialsRefused => 4,
        ErrorKind::RateLimited => 5,
        ErrorKind::Overloaded => 6,
        ErrorKind::CircuitOpen => 7,
        ErrorKind::Unavailable => 8,
        ErrorKind::DeadlineExceeded => 9,
    };
    assert_eq!(KINDS.map(place), std::array::from_fn::<usize, 10, _>(|i| i));
}

#[tokio::test(start_paused = true)]
async fn each_state_has_its_answer() {
    let mutations = mutations(&Walmart::default(), 20);
    let new = creation("acme", "SO1", mutations.now());
    let entry = put(mutations.ledger(), vec![new]).await.remove(0);
    assert_eq!(kind(&of(&entry)), "Pending");
    let acceptance = seen(entry.correlation_id);
    let done = mutations.after(entry.clone(), EntryEvent::Accepted { answer: acceptance }).unwrap();
    assert_eq!(kind(&of(&done)), "OK");
    let no = |kind| refused(&error(kind, 400));
    let refusal = EntryEvent::Refused { answer: no(ErrorKind::WrongState), error: String::new(), says_present: false };
    assert_eq!(kind(&of(&mutations.after(entry.clone(), refusal).unwrap())), "WrongState");
    let not_sent = EntryEvent::NotSent { answer: no(ErrorKind::CircuitOpen), error: String::new(), again_in: None };
    assert_eq!(kind(&of(&mutations.after(entry.clone(), not_sent).unwrap())), "CircuitOpen");
    let expired = Entry { state: EntryState::Expired, ..entry.clone() };
    assert_eq!(kind(&of(&expired)), "Expired { operation: Create }");
    let lost = mutations.after(entry.clone(), EntryEvent::Lost { error: String::new() }).unwrap();
    for (state, wait) in [(EntryState::Unknown, 5), (EntryState::NeedsOperator, 300)] {
        let Err(ServiceError::OutcomePending { retry_after, cause, .. }) = of(&Entry { state, ..lost.clone() }) else {
            panic!("{state:?}")
        };
        assert_eq!((retry_after.as_secs(), cause.unwrap().correlation_id), (wait, entry.correlation_id));
    }
    assert_eq!(mutations.ledger().get(entry.id).await, Ok(Some(entry)));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_a_bug_and_no_answer() {
    let mutations = mutations(&Walmart::default(), 20);
    let entry = put(mutations.ledger(), vec![creation("acme", "SO1", mutations.now())]).await.remove(0);
    for state in [EntryState::Succeeded, EntryState::Rejected, EntryState::NotSent] {
        let damaged = Entry { state, answer: vec![0xff].into(), ..entry.clone() };
        assert_eq!(kind(&of(&damaged)), "Internal");
    }
}

#[tokio::test(start_paused = true)]
async fn an_operators_decision_is_an_answer() {
    let mutations = mutations(&Walmart::default(), 20);
    let entry = put(mutations.ledger(), vec![creation("acme", "SO1", mutations.now())]).await.remove(0);
    assert!(read_acceptance(&of_operator(&entry, OperatorVerdict::Succeeded)).is_ok());
    let rejected = read_refusal(Operation::Create, &of_operator(&entry, OperatorVerdict::Rejected));
    assert_eq!(kind::<()>(&Err(rejected)), "Rejected");
    assert!(of_operator(&entry, OperatorVerdict::Resend).is_empty());
}

#[test]
fn what_a_mutation_has_changed_is_kept_beside_its_answer() {
    let kept = seen(Uuid::from_u128(3));
    assert_eq!(kept_change(&kept), None);
    let change = Change::of([("1".to_owned(), Some(2.0)), ("2".to_owned(), None)]);
    let with = with_change(&kept, change.clone());
    assert_eq!(kept_change(&with), Some(change));
    let (with, kept) = (read_acceptance(&with).unwrap(), read_acceptance(&kept).unwrap());
    assert_eq!((with.answer, with.correlation_id), (kept.answer, kept.correlation_id));
    assert_eq!(kept_change(b"\xff"), None);
}
