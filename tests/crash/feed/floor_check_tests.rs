//! Each thing that must not be is seen. The run that is changed here is one in which all is well.

use order_gateway::pb::DeliveryCause;

use super::super::history::APPLIED;
use super::super::scene::{Check, MS, Scene, another};
use super::*;

const CHECK: Check = Check(violations);

#[test]
fn a_good_run_is_good() {
    CHECK.allows(|_| ());
}

#[test]
fn i10_the_floor_passes_nothing_that_is_not_settled() {
    // As a verdict's answer, as a heartbeat, as an operator's look, as a stream's beginning.
    CHECK.sees("I10: the floor was 2, and event 2 was not settled", |scene| {
        scene.settle_of("g1.s2.a1").told.as_mut().unwrap().floor = 2;
    });
    CHECK.sees("I10: the floor was 4, and event 3 was not settled", |scene| {
        scene.beat(1, 129, 4);
    });
    CHECK.sees("I10: the floor was 1, and event 1 was not settled", |scene| scene.operate(What::Look, 15, 1, 1));
    CHECK.sees("I10: the floor was 2, and event 2 was not settled", |scene| {
        scene.streams[1].opened.as_mut().unwrap().position = 2;
    });
    CHECK.allows(|scene| scene.beat(1, 135, 5));
    // Not wanted, so it is passed; beyond the log, never.
    CHECK.sees("I10: the floor 6 is outside of the log", |scene| scene.beat(1, 135, 6));
    // A verdict that was lost settles nothing.
    CHECK.sees("I10: the floor was 5, and event 2 was not settled", |scene| {
        scene.settle_of("g1.s2.a2").told.as_mut().unwrap().results[0].0 = order_gateway::pb::SettleOutcome::LeaseLost;
    });
}

#[test]
fn i10_the_floor_never_falls() {
    CHECK.sees("I10: the floor fell from 5 to 4", |scene| scene.operate(What::Look, 160, 1, 4));
    CHECK.sees("I10: the floor fell from 5 to 3", |scene| scene.beat(0, 200, 3));
    // It may be from before.
    CHECK.allows(|scene| scene.operate(What::Look, 131, 1, 2));
    // Another generation.
    CHECK.allows(|scene| {
        scene.operate(What::Seek(4), 200, 2, 4);
        *scene.state() = super::super::history::State { generation: 2, floor: 5, ..Default::default() };
        scene.ending.as_mut().unwrap().parked.clear();
    });
}

#[test]
fn i10_in_the_end_nothing_is_left() {
    CHECK.sees("I10: the log ends with 5, and it is not through with it", |scene| scene.state().floor = 4);
    CHECK.sees("I10: the log ends with 5, and it is not through with it", |scene| scene.state().backlog = 1);
    CHECK.sees("I10: the log ends with 5, and it is not through with it", |scene| scene.state().outstanding = 1);
    CHECK.sees("I10: it is of generation 2, 1 was expected", |scene| scene.state().generation = 2);
    CHECK.sees("I10: event 4 is neither acknowledged nor parked, and comes no more", |scene| {
        scene.unlend("g1.s4.a1");
        scene.settle_of("g1.s4.a1").said.pop();
    });
    // Its verdict was not answered, and it came again.
    let not_answered = |scene: &mut Scene| {
        scene.settle_of("g1.s4.a1").said.pop();
        scene.settle(50, &[("g1.s4.a1", Said::Ack, APPLIED)], 1);
        scene.settles.last_mut().unwrap().told = None;
    };
    CHECK.allows(not_answered);
    CHECK.sees("I10: event 4 is neither acknowledged nor parked, and comes no more", |scene| {
        not_answered(scene);
        scene.lend(1, 5020, "g1.s4.a2", DeliveryCause::LeaseExpired);
    });
    CHECK.sees("I10: event 4 is parked, and nobody did that", |scene| {
        scene.settle_of("g1.s4.a1").said.pop();
        scene.ending.as_mut().unwrap().parked.insert(4, 1);
        scene.state().parked = 2;
    });
    CHECK.sees("I10: event 5 is parked, and is not wanted", |scene| {
        scene.ending.as_mut().unwrap().parked.insert(5, 1);
        scene.state().parked = 2;
    });
    CHECK.sees("I10: 1 parked events are listed, and it says 0", |scene| scene.state().parked = 0);
}

#[test]
fn i12_what_was_parked_is_parked() {
    CHECK.sees("I12: event 3 was parked, and is not any more", |scene| {
        scene.ending.as_mut().unwrap().parked.clear();
        scene.state().parked = 0;
    });
    CHECK.sees("I12: event 1 was acknowledged, and is parked", |scene| {
        scene.ending.as_mut().unwrap().parked.insert(1, 1);
        scene.state().parked = 2;
    });
    // Its attempts were used up and it was listed before the acknowledgement came.
    CHECK.allows(|scene| {
        scene.shared.max_attempts = 1;
        scene.state().parked = 2;
        let ending = scene.ending.as_mut().unwrap();
        ending.listed = 10 * MS;
        ending.parked.insert(1, 1);
    });
    // Given out again, and then forgotten.
    CHECK.sees("I10: event 3 is neither acknowledged nor parked", |scene| {
        scene.operate(What::Redrive(None), 200, 0, 0);
        scene.ending.as_mut().unwrap().parked.clear();
        scene.state().parked = 0;
    });
}

#[test]
fn i10_lost_events_are_told() {
    CHECK.sees("I10: events that it held were lost", |scene| {
        scene.operate(What::Look, 160, 1, 5);
        scene.operations.last_mut().unwrap().told.as_mut().unwrap().lost = true;
    });
    CHECK.sees("I10: events that it held were lost", |scene| {
        scene.streams[0].end = End::Refused("EVENTS_EXPIRED".into())
    });
    CHECK.sees("I10: a stream ended with OK", |scene| scene.streams[0].end = End::Done);
}

#[test]
fn frames_that_are_not_so() {
    CHECK.sees("I8: event 1 is another one than in the log", |scene| {
        let Frame::Delivery { content, .. } = &mut scene.streams[0].frames[0].1 else { panic!() };
        *content = another(*content);
    });
    CHECK.sees("I10: nonsense", |scene| scene.streams[0].frames[0].1 = Frame::Wrong("nonsense".into()));
}
