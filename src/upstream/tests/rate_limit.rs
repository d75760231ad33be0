//! Waiting for the account's limit.

use std::time::Duration;

use tokio::time::{Instant, advance};

use crate::domain::operation::Operation;
use crate::ports::upstream::ErrorKind;
use crate::testing::upstream::{FIRST, NOW, SECOND, Step, World, answer, counted, settle, slow, throttled};
use crate::upstream::transport::HttpError;

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A world whose status bucket, one token in `60 / per_minute` seconds, has just been used up.
async fn used_up(per_minute: u32) -> World {
    let world = World::limited(per_minute);
    for _ in 0..per_minute {
        world.status().await.unwrap();
    }
    world
}

#[tokio::test(start_paused = true)]
async fn it_waits_while_there_is_time() {
    let world = used_up(20).await;
    let began = Instant::now();
    world.status().await.unwrap();
    assert!((seconds(3)..seconds(3) + Duration::from_millis(5)).contains(&began.elapsed()));
    let metrics = &world.shared.metrics.upstream;
    assert_eq!(metrics.rate_limit_refusals.of(Operation::Status).get(), 0);
}

#[tokio::test(start_paused = true)]
async fn it_refuses_at_once_when_waiting_would_pass_the_deadline() {
    let world = used_up(20).await;
    let began = Instant::now();
    // A token in 3 s and 300 ms for the attempt.
    let error = world.status_within(Duration::from_millis(3_299)).await.unwrap_err();
    assert_eq!((error.kind, error.retry_after), (ErrorKind::RateLimited, Some(seconds(3))));
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(world.shared.metrics.upstream.rate_limit_refusals.of(Operation::Status).get(), 1);
    assert!(world.status_within(Duration::from_millis(3_310)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_retry_pays_like_a_first_attempt() {
    let world = World::limited(20);
    world.walmart.calls([answer(500, ""), answer(500, "")]);
    world.status().await.unwrap();
    assert!((17.0..17.1).contains(&world.available()), "{}", world.available());
}

#[tokio::test(start_paused = true)]
async fn a_token_comes_back_only_when_nothing_was_sent() {
    let not_sent = Step::Fail(HttpError::NotSent);
    for (step, left) in [(not_sent, 19.0), (Step::Fail(HttpError::Interrupted), 18.0), (answer(500, ""), 18.0)] {
        let world = World::limited(20);
        world.walmart.calls([step.clone()]);
        world.status().await.unwrap();
        assert!((left..left + 0.1).contains(&world.available()), "{step:?}: {}", world.available());
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_given_up_keeps_what_it_did_not_use() {
    let world = World::limited(20);
    world.walmart.tokens([Step::Hang]);
    let waiting = tokio::spawn({
        let world = world.clone();
        async move { world.status().await }
    });
    settle().await;
    assert_eq!(world.available(), 19.0, "held while it waits for an access token");
    waiting.abort();
    settle().await;
    assert_eq!(world.available(), 20.0);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_given_up_after_sending_has_paid() {
    let world = World::limited(20);
    world.walmart.calls([Step::Hang]);
    let sent = tokio::spawn({
        let world = world.clone();
        async move { world.status().await }
    });
    settle().await;
    assert_eq!(world.walmart.seen().len(), 1);
    sent.abort();
    settle().await;
    assert_eq!(world.available(), 19.0, "Walmart has counted it");
    // And nothing counts it as under way any more.
    world.walmart.calls([counted("10", None)]);
    world.status().await.unwrap();
    assert_eq!(world.available(), 10.0);
}

#[tokio::test(start_paused = true)]
async fn waiters_move_up_when_one_leaves() {
    let world = used_up(20).await;
    let began = Instant::now();
    let wait = |world: &World| {
        let world = world.clone();
        tokio::spawn(async move {
            world.status().await.unwrap();
            Instant::now()
        })
    };
    let first = wait(&world);
    settle().await;
    let second = wait(&world);
    settle().await;
    first.abort();
    let ended = second.await.unwrap() - began;
    assert!((seconds(3)..seconds(4)).contains(&ended), "{ended:?}, not 6 s");
}

#[tokio::test(start_paused = true)]
async fn who_comes_first_is_served_first() {
    let world = used_up(60).await;
    let began = Instant::now();
    let mut waiters = Vec::new();
    for _ in 0..5 {
        let world = world.clone();
        waiters.push(tokio::spawn(async move {
            world.status().await.unwrap();
            Instant::now()
        }));
        settle().await;
    }
    for (waiter, place) in waiters.into_iter().zip(1..) {
        let waited = waiter.await.unwrap() - began;
        assert_eq!(waited.as_secs(), place);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_makes_those_who_wait_look_again() {
    let world = World::limited(60);
    // The first answer is slow, and tells that Walmart has none left.
    world.walmart.calls([Step::After(Duration::from_millis(500), Box::new(throttled("20")))]);
    let refused = tokio::spawn({
        let world = world.clone();
        async move { world.status_within(seconds(5)).await }
    });
    settle().await;
    for _ in 1..60 {
        world.status().await.unwrap();
    }
    let began = Instant::now();
    let mut waiters = Vec::new();
    for time in [50, 50, 50, 8] {
        let world = world.clone();
        waiters.push(tokio::spawn(async move {
            let result = world.status_within(seconds(time)).await;
            (result.map_err(|e| (e.kind, e.retry_after)), Instant::now())
        }));
        settle().await;
    }
    let ended = futures_util::future::join_all(waiters).await.into_iter().map(Result::unwrap).collect::<Vec<_>>();
    // The impatient one is told as soon as it is known that its time would pass.
    let (result, at) = &ended[3];
    let (kind, wait) = result.as_ref().unwrap_err();
    assert_eq!(*kind, ErrorKind::RateLimited);
    assert!(wait.unwrap() > seconds(22), "{wait:?}");
    assert!(*at - began < seconds(1), "{:?}", *at - began);
    assert!(refused.await.unwrap().is_err());
    // The others keep their order and their distance.
    let times: Vec<_> = ended[..3]
        .iter()
        .map(|(result, at)| {
            assert!(result.is_ok());
            (*at - began).as_secs()
        })
        .collect();
    assert!(times[0] >= 20 && times[1] == times[0] + 1 && times[2] == times[0] + 2, "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn walmarts_count_goes_before_ours_in_every_spelling() {
    let (ms, s) = ((NOW + 7) * 1000, NOW + 7);
    for (name, value) in [
        ("x-next-replenishment-time", ms.to_string()),
        ("x-next-replenishment-time", s.to_string()),
        ("x-next-replenishment-time", "2026-10-30T14:05:07Z".to_owned()),
        ("x-next-replenish-time", ms.to_string()),
        ("x-next-replenish-time", "7".to_owned()),
    ] {
        let world = World::limited(20);
        world.walmart.calls([counted("0", Some((name, value.clone())))]);
        world.status().await.unwrap();
        let error = world.status_within(seconds(5)).await.unwrap_err();
        assert_eq!(error.retry_after, Some(seconds(7)), "{name}: {value}");
        let began = Instant::now();
        world.status().await.unwrap();
        assert_eq!(began.elapsed().as_secs(), 7);
    }
    for (count, left) in [("12", 12.0), ("0", 0.0), ("-3", 0.0), ("500", 20.0), ("soon", 19.0)] {
        let world = World::limited(20);
        world.walmart.calls([counted(count, None)]);
        world.status().await.unwrap();
        assert_eq!(world.available(), left, "{count}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_higher_count_ends_a_wait() {
    let world = World::limited(20);
    world.walmart.calls([slow(2, counted("5", None)), throttled("30")]);
    let late = tokio::spawn({
        let world = world.clone();
        async move { world.status().await }
    });
    settle().await;
    assert!(world.status_within(seconds(5)).await.is_err(), "throttled for 30 s");
    let began = Instant::now();
    let waiting = tokio::spawn({
        let world = world.clone();
        async move { world.status_within(seconds(50)).await }
    });
    late.await.unwrap().unwrap();
    waiting.await.unwrap().unwrap();
    assert_eq!(began.elapsed().as_secs(), 2, "not 30");
    // And from there the bucket refills at once, not only after the 30 s.
    let before = world.available();
    advance(seconds(3)).await;
    assert!((world.available() - before - 1.0).abs() < 0.01, "{before} {}", world.available());
}

#[tokio::test(start_paused = true)]
async fn accounts_and_operations_have_buckets_of_their_own() {
    let world = used_up(5).await;
    let short = seconds(1);
    assert!(world.status_within(short).await.is_err());
    assert!(world.create_within(short).await.is_ok());
    assert!(world.status_of(SECOND, short).await.is_ok());
    world.walmart.calls([throttled("60")]);
    assert!(world.status_of(SECOND, short).await.is_err());
    assert!(world.shared.buckets.state(SECOND, Operation::Status).available < 1.0);
    assert!(world.shared.buckets.state(FIRST, Operation::Create).available >= 4.0);
}
