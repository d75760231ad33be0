use std::time::Duration;

use super::super::watch::WatchFrame;
use crate::pb;
use crate::service::feed::FeedError;
use crate::testing::feed::*;

#[tokio::test(start_paused = true)]
async fn streams_that_are_behind_share_blocks_wherever_they_started() {
    let feed = feed();
    feed.post_many(300).await;
    let mut expected_reads = 0;
    for (start, reads) in [(0, 3), (0, 0), (1, 0), (127, 0), (128, 0), (200, 0), (299, 0)] {
        let mut watch = feed.watch(after(start)).await;
        assert_eq!(take(&mut watch, 300 - start as usize).await, (start + 1..=300).collect::<Vec<_>>());
        expected_reads += reads;
        assert_eq!(feed.store.reads(), expected_reads, "after {start}");
    }
    assert_eq!(encoded(), 300, "each once, for seven streams");
}

#[tokio::test(start_paused = true)]
async fn frames_end_where_blocks_do() {
    let feed = feed();
    feed.post_many(257).await;
    let mut watch = feed.watch(after(100)).await;
    let mut ends = Vec::new();
    while let Some(Ok(frame @ WatchFrame::Events(_))) = watch.next().await {
        ends.push(read(&frame).last().unwrap().seq);
    }
    assert_eq!(ends, [128, 256, 257]);
}

#[tokio::test(start_paused = true)]
async fn streams_that_come_at_once_wait_for_one_read() {
    let feed = feed();
    feed.post_many(300).await;
    let mut at_the_end = feed.watch(latest()).await;
    beat(&mut at_the_end).await;
    feed.store.open(false);
    let mut streams = Vec::new();
    for _ in 0..50 {
        let mut watch = feed.watch(earliest()).await;
        streams.push(tokio::spawn(async move { take(&mut watch, 300).await }));
    }
    // Whoever asked first may leave.
    tokio::time::sleep(Duration::from_secs(1)).await;
    streams.remove(0).abort();
    feed.store.open(true);
    for stream in streams {
        assert_eq!(stream.await.unwrap(), (1..=300).collect::<Vec<_>>());
    }
    assert_eq!((feed.store.reads(), encoded()), (3, 300));
}

#[tokio::test(start_paused = true)]
async fn at_the_end_of_the_log_an_event_is_read_and_encoded_once_for_all() {
    let feed = feed();
    let mut streams = Vec::new();
    for _ in 0..100 {
        streams.push(feed.watch(latest()).await);
    }
    // Over the end of a block.
    for seq in 1..=200 {
        feed.post("acme", "PO").await;
        for watch in &mut streams {
            assert_eq!(take(watch, 1).await, [seq]);
        }
    }
    assert_eq!((feed.store.reads(), encoded()), (200, 200));
}

#[tokio::test(start_paused = true)]
async fn what_came_while_nobody_listened_is_read_by_whoever_comes() {
    let feed = feed();
    feed.post_many(5).await;
    tokio::time::sleep(LONG).await;
    assert_eq!(feed.store.reads(), 0);
    let mut watch = feed.watch(after(2)).await;
    assert_eq!(take(&mut watch, 3).await, [3, 4, 5]);
    feed.post_many(2).await;
    assert_eq!(take(&mut watch, 2).await, [6, 7]);
}

#[tokio::test(start_paused = true)]
async fn large_events_make_short_pieces_that_are_shared_too() {
    let feed = feed();
    for _ in 0..30 {
        feed.post_large("acme", "PO", 100_000).await;
    }
    let mut first = feed.watch(earliest()).await;
    assert_eq!(take(&mut first, 30).await, (1..=30).collect::<Vec<_>>());
    // Ten fit into what is read at once; the first ten are read for the end of the log too.
    let once = (feed.store.reads(), encoded());
    assert_eq!(once, (4, 40));
    for _ in 0..10 {
        let mut another = feed.watch(after(9)).await;
        assert_eq!(take(&mut another, 21).await, (10..=30).collect::<Vec<_>>());
    }
    assert_eq!((feed.store.reads(), encoded()), once);
    let mut at_the_end = feed.watch(latest()).await;
    for seq in 31..=40 {
        feed.post_large("acme", "PO", 100_000).await;
        assert_eq!(take(&mut at_the_end, 1).await, [seq]);
    }
}

#[tokio::test(start_paused = true)]
async fn bodies_come_where_they_are_asked_for() {
    let feed = feed();
    feed.post_many(3).await;
    for include_raw in [false, true, false, true] {
        let request = pb::WatchCancelIntentsRequest { start: earliest(), include_raw, ..Default::default() };
        let mut watch = feed.watching(request).await;
        let events = read(&watch.next().await.unwrap().unwrap());
        let raw = if include_raw { &b"{\"purchaseOrderId\":\"PO-2\"}"[..] } else { b"" };
        assert_eq!(events[1].raw_body.as_slice(), raw);
        feed.post("acme", "PO-4").await;
        let events = read(&watch.next().await.unwrap().unwrap());
        assert_eq!(!events[0].raw_body.is_empty(), include_raw);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_events_are_trimmed_ends_with_what_is_lost() {
    let feed = feed();
    feed.post_many(300).await;
    let mut behind = feed.watch(after(130)).await;
    let mut ahead = feed.watch(after(199)).await;
    feed.trim_to(200).await;
    assert_eq!(take(&mut ahead, 1).await[0], 200);
    let ended = behind.next().await.unwrap().unwrap_err();
    assert_eq!(ended.error, FeedError::EventsExpired { first: 200, lost_from: 131 });
    assert_eq!(ended.last, Some(LOG.cursor(130)));
    assert!(behind.next().await.is_none());
    // Who asks to begin there is told before anything else.
    let request = pb::WatchCancelIntentsRequest { start: after(130), ..Default::default() };
    let refused = feed.feed.watch(&request, &anyone()).await.err().unwrap();
    assert!(matches!(
        refused,
        crate::service::ServiceError::Feed(FeedError::EventsExpired { first: 200, lost_from: 131 })
    ));
    let mut from_the_first = feed.watch(after(199)).await;
    assert_eq!(take(&mut from_the_first, 101).await, (200..=300).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_ends_streams_with_their_place_and_others_go_on() {
    let feed = feed();
    feed.post_many(400).await;
    let mut watch = feed.watch(earliest()).await;
    assert_eq!(take(&mut watch, 128).await.len(), 128);
    feed.store.fail(true, false);
    let ended = watch.next().await.unwrap().unwrap_err();
    assert_eq!((ended.error, ended.last), (FeedError::Store, Some(LOG.cursor(128))));
    let request = pb::WatchCancelIntentsRequest { start: earliest(), ..Default::default() };
    let refused = feed.feed.watch(&request, &anyone()).await;
    assert!(matches!(refused.err(), Some(crate::service::ServiceError::Store)));
    feed.store.fail(false, false);
    let mut again = feed.watch(after(128)).await;
    assert_eq!(take(&mut again, 272).await, (129..=400).collect::<Vec<_>>());
    // A stream that waits at the end hears of nothing, and finds what it missed.
    feed.store.fail(true, false);
    feed.post_many(1).await;
    tokio::task::yield_now().await;
    feed.store.fail(false, false);
    let seqs = take(&mut again, 1).await;
    assert_eq!(seqs, [401]);
}
