//! A doubt gets its turn: the ledger's look-ups, however many callers ask for the same tokens.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::testing::upstream::{Settings, Step, World, settle};

const PATIENCE: Duration = Duration::from_secs(30);

/// A world with 20 calls a minute and callers that ask for states for ever.
async fn polled(callers: usize) -> (World, JoinSet<()>) {
    let world = World::limited(20);
    let mut pollers = JoinSet::new();
    for _ in 0..callers {
        let world = world.clone();
        pollers.spawn(async move {
            loop {
                if world.status_within(PATIENCE).await.is_err() {
                    // Told to come later.
                    sleep(Duration::from_millis(100)).await;
                }
            }
        });
    }
    sleep(Duration::from_secs(100)).await;
    (world, pollers)
}

#[tokio::test(start_paused = true)]
async fn a_look_up_has_the_next_token_beside_pollers() {
    for callers in [6, 30] {
        let (world, _pollers) = polled(callers).await;
        for wait in [0, 700, 1_400, 2_100, 2_800, 12_000] {
            sleep(Duration::from_millis(wait)).await;
            let began = Instant::now();
            world.look_up_within(Duration::from_secs(4)).await.unwrap();
            // A token in three seconds.
            assert!(began.elapsed() <= Duration::from_millis(3_002), "{callers} callers: {:?}", began.elapsed());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn more_look_ups_wait_for_the_next_tokens_and_not_for_callers() {
    let (world, _pollers) = polled(30).await;
    let began = Instant::now();
    let look_ups = (0..6).map(|_| world.look_up_within(PATIENCE));
    assert!(futures_util::future::join_all(look_ups).await.iter().all(Result::is_ok));
    assert!(began.elapsed() < Duration::from_secs(19), "one in three seconds: {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn callers_keep_their_half_beside_endless_look_ups() {
    let world = World::limited(20);
    let mut look_ups = JoinSet::new();
    for _ in 0..4 {
        let world = world.clone();
        look_ups.spawn(async move {
            loop {
                if world.look_up_within(PATIENCE).await.is_err() {
                    sleep(Duration::from_millis(100)).await;
                }
            }
        });
    }
    settle().await;
    let mut served = 0;
    let _ = timeout(Duration::from_secs(600), async {
        loop {
            world.status_within(PATIENCE).await.unwrap();
            served += 1;
        }
    })
    .await;
    // Ten a minute; one caller at a time does not use every chance.
    assert!(served >= 90, "{served}");
}

#[tokio::test(start_paused = true)]
async fn a_look_up_needs_no_room_among_callers() {
    let mut settings = Settings::default();
    settings.stack.max_in_flight = 1;
    let world = World::with(settings);
    world.walmart.calls([Step::Hang]);
    let hanging = tokio::spawn({
        let world = world.clone();
        async move { world.status().await }
    });
    settle().await;
    assert!(world.status().await.is_err());
    world.look_up_within(PATIENCE).await.unwrap();
    hanging.abort();
}
