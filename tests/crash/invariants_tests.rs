//! Each thing that must not be is seen. The run that is changed here is one in which all is well.

use std::sync::Arc;

use super::*;
use crate::observe::Line;
use crate::schedule::{Cancellation, Hardships, Schedule};

/// An order of two lines that was created and cancelled under an id.
struct Run {
    told: Told,
    order: Order,
    calls: Vec<Call>,
    rows: Vec<Operation>,
}

fn all_is_well() -> Run {
    let mut story = Schedule::draw(1, 0, Hardships::default()).lives.remove(0).stories.remove(0);
    let callers = story.creations[0].callers.clone();
    story.creations.truncate(1);
    story.creations[0].request_id = Some("one".into());
    story.creations[0].units = 10;
    story.cancellation = Some(Cancellation { request_id: Some("two".into()), callers });
    let line = |line_id: &str| Line { line_id: line_id.into(), ordered: 10, cancelled: 1 };
    Run {
        order: Order {
            account: Some(story.account.into()),
            order_number: story.number.clone(),
            lines: vec![line("1"), line("2")],
        },
        calls: vec![call("create", "c1", 0, "CREATED", Some(202)), call("cancel", "c2", 100, "CANCELLED", Some(202))],
        rows: vec![row(&story, 1, OperationKind::Create, "c1"), row(&story, 2, OperationKind::Cancel, "c2")],
        told: Told {
            creations: vec![vec![accepted_as("created", &[])]],
            cancellation: vec![accepted_as("cancelled", &["1", "2"])],
            story: Arc::new(story),
        },
    }
}

fn call(operation: &str, correlation_id: &str, millis: i64, effect: &str, status: Option<u16>) -> Call {
    Call {
        time: jiff::Timestamp::from_millisecond(1_800_000_000_000 + millis).unwrap(),
        operation: operation.into(),
        account: None,
        order_number: String::new(),
        correlation_id: correlation_id.into(),
        effect: effect.into(),
        status,
    }
}

fn row(story: &Story, n: u32, kind: OperationKind, correlation_id: &str) -> Operation {
    Operation {
        name: format!("operations/{n}"),
        account: story.account.into(),
        order_number: story.number.clone(),
        kind: kind.into(),
        state: OperationState::Succeeded.into(),
        correlation_id: correlation_id.into(),
        ..Default::default()
    }
}

fn accepted_as(lasting: &str, lines: &[&str]) -> Outcome {
    let lines = lines.iter().map(|line| (line.to_string(), true)).collect();
    Outcome::Told(Answer::Accepted(Accepted { lasting: lasting.into(), replayed: false, lines }))
}

fn refused_as(reason: &str) -> Outcome {
    Outcome::Told(Answer::Refused(Refused { reason: reason.into(), lasting: reason.into() }))
}

/// What is found when the run was otherwise.
fn found(change: impl FnOnce(&mut Run)) -> Vec<String> {
    let mut run = all_is_well();
    let key = (run.told.story.account.to_owned(), run.told.story.number.clone());
    change(&mut run);
    let observed =
        Observed { orders: HashMap::from([(key.clone(), vec![run.order])]), calls: HashMap::from([(key, run.calls)]) };
    violations(&[run.told], &observed, &run.rows)
}

#[track_caller]
fn sees(what: &str, change: impl FnOnce(&mut Run)) {
    let found = found(change);
    assert!(found.iter().any(|violation| violation.contains(what)), "{what} is not in {found:#?}");
}

#[test]
fn a_run_in_which_all_is_well() {
    assert_eq!(found(|_| {}), Vec::<String>::new());
}

#[test]
fn i1_two_effects() {
    sees("I1: the request c1 was carried out 2 times", |run| {
        run.calls.push(call("create", "c1", 9000, "CREATED_AGAIN", Some(202)));
    });
    sees("I1: line 2 was cancelled 2 times", |run| run.order.lines[1].cancelled = 2);
}

#[test]
fn i2_answers_that_are_not_true() {
    sees("I2: the order of 10 units was accepted, Walmart has none", |run| run.order.lines[0].ordered = 11);
    sees("I2: the order of 10 units was refused", |run| {
        run.told.creations = vec![vec![refused_as("OPERATION_EXPIRED")]]
    });
    sees("I2: the cancellation of line 1 was accepted, 0", |run| run.order.lines[0].cancelled = 0);
    sees("I2: the cancellation was refused", |run| run.told.cancellation = vec![refused_as("UPSTREAM_REJECTED")]);
}

#[test]
fn i3_two_answers() {
    sees("I3: one order, 2 answers", |run| run.told.creations[0].push(accepted_as("other", &[])));
    sees("I3: one creation, 2 answers", |run| run.told.creations[0].push(refused_as("UPSTREAM_REJECTED")));
    sees("I3: one cancellation, 2 answers", |run| run.told.cancellation.push(refused_as("UPSTREAM_REJECTED")));
    assert_eq!(found(|run| run.told.creations[0].push(refused_as("ORDER_NUMBER_USED"))), Vec::<String>::new());
}

#[test]
fn i4_bytes_without_a_row() {
    sees("I4: the request c9 was sent", |run| run.calls.push(call("create", "c9", 9000, "NONE", None)));
}

#[test]
fn i5_sent_again_too_early() {
    let again = |status, pause: i64| {
        move |run: &mut Run| {
            run.calls.insert(0, call("create", "c1", -pause, "NONE", status));
        }
    };
    sees("I5: create was answered nothing", again(None, 1799));
    sees("I5: create was answered 500", again(Some(500), 1799));
    // The first was received after the gateway had given it up.
    assert_eq!(found(again(None, 1800)), Vec::<String>::new());
    assert_eq!(found(again(Some(429), 1)), Vec::<String>::new());
    // Another operation on the same number.
    sees("I5: create was answered nothing", |run| {
        run.calls.insert(0, call("create", "c0", -500, "NONE", None));
    });
}

#[test]
fn i6_what_is_left_open() {
    sees("I6: operations/1 is still OPERATION_STATE_SENDING", |run| {
        run.rows[0].state = OperationState::Sending.into();
    });
    sees("I6: operations/1 is still OPERATION_STATE_NEEDS_OPERATOR", |run| {
        run.rows[0].state = OperationState::NeedsOperator.into();
    });
    sees("I6: a caller never got a final answer", |run| run.told.creations[0].push(Outcome::Unfinished));
}

#[test]
fn a_ledger_that_says_otherwise() {
    sees("the ledger lists 0 creates as carried out, Walmart did 1", |run| {
        run.rows[0].state = OperationState::Rejected.into();
    });
}
