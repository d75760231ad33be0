//! What subscriptions cost that have nothing to lend.

use super::*;

fn of_other(name: &str) -> pb::Subscription {
    let filter = pb::Filter { accounts: vec!["other".into()], ..Default::default() };
    pb::Subscription { filter: Some(filter), ..plain(name) }
}

/// Posts one after the other, a millisecond apart.
async fn post_slowly(feed: &TestFeed, count: u64) {
    for _ in 0..count {
        feed.post_many(1).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_none_of_them_wants_costs_no_write() {
    let feed = feed();
    let mut streams = Vec::new();
    for number in 0..20 {
        feed.create(of_other(&format!("oms-{number}"))).await;
        streams.push(feed.consumer(&format!("oms-{number}"), "one").await);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = feed.store.changed();
    post_slowly(&feed, 500).await;
    assert_eq!(feed.store.changed(), before);
    // Heartbeats and GetSubscription still show an empty backlog.
    for (number, stream) in streams.iter_mut().enumerate() {
        let beat = idle(stream).await;
        // The floor is that of the store: one ahead of it would fall after a crash.
        assert_eq!((beat.cursor.as_str(), beat.backlog, beat.state()), ("c0ffee00.0", 0, pb::FeedState::Live));
        let shown = feed.shown(&format!("oms-{number}")).await;
        assert_eq!((shown.floor.as_str(), shown.backlog), ("c0ffee00.0", 0));
    }
    let listed = feed.feed.overview(100, &anyone()).await.unwrap();
    assert!(listed.subscriptions.iter().all(|one| one.shown.backlog == 0));
    // The next wanted event is delivered, although the stored floor lies far behind it.
    feed.post("other", "PO-1").await;
    for stream in &mut streams {
        assert_eq!(seq(&delivery(stream).await), 501);
    }
}

#[tokio::test(start_paused = true)]
async fn the_store_is_told_now_and_then_and_at_the_end() {
    let stored = async |feed: &TestFeed| {
        let head = feed.store.change("oms", |it| it.head().clone()).await.unwrap().unwrap();
        (head.scanned, head.floor)
    };
    let feed = feed();
    feed.create(of_other("oms")).await;
    let stream = feed.consumer("oms", "one").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    feed.post_many(10).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(stored(&feed).await, (0, 0));
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(stored(&feed).await, (10, 10));
    feed.post_many(1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(stream);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(stored(&feed).await, (11, 11), "the last stream leaves nothing to be looked at again");
}

#[tokio::test(start_paused = true)]
async fn a_consumer_without_room_costs_nothing_until_it_has_some() {
    let feed = feed();
    feed.create(plain("oms")).await;
    let asked = pb::SubscribeCancelIntentsRequest { max_outstanding_events: Some(1), ..asking("oms", "one") };
    let (mut stream, _) = feed.subscribing(asked).await;
    feed.post_many(1).await;
    let first = delivery(&mut stream).await;
    feed.post_many(1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = feed.store.changed();
    post_slowly(&feed, 200).await;
    assert_eq!(feed.store.changed(), before);
    assert_eq!(idle(&mut stream).await.state(), pb::FeedState::WindowFull);
    feed.settle("oms", &first.lease, ack()).await;
    assert_eq!(seq(&delivery(&mut stream).await), 2);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_without_a_stream_costs_nothing() {
    let feed = feed();
    for number in 0..20 {
        feed.create(plain(&format!("oms-{number}"))).await;
    }
    let before = feed.store.changed();
    post_slowly(&feed, 200).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(feed.store.changed(), before, "those who look at them now and then read only");
}
