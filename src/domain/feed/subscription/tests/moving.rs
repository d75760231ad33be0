//! Whatever else moves: consumers that leave and come back, seek, redrive, update, and what a store is told of it.

use super::*;

#[test]
fn what_a_consumer_leaves_others_may_have() {
    let mut oms = subscription(OrderingMode::Unordered);
    let rooms = [small("a", 2), small("b", 1)];
    oms.lend(at(0), &rooms, &fresh(&["A", "B", "C"]));
    oms.release("a");
    oms.release("nobody");
    assert_eq!((oms.held("a"), oms.held("b").leases.len()), (HeldLeases::default(), 1));
    let loans = oms.lend(at(1), &[room("c")], &nothing());
    assert_eq!(
        loans.iter().map(|loan| (loan.lease, loan.cause)).collect::<Vec<_>>(),
        [(lease(1, 2), DeliveryCause::LeaseExpired), (lease(2, 2), DeliveryCause::LeaseExpired)]
    );
    assert_eq!(oms.rows.get(1).unwrap().failures, 0);
}

#[test]
fn who_lost_its_memory_gets_all_again() {
    let mut oms = subscription(OrderingMode::KeyOrdered);
    lend(&mut oms, at(0), &fresh(&["A", "B"]));
    oms.reclaim("a");
    assert_eq!(oms.outstanding(), 0);
    let loans = oms.lend(at(1), &[room("a")], &nothing());
    let again =
        |seq| LeaseGrant { room: 0, lease: lease(seq, 2), until: at(31), cause: DeliveryCause::Reclaimed, size: 10 };
    assert_eq!(loans, [again(1), again(2)]);
}

/// Two consumers of one name take each other's place without end.
#[test]
fn what_is_reclaimed_is_not_parked_for_that_and_each_loan_has_a_lease_of_its_own() {
    let mut oms = with(SubscriptionConfig { max_attempts: 2, ..SubscriptionConfig::default() });
    lend(&mut oms, at(0), &fresh(&["A", "A"]));
    for attempt in 2..100 {
        oms.reclaim("a");
        let loans = oms.lend(at(1), &[room("a")], &nothing());
        assert_eq!(Vec::from_iter(loans.iter().map(|loan| loan.lease)), [lease(1, attempt)]);
    }
    // Its time runs out twice, which counts.
    assert_eq!(lend(&mut oms, at(40), &nothing()), [1]);
    assert_eq!(lend(&mut oms, at(80), &nothing()), [2]);
    let reason = "its attempts were used up".into();
    assert_eq!(state(&oms, 1), RowState::Parked { since: at(80).wall, reason });
}

#[test]
fn a_seek_begins_anew() {
    let mut oms = subscription(OrderingMode::KeyOrdered);
    lend(&mut oms, at(0), &fresh(&["A", "A", "B"]));
    settle(&mut oms, at(0), lease(3, 1), park(""));
    oms.take_changes();
    oms.seek(1, at(5).wall);
    let head = oms.head().clone();
    assert_eq!((head.generation, head.floor, head.scanned, head.updated, head.version), (2, 1, 1, at(5).wall, 1));
    assert_eq!((oms.outstanding(), oms.parked(), oms.unsettled(), oms.next_time()), (0, 0, 0, None));
    assert_eq!(oms.take_changes(), SubscriptionChanges { head: Some(head), clear: true, put: vec![], drop: vec![] });
    let loans = oms.lend(at(6), &[room("b")], &fresh_after(1, &["A"]));
    assert_eq!(loans[0].lease, Lease { generation: 2, seq: 2, attempt: 1 });
    oms.seek(u64::MAX, at(7).wall);
    assert_eq!((oms.head().generation, oms.head().floor, oms.needs_after()), (3, u64::MAX, u64::MAX));
}

#[test]
fn parked_events_are_listed_and_given_out_again() {
    let mut oms =
        with(SubscriptionConfig { mode: OrderingMode::Unordered, max_attempts: 2, ..SubscriptionConfig::default() });
    lend(&mut oms, at(0), &fresh(&["A", "B", "C", "D"]));
    settle(&mut oms, at(0), lease(3, 1), retry(0));
    lend(&mut oms, at(0), &nothing());
    for (seq, attempt) in [(1, 1), (3, 2), (4, 1)] {
        settle(&mut oms, at(2), lease(seq, attempt), park("no such order"));
    }
    let listed =
        |oms: &Subscription, after, limit| oms.parked_after(after, limit).iter().map(|row| row.seq).collect::<Vec<_>>();
    assert_eq!(listed(&oms, 0, 9), [1, 3, 4]);
    assert_eq!(listed(&oms, 1, 1), [3]);
    assert_eq!(listed(&oms, 4, 9), [] as [u64; 0]);
    assert_eq!(listed(&oms, u64::MAX, 9), [] as [u64; 0]);

    assert_eq!(oms.redrive(Some(&[3, 3, 2, 77])), 1);
    assert_eq!(oms.rows.get(3).unwrap().failures, 0, "counted anew");
    let loans = oms.lend(at(3), &[room("b")], &nothing());
    assert_eq!(
        loans.iter().map(|loan| (loan.lease, loan.cause)).collect::<Vec<_>>(),
        [(lease(3, 3), DeliveryCause::Redriven)]
    );
    assert_eq!((oms.redrive(Some(&[])), oms.redrive(None), oms.redrive(None)), (0, 2, 0));
    assert_eq!(oms.parked(), 0);
}

#[test]
fn an_update_counts_if_it_changes_something() {
    let mut oms = subscription(OrderingMode::Exclusive);
    oms.take_changes();
    let same = oms.head().config.clone();
    oms.update(same.clone(), at(9).wall);
    assert!(oms.take_changes().is_empty());
    oms.update(SubscriptionConfig { mode: OrderingMode::Unordered, paused: true, ..same.clone() }, at(9).wall);
    let head = oms.head().clone();
    assert_eq!(head.config, SubscriptionConfig { paused: true, ..same }, "the mode stays");
    assert_eq!((head.version, head.generation, head.updated), (2, 1, at(9).wall));
    assert_eq!(oms.take_changes(), SubscriptionChanges { head: Some(head), ..SubscriptionChanges::default() });
}

#[test]
fn a_new_one_has_its_head_to_store() {
    let mut oms = Subscription::new(7, 1, "oms".into(), SubscriptionConfig::default(), 40, at(0).wall);
    let head = SubscriptionHead {
        id: 7,
        name: "oms".into(),
        config: SubscriptionConfig::default(),
        scope: None,
        version: 1,
        generation: 1,
        floor: 40,
        scanned: 40,
        created: at(0).wall,
        updated: at(0).wall,
    };
    assert_eq!(oms.head(), &head);
    assert_eq!(oms.take_changes(), SubscriptionChanges { head: Some(head.clone()), ..SubscriptionChanges::default() });
    assert!(oms.take_changes().is_empty());
    assert!(Subscription::load(head, Vec::new()).take_changes().is_empty());
}

#[test]
fn only_what_changed_is_told() {
    let mut oms = subscription(OrderingMode::Unordered);
    lend(&mut oms, at(0), &fresh(&["A", "B", "C"]));
    let changes = oms.take_changes();
    assert_eq!(changes.put.iter().map(|row| row.seq).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!((changes.clear, changes.drop.len(), changes.head.unwrap().scanned), (false, 0, 3));

    settle(&mut oms, at(0), lease(3, 1), park("x"));
    let changes = oms.take_changes();
    assert_eq!((changes.head, changes.put.len(), changes.put[0].seq), (None, 1, 3));
    oms.trimmed(4);
    assert_eq!(oms.take_changes(), SubscriptionChanges { drop: vec![3], ..SubscriptionChanges::default() });
    oms.seek(3, at(1).wall);
    assert!(oms.take_changes().clear);
    oms.lend(at(1), &[room("a")], &fresh_after(3, &["D"]));
    oms.seek(0, at(2).wall);
    let changes = oms.take_changes();
    assert_eq!((changes.clear, changes.put.len(), changes.drop.len()), (false, 0, 0), "nothing of it was stored");
}
