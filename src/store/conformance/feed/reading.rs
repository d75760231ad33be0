//! What is read of the log.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::watch;
use tokio::time::timeout;

use super::*;

/// Checks where the head is. A process that did not append hears of it a moment later; that its own process knows it at
/// once is a check of its own (`what_is_appended_is_kept_as_given`).
pub(super) async fn head_is(head: &mut watch::Receiver<u64>, wanted: u64) {
    // What does not come is told by the comparison.
    let _ = timeout(Duration::from_secs(10), head.wait_for(|head| *head >= wanted)).await;
    assert_eq!(*head.borrow(), wanted);
}

pub(super) async fn an_empty_log_has_nothing(log: OneFeed<impl Store>) {
    let bounds = log.bounds().await.unwrap();
    assert_eq!((bounds.first, bounds.head), (1, 0));
    head_is(&mut log.head(), 0).await;
    assert!(seqs(&log, 0).await.is_empty());
    assert_eq!(log.before(time(1)).await.unwrap(), 0);
    assert_eq!(log.find(&acme(), "1", true).await.unwrap(), None);
    let times = TrimTimes { free: time(9), held: time(9), ids: time(9) };
    assert_eq!(log.trim_log(times, 100).await.unwrap(), FeedTrimOutcome::default());
}

pub(super) async fn reading_ends_where_it_was_asked_to(log: OneFeed<impl Store>) {
    fill(&log, 9).await;
    let read = async |after, most, most_bytes, raw| {
        let events = log.read(after, most, most_bytes, raw).await.unwrap();
        Vec::from_iter(events.iter().map(|event| event.seq))
    };
    assert_eq!(read(0, 3, usize::MAX, false).await, [1, 2, 3]);
    assert_eq!(read(3, 3, usize::MAX, false).await, [4, 5, 6]);
    assert_eq!(read(7, 3, usize::MAX, false).await, [8, 9]);
    assert!(read(0, 0, usize::MAX, false).await.is_empty());
    for beyond in [9, 10, u64::MAX] {
        assert!(read(beyond, 3, usize::MAX, false).await.is_empty());
    }
    // "message 1" has 9 bytes, and "body 1" 6.
    assert_eq!(read(0, 9, 27, false).await, [1, 2, 3]);
    assert_eq!(read(0, 9, 26, false).await, [1, 2]);
    assert_eq!(read(0, 9, 30, true).await, [1, 2]);
    assert_eq!(read(0, 9, 29, true).await, [1]);
    for least in [0, 1] {
        assert_eq!(read(4, 9, least, true).await, [5]);
    }
}

pub(super) async fn picking_gives_what_is_there_in_order(log: OneFeed<impl Store>) {
    fill(&log, 5).await;
    let picked = log.pick(vec![5, 0, 2, 6, 2, u64::MAX], true).await.unwrap();
    let expected = [2, 5].map(|seq| event(seq, &log.event(&seq.to_string(), time(seq)), true));
    assert_eq!(picked, expected);
    assert_eq!(log.pick(Vec::new(), true).await.unwrap(), []);
}

pub(super) async fn finding_is_by_account_and_id(log: OneFeed<impl Store>) {
    let theirs = WebhookDelivery { account: other_account(), received: time(7), ..log.event("i", time(1)) };
    append(&log, log.event("i", time(1))).await;
    append(&log, theirs.clone()).await;
    log.append(log.other("o", time(1))).await.unwrap();
    log.append(unreadable("u", time(1))).await.unwrap();
    assert_eq!(log.find(&acme(), "i", false).await.unwrap(), Some(event(1, &log.event("i", time(1)), false)));
    assert_eq!(log.find(&other_account(), "i", true).await.unwrap(), Some(event(2, &theirs, true)));
    for (account, id) in [(acme(), "I"), (acme(), ""), (acme(), "o"), (acme(), "u"), (other_account(), "o")] {
        assert_eq!(log.find(&account, id, false).await.unwrap(), None, "{id}");
    }
    let nobody = crate::domain::account::AccountId::new("nobody").unwrap();
    assert_eq!(log.find(&nobody, "i", false).await.unwrap(), None);
}

pub(super) async fn a_time_is_found_also_where_the_clock_went_back(log: OneFeed<impl Store>) {
    let mut times = vec![10, 20, 15, 30, 12, 40];
    for (seq, second) in (1..).zip(&times) {
        assert_eq!(append(&log, log.event(&seq.to_string(), time(*second))).await, seq);
    }
    for (second, before) in
        [(0, 0), (10, 0), (11, 1), (12, 1), (20, 1), (21, 3), (30, 3), (31, 5), (40, 5), (41, 6), (99, 6)]
    {
        assert_eq!(log.before(time(second)).await.unwrap(), before, "{second}");
    }
    // Many more, most in order, with the clock set back now and then.
    let random = Random::from_seed(4);
    let mut clock = 50_u64;
    for number in 0..5000 {
        clock = if number % 700 == 699 {
            clock.saturating_sub(random.next_u64() % 300)
        } else {
            clock + random.next_u64() % 3
        };
        clock = clock.max(1);
        times.push(clock);
    }
    let from = 7..=times.len() as u64;
    join_all(from.zip(&times[6..]).map(|(seq, second)| {
        let arrival = log.event(&seq.to_string(), time(*second));
        async { append(&log, arrival).await }
    }))
    .await;
    let stored = log.read(0, usize::MAX, usize::MAX, false).await.unwrap();
    assert_eq!(stored.len(), times.len());
    let expect = |second, from| {
        let mut kept = stored.iter().filter(|event| event.seq >= from);
        kept.find(|event| event.received >= time(second)).map_or(stored.len() as u64, |event| event.seq - 1)
    };
    for second in (0..clock + 20).step_by(7) {
        assert_eq!(log.before(time(second)).await.unwrap(), expect(second, 1), "{second}");
    }
    // And once the front is gone.
    let free = time(clock / 2);
    while log.trim_log(TrimTimes { free, held: free, ids: time(0) }, 150).await.unwrap().rows > 0 {}
    let first = log.bounds().await.unwrap().first;
    assert!(first > 1 && first % 1024 != 0);
    for second in (0..clock + 20).step_by(7) {
        assert_eq!(log.before(time(second)).await.unwrap(), expect(second, first), "{second}");
    }
}
