//! Who gets which event, and when.

use super::*;

#[tokio::test(start_paused = true)]
async fn events_come_with_leases_and_are_settled() {
    let feed = feed();
    feed.post_many(3).await;
    feed.create(plain("oms")).await;
    let (mut stream, opened) = feed.subscribing(asking("oms", "one")).await;
    assert_eq!(opened.log_id, LOG.to_string());
    assert_eq!((opened.position.as_str(), opened.head, opened.first_available), ("c0ffee00.0", 3, 1));
    assert_eq!((opened.generation, opened.held_leases.len()), (1, 0));
    assert_eq!(opened.lease_duration, span(LEASE));
    assert_eq!(opened.heartbeat_interval, span(Duration::from_secs(10)));
    let got = deliveries(&mut stream, 3).await;
    let leases: Vec<_> = got.iter().map(|one| one.lease.as_str()).collect();
    assert_eq!(leases, ["g1.s1.a1", "g1.s2.a1", "g1.s3.a1"]);
    assert!(got.iter().all(|one| one.attempt == 1 && one.cause() == pb::DeliveryCause::First));
    let event = got[1].event.as_ref().unwrap();
    assert_eq!((event.cursor.as_str(), event.ordering_key.as_str(), event.raw_body.len()), ("c0ffee00.2", "PO-2", 0));
    let until: std::time::SystemTime = got[0].lease_expires_at.unwrap().try_into().unwrap();
    assert_eq!(Timestamp::from(until).0, START + 30_000);
    let quiet = idle(&mut stream).await;
    assert_eq!((quiet.cursor.as_str(), quiet.head, quiet.backlog), ("c0ffee00.0", 3, 3));
    assert_eq!((quiet.outstanding, quiet.parked, quiet.state()), (3, 0, pb::FeedState::Live));
    assert_eq!(quiet.oldest_unsettled_age, span(Duration::from_secs(10)));
    let settled = feed.settled("oms", got.iter().map(|one| (one.lease.as_str(), ack()))).await;
    assert_eq!((settled.floor.as_str(), settled.backlog), ("c0ffee00.3", 0));
    let quiet = idle(&mut stream).await;
    assert_eq!((quiet.cursor.as_str(), quiet.backlog, quiet.outstanding), ("c0ffee00.3", 0, 0));
    assert_eq!((quiet.oldest_unsettled_age, quiet.state()), (None, pb::FeedState::Live));
    // What happens comes at once.
    let before = Instant::now();
    feed.post("acme", "PO-9").await;
    assert_eq!((delivery(&mut stream).await.lease.as_str(), before.elapsed()), ("g1.s4.a1", Duration::ZERO));
}

#[tokio::test(start_paused = true)]
async fn a_subscription_begins_where_it_was_made_and_goes_on_where_it_was_left() {
    let feed = feed();
    feed.post_many(500).await;
    feed.create(pb::Subscription { start: after(140), ..plain("oms") }).await;
    let mut expected = 141..=500;
    // Three consumers one after another read over block borders, and more events than one stream may hold.
    for (consumer, count) in [("one", 100), ("two", 100), ("one", 160)] {
        let mut stream = feed.consumer("oms", consumer).await;
        for _ in 0..count {
            let one = delivery(&mut stream).await;
            assert_eq!(Some(seq(&one)), expected.next());
            assert_eq!(feed.settle("oms", &one.lease, ack()).await, pb::SettleOutcome::Applied);
        }
        drop(stream);
        // The leases of deliveries that this consumer never read run out.
        tokio::time::sleep(LEASE).await;
    }
    let shown = feed.shown("oms").await;
    assert_eq!((shown.floor.as_str(), shown.backlog), ("c0ffee00.500", 0));
}

#[tokio::test(start_paused = true)]
async fn consumers_share_and_none_gets_what_another_has() {
    let feed = feed();
    feed.create(plain("oms")).await;
    let mut streams = Vec::new();
    for name in ["one", "two", "three", "four"] {
        streams.push(feed.consumer("oms", name).await);
    }
    feed.post_many(80).await;
    tokio::task::yield_now().await;
    let mut all = BTreeSet::new();
    for stream in &mut streams {
        let mut mine = 0;
        while let Ok(Some(Ok(ConsumerFrame::Delivery(one)))) = timeout(Duration::from_secs(1), stream.next()).await {
            let one = pb::Delivery::from(one);
            assert!(all.insert(seq(&one)), "twice");
            mine += 1;
        }
        assert_eq!(mine, 20);
    }
    assert_eq!(all.len(), 80);
}

#[tokio::test(start_paused = true)]
async fn every_subscription_gets_every_event() {
    let feed = feed();
    feed.post_many(40).await;
    for name in ["a", "b", "c"] {
        feed.create(plain(name)).await;
        let mut stream = feed.consumer(name, "one").await;
        assert_eq!(seqs(&deliveries(&mut stream, 40).await), (1..=40).collect::<Vec<_>>());
    }
    assert_eq!(encoded(), 40);
}

#[tokio::test(start_paused = true)]
async fn a_consumer_gets_as_many_as_it_takes() {
    let feed = feed();
    feed.post_many(10).await;
    feed.create(plain("oms")).await;
    let asked = pb::SubscribeCancelIntentsRequest { max_outstanding_events: Some(3), ..asking("oms", "one") };
    let (mut stream, _) = feed.subscribing(asked).await;
    let got = deliveries(&mut stream, 3).await;
    let quiet = idle(&mut stream).await;
    assert_eq!((quiet.state(), quiet.outstanding, quiet.backlog), (pb::FeedState::WindowFull, 3, 10));
    feed.settle("oms", &got[1].lease, ack()).await;
    assert_eq!(seq(&delivery(&mut stream).await), 4);
    assert_eq!(idle(&mut stream).await.state(), pb::FeedState::WindowFull);
    // Another has room.
    let mut other = feed.consumer("oms", "two").await;
    assert_eq!(seqs(&deliveries(&mut other, 6).await), [5, 6, 7, 8, 9, 10]);
}

#[tokio::test(start_paused = true)]
async fn a_consumer_gets_as_many_bytes_as_it_takes_and_one_event_at_least() {
    let feed = feed();
    for bytes in [200_000, 30_000, 30_000, 30_000] {
        feed.post_large("acme", "", bytes).await;
    }
    feed.create(plain("oms")).await;
    let asked = pb::SubscribeCancelIntentsRequest { max_outstanding_bytes: Some(65_536), ..asking("oms", "one") };
    let (mut stream, _) = feed.subscribing(asked).await;
    let large = delivery(&mut stream).await;
    assert_eq!(seq(&large), 1);
    assert_eq!(idle(&mut stream).await.state(), pb::FeedState::WindowFull);
    feed.settle("oms", &large.lease, ack()).await;
    assert_eq!(seqs(&deliveries(&mut stream, 2).await), [2, 3]);
    nothing(&mut stream, Duration::from_secs(15)).await;
}

#[tokio::test(start_paused = true)]
async fn windows_and_names_have_bounds() {
    let feed = feed();
    feed.create(plain("oms")).await;
    let refused = async |request| faults(feed.feed.subscribe(&request, &anyone()).await);
    for (events, bytes) in [(0, 65_535), (10_001, 256 * 1024 * 1024 + 1), (u32::MAX, u64::MAX)] {
        let request = pb::SubscribeCancelIntentsRequest {
            max_outstanding_events: Some(events),
            max_outstanding_bytes: Some(bytes),
            ..asking("oms", "one")
        };
        let fields = vec!["max_outstanding_events".into(), "max_outstanding_bytes".into()];
        assert_eq!(refused(request).await, ("Bounds".into(), fields));
    }
    for (events, bytes) in [(1, 65_536), (10_000, 256 * 1024 * 1024)] {
        let request = pb::SubscribeCancelIntentsRequest {
            max_outstanding_events: Some(events),
            max_outstanding_bytes: Some(bytes),
            ..asking("oms", "one")
        };
        feed.subscribing(request).await;
    }
    let invalid = |field: &str| ("Invalid".to_owned(), vec![field.to_owned()]);
    for id in ["", "a b", "é", "tab\t", &"x".repeat(129)] {
        assert_eq!(refused(asking("oms", id)).await, invalid("consumer_id"), "{id}");
    }
    feed.subscribing(asking("oms", &"~".repeat(128))).await;
    for name in ["", "a b", "a/b", &"x".repeat(129)] {
        assert_eq!(refused(asking(name, "one")).await, invalid("subscription"), "{name}");
    }
    let slow = prost_types::Duration { seconds: i64::MIN, nanos: i32::MIN };
    let request = pb::SubscribeCancelIntentsRequest { heartbeat_interval: Some(slow), ..asking("oms", "one") };
    assert_eq!(refused(request).await, ("Bounds".into(), vec!["heartbeat_interval".into()]));
}

#[tokio::test(start_paused = true)]
async fn events_of_one_order_come_after_each_other() {
    let feed = feed();
    for order in ["A", "A", "B", "A", "", ""] {
        feed.post("acme", order).await;
    }
    feed.create(plain("oms")).await;
    let mut stream = feed.consumer("oms", "one").await;
    let mut other = feed.consumer("oms", "two").await;
    let mut first = Vec::new();
    for stream in [&mut stream, &mut other] {
        while let Ok(Some(Ok(ConsumerFrame::Delivery(one)))) = timeout(Duration::from_secs(1), stream.next()).await {
            let one = pb::Delivery::from(one);
            first.push(one);
        }
    }
    first.sort_by_key(seq);
    assert_eq!(seqs(&first), [1, 3, 5, 6]);
    assert_eq!(idle(&mut stream).await.state(), pb::FeedState::AllKeysBlocked);
    // Tried again it holds up its key, and only that.
    feed.settle("oms", &first[0].lease, retry(Duration::from_secs(7))).await;
    feed.settle("oms", &first[1].lease, ack()).await;
    feed.post("acme", "B").await;
    let before = Instant::now();
    let next = tokio::select! {
        one = delivery(&mut stream) => one,
        one = delivery(&mut other) => one,
    };
    assert_eq!((seq(&next), before.elapsed()), (7, Duration::ZERO));
    let again = tokio::select! {
        one = delivery(&mut stream) => one,
        one = delivery(&mut other) => one,
    };
    assert_eq!((seq(&again), again.attempt, again.cause()), (1, 2, pb::DeliveryCause::Retry));
    assert_eq!(before.elapsed(), Duration::from_secs(7));
    // Parked it does not.
    feed.settle("oms", &again.lease, park()).await;
    let next = tokio::select! {
        one = delivery(&mut stream) => one,
        one = delivery(&mut other) => one,
    };
    assert_eq!((seq(&next), next.attempt), (2, 1));
    assert_eq!(feed.shown("oms").await.floor, "c0ffee00.1");
}

#[tokio::test(start_paused = true)]
async fn unordered_events_wait_for_nothing() {
    let feed = feed();
    for _ in 0..5 {
        feed.post("acme", "A").await;
    }
    feed.create(with_mode(pb::SubscriptionMode::Unordered)).await;
    let mut stream = feed.consumer("oms", "one").await;
    assert_eq!(seqs(&deliveries(&mut stream, 5).await), [1, 2, 3, 4, 5]);
}

#[tokio::test(start_paused = true)]
async fn an_exclusive_consumer_gets_all_and_another_stands_by() {
    let feed = feed();
    for order in ["A", "B", "A", "C"] {
        feed.post("acme", order).await;
    }
    feed.create(with_mode(pb::SubscriptionMode::Exclusive)).await;
    let mut first = feed.consumer("oms", "one").await;
    let mut standby = feed.consumer("oms", "two").await;
    let got = deliveries(&mut first, 4).await;
    assert_eq!(seqs(&got), [1, 2, 3, 4], "it need not wait for itself");
    assert_eq!(idle(&mut standby).await.state(), pb::FeedState::Paused);
    assert_eq!(idle(&mut first).await.state(), pb::FeedState::Live);
    // One that is tried again holds up all later ones.
    feed.settle("oms", &got[2].lease, retry(Duration::from_secs(3))).await;
    feed.post("acme", "D").await;
    let before = Instant::now();
    assert_eq!(seqs(&deliveries(&mut first, 2).await), [3, 5]);
    assert_eq!(before.elapsed(), Duration::from_secs(3));
    feed.settled("oms", ["g1.s1.a1", "g1.s2.a1"].map(|lease| (lease, ack()))).await;
    drop(first);
    // What the first still has must run out first.
    let again = deliveries(&mut standby, 3).await;
    assert_eq!(seqs(&again), [3, 4, 5]);
    assert!(before.elapsed() >= LEASE);
    let asked = pb::SubscribeCancelIntentsRequest { max_outstanding_events: Some(500), ..asking("oms", "one") };
    let (mut late, _) = feed.subscribing(asked).await;
    assert_eq!(idle(&mut late).await.state(), pb::FeedState::Paused);
    // It has more room, and stands by all the same.
    feed.settled("oms", again.iter().map(|one| (one.lease.as_str(), ack()))).await;
    feed.post("acme", "E").await;
    assert_eq!(seq(&delivery(&mut standby).await), 6);
}

#[tokio::test(start_paused = true)]
async fn a_paused_subscription_gives_out_nothing_and_settles() {
    let feed = feed();
    feed.post_many(2).await;
    feed.create(plain("oms")).await;
    let mut stream = feed.consumer("oms", "one").await;
    let got = deliveries(&mut stream, 2).await;
    feed.settle("oms", &got[1].lease, retry(Duration::ZERO)).await;
    delivery(&mut stream).await;
    update(&feed, pb::Subscription { paused: Some(true), ..plain("oms") }).await;
    assert_eq!(end(&mut stream).await.error, FeedError::Updated { generation: 1 });
    let mut stream = feed.consumer("oms", "one").await;
    feed.post_many(5).await;
    assert_eq!(feed.settle("oms", &got[0].lease, ack()).await, pb::SettleOutcome::Applied);
    nothing(&mut stream, LONG).await;
    let quiet = idle(&mut stream).await;
    assert_eq!((quiet.state(), quiet.cursor.as_str(), quiet.backlog), (pb::FeedState::Paused, "c0ffee00.1", 6));
    assert_eq!(feed.shown("oms").await.state(), pb::SubscriptionState::Paused);
    update(&feed, pb::Subscription { paused: Some(false), ..plain("oms") }).await;
    end(&mut stream).await;
    let mut stream = feed.consumer("oms", "one").await;
    assert_eq!(seqs(&deliveries(&mut stream, 6).await), [2, 3, 4, 5, 6, 7]);
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_stops_reading_holds_up_few() {
    let feed = feed();
    feed.create(pb::Subscription { max_attempts: Some(0), ..plain("oms") }).await;
    let frozen = feed.consumer("oms", "frozen").await;
    tokio::task::yield_now().await;
    feed.post_many(200).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    assert_eq!(feed.shown("oms").await.outstanding, ON_THE_WAY as u64);
    let asked = pb::SubscribeCancelIntentsRequest { max_outstanding_events: Some(1000), ..asking("oms", "awake") };
    let (mut awake, _) = feed.subscribing(asked).await;
    let before = Instant::now();
    let got = deliveries(&mut awake, 168).await;
    assert_eq!((seqs(&got), before.elapsed()), ((33..=200).collect::<Vec<_>>(), Duration::ZERO));
    feed.settled("oms", got.iter().map(|one| (one.lease.as_str(), ack()))).await;
    // And in the end those, once their time is over.
    let rest = deliveries(&mut awake, 32).await;
    assert_eq!(seqs(&rest), (1..=32).collect::<Vec<_>>());
    drop(frozen);
}

#[tokio::test(start_paused = true)]
async fn bodies_come_where_they_are_asked_for() {
    let feed = feed();
    feed.create(plain("oms")).await;
    let asked = pb::SubscribeCancelIntentsRequest { include_raw: true, ..asking("oms", "raw") };
    let (mut with, _) = feed.subscribing(asked).await;
    let mut without = feed.consumer("oms", "plain").await;
    feed.post_many(10).await;
    for (stream, has_body) in [(&mut with, true), (&mut without, false)] {
        let got = deliveries(stream, 5).await;
        assert!(got.iter().all(|one| one.event.as_ref().unwrap().raw_body.is_empty() != has_body), "{got:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_filter_passes_events_by_and_the_floor_with_them() {
    let feed = feed();
    for number in 0..1000 {
        feed.post(if number == 700 { "other" } else { "acme" }, "PO").await;
    }
    let filter = Some(pb::Filter { accounts: vec!["other".into()], ..Default::default() });
    feed.create(pb::Subscription { filter, ..plain("oms") }).await;
    let mut stream = feed.consumer("oms", "one").await;
    let before = Instant::now();
    let one = delivery(&mut stream).await;
    assert_eq!((seq(&one), before.elapsed()), (701, Duration::ZERO));
    let quiet = idle(&mut stream).await;
    assert_eq!((quiet.cursor.as_str(), quiet.backlog), ("c0ffee00.700", 1));
    feed.settle("oms", &one.lease, ack()).await;
    let quiet = idle(&mut stream).await;
    assert_eq!((quiet.cursor.as_str(), quiet.backlog), ("c0ffee00.1000", 0));
}

#[tokio::test(start_paused = true)]
async fn bodies_count_where_they_are_asked_for() {
    let feed = feed();
    for _ in 0..4 {
        feed.post_with_body("acme", "", 40 * 1024).await;
    }
    for name in ["with", "without", "both"] {
        feed.create(plain(name)).await;
    }
    let taking = |name: &str, consumer: &str, include_raw| pb::SubscribeCancelIntentsRequest {
        include_raw,
        max_outstanding_bytes: Some(64 * 1024),
        ..asking(name, consumer)
    };
    let (mut without, _) = feed.subscribing(taking("without", "one", false)).await;
    assert_eq!(deliveries(&mut without, 4).await.len(), 4);
    let (mut with, _) = feed.subscribing(taking("with", "one", true)).await;
    for seq in 1..=4 {
        let one = delivery(&mut with).await;
        let event = one.event.as_ref().unwrap();
        assert_eq!((event.seq, event.raw_body.len()), (seq, 40 * 1024));
        idle(&mut with).await;
        feed.settle("with", &one.lease, ack()).await;
    }
    // One that came without is read again with its body, and who does not ask for bodies gets none.
    let (mut plain_one, _) = feed.subscribing(taking("both", "plain", false)).await;
    let first = deliveries(&mut plain_one, 4).await;
    drop(plain_one);
    for one in &first {
        let outcome = feed.settle("both", &one.lease, pb::verdict::Verdict::Release(pb::Release {})).await;
        assert_eq!(outcome, pb::SettleOutcome::Applied);
    }
    let at_most =
        pb::SubscribeCancelIntentsRequest { max_outstanding_events: Some(4), ..taking("both", "whole", true) };
    let (mut whole, _) = feed.subscribing(at_most).await;
    assert_eq!(deliveries(&mut whole, 4).await[3].event.as_ref().unwrap().raw_body.len(), 40 * 1024);
    let (mut plain_one, _) = feed.subscribing(taking("both", "plain", false)).await;
    feed.post_with_body("acme", "", 40 * 1024).await;
    let fifth = delivery(&mut plain_one).await;
    assert_eq!((seq(&fifth), fifth.event.as_ref().unwrap().raw_body.len()), (5, 0));
}
