//! How streams end, and what is left of them.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_second_stream_of_a_consumer_ends_the_first() {
    let feed = feed();
    feed.post_many(2).await;
    feed.create(plain("oms")).await;
    let asked = pb::SubscribeCancelIntentsRequest { release_on_disconnect: true, ..asking("oms", "one") };
    let (mut first, _) = feed.subscribing(asked).await;
    deliveries(&mut first, 2).await;
    let (mut second, opened) = feed.subscribing(asking("oms", "one")).await;
    assert_eq!(opened.held_leases.len(), 2);
    let ended = end(&mut first).await;
    assert_eq!((ended.error, ended.last), (FeedError::ConsumerReplaced { generation: 1 }, Some(LOG.cursor(0))));
    drop(first);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(feed.shown("oms").await.outstanding, 2, "the consumer is still there, and so are its leases");
    feed.post_many(1).await;
    assert_eq!(seq(&delivery(&mut second).await), 3);
    assert_eq!(feed.shown("oms").await.consumers_replaced, 1);
}

#[tokio::test(start_paused = true)]
async fn seeking_ends_streams_and_voids_leases() {
    let feed = feed();
    feed.post_many(5).await;
    feed.create(plain("oms")).await;
    let mut one = feed.consumer("oms", "one").await;
    let mut two = feed.consumer("oms", "two").await;
    let got = deliveries(&mut one, 2).await;
    feed.settled("oms", [(got[1].lease.as_str(), park())]).await;
    let got = &got[0];
    let request = pb::SeekSubscriptionRequest { name: "oms".into(), position: after(3) };
    let moved = feed.feed.seek(&request, &anyone()).await.unwrap();
    assert_eq!(moved.voided_parked, 1);
    let moved = moved.subscription.unwrap();
    assert_eq!((moved.generation, moved.floor.as_str(), moved.outstanding), (2, "c0ffee00.3", 0));
    assert_eq!((moved.backlog, moved.parked), (2, 0));
    for stream in [&mut one, &mut two] {
        let ended = end(stream).await;
        assert_eq!(ended.error, FeedError::Seeked { generation: 2 });
    }
    assert_eq!(feed.settle("oms", &got.lease, ack()).await, pb::SettleOutcome::StaleGeneration);
    let (mut stream, opened) = feed.subscribing(asking("oms", "one")).await;
    assert_eq!((opened.generation, opened.position.as_str(), opened.held_leases.len()), (2, "c0ffee00.3", 0));
    let again = deliveries(&mut stream, 2).await;
    assert_eq!((seqs(&again), again[0].lease.as_str()), (vec![4, 5], "g2.s4.a1"));
    // Back, to what was settled before.
    feed.settled("oms", again.iter().map(|one| (one.lease.as_str(), ack()))).await;
    feed.feed.seek(&pb::SeekSubscriptionRequest { position: earliest(), ..request }, &anyone()).await.unwrap();
    assert_eq!(end(&mut stream).await.error, FeedError::Seeked { generation: 3 });
    let mut stream = feed.consumer("oms", "one").await;
    assert_eq!(seqs(&deliveries(&mut stream, 5).await), [1, 2, 3, 4, 5]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_saw_the_subscription_before_it_was_moved_is_not_served_as_if_it_were_new() {
    let feed = feed();
    feed.post_many(2).await;
    feed.create(plain("oms")).await;
    let seen = feed.store.change("oms", |it| it.head().clone()).await.unwrap().unwrap();
    let now = feed.feed.now();
    feed.store.change("oms", move |it| it.seek(0, now)).await.unwrap();
    // Somebody else was quicker, and is served as the subscription is now.
    let (mut quick, opened) = feed.subscribing(asking("oms", "quick")).await;
    assert_eq!((opened.generation, deliveries(&mut quick, 2).await.len()), (2, 2));
    let (out, mut loans) = mpsc::channel(8);
    let (end, ended) = tokio::sync::oneshot::channel();
    let late = StreamConsumer {
        id: "late".into(),
        max_events: 8,
        max_bytes: 1 << 20,
        raw: false,
        reclaim: false,
        release: false,
        keeps: None,
        out,
        end,
        number: u64::MAX,
    };
    let _member = feed.feed.join(&seen, late);
    let why = timeout(Duration::from_secs(1), ended).await.unwrap().unwrap();
    assert_eq!(why, FeedError::Seeked { generation: 2 });
    feed.post_many(1).await;
    assert_eq!(deliveries(&mut quick, 1).await.len(), 1);
    assert!(loans.recv().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn deleting_ends_streams_and_a_new_one_of_the_name_is_another() {
    let feed = feed();
    feed.post_many(2).await;
    feed.create(plain("oms")).await;
    let mut stream = feed.consumer("oms", "one").await;
    let old = deliveries(&mut stream, 2).await;
    let request = pb::DeleteSubscriptionRequest { name: "oms".into(), ..Default::default() };
    feed.feed.delete(&request, &anyone()).await.unwrap();
    assert_eq!(end(&mut stream).await.error, FeedError::SubscriptionNotFound { name: "oms".into() });
    feed.create(plain("oms")).await;
    let mut stream = feed.consumer("oms", "one").await;
    assert_eq!(deliveries(&mut stream, 2).await[0].lease, "g2.s1.a1");
    // A lease of the first generation settles nothing of the second.
    assert_eq!(old[0].lease, "g1.s1.a1");
    assert_eq!(feed.settle("oms", &old[0].lease, ack()).await, pb::SettleOutcome::StaleGeneration);
    assert_eq!(feed.shown("oms").await.outstanding, 2);
}

#[tokio::test(start_paused = true)]
async fn another_replicas_change_ends_streams_at_the_next_look() {
    let feed = feed();
    feed.post_many(1).await;
    feed.create(plain("oms")).await;
    // Past the feed, straight in the store.
    for (change, why) in [
        ("seek", FeedError::Seeked { generation: 2 }),
        ("update", FeedError::Updated { generation: 2 }),
        ("delete", FeedError::SubscriptionNotFound { name: "oms".into() }),
    ] {
        let mut stream = feed.consumer("oms", change).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = Timestamp(START);
        match change {
            "seek" => drop(feed.store.change("oms", move |it| it.seek(1, now)).await),
            "update" => {
                let config =
                    crate::domain::feed::subscription::SubscriptionConfig { max_attempts: 3, ..Default::default() };
                drop(feed.store.change("oms", move |it| it.update(config.clone(), now)).await);
            }
            _ => drop(feed.store.remove("oms", None).await),
        }
        feed.post_many(1).await;
        assert_eq!(end(&mut stream).await.error, why);
    }
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_takes_nothing_for_a_minute_is_let_go() {
    let feed = feed();
    feed.post_many(1).await;
    feed.create(plain("oms")).await;
    let mut stream = feed.consumer("oms", "one").await;
    delivery(&mut stream).await;
    tokio::time::sleep(Duration::from_millis(60_001)).await;
    let ended = end(&mut stream).await;
    assert_eq!((ended.error, ended.last), (FeedError::SlowConsumer, Some(LOG.cursor(0))));
}

#[tokio::test(start_paused = true)]
async fn lost_events_end_streams_and_refuse_new_ones_until_a_seek() {
    let feed = feed();
    feed.post_many(300).await;
    feed.create(plain("oms")).await;
    let mut stream = feed.consumer("oms", "one").await;
    deliveries(&mut stream, 10).await;
    feed.trim_to(250).await;
    assert_eq!(feed.shown("oms").await.state(), pb::SubscriptionState::LostEvents);
    let expired = FeedError::EventsExpired { first: 250, lost_from: 1 };
    let refused = feed.feed.subscribe(&asking("oms", "two"), &anyone()).await;
    assert!(matches!(refused.err(), Some(crate::service::ServiceError::Feed(error)) if error == expired));
    let request = pb::SeekSubscriptionRequest { name: "oms".into(), position: earliest() };
    let moved = feed.feed.seek(&request, &anyone()).await.unwrap().subscription.unwrap();
    assert_eq!((moved.state(), moved.floor.as_str()), (pb::SubscriptionState::Active, "c0ffee00.249"));
    end(&mut stream).await;
    let mut stream = feed.consumer("oms", "one").await;
    assert_eq!(seq(&delivery(&mut stream).await), 250);
}

#[tokio::test(start_paused = true)]
async fn time_takes_events_and_tells_who_lost_them() {
    let feed = feed();
    feed.post_many(10).await;
    feed.create(plain("holds")).await;
    feed.create(pb::Subscription { hold_retention: Some(false), ..plain("lets-go") }).await;
    let mut holds = feed.consumer("holds", "one").await;
    let mut lets_go = feed.consumer("lets-go", "one").await;
    deliveries(&mut holds, 10).await;
    deliveries(&mut lets_go, 10).await;
    feed.settled(
        "holds",
        (1..=4).map(|seq| format!("g1.s{seq}.a1")).collect::<Vec<_>>().iter().map(|l| (l.as_str(), ack())),
    )
    .await;
    drop((holds, lets_go));
    let day = Duration::from_hours(24);
    tokio::time::advance(30 * day - Duration::from_mins(2)).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(feed.store.bounds(FeedName::CancelIntents).await.unwrap().first, 1);
    tokio::time::sleep(Duration::from_mins(5)).await;
    use crate::ports::event_log::EventLog as _;
    assert_eq!(feed.store.bounds(FeedName::CancelIntents).await.unwrap().first, 5, "what `holds` has settled");
    assert_eq!(feed.shown("holds").await.state(), pb::SubscriptionState::Active);
    assert_eq!(feed.shown("lets-go").await.state(), pb::SubscriptionState::LostEvents);
    tokio::time::advance(60 * day).await;
    tokio::time::sleep(Duration::from_mins(2)).await;
    assert_eq!(feed.store.bounds(FeedName::CancelIntents).await.unwrap().first, 10, "the last always stays");
    assert_eq!(feed.shown("holds").await.state(), pb::SubscriptionState::LostEvents);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_loses_events_is_told_at_once() {
    let feed = feed();
    feed.post_many(10).await;
    feed.create(pb::Subscription { paused: Some(true), ..plain("oms") }).await;
    tokio::time::advance(90 * Duration::from_hours(24) - Duration::from_secs(30)).await;
    let mut stream = feed.consumer("oms", "one").await;
    let before = Instant::now();
    let ended = end(&mut stream).await;
    assert_eq!(ended.error, FeedError::EventsExpired { first: 10, lost_from: 1 });
    assert!(before.elapsed() < Duration::from_mins(3), "{:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_ends_streams_and_nothing_is_lost() {
    let feed = feed();
    feed.post_many(3).await;
    feed.create(plain("oms")).await;
    let mut stream = feed.consumer("oms", "one").await;
    let got = deliveries(&mut stream, 3).await;
    feed.settle("oms", &got[0].lease, ack()).await;
    idle(&mut stream).await;
    feed.store.fail(false, true);
    feed.post_many(1).await;
    let ended = end(&mut stream).await;
    assert_eq!((ended.error, ended.last), (FeedError::Store, Some(LOG.cursor(1))));
    let refused = feed.feed.subscribe(&asking("oms", "one"), &anyone()).await;
    assert!(matches!(refused.err(), Some(crate::service::ServiceError::Store)));
    feed.store.fail(false, false);
    let (mut stream, opened) = feed.subscribing(asking("oms", "one")).await;
    assert_eq!(opened.held_leases, ["g1.s2.a1", "g1.s3.a1"]);
    assert_eq!(seq(&delivery(&mut stream).await), 4);
}

#[tokio::test(start_paused = true)]
async fn a_bug_ends_streams_and_the_subscription_works_again() {
    let feed = feed();
    feed.post_many(1).await;
    feed.create(plain("oms")).await;
    let mut stream = feed.consumer("oms", "one").await;
    let one = delivery(&mut stream).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    feed.store.panic_once();
    feed.post_many(1).await;
    assert_eq!(end(&mut stream).await.error, FeedError::Store);
    let (mut stream, opened) = feed.subscribing(asking("oms", "one")).await;
    assert_eq!(opened.held_leases, [one.lease]);
    assert_eq!(seq(&delivery(&mut stream).await), 2);
}

#[tokio::test(start_paused = true)]
async fn streams_end_when_the_process_does_and_leave_nothing_behind() {
    let feed = feed();
    feed.post_many(3).await;
    feed.create(plain("oms")).await;
    let asked = pb::SubscribeCancelIntentsRequest { release_on_disconnect: true, ..asking("oms", "one") };
    let (mut stream, _) = feed.subscribing(asked).await;
    deliveries(&mut stream, 3).await;
    feed.stopping.cancel();
    let ended = end(&mut stream).await;
    assert_eq!((ended.error, ended.last), (FeedError::ShuttingDown, Some(LOG.cursor(0))));
    drop(stream);
    feed.tasks.close();
    timeout(LONG, feed.tasks.wait()).await.unwrap();
    assert_eq!(feed.shown("oms").await.outstanding, 0);
}
