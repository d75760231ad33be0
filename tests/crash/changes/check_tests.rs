//! Each thing that must not be is seen. The run that is changed here is one in which all is well.

use std::sync::Arc;

use super::*;
use crate::answer::{Accepted, Refused};
use crate::changes::plan::{ChangePlan, ChangeStory};
use crate::changes::requests::Object;

/// A refund that was asked for by content, and carried out once.
struct Run {
    told: ChangeTold,
    calls: Vec<Call>,
    rows: Vec<Operation>,
}

fn all_is_well() -> Run {
    let story = ChangeStory { kind: ChangeKind::Refund, request_id: None, ..ChangePlan::new(1).life(false).remove(0) };
    let row = Operation {
        name: "operations/1".into(),
        account: story.account.into(),
        order_number: "1".into(),
        kind: ChangeKind::Refund.of_operation().into(),
        state: OperationState::Succeeded.into(),
        correlation_id: "c1".into(),
        ..Default::default()
    };
    let object = Object { number: "1".into(), ..Object::default() };
    Run {
        told: ChangeTold {
            story: Arc::new(story),
            kind: ChangeKind::Refund,
            object,
            outcomes: vec![accepted_as("c1"), accepted_as("c1")],
        },
        calls: vec![call("c1", 0, "REFUNDED", Some(200))],
        rows: vec![row],
    }
}

fn call(correlation_id: &str, millis: i64, effect: &str, status: Option<u16>) -> Call {
    Call {
        time: jiff::Timestamp::from_millisecond(1_800_000_000_000 + millis).unwrap(),
        operation: "refund".into(),
        account: None,
        order_number: "1".into(),
        correlation_id: correlation_id.into(),
        effect: effect.into(),
        status,
    }
}

fn accepted_as(lasting: &str) -> Outcome {
    Outcome::Told(Answer::Accepted(Accepted { lasting: lasting.into(), replayed: false, lines: Vec::new() }))
}

fn refused_as(reason: &str) -> Outcome {
    Outcome::Told(Answer::Refused(Refused { reason: reason.into(), lasting: reason.into() }))
}

fn as_cancellation(run: &mut Run) {
    run.told.kind = ChangeKind::CancelLines;
    run.rows.iter_mut().for_each(|row| row.kind = ChangeKind::CancelLines.of_operation().into());
    run.calls.iter_mut().for_each(|call| call.operation = "cancel_lines".into());
}

/// What is found when the run was otherwise.
fn found(change: impl FnOnce(&mut Run)) -> Vec<String> {
    let mut run = all_is_well();
    change(&mut run);
    let key = (run.told.story.account.to_owned(), run.told.object.number.clone());
    let observed = Observed { calls: HashMap::from([(key, run.calls)]), ..Observed::default() };
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
    // A cancellation without an id may come twice, as two operations.
    let twice = |run: &mut Run| {
        run.calls.push(call("c2", 100, "LINES_CANCELLED", Some(200)));
        run.rows.push(Operation { correlation_id: "c2".into(), ..run.rows[0].clone() });
        as_cancellation(run);
        run.calls[0].effect = "LINES_CANCELLED".into();
        run.told.outcomes = vec![accepted_as("c1"), accepted_as("c2")];
    };
    assert_eq!(found(twice), Vec::<String>::new());
}

fn as_taken_back(run: &mut Run) {
    run.told.kind = ChangeKind::CancelReturn;
    run.rows[0].kind = ChangeKind::CancelReturn.of_operation().into();
    run.calls[0].operation = "mcs_return_cancel".into();
    run.calls[0].effect = "RETURN_CANCELLED".into();
    run.rows.push(Operation { correlation_id: "c2".into(), ..run.rows[0].clone() });
    run.told.outcomes = vec![accepted_as("c1"), accepted_as("c2")];
}

#[test]
fn a_return_is_taken_back_once_and_all_who_find_it_so_are_right() {
    // The second was lost, and a look-up finds what the first did.
    let lost = |run: &mut Run| {
        as_taken_back(run);
        run.calls.push(Call { operation: "mcs_return_cancel".into(), ..call("c2", 100, "NONE", None) });
    };
    assert_eq!(found(lost), Vec::<String>::new());
    sees("I1: it was carried out 2 times", |run| {
        lost(run);
        run.calls[1].effect = "RETURN_CANCELLED".into();
    });
    sees("the ledger lists 2 as carried out, Walmart did 0", |run| {
        lost(run);
        run.calls[0].effect = "NONE".into();
    });
    sees("the ledger lists 0 as carried out, Walmart did 1", |run| {
        lost(run);
        run.rows.iter_mut().for_each(|row| row.state = OperationState::Rejected.into());
    });
}

fn as_subscription(run: &mut Run) {
    run.told.kind = ChangeKind::Subscribe;
    run.told.story = Arc::new(ChangeStory { request_id: Some("mine".into()), ..(*run.told.story).clone() });
    run.rows[0].kind = ChangeKind::Subscribe.of_operation().into();
    run.calls[0].operation = "webhook_create".into();
    run.calls[0].effect = "SUBSCRIBED".into();
}

#[test]
fn a_subscription_is_made_once_and_not_sent_again() {
    assert_eq!(found(as_subscription), Vec::<String>::new());
    // The id of one that was given up is free.
    let given_up = |run: &mut Run| {
        as_subscription(run);
        run.told.outcomes.push(refused_as("OPERATION_EXPIRED"));
        run.rows.push(Operation {
            correlation_id: "c0".into(),
            state: OperationState::Expired.into(),
            ..run.rows[0].clone()
        });
    };
    assert_eq!(found(given_up), Vec::<String>::new());
    sees("I1: it was carried out 2 times", |run| {
        as_subscription(run);
        run.calls.push(Call { operation: "webhook_create".into(), ..call("c2", 9_000, "SUBSCRIBED", Some(200)) });
    });
    sees("I5: it was answered nothing, and sent again, and its request has secrets", |run| {
        as_subscription(run);
        run.calls.insert(0, Call { operation: "webhook_create".into(), ..call("c1", -60_000, "NONE", None) });
    });
    sees("I3: a caller was told SUBSCRIPTION_EXISTS", |run| {
        as_subscription(run);
        run.told.outcomes.push(refused_as("SUBSCRIPTION_EXISTS"));
    });
}

#[test]
fn i1_two_effects() {
    sees("I1: it was carried out 2 times", |run| run.calls.push(call("c2", 9000, "REFUNDED", Some(200))));
    sees("I1: the request c1 was carried out 2 times", |run| {
        run.calls.push(call("c1", 9000, "LINES_CANCELLED", Some(200)));
        as_cancellation(run);
    });
}

#[test]
fn i2_answers_that_are_not_true() {
    sees("I2: it was accepted, and not carried out", |run| run.calls[0].effect = "NONE".into());
    sees("I2: it was refused, and carried out 1 times", |run| {
        run.told.outcomes = vec![refused_as("UPSTREAM_REJECTED")];
    });
}

#[test]
fn i3_two_answers() {
    sees("I3: one change, 2 answers", |run| run.told.outcomes.push(accepted_as("c2")));
    sees("I3: a caller was told IDEMPOTENCY_KEY_REUSED", |run| {
        run.told.outcomes.push(refused_as("IDEMPOTENCY_KEY_REUSED"));
    });
}

#[test]
fn i4_bytes_without_a_row() {
    sees("I4: the request c9 was sent", |run| run.calls.push(call("c9", 9000, "NONE", None)));
}

#[test]
fn i5_sent_again() {
    sees("I5: it was answered nothing, and sent again, and it is money", |run| {
        run.calls.insert(0, call("c1", -60_000, "NONE", None));
    });
    assert_eq!(found(|run| run.calls.insert(0, call("c1", -10, "NONE", Some(429)))), Vec::<String>::new());
    let again = |pause: i64| {
        move |run: &mut Run| {
            run.calls.insert(0, call("c1", -pause, "NONE", None));
            as_cancellation(run);
            run.calls[1].effect = "LINES_CANCELLED".into();
        }
    };
    sees("I5: it was answered nothing, and sent again 1.799s later", again(1_799));
    assert_eq!(found(again(1_800)), Vec::<String>::new());
}

#[test]
fn i6_what_is_left_open() {
    sees("I6: operations/1 is still OPERATION_STATE_UNKNOWN", |run| {
        run.rows[0].state = OperationState::Unknown.into();
    });
    sees("I6: a caller never got a final answer", |run| run.told.outcomes.push(Outcome::Unfinished));
}

#[test]
fn a_ledger_that_says_otherwise() {
    sees("the ledger lists 0 as carried out, Walmart did 1", |run| {
        run.rows[0].state = OperationState::Rejected.into();
    });
}
