//! Who gets what.

use super::*;

#[test]
fn fresh_events_are_lent_in_order() {
    let mut oms = subscription(OrderingMode::KeyOrdered);
    let rooms = [room("a")];
    let loans = oms.lend(at(0), &rooms, &fresh(&["A", "B"]));
    let loan = |seq| LeaseGrant { room: 0, lease: lease(seq, 1), until: at(30), cause: DeliveryCause::First, size: 10 };
    assert_eq!(loans, [loan(1), loan(2)]);
    assert_eq!((oms.outstanding(), oms.unsettled(), oms.next_time()), (2, 2, Some(at(30).steady)));
    assert_eq!(oms.held("a"), HeldLeases { leases: vec![lease(1, 1), lease(2, 1)], bytes: 20 });
    assert_eq!(oms.held("b"), HeldLeases::default());
    assert_eq!((oms.head().floor, oms.head().scanned, oms.oldest_unsettled()), (0, 2, Some(Timestamp(1))));
    assert!(lend(&mut oms, at(1), &fresh(&["A", "B"])).is_empty(), "nothing is lent twice");
}

#[test]
fn an_event_waits_for_the_earlier_ones_of_its_key() {
    let mut oms = subscription(OrderingMode::KeyOrdered);
    assert_eq!(lend(&mut oms, at(0), &fresh(&["A", "A", "", "", "B"])), [1, 3, 4, 5]);
    assert_eq!((oms.head().scanned, state(&oms, 2)), (5, pending(DeliveryCause::First)));

    settle(&mut oms, at(0), lease(1, 1), retry(10));
    assert!(lend(&mut oms, at(1), &nothing()).is_empty(), "a retry holds up its key");
    assert_eq!(lend(&mut oms, at(10), &nothing()), [1]);
    assert_eq!(lend(&mut oms, at(40), &nothing()), [1, 3, 4, 5], "so does a loan that ended");
    settle(&mut oms, at(41), lease(1, 3), park(""));
    assert_eq!(lend(&mut oms, at(41), &nothing()), [2], "what is parked does not");

    oms.redrive(None);
    assert!(lend(&mut oms, at(42), &nothing()).is_empty(), "one loan of a key at a time");
    settle(&mut oms, at(42), lease(2, 1), SettleVerdict::Release);
    assert_eq!(lend(&mut oms, at(42), &nothing()), [1], "a redriven one is an earlier one");
}

#[test]
fn without_order_nothing_waits() {
    let mut oms = subscription(OrderingMode::Unordered);
    assert_eq!(lend(&mut oms, at(0), &fresh(&["A", "A", "A"])), [1, 2, 3]);
    settle(&mut oms, at(0), lease(1, 1), retry(10));
    assert_eq!(lend(&mut oms, at(0), &fresh_after(3, &["A"])), [4]);
}

#[test]
fn one_consumer_at_a_time_has_an_exclusive_one() {
    let mut oms = subscription(OrderingMode::Exclusive);
    let rooms = [small("a", 2), small("b", 3)];
    assert_eq!(lent(&oms.lend(at(0), &rooms, &fresh(&["A", "A", "B", "C"])), &rooms), [(1, "b"), (2, "b"), (3, "b")]);
    assert_eq!(oms.head().scanned, 3);
    assert!(oms.lend(at(1), &[room("a")], &fresh_after(3, &["C"])).is_empty(), "b has them");

    settle(&mut oms, at(1), lease(2, 1), retry(10));
    let mut again = |now, seq| {
        let loans = oms.lend(now, &[room("b")], &fresh_after(3, &["C"]));
        assert_eq!(loans.first().map(|loan| loan.lease.seq), seq);
        oms.head().scanned
    };
    assert_eq!(again(at(2), None), 3, "all later ones wait for the retry");
    assert_eq!(again(at(11), Some(2)), 4);
    for seq in [1, 3, 4] {
        assert_eq!(ack(&mut oms, seq, 1), SettleOutcome::Applied(None));
    }
    assert_eq!(ack(&mut oms, 2, 2), SettleOutcome::Applied(None));
    let rooms = [room("a")];
    assert_eq!(lent(&oms.lend(at(12), &rooms, &fresh_after(4, &["D"])), &rooms), [(5, "a")]);
}

/// It would overtake the one that was given out again.
#[test]
fn what_an_exclusive_one_gives_out_again_comes_before_what_is_fresh() {
    let mut oms = subscription(OrderingMode::Exclusive);
    lend(&mut oms, at(0), &fresh(&["A", "B", "C"]));
    settle(&mut oms, at(0), lease(3, 1), SettleVerdict::Release);
    settle(&mut oms, at(0), lease(1, 1), retry(5));
    assert!(lend(&mut oms, at(1), &fresh_after(3, &["D"])).is_empty());
    assert_eq!(lend(&mut oms, at(5), &fresh_after(3, &["D"])), [1, 3, 4]);
}

#[test]
fn the_freest_is_served_first() {
    let mut oms = subscription(OrderingMode::Unordered);
    let rooms = [small("a", 1), small("b", 3), small("c", 2), small("d", 0)];
    let loans = oms.lend(at(0), &rooms, &fresh(&[""; 9]));
    assert_eq!(lent(&loans, &rooms), [(1, "b"), (2, "b"), (3, "c"), (4, "a"), (5, "b"), (6, "c")]);
    assert_eq!(oms.head().scanned, 6, "what there is no room for stays fresh");
}

#[test]
fn an_event_must_fit() {
    let mut oms = subscription(OrderingMode::Unordered);
    let tight = |consumer, bytes, empty| ConsumerWindow { bytes, empty, ..small(consumer, 3) };
    let rooms = [tight("a", 25, false), ConsumerWindow { events: 2, ..tight("b", 5, true) }];
    let loans = oms.lend(at(0), &rooms, &fresh(&[""; 9]));
    assert_eq!(lent(&loans, &rooms), [(1, "a"), (2, "a"), (3, "b")], "one of any size fits into an empty room");
    assert_eq!(oms.head().scanned, 3);
    assert!(oms.lend(at(0), &[tight("c", 9, false)], &fresh_after(3, &[""])).is_empty());
    assert_eq!(oms.lend(at(0), &[tight("c", 10, false)], &fresh_after(3, &[""])).len(), 1);
}

/// Else it would wait as long as small ones come.
#[test]
fn what_fits_nowhere_is_not_overtaken() {
    let mut oms = subscription(OrderingMode::Unordered);
    let mut large = fresh(&["", "", ""]);
    large.events[0].size = 100;
    let tight = [ConsumerWindow { bytes: 50, empty: false, ..room("a") }];
    assert!(oms.lend(at(0), &tight, &large).is_empty());
    assert_eq!(oms.head().scanned, 0);
    lend(&mut oms, at(0), &large);
    oms.release("a");
    assert!(oms.lend(at(0), &tight, &fresh_after(3, &[""])).is_empty());
    assert_eq!(oms.head().scanned, 3);
}

#[test]
fn fresh_events_must_go_on_where_the_last_ended() {
    let mut oms = subscription(OrderingMode::KeyOrdered);
    assert!(lend(&mut oms, at(0), &fresh_after(1, &["A"])).is_empty());
    assert_eq!(oms.head().scanned, 0, "there is a gap");
    assert_eq!(lend(&mut oms, at(0), &fresh(&["A", "B"])), [1, 2]);
    assert_eq!(lend(&mut oms, at(0), &fresh_after(1, &["B", "C"])), [3], "what was looked at is skipped");
    assert!(lend(&mut oms, at(0), &fresh(&["A", "B"])).is_empty());
    assert_eq!(oms.head().scanned, 3);
}

#[test]
fn what_does_not_match_moves_the_floor() {
    let mut oms = subscription(OrderingMode::KeyOrdered);
    assert!(oms.lend(at(0), &[], &FreshEvents { after: 0, upto: 9, events: vec![] }).is_empty());
    assert_eq!((oms.head().floor, oms.head().scanned), (9, 9));
    let far = FreshEvents { after: 9, upto: 30, events: fresh_after(19, &["A", "B"]).events };
    oms.lend(at(0), &[small("a", 1)], &far);
    assert_eq!((oms.head().floor, oms.head().scanned), (19, 20));
}

#[test]
fn a_paused_one_lends_nothing_and_ends_loans() {
    let mut oms = with(SubscriptionConfig { max_attempts: 1, ..SubscriptionConfig::default() });
    lend(&mut oms, at(0), &fresh(&["A", "B"]));
    ack(&mut oms, 2, 1);
    oms.update(SubscriptionConfig { paused: true, ..oms.head().config.clone() }, at(1).wall);
    assert!(lend(&mut oms, at(30), &fresh_after(2, &["C"])).is_empty());
    let reason = "its attempts were used up".to_owned();
    assert_eq!(state(&oms, 1), RowState::Parked { since: at(30).wall, reason });
    assert_eq!((oms.head().floor, oms.head().scanned), (2, 2));
}

#[test]
fn a_loan_ends_at_its_time() {
    let mut oms = subscription(OrderingMode::KeyOrdered);
    lend(&mut oms, at(0), &fresh(&["A"]));
    let just_before = Moment {
        wall: at(30).wall.minus(Duration::from_millis(1)),
        steady: at(30).steady.minus(Duration::from_millis(1)),
    };
    assert!(lend(&mut oms, just_before, &nothing()).is_empty());
    let loans = oms.lend(at(30), &[room("b")], &nothing());
    let again = LeaseGrant { room: 0, lease: lease(1, 2), until: at(60), cause: DeliveryCause::LeaseExpired, size: 10 };
    assert_eq!(loans, [again]);
    assert_eq!(oms.rows.get(1).unwrap().failures, 1);
    assert_eq!(oms.held("a"), HeldLeases::default());
}

#[test]
fn attempts_that_are_used_up_park() {
    for (most, parked_after) in [(1, 1), (3, 3)] {
        let mut oms = with(SubscriptionConfig { max_attempts: most, ..SubscriptionConfig::default() });
        lend(&mut oms, at(0), &fresh(&["A", "A"]));
        for attempt in 1..parked_after {
            assert_eq!(lend(&mut oms, at(30 * attempt), &nothing()), [1], "attempt {attempt} of {most}");
        }
        assert_eq!(lend(&mut oms, at(30 * parked_after), &nothing()), [2]);
        assert_eq!((oms.parked(), oms.head().floor), (1, 1));
    }
    let mut oms = with(SubscriptionConfig { max_attempts: 0, ..SubscriptionConfig::default() });
    lend(&mut oms, at(0), &fresh(&["A"]));
    for attempt in 1..50 {
        assert_eq!(lend(&mut oms, at(30 * attempt), &nothing()), [1], "never");
    }
}

#[test]
fn fewer_attempts_allowed_park_when_the_turn_comes() {
    let mut oms = subscription(OrderingMode::KeyOrdered);
    lend(&mut oms, at(0), &fresh(&["A", "A"]));
    settle(&mut oms, at(0), lease(1, 1), retry(0));
    oms.update(SubscriptionConfig { max_attempts: 1, ..SubscriptionConfig::default() }, at(1).wall);
    assert_eq!(lend(&mut oms, at(1), &nothing()), [2]);
    assert_eq!(oms.parked(), 1);
}

#[test]
fn a_subscription_looks_only_so_far_ahead() {
    let mut oms = subscription(OrderingMode::KeyOrdered);
    let mut many = fresh(&vec!["A"; MAX_UNSETTLED + 2]);
    assert_eq!(lend(&mut oms, at(0), &many), [1]);
    let most = MAX_UNSETTLED as u64;
    assert_eq!((oms.unsettled(), oms.head().scanned), (most, most));
    many.events.drain(..MAX_UNSETTLED);
    many.after = most;
    assert!(lend(&mut oms, at(0), &many).is_empty());
    ack(&mut oms, 1, 1);
    assert_eq!(lend(&mut oms, at(0), &many), [2]);
    assert_eq!((oms.unsettled(), oms.head().scanned), (most, most + 1), "one more for the one below the floor");
}

/// With all rows walked each time this would take hours.
#[test]
fn rows_that_wait_cost_nothing() {
    let mut oms = subscription(OrderingMode::KeyOrdered);
    lend(&mut oms, at(0), &fresh(&vec!["A"; MAX_UNSETTLED]));
    oms.take_changes();
    for seq in 1..10_000 {
        assert_eq!(ack(&mut oms, seq, 1), SettleOutcome::Applied(None));
        assert_eq!(lend(&mut oms, at(0), &nothing()), [seq + 1]);
        let changes = oms.take_changes();
        assert_eq!((changes.put.len(), changes.head.unwrap().floor), (2, seq));
    }
}

#[test]
fn who_sets_the_wall_clock_ends_no_loan_and_keeps_none_from_ending() {
    let hour = Duration::from_secs(3_600);
    let set = |now: Moment, ahead, back| Moment { wall: now.wall.plus(ahead).minus(back), ..now };
    let mut oms = subscription(OrderingMode::KeyOrdered);
    lend(&mut oms, at(0), &fresh(&["A", "B"]));
    settle(&mut oms, at(0), lease(2, 1), retry(10));
    let ahead = |seconds| set(at(seconds), hour, Duration::ZERO);
    let back = |seconds| set(at(seconds), Duration::ZERO, hour);
    assert!(lend(&mut oms, ahead(9), &nothing()).is_empty());
    assert_eq!(lend(&mut oms, back(10), &nothing()), [2]);
    assert!(lend(&mut oms, ahead(29), &nothing()).is_empty());
    assert_eq!(settle(&mut oms, back(29), lease(2, 2), SettleVerdict::Release), SettleOutcome::Applied(None));
    assert_eq!(lend(&mut oms, back(30), &nothing()), [1, 2]);
    // An extension by a clock that is behind lengthens the loan all the same.
    let extended = settle(&mut oms, back(31), lease(1, 2), SettleVerdict::Extend { by: None });
    assert_eq!(extended, SettleOutcome::Applied(Some(back(31).plus(Duration::from_secs(30)))));
    assert_eq!(oms.next_time(), Some(at(60).steady));
    assert_eq!(lend(&mut oms, ahead(60), &nothing()), [2]);
    assert_eq!(lend(&mut oms, back(61), &nothing()), [1]);
}
