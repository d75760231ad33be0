//! What goes in the end.

use super::*;

/// All that was received before, whether it is held or not.
pub(super) fn events_before(seconds: u64) -> TrimTimes {
    TrimTimes { free: time(seconds), held: time(seconds), ids: Timestamp(0) }
}

pub(super) async fn trimming_takes_the_front_and_leaves_the_last(log: OneFeed<impl Store>) {
    fill(&log, 9).await;
    assert_eq!(log.trim_log(events_before(1), 100).await.unwrap(), FeedTrimOutcome::default());
    let gone = log.trim_log(events_before(4), 100).await.unwrap();
    assert_eq!(gone, FeedTrimOutcome { events: 3, rows: 3, ..FeedTrimOutcome::default() });
    let bounds = log.bounds().await.unwrap();
    assert_eq!((bounds.first, bounds.head), (4, 9));
    for after in [0, 2, 3] {
        assert_eq!(seqs(&log, after).await, [4, 5, 6, 7, 8, 9]);
    }
    assert_eq!(log.pick(vec![3, 4], true).await.unwrap(), [event(4, &log.event("4", time(4)), true)]);
    assert_eq!(log.find(&acme(), "3", true).await.unwrap(), None);
    assert_eq!(log.trim_log(events_before(4), 100).await.unwrap(), FeedTrimOutcome::default());
    assert_eq!(log.trim_log(events_before(99), 100).await.unwrap().events, 5);
    assert_eq!(seqs(&log, 0).await, [9]);
    assert_eq!(log.trim_log(events_before(99), 100).await.unwrap(), FeedTrimOutcome::default());
    assert_eq!(append(&log, log.event("10", time(10))).await, 10);
    assert_eq!(seqs(&log, 0).await, [9, 10]);
    // A younger one in front of it keeps an older one, or there would be a gap.
    append(&log, log.event("11", time(5))).await;
    append(&log, log.event("12", time(12))).await;
    assert_eq!(log.trim_log(events_before(10), 100).await.unwrap().events, 1);
    assert_eq!(seqs(&log, 0).await, [10, 11, 12]);
}

pub(super) async fn trimming_goes_in_steps(log: OneFeed<impl Store>) {
    fill(&log, 9).await;
    for left in [[4, 5, 6, 7, 8, 9].as_slice(), &[7, 8, 9], &[9]] {
        let gone = log.trim_log(events_before(99), 3).await.unwrap();
        assert!(gone.events <= 3 && gone.events == gone.rows);
        assert_eq!(seqs(&log, 0).await, left);
    }
    assert_eq!(log.trim_log(events_before(99), 0).await.unwrap(), FeedTrimOutcome::default());
}

pub(super) async fn ids_stay_longer_than_events(log: OneFeed<impl Store>) {
    fill(&log, 9).await;
    log.trim_log(events_before(7), 100).await.unwrap();
    for number in 1..=9 {
        let again = log.event(&number.to_string(), time(50));
        assert_eq!(log.append(again).await.unwrap(), AppendOutcome::Duplicate, "{number}");
    }
    // Ids go by a time of their own; those of events that are kept stay.
    let times = TrimTimes { free: time(7), held: time(7), ids: time(4) };
    assert_eq!(log.trim_log(times, 2).await.unwrap().rows, 2);
    assert_eq!(log.trim_log(times, 100).await.unwrap().rows, 1);
    assert_eq!(log.append(log.event("4", time(50))).await.unwrap(), AppendOutcome::Duplicate);
    assert_eq!(append(&log, log.event("3", time(50))).await, 10);
    let times = TrimTimes { free: time(0), held: time(0), ids: time(99) };
    assert_eq!(log.trim_log(times, 100).await.unwrap(), FeedTrimOutcome { rows: 3, ..FeedTrimOutcome::default() });
    assert_eq!(log.append(log.event("7", time(50))).await.unwrap(), AppendOutcome::Duplicate);
    assert_eq!(append(&log, log.event("6", time(50))).await, 11);
    assert!(log.find(&acme(), "7", false).await.unwrap().is_some());
}

pub(super) async fn other_rows_go_by_their_time(log: OneFeed<impl Store>) {
    for number in 1..=6 {
        log.append(unreadable(&number.to_string(), time(number))).await.unwrap();
        log.append(log.other(&number.to_string(), time(number))).await.unwrap();
    }
    let left = async || {
        let left = log.quarantined(&[acme()], 0, 9, false).await.unwrap();
        Vec::from_iter(left.iter().map(|one| one.received))
    };
    let gone = log.trim_log(events_before(3), 100).await.unwrap();
    assert_eq!((gone.events, gone.quarantined), (0, 2));
    assert_eq!(left().await, [time(3), time(4), time(5), time(6)]);
    let mut quarantined = 0;
    loop {
        let gone = log.trim_log(events_before(99), 1).await.unwrap();
        if gone.rows == 0 {
            break;
        }
        quarantined += gone.quarantined;
    }
    assert_eq!(quarantined, 4);
    assert!(left().await.is_empty());
    // They are known again, and ids of what comes go on rising.
    assert_eq!(log.append(unreadable("6", time(7))).await.unwrap(), AppendOutcome::Duplicate);
    log.append(unreadable("7", time(7))).await.unwrap();
    let last = log.quarantined(&[acme()], 0, 9, false).await.unwrap()[0].id;
    while log.trim_log(TrimTimes { ids: time(99), ..events_before(99) }, 100).await.unwrap().rows > 0 {}
    log.append(unreadable("8", time(8))).await.unwrap();
    assert!(log.quarantined(&[acme()], 0, 9, false).await.unwrap()[0].id > last);
}

pub(super) async fn an_event_that_stays_does_not_keep_the_ids_behind_it(log: OneFeed<impl Store>) {
    append(&log, log.other("o", time(1))).await;
    fill(&log, 5).await;
    log.trim_log(events_before(99), 100).await.unwrap();
    let times = TrimTimes { ids: time(99), ..events_before(99) };
    // All ids are past their time; those of the last events of both logs stay.
    assert_eq!(log.trim_log(times, 100).await.unwrap(), FeedTrimOutcome { rows: 4, ..FeedTrimOutcome::default() });
    for kept in [log.other("o", time(9)), log.event("5", time(9))] {
        assert_eq!(log.append(kept).await.unwrap(), AppendOutcome::Duplicate);
    }
    assert_eq!(append(&log, log.event("1", time(9))).await, 6);
}
