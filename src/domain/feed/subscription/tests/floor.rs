//! Up to where all is settled.

use super::*;

fn floor(oms: &Subscription) -> u64 {
    oms.head().floor
}

#[test]
fn it_stays_before_the_first_unsettled_event() {
    let mut oms = subscription(OrderingMode::Unordered);
    lend(&mut oms, at(0), &fresh(&["A", "B", "C", "D"]));
    ack(&mut oms, 2, 1);
    assert_eq!(floor(&oms), 0);
    ack(&mut oms, 1, 1);
    assert_eq!(floor(&oms), 2);
    settle(&mut oms, at(0), lease(4, 1), park(""));
    assert_eq!(floor(&oms), 2);
    settle(&mut oms, at(0), lease(3, 1), retry(1));
    assert_eq!(floor(&oms), 2);
    ack(&mut oms, 3, 1);
    assert_eq!((floor(&oms), oms.unsettled()), (4, 0));
}

#[test]
fn what_was_redriven_never_moves_it() {
    let mut oms = subscription(OrderingMode::Unordered);
    lend(&mut oms, at(0), &fresh(&["A", "B", "C"]));
    settle(&mut oms, at(0), lease(2, 1), park(""));
    oms.redrive(None);
    assert_eq!((floor(&oms), state(&oms, 2)), (0, pending(DeliveryCause::Redriven)));
    ack(&mut oms, 1, 1);
    assert_eq!(floor(&oms), 2, "not held by it");
    lend(&mut oms, at(1), &nothing());
    ack(&mut oms, 2, 2);
    assert_eq!(floor(&oms), 2, "not moved by it");
    ack(&mut oms, 3, 1);
    assert_eq!(floor(&oms), 3);

    settle(&mut oms, at(1), lease(2, 2), park(""));
    assert_eq!((oms.redrive(None), floor(&oms)), (0, 3), "acknowledged for good");
}

#[test]
fn the_log_is_needed_from_the_first_that_is_not_done() {
    let mut oms = subscription(OrderingMode::Unordered);
    assert_eq!(oms.needs_after(), 0);
    lend(&mut oms, at(0), &fresh(&["A", "B", "C", "D"]));
    ack(&mut oms, 1, 1);
    assert_eq!(oms.needs_after(), 1);
    settle(&mut oms, at(0), lease(2, 1), park(""));
    ack(&mut oms, 3, 1);
    assert_eq!((floor(&oms), oms.needs_after()), (3, 1), "parked");
    oms.redrive(None);
    assert_eq!((floor(&oms), oms.needs_after()), (3, 1), "redriven");
    ack(&mut oms, 2, 1);
    assert_eq!((floor(&oms), oms.needs_after()), (3, 3));
}

#[test]
fn events_that_are_gone_unsettled_are_lost() {
    let mut oms = subscription(OrderingMode::Unordered);
    lend(&mut oms, at(0), &fresh(&["A", "B"]));
    ack(&mut oms, 1, 1);
    assert!(!oms.has_lost(0) && !oms.has_lost(2) && oms.has_lost(3));
    oms.seek(u64::MAX, at(1).wall);
    assert!(!oms.has_lost(u64::MAX));
}

#[test]
fn the_log_may_forget_what_was_parked() {
    let mut oms = subscription(OrderingMode::Unordered);
    lend(&mut oms, at(0), &fresh(&["A", "B", "C", "D", "E", "F"]));
    for seq in [1, 2, 3, 6] {
        settle(&mut oms, at(0), lease(seq, 1), park(""));
    }
    ack(&mut oms, 4, 1);
    oms.redrive(Some(&[2, 3]));
    oms.lend(at(1), &[small("b", 1)], &nothing());
    oms.take_changes();
    assert_eq!(oms.held("b").leases, [lease(2, 2)]);

    assert_eq!(oms.trimmed(1), 0);
    assert_eq!(oms.trimmed(6), 2, "1, parked, and 3, given out again; 2 is on loan, 4 acknowledged, 5 not settled");
    let changes = oms.take_changes();
    assert_eq!(changes, SubscriptionChanges { drop: vec![1, 3], ..SubscriptionChanges::default() });
    assert_eq!((floor(&oms), oms.has_lost(6)), (4, true));
    assert_eq!(ack(&mut oms, 2, 2), SettleOutcome::Applied(None));
    assert_eq!(ack(&mut oms, 5, 1), SettleOutcome::Applied(None), "still lent");
    assert_eq!((oms.trimmed(7), floor(&oms), oms.parked()), (1, 6, 0));
}
