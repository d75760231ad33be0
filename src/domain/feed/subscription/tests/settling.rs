//! What a consumer's word does: the table of `settle.rs`, row by row.

use super::*;

/// Event 1 was lent twice: its lease is `(1, 2)`. Event 2 is of its key.
fn lent_twice() -> Subscription {
    let mut oms = subscription(OrderingMode::KeyOrdered);
    lend(&mut oms, at(0), &fresh(&["A", "A"]));
    settle(&mut oms, at(0), lease(1, 1), SettleVerdict::Release);
    lend(&mut oms, at(0), &nothing());
    oms.take_changes();
    oms
}

/// Tells each verdict to a copy, and that only what applies changes something.
#[track_caller]
fn told(oms: &Subscription, now: Moment, lease: Lease, expected: [SettleOutcome; 5]) {
    for (verdict, expected) in every_verdict().into_iter().zip(expected) {
        let mut oms = oms.clone();
        oms.take_changes();
        let outcome = settle(&mut oms, now, lease, verdict.clone());
        assert_eq!(outcome, expected, "{verdict:?} of {lease}");
        assert_eq!(
            oms.take_changes().is_empty(),
            !matches!(outcome, SettleOutcome::Applied(_)),
            "{verdict:?} of {lease}"
        );
    }
}

const DONE: SettleOutcome = SettleOutcome::Applied(None);
const AGAIN: SettleOutcome = SettleOutcome::AlreadyApplied;
const LOST: SettleOutcome = SettleOutcome::LeaseLost;
const STALE: SettleOutcome = SettleOutcome::StaleGeneration;
const UNKNOWN: SettleOutcome = SettleOutcome::UnknownLease;

#[test]
fn a_lease_that_was_never_given() {
    let oms = lent_twice();
    for lease in [
        lease(1, 3),
        lease(1, 0),
        lease(1, u32::MAX),
        lease(2, 1),
        lease(0, 1),
        lease(3, 1),
        lease(u64::MAX, 1),
        Lease { generation: 2, ..lease(1, 2) },
        Lease { generation: 0, ..lease(1, 2) },
        Lease { generation: u64::MAX, ..lease(1, 2) },
    ] {
        told(&oms, at(1), lease, [UNKNOWN; 5]);
    }
}

#[test]
fn a_lease_of_an_earlier_attempt() {
    let mut oms = lent_twice();
    told(&oms, at(1), lease(1, 1), [LOST; 5]);
    ack(&mut oms, 1, 2);
    told(&oms, at(1), lease(1, 1), [LOST; 5]);
}

#[test]
fn a_lease_of_an_earlier_generation() {
    let mut oms = lent_twice();
    oms.seek(0, at(1).wall);
    for seq in [0, 1, 99] {
        told(&oms, at(1), lease(seq, 2), [STALE; 5]);
    }
}

#[test]
fn a_loan_that_lasts() {
    let extended = SettleOutcome::Applied(Some(at(31)));
    told(&lent_twice(), at(1), lease(1, 2), [DONE, DONE, DONE, extended, DONE]);
}

#[test]
fn a_loan_whose_time_is_over() {
    let mut oms = lent_twice();
    told(&oms, at(30), lease(1, 2), [DONE, LOST, LOST, LOST, LOST]);
    oms.lend(at(30), &[], &nothing());
    assert_eq!(state(&oms, 1), pending(DeliveryCause::LeaseExpired));
    told(&oms, at(30), lease(1, 2), [DONE, LOST, LOST, LOST, LOST]);
}

#[test]
fn a_word_is_told_from_another() {
    let after = |verdict| {
        let mut oms = lent_twice();
        settle(&mut oms, at(1), lease(1, 2), verdict);
        oms
    };
    let mut waiting = after(retry(5));
    told(&waiting, at(2), lease(1, 2), [DONE, AGAIN, LOST, LOST, LOST]);
    waiting.lend(at(6), &[], &nothing());
    assert_eq!(state(&waiting, 1), pending(DeliveryCause::Retry));
    told(&waiting, at(6), lease(1, 2), [DONE, AGAIN, LOST, LOST, LOST]);

    let mut parked = after(park("no such order"));
    told(&parked, at(2), lease(1, 2), [DONE, LOST, AGAIN, LOST, LOST]);
    parked.redrive(None);
    told(&parked, at(2), lease(1, 2), [DONE, LOST, AGAIN, LOST, LOST]);

    told(&after(SettleVerdict::Release), at(2), lease(1, 2), [DONE, LOST, LOST, LOST, AGAIN]);
    told(&after(SettleVerdict::Ack), at(2), lease(1, 2), [AGAIN, LOST, LOST, LOST, LOST]);

    let mut acked_late = after(retry(5));
    ack(&mut acked_late, 1, 2);
    told(&acked_late, at(2), lease(1, 2), [AGAIN, LOST, LOST, LOST, LOST]);
}

#[test]
fn a_loan_that_ended_without_a_word() {
    let mut oms = lent_twice();
    oms.reclaim("a");
    told(&oms, at(1), lease(1, 2), [DONE, LOST, LOST, LOST, LOST]);
    let mut oms = lent_twice();
    oms.release("a");
    told(&oms, at(1), lease(1, 2), [DONE, LOST, LOST, LOST, AGAIN]);

    let mut oms = with(SubscriptionConfig { max_attempts: 1, ..SubscriptionConfig::default() });
    lend(&mut oms, at(0), &fresh(&["A"]));
    oms.lend(at(30), &[], &nothing());
    assert_eq!(oms.parked(), 1);
    told(&oms, at(30), lease(1, 1), [DONE, LOST, LOST, LOST, LOST]);
}

#[test]
fn an_event_far_below_the_floor() {
    let mut oms = subscription(OrderingMode::KeyOrdered);
    lend(&mut oms, at(0), &fresh(&["A", "B"]));
    ack(&mut oms, 1, 1);
    ack(&mut oms, 2, 1);
    let skip = |oms: &mut Subscription, upto| oms.lend(at(0), &[], &FreshEvents { after: 2, upto, events: vec![] });
    skip(&mut oms, REMEMBERED);
    told(&oms, at(0), lease(1, 1), [AGAIN, LOST, LOST, LOST, LOST]);
    told(&oms, at(0), lease(1, 2), [UNKNOWN; 5]);
    told(&oms, at(0), lease(5, 1), [UNKNOWN; 5]);
    oms.take_changes();
    skip(&mut oms, REMEMBERED + 1);
    assert_eq!(oms.take_changes().drop, [1], "forgotten");
    told(&oms, at(0), lease(1, 1), [AGAIN, LOST, LOST, LOST, LOST]);
    told(&oms, at(0), lease(1, 7), [AGAIN, LOST, LOST, LOST, LOST]);
    told(&oms, at(0), lease(1, 0), [UNKNOWN; 5]);
    told(&oms, at(0), lease(0, 1), [UNKNOWN; 5]);
    told(&oms, at(0), lease(2, 2), [UNKNOWN; 5]);
}

#[test]
fn what_is_parked_far_below_the_floor_is_not_forgotten() {
    let mut oms = subscription(OrderingMode::KeyOrdered);
    lend(&mut oms, at(0), &fresh(&["A"]));
    settle(&mut oms, at(0), lease(1, 1), park("later"));
    oms.lend(at(0), &[], &FreshEvents { after: 1, upto: 3 * REMEMBERED, events: vec![] });
    assert_eq!((oms.redrive(None), lend(&mut oms, at(1), &nothing())), (1, vec![1]));
    oms.take_changes();
    assert_eq!(ack(&mut oms, 1, 2), DONE);
    assert_eq!(oms.take_changes(), SubscriptionChanges { drop: vec![1], ..SubscriptionChanges::default() });
    assert_eq!(ack(&mut oms, 1, 2), AGAIN);
}

#[test]
fn verdicts_are_carried_out_in_order() {
    let mut oms = lent_twice();
    let verdicts = [
        (lease(1, 2), retry(0)),
        (lease(1, 2), SettleVerdict::Ack),
        (lease(1, 2), SettleVerdict::Ack),
        (lease(2, 1), SettleVerdict::Ack),
        (lease(1, 2), SettleVerdict::Release),
    ];
    assert_eq!(oms.settle(at(1), &verdicts, &mut || 0.5), [DONE, DONE, AGAIN, UNKNOWN, LOST]);
    assert_eq!(oms.head().floor, 1);
    assert!(oms.settle(at(1), &[], &mut || 0.5).is_empty());
}

#[test]
fn an_extension_counts_from_now_and_never_shortens() {
    let mut oms = lent_twice();
    let mut extend = |now, by: Option<u64>| {
        settle(&mut oms, now, lease(1, 2), SettleVerdict::Extend { by: by.map(Duration::from_secs) })
    };
    assert_eq!(extend(at(10), None), SettleOutcome::Applied(Some(at(40))));
    assert_eq!(extend(at(10), Some(300)), SettleOutcome::Applied(Some(at(310))));
    assert_eq!(extend(at(20), Some(5)), SettleOutcome::Applied(Some(at(310))));
    assert_eq!((oms.next_time(), oms.held("a").leases), (Some(at(310).steady), vec![lease(1, 2)]));
    assert!(lend(&mut oms, at(309), &nothing()).is_empty());
}

#[test]
fn the_pause_doubles_up_to_its_bound() {
    let pauses = |fraction: f64| {
        let config = SubscriptionConfig {
            backoff_max: Duration::from_secs(5),
            max_attempts: 0,
            ..SubscriptionConfig::default()
        };
        let mut oms = with(config);
        let mut now = at(0);
        lend(&mut oms, now, &fresh(&["A"]));
        let mut pauses = Vec::new();
        for attempt in 1..40 {
            let verdict = SettleVerdict::Retry { delay: None, reason: String::new() };
            oms.settle(now, &[(lease(1, attempt), verdict)], &mut || fraction);
            let pause = oms.next_time().unwrap().since(now.steady);
            pauses.push(pause.as_millis());
            now = now.plus(pause);
            assert_eq!(lend(&mut oms, now, &nothing()), [1], "attempt {attempt}");
        }
        pauses
    };
    let longest = pauses(1.0);
    assert_eq!(longest[..5], [1_000, 2_000, 4_000, 5_000, 5_000]);
    assert_eq!(longest[38], 5_000);
    assert_eq!(pauses(0.25)[..3], [250, 500, 1_000]);
    assert_eq!(pauses(0.0)[..3], [0, 0, 0]);
    for (odd, as_if) in [(-1.0, 0.0), (7.0, 1.0), (f64::NAN, 1.0)] {
        assert_eq!(pauses(odd), pauses(as_if), "{odd}");
    }
}

#[test]
fn a_retry_comes_after_its_delay_and_parks_in_the_end() {
    let mut oms = with(SubscriptionConfig { max_attempts: 2, ..SubscriptionConfig::default() });
    lend(&mut oms, at(0), &fresh(&["A", "B"]));
    let mut draws = 0;
    let mut draw = || {
        draws += 1;
        0.5
    };
    let why = |reason: &str| SettleVerdict::Retry { delay: Some(Duration::from_secs(7)), reason: reason.into() };
    oms.settle(at(0), &[(lease(1, 1), why("busy")), (lease(2, 1), why(""))], &mut draw);
    assert_eq!(draws, 0, "the consumer chose the time");
    assert_eq!(state(&oms, 1), RowState::Waiting { until: at(7) });
    let loans = oms.lend(at(7), &[room("b")], &nothing());
    assert_eq!(loans.iter().map(|loan| loan.cause).collect::<Vec<_>>(), [DeliveryCause::Retry; 2]);

    oms.settle(at(8), &[(lease(1, 2), why("busy")), (lease(2, 2), why(""))], &mut || 0.5);
    assert_eq!(state(&oms, 1), RowState::Parked { since: at(8).wall, reason: "busy".into() });
    assert_eq!(state(&oms, 2), RowState::Parked { since: at(8).wall, reason: "its attempts were used up".into() });
    told(&oms, at(8), lease(1, 2), [DONE, AGAIN, LOST, LOST, LOST]);
    assert_eq!((oms.head().floor, oms.next_time()), (2, None));
}

#[test]
fn what_is_given_back_is_no_failure() {
    let mut oms = with(SubscriptionConfig { max_attempts: 1, ..SubscriptionConfig::default() });
    lend(&mut oms, at(0), &fresh(&["A"]));
    for attempt in 1..9 {
        assert_eq!(settle(&mut oms, at(0), lease(1, attempt), SettleVerdict::Release), DONE);
        let loans = oms.lend(at(0), &[room("b")], &nothing());
        assert_eq!((loans[0].lease.attempt, loans[0].cause), (attempt + 1, DeliveryCause::LeaseExpired));
    }
}
