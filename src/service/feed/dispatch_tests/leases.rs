//! What becomes of a loan.

use super::*;

#[tokio::test(start_paused = true)]
async fn an_expired_lease_goes_to_another_consumer_and_says_so() {
    let feed = feed();
    feed.post_many(2).await;
    feed.create(plain("oms")).await;
    let mut one = feed.consumer("oms", "one").await;
    let lost = deliveries(&mut one, 2).await;
    drop(one);
    let before = Instant::now();
    let mut two = feed.consumer("oms", "two").await;
    tokio::time::sleep(Duration::from_secs(29)).await;
    nothing(&mut two, Duration::from_millis(999)).await;
    let again = deliveries(&mut two, 2).await;
    assert!(before.elapsed() >= LEASE && before.elapsed() < LEASE + Duration::from_millis(10));
    assert!(again.iter().all(|one| one.attempt == 2 && one.cause() == pb::DeliveryCause::LeaseExpired));
    assert_eq!(again[0].lease, "g1.s1.a2");
    assert_eq!(feed.settle("oms", &lost[0].lease, ack()).await, pb::SettleOutcome::LeaseLost);
    assert_eq!(feed.settle("oms", &again[0].lease, ack()).await, pb::SettleOutcome::Applied);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_extended_does_not_expire() {
    let feed = feed();
    feed.post_many(1).await;
    feed.create(plain("oms")).await;
    let mut stream = feed.consumer("oms", "one").await;
    let one = delivery(&mut stream).await;
    for _ in 0..5 {
        nothing(&mut stream, Duration::from_secs(25)).await;
        let extended = Said::Extend(pb::Extend { by: None });
        assert_eq!(feed.settle("oms", &one.lease, extended).await, pb::SettleOutcome::Applied);
    }
    nothing(&mut stream, Duration::from_secs(29)).await;
    assert_eq!(delivery(&mut stream).await.lease, "g1.s1.a2");
}

#[tokio::test(start_paused = true)]
async fn leases_outlive_the_stream_and_are_shown_to_the_same_consumer() {
    let feed = feed();
    feed.post_many(3).await;
    feed.create(plain("oms")).await;
    let mut stream = feed.consumer("oms", "one").await;
    deliveries(&mut stream, 3).await;
    drop(stream);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (mut stream, opened) = feed.subscribing(asking("oms", "one")).await;
    assert_eq!(opened.held_leases, ["g1.s1.a1", "g1.s2.a1", "g1.s3.a1"]);
    let (_, of_another) = feed.subscribing(asking("oms", "two")).await;
    assert!(of_another.held_leases.is_empty());
    nothing(&mut stream, Duration::from_secs(20)).await;
    let settled = feed.settled("oms", opened.held_leases.iter().map(|lease| (lease.as_str(), ack()))).await;
    assert_eq!((settled.floor.as_str(), settled.backlog), ("c0ffee00.3", 0));
    nothing(&mut stream, LONG).await;
}

#[tokio::test(start_paused = true)]
async fn reclaimed_events_come_again_at_once_to_the_same_consumer() {
    let feed = feed();
    feed.post_many(100).await;
    feed.create(plain("oms")).await;
    let mut stream = feed.consumer("oms", "one").await;
    deliveries(&mut stream, 100).await;
    drop(stream);
    // With others that have room and would like them.
    let mut other = feed.consumer("oms", "two").await;
    nothing(&mut other, Duration::from_secs(1)).await;
    let asked = pb::SubscribeCancelIntentsRequest { reclaim: true, ..asking("oms", "one") };
    let (mut stream, opened) = feed.subscribing(asked).await;
    assert!(opened.held_leases.is_empty(), "they are void");
    let before = Instant::now();
    let again = deliveries(&mut stream, 100).await;
    assert_eq!((seqs(&again), before.elapsed()), ((1..=100).collect::<Vec<_>>(), Duration::ZERO));
    assert!(again.iter().all(|one| one.attempt == 2 && one.cause() == pb::DeliveryCause::Reclaimed));
    nothing(&mut other, Duration::from_secs(1)).await;
    assert_eq!(feed.settle("oms", "g1.s1.a1", ack()).await, pb::SettleOutcome::LeaseLost);
    // Once only.
    nothing(&mut stream, Duration::from_secs(20)).await;
}

#[tokio::test(start_paused = true)]
async fn a_consumer_may_give_back_what_it_has_when_it_goes() {
    let feed = feed();
    feed.post_many(3).await;
    feed.create(plain("oms")).await;
    let asked = pb::SubscribeCancelIntentsRequest { release_on_disconnect: true, ..asking("oms", "one") };
    let (mut stream, _) = feed.subscribing(asked.clone()).await;
    let got = deliveries(&mut stream, 3).await;
    feed.settle("oms", &got[0].lease, ack()).await;
    let mut other = feed.consumer("oms", "two").await;
    nothing(&mut other, Duration::from_secs(1)).await;
    drop(stream);
    let before = Instant::now();
    let again = deliveries(&mut other, 2).await;
    assert_eq!((seqs(&again), before.elapsed()), (vec![2, 3], Duration::ZERO));
    // Also the last, with nobody there.
    let (mut stream, _) =
        feed.subscribing(pb::SubscribeCancelIntentsRequest { consumer_id: "two".into(), ..asked }).await;
    drop(other);
    feed.post_many(1).await;
    delivery(&mut stream).await;
    drop(stream);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(feed.shown("oms").await.outstanding, 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_to_be_given_back_is_given_back_however_the_stream_ends() {
    let feed = feed();
    feed.post_many(3).await;
    feed.create(plain("oms")).await;
    let asked = pb::SubscribeCancelIntentsRequest { release_on_disconnect: true, ..asking("oms", "one") };
    let (mut stream, _) = feed.subscribing(asked).await;
    deliveries(&mut stream, 3).await;
    update(&feed, pb::Subscription { max_attempts: Some(3), ..plain("oms") }).await;
    assert_eq!(end(&mut stream).await.error, FeedError::Updated { generation: 1 });
    assert_eq!(feed.shown("oms").await.outstanding, 0);
}

#[tokio::test(start_paused = true)]
async fn a_loan_that_ran_out_on_its_way_is_not_sent() {
    let feed = feed();
    feed.post_many(3).await;
    feed.create(plain("oms")).await;
    let mut stream = feed.consumer("oms", "one").await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(feed.shown("oms").await.outstanding, 3);
    tokio::time::sleep(LEASE + Duration::from_secs(1)).await;
    let got = deliveries(&mut stream, 3).await;
    assert!(got.iter().all(|one| one.attempt == 2), "{got:?}");
    assert_eq!(feed.settle("oms", &got[0].lease, ack()).await, pb::SettleOutcome::Applied);
}

#[tokio::test(start_paused = true)]
async fn attempts_are_counted_and_the_last_parks() {
    let feed = feed();
    feed.post_many(1).await;
    feed.create(pb::Subscription { max_attempts: Some(2), ..plain("oms") }).await;
    let mut stream = feed.consumer("oms", "one").await;
    let one = delivery(&mut stream).await;
    feed.settle("oms", &one.lease, retry(Duration::ZERO)).await;
    assert_eq!(delivery(&mut stream).await.attempt, 2);
    tokio::time::sleep(LEASE + Duration::from_millis(1)).await;
    let quiet = idle(&mut stream).await;
    assert_eq!((quiet.parked, quiet.backlog, quiet.cursor.as_str()), (1, 0, "c0ffee00.1"));
    let request = pb::RedriveCancelIntentsRequest { subscription: "oms".into(), all: true, ..Default::default() };
    assert_eq!(feed.feed.redrive(&request, &anyone()).await.unwrap(), 1);
    let again = delivery(&mut stream).await;
    assert_eq!((again.lease.as_str(), again.cause()), ("g1.s1.a3", pb::DeliveryCause::Redriven));
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_is_set_ends_no_lease_and_keeps_none_from_ending() {
    let sets: [fn(&TestFeed); 2] =
        [|feed| feed.steps.ahead(Duration::from_secs(90)), |feed| feed.steps.back(Duration::from_secs(3_600))];
    for set in sets {
        let feed = feed();
        feed.post_many(1).await;
        feed.create(plain("oms")).await;
        let mut one = feed.consumer("oms", "one").await;
        let mut two = feed.consumer("oms", "two").await;
        deliveries(&mut one, 1).await;
        drop(one);
        let before = Instant::now();
        set(&feed);
        nothing(&mut two, LEASE - Duration::from_millis(10)).await;
        assert_eq!(delivery(&mut two).await.cause(), pb::DeliveryCause::LeaseExpired);
        assert!(before.elapsed() >= LEASE && before.elapsed() < LEASE + Duration::from_millis(10));
    }
}
