use super::*;
use crate::testing::feed::{START, ack, anyone, asking, deliveries, feed, plain};

fn seqs(known: &VecDeque<EventIds>) -> Vec<u64> {
    known.iter().map(|event| event.seq).collect()
}

#[tokio::test(start_paused = true)]
async fn the_last_events_are_read_once_and_told_by_their_ids() {
    let feed = feed();
    let mut known = VecDeque::new();
    feed.feed.follow_ids(&mut known, 3).await.unwrap();
    assert_eq!(known, []);
    feed.post_many(5).await;
    feed.feed.follow_ids(&mut known, 3).await.unwrap();
    assert_eq!(seqs(&known), [3, 4, 5]);
    let last = known.back().unwrap();
    assert_eq!((last.event_id.as_str(), last.account.as_str()), ("e-5", "acme"));
    assert_eq!((last.purchase_order_id.as_str(), last.event_type.as_str()), ("PO-5", "INTENT_TO_CANCEL"));
    let reads = feed.store.reads();
    feed.feed.follow_ids(&mut known, 3).await.unwrap();
    assert_eq!(feed.store.reads(), reads, "nothing has come, nothing is read");
    feed.post("other", "PO-6").await;
    feed.feed.follow_ids(&mut known, 3).await.unwrap();
    assert_eq!((seqs(&known), feed.store.reads()), (vec![4, 5, 6], reads + 1));
    feed.store.fail(true, false);
    feed.feed.follow_ids(&mut known, 3).await.unwrap_err();
    assert_eq!(seqs(&known), [4, 5, 6]);
    feed.store.fail(false, false);
    feed.trim_to(6).await;
    feed.feed.follow_ids(&mut known, 3).await.unwrap();
    assert_eq!(seqs(&known), [6]);
}

/// Large events come in several reads; the newest must not be what is left out.
#[tokio::test(start_paused = true)]
async fn large_events_do_not_hide_the_last_ones() {
    let feed = feed();
    for number in 0..4 {
        feed.post_large("acme", &format!("PO-{number}"), PAGE_BYTES / 2).await;
    }
    let mut known = VecDeque::new();
    feed.feed.follow_ids(&mut known, 4).await.unwrap();
    assert_eq!(seqs(&known), [1, 2, 3, 4]);
}

#[tokio::test(start_paused = true)]
async fn subscriptions_are_told_with_their_consumers_and_how_long_they_wait() {
    let feed = feed();
    for name in ["a", "b", "c"] {
        feed.create(plain(name)).await;
    }
    feed.post_many(2).await;
    let (stream, _) = feed.subscribing(asking("a", "me")).await;
    let (second, _) = feed.subscribing(asking("a", "you")).await;
    let mut state = feed.feed.overview(2, &anyone()).await.unwrap();
    assert_eq!((state.subscriptions.len(), state.more, *state.open_streams.of(FeedName::CancelIntents)), (2, true, 2));
    feed.feed.find_oldest(&mut state).await.unwrap();
    let [a, b] = &state.subscriptions[..] else { panic!() };
    assert_eq!((a.shown.name.as_str(), a.consumers), ("a", 2));
    assert_eq!((b.shown.name.as_str(), b.consumers, b.shown.backlog), ("b", 0, 2));
    let first = Some(Timestamp(START));
    assert_eq!(b.oldest, first, "nobody has looked at the first event yet");
    drop((stream, second));
    let state = feed.feed.overview(3, &anyone()).await.unwrap();
    assert_eq!((state.subscriptions[0].consumers, state.more), (0, false));
}

#[tokio::test(start_paused = true)]
async fn what_is_settled_waits_for_nobody() {
    let feed = feed();
    feed.create(plain("a")).await;
    feed.post_many(2).await;
    let mut stream = feed.consumer("a", "me").await;
    let got = deliveries(&mut stream, 2).await;
    let oldest = async || {
        let mut state = feed.feed.overview(1, &anyone()).await.unwrap();
        feed.feed.find_oldest(&mut state).await.unwrap();
        state.subscriptions[0].oldest.map(|time| time.0 - START)
    };
    assert_eq!(oldest().await, Some(0));
    feed.settle("a", &got[0].lease, ack()).await;
    assert_eq!(oldest().await, Some(1));
    feed.settle("a", &got[1].lease, ack()).await;
    assert_eq!(oldest().await, None);
}
