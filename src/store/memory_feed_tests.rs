//! What the memory store forgets.

use super::*;
use crate::store::testing::{acme, intent, subscription_config, time, unreadable};

fn feed() -> MemoryFeed {
    MemoryFeed::new(LogId(1))
}

#[tokio::test]
async fn the_oldest_events_go_and_their_subscriptions_have_lost_them() {
    let feed = feed();
    for name in ["behind", "ahead"] {
        let at = if name == "behind" { 0 } else { MAX_EVENTS as u64 };
        feed.make(name, subscription_config(true), at, time(1)).await.unwrap();
    }
    let push = |events: usize, bytes: usize| {
        let raw = Bytes::from(vec![b' '; bytes]);
        for _ in 0..events {
            feed.lock().push(time(1), Bytes::new(), raw.clone());
        }
    };
    let first = async || feed.bounds().await.unwrap().first;
    let lost = async |name| {
        let first = first().await;
        feed.change(name, move |one| one.has_lost(first)).await.unwrap().unwrap()
    };
    push(MAX_EVENTS, 0);
    assert_eq!((first().await, lost("behind").await), (1, false));
    push(1, 0);
    assert_eq!((first().await, lost("behind").await, lost("ahead").await), (2, true, false));
    // By their size, whatever their number.
    push(MAX_BYTES >> 20, 1 << 20);
    let full = first().await;
    push(1, 1);
    let head = feed.bounds().await.unwrap().head;
    assert_eq!((first().await > full, head - first().await), (true, (MAX_BYTES >> 20) as u64 - 1));
    // The last stays, though it is too large.
    push(1, MAX_BYTES + 1);
    assert_eq!(first().await, head + 1);
    assert_eq!(feed.read(0, 9, 1, false).await.unwrap().len(), 1);
}

#[tokio::test]
async fn the_oldest_ids_and_unreadable_deliveries_are_forgotten() {
    let feed = feed();
    let delivery = |number: usize| unreadable(&number.to_string(), time(1));
    for number in 0..=MAX_QUARANTINED {
        feed.append(delivery(number)).await.unwrap();
    }
    let kept = feed.quarantined(&[acme()], 0, usize::MAX, false).await.unwrap();
    assert_eq!((kept.len(), kept[0].body_hash), (MAX_QUARANTINED, delivery(1).body_hash));
    // It is known still, until there are too many others.
    assert_eq!(feed.append(delivery(0)).await.unwrap(), Appended::Duplicate);
    for number in 0..(MAX_IDS - MAX_QUARANTINED) as u128 {
        let known = Known { body_hash: [0; 32], received: time(1), seq: None };
        feed.lock().know((acme(), number.to_be_bytes()), known);
    }
    assert_eq!(feed.append(delivery(1)).await.unwrap(), Appended::Duplicate);
    assert_eq!(feed.append(delivery(0)).await.unwrap(), Appended::Stored { seq: None });
    assert_eq!(feed.lock().known.len(), MAX_IDS);
    assert_eq!(feed.append(intent("i", time(1))).await.unwrap(), Appended::Stored { seq: Some(1) });
}
