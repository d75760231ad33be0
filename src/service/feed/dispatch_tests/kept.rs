//! Leases that a stream keeps.

use super::*;

fn keeping(consumer: &str) -> pb::SubscribeCancelIntentsRequest {
    pb::SubscribeCancelIntentsRequest { auto_extend: true, ..asking("oms", consumer) }
}

#[tokio::test(start_paused = true)]
async fn a_stream_keeps_its_leases_until_it_ends_and_not_for_longer() {
    let feed = feed();
    feed.post_many(2).await;
    feed.create(plain("oms")).await;
    let (mut one, _) = feed.subscribing(keeping("one")).await;
    let kept = deliveries(&mut one, 2).await;
    let mut two = feed.consumer("oms", "two").await;
    let open = async { nothing(&mut one, 20 * LEASE).await };
    tokio::join!(open, nothing(&mut two, 20 * LEASE));
    assert_eq!(feed.settle("oms", &kept[0].lease, ack()).await, pb::SettleOutcome::Applied);
    drop(one);
    let ended = Instant::now();
    let again = delivery(&mut two).await;
    assert_eq!((again.lease.as_str(), again.cause()), ("g1.s2.a2", pb::DeliveryCause::LeaseExpired));
    assert!((LEASE / 2..=LEASE).contains(&ended.elapsed()), "{:?}", ended.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_kept_to_its_limit_whatever_the_stream_does() {
    let feed = feed();
    feed.post_many(1).await;
    feed.create(plain("oms")).await;
    let limit = Duration::from_secs(100);
    let limited = pb::SubscribeCancelIntentsRequest { auto_extend_limit: span(limit), ..keeping("one") };
    let (mut stream, _) = feed.subscribing(limited.clone()).await;
    delivery(&mut stream).await;
    let lent = Instant::now();
    // To come back does not begin it anew.
    nothing(&mut stream, Duration::from_secs(50)).await;
    drop(stream);
    let (mut stream, opened) = feed.subscribing(limited).await;
    assert_eq!(opened.held_leases, ["g1.s1.a1"]);
    let again = delivery(&mut stream).await;
    assert_eq!((again.lease.as_str(), again.cause()), ("g1.s1.a2", pb::DeliveryCause::LeaseExpired));
    assert!((limit..limit + Duration::from_millis(10)).contains(&lent.elapsed()), "{:?}", lent.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_comes_back_in_time_has_its_leases_kept_on() {
    let feed = feed();
    feed.post_many(2).await;
    feed.create(plain("oms")).await;
    let (mut stream, _) = feed.subscribing(keeping("one")).await;
    let kept = deliveries(&mut stream, 2).await;
    drop(stream);
    tokio::time::sleep(LEASE - Duration::from_secs(1)).await;
    let (mut stream, opened) = feed.subscribing(keeping("one")).await;
    assert_eq!(opened.held_leases.len(), 2);
    nothing(&mut stream, 5 * LEASE).await;
    assert_eq!(feed.settle("oms", &kept[1].lease, ack()).await, pb::SettleOutcome::Applied);
    // A consumer that returns after its leases ran out gets its events as new deliveries.
    drop(stream);
    tokio::time::sleep(LEASE).await;
    let (mut stream, _) = feed.subscribing(keeping("one")).await;
    assert_eq!(delivery(&mut stream).await.lease, "g1.s1.a2");
    drop(stream);
    // A stream that does not keep them lets them run out.
    let mut stream = feed.consumer("oms", "one").await;
    nothing(&mut stream, LEASE - Duration::from_secs(1)).await;
    assert_eq!(delivery(&mut stream).await.lease, "g1.s1.a3");
}

#[tokio::test(start_paused = true)]
async fn a_kept_lease_ends_by_words_moves_and_disconnect_as_any_other() {
    let feed = feed();
    feed.post_many(3).await;
    feed.create(plain("oms")).await;
    let asked = pb::SubscribeCancelIntentsRequest { release_on_disconnect: true, ..keeping("one") };
    let (mut one, _) = feed.subscribing(asked).await;
    let kept = deliveries(&mut one, 3).await;
    nothing(&mut one, 3 * LEASE).await;
    assert_eq!(feed.settle("oms", &kept[0].lease, park()).await, pb::SettleOutcome::Applied);
    assert_eq!(feed.settle("oms", &kept[1].lease, retry(Duration::ZERO)).await, pb::SettleOutcome::Applied);
    assert_eq!(delivery(&mut one).await.lease, "g1.s2.a2");
    let mut two = feed.consumer("oms", "two").await;
    drop(one);
    let given_back = deliveries(&mut two, 2).await;
    assert_eq!(given_back.iter().map(|one| one.lease.as_str()).collect::<Vec<_>>(), ["g1.s2.a3", "g1.s3.a2"]);
    let seek = pb::SeekSubscriptionRequest { name: "oms".into(), position: earliest() };
    feed.feed.seek(&seek, &anyone()).await.unwrap();
    assert_eq!(feed.settle("oms", &given_back[0].lease, ack()).await, pb::SettleOutcome::StaleGeneration);
}

#[tokio::test(start_paused = true)]
async fn the_limit_has_bounds_and_stands_with_auto_extend_only() {
    let feed = feed();
    feed.create(plain("oms")).await;
    for (auto_extend, limit, kind) in [(false, 60, "Invalid"), (true, 4, "Bounds"), (true, 24 * 3600 + 1, "Bounds")] {
        let auto_extend_limit = span(Duration::from_secs(limit));
        let request = pb::SubscribeCancelIntentsRequest { auto_extend, auto_extend_limit, ..asking("oms", "one") };
        let refused = faults(feed.feed.subscribe(&request, &anyone()).await);
        assert_eq!(refused, (kind.into(), vec!["auto_extend_limit".into()]));
    }
}
