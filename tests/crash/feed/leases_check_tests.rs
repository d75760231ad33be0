//! Each thing that must not be is seen. The run that is changed here is one in which all is well.

use super::super::history::{APPLIED, Frame};
use super::super::scene::{Check, LEASE, MS, Scene};
use super::*;

const ALREADY: SettleOutcome = SettleOutcome::AlreadyApplied;
const LOST: SettleOutcome = SettleOutcome::LeaseLost;
const STALE: SettleOutcome = SettleOutcome::StaleGeneration;
const UNKNOWN: SettleOutcome = SettleOutcome::UnknownLease;

const CHECK: Check = Check(violations);

#[test]
fn a_good_run_is_good() {
    CHECK.allows(|_| ());
}

#[test]
fn i11_one_live_lease_per_event() {
    use DeliveryCause::{LeaseExpired, Reclaimed};
    // Consumer 1 gets what consumer 0 still has.
    let settled_late = |scene: &mut Scene| {
        scene.settle_of("g1.s4.a1").said.pop();
        scene.settle(6000, &[("g1.s4.a2", Said::Ack, APPLIED)], 5);
    };
    CHECK.sees("I11: g1.s4.a2 came 2 ms before g1.s4.a1 can have ended", |scene| {
        settled_late(scene);
        scene.lend(1, 10 + 5000 - 2, "g1.s4.a2", LeaseExpired);
    });
    CHECK.allows(|scene| {
        settled_late(scene);
        scene.lend(1, 10 + 5000, "g1.s4.a2", LeaseExpired);
    });
    // Its stream gave all back when it ended, or another one reclaimed it.
    CHECK.allows(|scene| {
        settled_late(scene);
        scene.lend(1, 3000, "g1.s4.a2", LeaseExpired);
        scene.streams[0].asked.releases = true;
    });
    CHECK.allows(|scene| {
        settled_late(scene);
        scene.lend(1, 3000, "g1.s4.a2", Reclaimed);
        let again = Scene::all_is_well().streams.remove(0);
        scene.streams.push(again);
        scene.streams[2].frames.clear();
        scene.streams[2].asked.reclaims = true;
        scene.streams[2].requested = 2000 * MS;
    });
    // The lease was lengthened.
    CHECK.sees("before g1.s4.a1 can have ended", |scene| {
        settled_late(scene);
        scene.settle(1000, &[("g1.s4.a1", Said::Extend, APPLIED)], 1);
        scene.settles.last_mut().unwrap().told.as_mut().unwrap().results[0].1 = 1000 * MS + LEASE;
        scene.lend(1, 10 + 5000, "g1.s4.a2", LeaseExpired);
    });
    CHECK.sees("I11: g1.s4.a1 came twice", |scene| scene.lend(1, 11, "g1.s4.a1", DeliveryCause::First));
    CHECK.sees("I11: g1.s2.a2 came for DELIVERY_CAUSE_FIRST", |scene| {
        scene.unlend("g1.s2.a2");
        scene.lend(0, 100, "g1.s2.a2", DeliveryCause::First);
    });
    CHECK.sees("I11: g2.s4.a1 came in generation 1", |scene| scene.lend(1, 11, "g2.s4.a1", DeliveryCause::First));
}

#[test]
fn i11_one_live_lease_per_key() {
    CHECK.sees("I11: g1.s2.a1 came 1 ms before g1.s1.a1 can have ended", |scene| {
        scene.unlend("g1.s2.a1");
        scene.lend(0, 19, "g1.s2.a1", DeliveryCause::First);
    });
    // The retry of event 2 is not waited for.
    CHECK.sees("I11: g1.s3.a1 came before event 2 of its key can have been settled", |scene| {
        scene.unlend("g1.s3.a1");
        scene.lend(1, 60, "g1.s3.a1", DeliveryCause::First);
    });
    // Events are out of order in their key.
    CHECK.sees("I11: g1.s2.a1 came before event 1 of its key can have been settled", |scene| {
        scene.unlend("g1.s1.a1");
        scene.lend(0, 115, "g1.s1.a1", DeliveryCause::First);
        scene.settle_of("g1.s1.a1").said.remove(0);
        scene.settle(116, &[("g1.s1.a1", Said::Ack, APPLIED)], 1);
    });
    // Where events wait for none that is allowed.
    CHECK.allows(|scene| {
        scene.shared.mode = SubscriptionMode::Unordered;
        scene.unlend("g1.s3.a1");
        scene.lend(1, 15, "g1.s3.a1", DeliveryCause::First);
    });
}

#[test]
fn i11_exclusive() {
    let exclusive = |change: fn(&mut Scene)| {
        move |scene: &mut Scene| {
            scene.shared.mode = SubscriptionMode::Exclusive;
            scene.unlend("g1.s4.a1");
            scene.settle_of("g1.s4.a1").said.pop();
            scene.lend(0, 140, "g1.s4.a1", DeliveryCause::First);
            scene.settle(150, &[("g1.s4.a1", Said::Ack, APPLIED)], 5);
            change(scene);
        }
    };
    CHECK.allows(exclusive(|_| ()));
    CHECK.sees(
        "I11: g1.s4.a1 came 1 ms before g1.s3.a1 can have ended",
        exclusive(|scene| {
            scene.unlend("g1.s4.a1");
            scene.lend(1, 129, "g1.s4.a1", DeliveryCause::First);
        }),
    );
    CHECK.sees(
        "I11: g1.s3.a1 came after event 4",
        exclusive(|scene| {
            scene.unlend("g1.s4.a1");
            scene.lend(0, 118, "g1.s4.a1", DeliveryCause::First);
        }),
    );
    CHECK.sees(
        "I11: g1.s4.a1 came while event 2 waited",
        exclusive(|scene| {
            scene.unlend("g1.s4.a1");
            scene.lend(0, 60, "g1.s4.a1", DeliveryCause::First);
        }),
    );
}

#[test]
fn i11_nothing_while_it_is_paused() {
    let paused = |until: Micros| {
        move |scene: &mut Scene| {
            scene.operate(What::Pause, 112, 1, 2);
            scene.operate(What::Resume, until, 1, 2);
        }
    };
    CHECK.sees("I11: g1.s3.a1 came while the subscription was paused", paused(125));
    CHECK.allows(paused(119));
}

#[test]
fn i12_what_is_settled_stays_settled() {
    CHECK.sees("I12: g1.s1.a1 was acknowledged, and g1.s1.a2 came", |scene| {
        scene.lend(1, 9000, "g1.s1.a2", DeliveryCause::LeaseExpired);
    });
    let again = |scene: &mut Scene| {
        scene.lend(1, 9000, "g1.s3.a2", DeliveryCause::Redriven);
        scene.settle(9001, &[("g1.s3.a2", Said::Ack, APPLIED)], 5);
    };
    CHECK.sees("I12: g1.s3.a1 was parked, and g1.s3.a2 came", again);
    for seqs in [None, Some(vec![3])] {
        CHECK.allows(|scene| {
            again(scene);
            scene.operate(What::Redrive(seqs), 8000, 0, 0);
        });
    }
    CHECK.sees("I12: g1.s3.a1 was parked, and g1.s3.a2 came", |scene| {
        again(scene);
        scene.operate(What::Redrive(Some(vec![4])), 8000, 0, 0);
        scene.operate(What::Redrive(None), 100, 0, 0);
    });
}

#[test]
fn i12_a_lease_that_was_lost_settles_nothing() {
    let late = |lease: &'static str, said: Said, outcome: SettleOutcome| {
        move |scene: &mut Scene| scene.settle(105, &[(lease, said, outcome)], 1)
    };
    CHECK.sees(
        "I12: Ack of g1.s2.a1 was answered SETTLE_OUTCOME_APPLIED: g1.s2.a2 had come before",
        late("g1.s2.a1", Said::Ack, APPLIED),
    );
    CHECK.allows(late("g1.s2.a1", Said::Ack, LOST));
    CHECK.sees(
        "I12: Ack of g1.s4.a1000001 was answered SETTLE_OUTCOME_APPLIED",
        late("g1.s4.a1000001", Said::Ack, APPLIED),
    );
    CHECK.allows(late("g1.s4.a1000001", Said::Ack, UNKNOWN));
    CHECK.sees(
        "I12: Park of g1.s4.a1 was answered SETTLE_OUTCOME_APPLIED: Ack of the same",
        late("g1.s4.a1", Said::Park, APPLIED),
    );
    CHECK.allows(late("g1.s4.a1", Said::Park, LOST));
    CHECK.sees(
        "I12: Ack of g1.s4.a1 was answered SETTLE_OUTCOME_APPLIED: Ack of the same",
        late("g1.s4.a1", Said::Ack, APPLIED),
    );
    CHECK.allows(late("g1.s4.a1", Said::Ack, ALREADY));
}

#[test]
fn i12_answers_that_are_not_so() {
    let instead = |said: Said, outcome: SettleOutcome| {
        move |scene: &mut Scene| {
            scene.settle_of("g1.s4.a1").said.pop();
            scene.settle(50, &[("g1.s4.a1", said, outcome)], 1);
        }
    };
    CHECK.allows(instead(Said::Ack, APPLIED));
    CHECK.sees("I12: Ack of g1.s4.a1 was answered SETTLE_OUTCOME_ALREADY_APPLIED: nobody", instead(Said::Ack, ALREADY));
    CHECK.sees(
        "I12: Ack of g1.s4.a1 was answered SETTLE_OUTCOME_LEASE_LOST: the lease cannot be lost",
        instead(Said::Ack, LOST),
    );
    CHECK.sees(
        "I12: Park of g1.s4.a1 was answered SETTLE_OUTCOME_LEASE_LOST: the lease cannot be lost",
        instead(Said::Park, LOST),
    );
    CHECK.sees(
        "I12: Ack of g1.s4.a1 was answered SETTLE_OUTCOME_UNKNOWN_LEASE: the lease was given",
        instead(Said::Ack, UNKNOWN),
    );
    CHECK.sees(
        "I12: Ack of g1.s4.a1 was answered SETTLE_OUTCOME_STALE_GENERATION: nobody moved",
        instead(Said::Ack, STALE),
    );
    // So far below the floor that it may be forgotten.
    CHECK.allows(|scene| {
        instead(Said::Ack, ALREADY)(scene);
        scene.settles.last_mut().unwrap().told.as_mut().unwrap().floor = 5 + FORGOTTEN;
    });
}

#[test]
fn i12_a_stream_may_have_given_it_back() {
    let released = |releases: bool| {
        move |scene: &mut Scene| {
            scene.settle_of("g1.s4.a1").said.pop();
            scene.streams[0].asked.releases = releases;
            scene.settle(9000, &[("g1.s4.a1", Said::Release, ALREADY)], 1);
            scene.lend(1, 9500, "g1.s4.a2", DeliveryCause::LeaseExpired);
            scene.settle(9600, &[("g1.s4.a2", Said::Ack, APPLIED)], 5);
        }
    };
    CHECK.allows(released(true));
    CHECK.sees("I12: Release of g1.s4.a1 was answered SETTLE_OUTCOME_ALREADY_APPLIED: nobody", released(false));
}

#[test]
fn i11_what_is_used_up_holds_up_nothing() {
    // Event 2 was tried twice, and nobody has heard of it since: it may be parked.
    let tried = |most: u32| {
        move |scene: &mut Scene| {
            scene.shared.max_attempts = most;
            scene.unlend("g1.s3.a1");
            scene.lend(1, 105, "g1.s3.a1", DeliveryCause::First);
        }
    };
    assert!(!CHECK.found(tried(2)).iter().any(|line| line.contains("of its key")));
    CHECK.sees("I11: g1.s3.a1 came before event 2 of its key can have been settled", tried(3));
}

#[test]
fn i12_leases_of_an_earlier_generation() {
    let after_a_seek = |outcome: SettleOutcome| {
        move |scene: &mut Scene| {
            scene.settle_of("g1.s4.a1").said.pop();
            scene.operate(What::Seek(4), 200, 2, 4);
            scene.settle(300, &[("g1.s4.a1", Said::Ack, outcome)], 1);
        }
    };
    CHECK.allows(after_a_seek(STALE));
    CHECK.sees(
        "I12: Ack of g1.s4.a1 was answered SETTLE_OUTCOME_APPLIED: the subscription had been moved",
        after_a_seek(APPLIED),
    );
}

#[test]
fn i10_what_is_not_wanted() {
    CHECK.sees("I10: event 5 came, and is not wanted after 0", |scene| {
        scene.lend(1, 50, "g1.s5.a1", DeliveryCause::First)
    });
    CHECK.sees("I10: event 1 came, and is not wanted after 1", |scene| scene.operations[0].what = What::Make(1));
}

#[test]
fn a_frame_without_a_lease_is_no_loan() {
    let deliveries = |scene: &Scene| {
        let frames = scene.streams.iter().flat_map(|stream| &stream.frames);
        frames.filter(|(_, frame)| matches!(frame, Frame::Delivery { .. })).count()
    };
    let scene = Scene::all_is_well();
    let (book, _) = Book::new(&scene.subject());
    let loans = book.generations[&1].events.values().map(|story| story.loans.len()).sum::<usize>();
    assert_eq!((deliveries(&scene), loans), (5, 5));
}
