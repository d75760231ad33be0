//! What an append stores, and when it stores nothing.

use std::collections::BTreeSet;

use futures_util::future::join_all;

use super::*;

pub(super) async fn what_is_appended_is_kept_as_given(log: OneFeed<impl Store>) {
    let head = log.head();
    let arrivals = ["a", "b", "c"].map(|id| log.event(id, time(1)));
    for (seq, arrival) in (1..).zip(&arrivals) {
        assert_eq!(*head.borrow(), seq - 1);
        assert_eq!(log.append(arrival.clone()).await.unwrap(), AppendOutcome::Stored { seq: Some(seq) });
        assert_eq!(*head.borrow(), seq);
    }
    let all = |raw| Vec::from_iter((1..).zip(&arrivals).map(|(seq, arrival)| event(seq, arrival, raw)));
    for raw in [false, true] {
        assert_eq!(log.read(0, 10, usize::MAX, raw).await.unwrap(), all(raw));
        assert_eq!(log.pick(vec![2], raw).await.unwrap(), all(raw)[1..2]);
        assert_eq!(log.find(&acme(), "c", raw).await.unwrap().as_ref(), all(raw).last());
    }
    let bounds = log.bounds().await.unwrap();
    assert_eq!((bounds.first, bounds.head), (1, 3));
    assert_ne!(bounds.log.0, 0);
    assert_eq!(log.bounds().await.unwrap(), bounds);
}

pub(super) async fn a_delivery_is_stored_once(log: OneFeed<impl Store>) {
    for (delivery, seq) in
        [(log.event("i", time(1)), Some(1)), (log.other("o", time(1)), Some(1)), (unreadable("u", time(1)), None)]
    {
        assert_eq!(log.append(delivery.clone()).await.unwrap(), AppendOutcome::Stored { seq });
        let later = WebhookDelivery { received: time(2), ..delivery.clone() };
        for again in [delivery, later] {
            assert_eq!(log.append(again).await.unwrap(), AppendOutcome::Duplicate);
        }
    }
    // What was not stored took no position.
    assert_eq!(append(&log, log.event("next", time(3))).await, 2);
    assert_eq!(log.pick(vec![1], true).await.unwrap(), [event(1, &log.event("i", time(1)), true)]);
}

pub(super) async fn one_id_with_two_bodies_is_a_conflict(log: OneFeed<impl Store>) {
    let first = log.event("i", time(1));
    append(&log, first.clone()).await;
    let differs = |body: &str| arrival(body, log.event("i", time(2)).content, time(2));
    for (body, became) in
        [("second", AppendOutcome::Conflict), ("third", AppendOutcome::Conflict), ("second", AppendOutcome::Duplicate)]
    {
        assert_eq!(log.append(differs(body)).await.unwrap(), became, "{body}");
    }
    // The first stands.
    assert_eq!(log.append(first.clone()).await.unwrap(), AppendOutcome::Duplicate);
    assert_eq!(log.read(0, 9, usize::MAX, true).await.unwrap(), [event(1, &first, true)]);
    head_is(&mut log.head(), 1).await;
}

pub(super) async fn an_id_is_of_its_account_and_of_its_kind(log: OneFeed<impl Store>) {
    append(&log, log.event("i", time(1))).await;
    let theirs = WebhookDelivery { account: other_account(), ..log.event("i", time(1)) };
    assert_eq!(append(&log, theirs).await, 2);
    // Another kind under the same id is another event, of this feed too.
    assert_eq!(log.append(log.other("i", time(1))).await.unwrap(), AppendOutcome::Stored { seq: Some(1) });
    assert_eq!(log.append(log.other("i", time(1))).await.unwrap(), AppendOutcome::Duplicate);
    for (number, (event_type, sub_event_type)) in (3..).zip([("A", ""), ("A", "B"), ("AB", ""), ("", "A")]) {
        let kind = || of_kind(log.event("i", time(1)), event_type, sub_event_type);
        assert_eq!(append(&log, kind()).await, number);
        assert_eq!(log.append(kind()).await.unwrap(), AppendOutcome::Duplicate, "{event_type} {sub_event_type}");
    }
    // The id finds the first of them.
    assert_eq!(log.find(&acme(), "i", false).await.unwrap(), Some(event(1, &log.event("i", time(1)), false)));
    // An id that reads as a body does not stand for it, nor the other way round.
    assert_eq!(log.append(unreadable("i", time(1))).await.unwrap(), AppendOutcome::Stored { seq: None });
    assert_eq!(log.append(unreadable("x", time(1))).await.unwrap(), AppendOutcome::Stored { seq: None });
    assert_eq!(append(&log, log.event("x", time(1))).await, 7);
}

pub(super) async fn an_unreadable_body_is_kept_once(log: OneFeed<impl Store>) {
    for account in [acme(), other_account()] {
        let delivery = WebhookDelivery { account, ..unreadable("{", time(1)) };
        assert_eq!(log.append(delivery.clone()).await.unwrap(), AppendOutcome::Stored { seq: None });
        assert_eq!(log.append(delivery.clone()).await.unwrap(), AppendOutcome::Duplicate);
        // Read as something else by a later version, it is still the same body.
        let reason = arrival("{", unreadable("", time(0)).content, time(9));
        assert_eq!(
            log.append(WebhookDelivery { account: delivery.account, ..reason }).await.unwrap(),
            AppendOutcome::Duplicate
        );
    }
    assert_eq!(log.quarantined(&[acme(), other_account()], 0, 9, false).await.unwrap().len(), 2);
    head_is(&mut log.head(), 0).await;
}

pub(super) async fn many_deliveries_of_one_id_are_one(log: OneFeed<impl Store>) {
    let senders = (0..50).map(|number| {
        let log = log.clone();
        tokio::spawn(async move { log.append(log.event("i", time(number))).await.unwrap() })
    });
    let senders: Vec<_> = senders.collect();
    let mut stored = 0;
    for sender in senders {
        match sender.await.unwrap() {
            AppendOutcome::Stored { seq } => {
                assert_eq!(seq, Some(1));
                stored += 1;
            }
            other => assert_eq!(other, AppendOutcome::Duplicate),
        }
    }
    assert_eq!(stored, 1);
    assert_eq!(seqs(&log, 0).await, [1]);
}

pub(super) async fn positions_have_no_gaps_whoever_appends(log: OneFeed<impl Store>) {
    let senders = (0..200).map(|number: u64| {
        let log = log.clone();
        // Every fourth one is of an id that another one has.
        let id = if number % 4 == 3 { number - 1 } else { number };
        tokio::spawn(async move { log.append(log.event(&id.to_string(), time(number))).await.unwrap() })
    });
    let senders: Vec<_> = senders.collect();
    let mut positions = BTreeSet::new();
    for sender in senders {
        if let AppendOutcome::Stored { seq } = sender.await.unwrap() {
            assert!(positions.insert(seq.unwrap()));
        }
    }
    let all = Vec::from_iter(1..=150);
    assert_eq!(Vec::from_iter(positions), all);
    assert_eq!(seqs(&log, 0).await, all);
    head_is(&mut log.head(), 150).await;
}

pub(super) async fn a_later_append_has_a_later_position(log: OneFeed<impl Store>) {
    let sender = |sender: u64| {
        let log = log.clone();
        tokio::spawn(async move {
            let mut last = 0;
            for number in 0..20 {
                // What anybody was told before is before.
                let known = *log.head().borrow();
                let seq = append(&log, log.event(&format!("{sender} {number}"), time(number))).await;
                assert!(seq > last && seq > known);
                last = seq;
            }
        })
    };
    for sender in join_all((0..10).map(sender)).await {
        sender.unwrap();
    }
    head_is(&mut log.head(), 200).await;
}

pub(super) async fn the_head_is_never_ahead_of_what_can_be_read(log: OneFeed<impl Store>) {
    let mut head = log.head();
    let reader = log.clone();
    let watcher = tokio::spawn(async move {
        let mut last = 0;
        while last < 300 {
            head.changed().await.unwrap();
            let now = *head.borrow_and_update();
            assert!(now > last);
            assert_eq!(seqs(&reader, last).await.first(), Some(&(last + 1)));
            assert_eq!(reader.pick(vec![now], false).await.unwrap().len(), 1);
            last = now;
        }
        last
    });
    for group in 0..30 {
        let appends = (0..10).map(|number| append(&log, log.event(&format!("{group} {number}"), time(number))));
        join_all(appends).await;
    }
    assert_eq!(watcher.await.unwrap(), 300);
}

pub(super) async fn an_append_happens_though_nobody_waits(log: OneFeed<impl Store>) {
    let mut head = log.head();
    let mut append = Box::pin(log.append(log.event("left", time(1))));
    // Handed over with the first poll.
    let _ = futures_util::poll!(append.as_mut());
    drop(append);
    head.wait_for(|head| *head == 1).await.unwrap();
    assert_eq!(seqs(&log, 0).await, [1]);
}

pub(super) async fn each_feed_has_a_log_of_its_own(log: OneFeed<impl Store>) {
    let theirs = FeedLog::new(log.store.clone(), log.other_feed());
    let (mut ours, mut other_head) = (log.head(), theirs.head());
    for number in 1..=3 {
        assert_eq!(append(&log, log.event(&format!("e{number}"), time(number))).await, number);
        head_is(&mut ours, number).await;
        head_is(&mut other_head, number - 1).await;
        assert_eq!(append(&log, log.other(&format!("o{number}"), time(10 + number))).await, number);
        head_is(&mut ours, number).await;
        head_is(&mut other_head, number).await;
    }
    let (bounds, other_bounds) = (log.bounds().await.unwrap(), theirs.bounds().await.unwrap());
    assert_ne!(bounds.log, other_bounds.log);
    assert_eq!((bounds.head, other_bounds.head), (3, 3));
    let read = log.read(0, 9, usize::MAX, true).await.unwrap();
    assert_eq!(read, [1, 2, 3].map(|seq| event(seq, &log.event(&format!("e{seq}"), time(seq)), true)));
    let read = theirs.read(0, 9, usize::MAX, true).await.unwrap();
    assert_eq!(read, [1, 2, 3].map(|seq| event(seq, &log.other(&format!("o{seq}"), time(10 + seq)), true)));
    assert_eq!((log.before(time(9)).await.unwrap(), theirs.before(time(9)).await.unwrap()), (3, 0));
    // An id is found in the log of its event only.
    assert_eq!(log.find(&acme(), "o1", false).await.unwrap(), None);
    assert_eq!(theirs.find(&acme(), "o1", false).await.unwrap().map(|event| event.seq), Some(1));
    // Trimming one leaves the other, and ids stay as long as the events of either log.
    let times = TrimTimes { ids: time(99), ..super::trimming::events_before(9) };
    assert_eq!(log.trim_log(times, 100).await.unwrap().events, 2);
    assert_eq!((log.bounds().await.unwrap().first, theirs.bounds().await.unwrap().first), (3, 1));
    assert_eq!(log.append(log.other("o1", time(99))).await.unwrap(), AppendOutcome::Duplicate);
}
