//! Whose time ends an attempt: a mutation that has begun belongs to its operation.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::effect::Effect;
use crate::domain::operation::Operation;
use crate::ports::upstream::ErrorKind;
use crate::testing::upstream::{ACCEPTED, FOUND, Step, World, answer, throttled};

fn after(seconds: u64, body: &str) -> Step {
    Step::After(Duration::from_secs(seconds), Box::new(answer(200, body)))
}

#[tokio::test(start_paused = true)]
async fn a_mutation_that_has_begun_is_not_cut_at_the_deadline() {
    let world = World::new();
    world.walmart.calls([after(6, ACCEPTED)]);
    let began = Instant::now();
    let reply = world.create_within(Duration::from_millis(1_500)).await.unwrap();
    assert_eq!((reply.answer.acceptance.request_id.as_str(), began.elapsed().as_secs()), ("R1", 6));
    // It has all the time of an attempt, and no more.
    world.walmart.calls([after(11, ACCEPTED)]);
    let began = Instant::now();
    let error = world.create_within(Duration::from_millis(1_500)).await.unwrap_err();
    assert_eq!((error.kind, error.effect), (ErrorKind::Unavailable, Effect::Unknown));
    assert_eq!(began.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_read_is_cut_at_the_deadline() {
    let world = World::new();
    world.walmart.calls([after(6, FOUND)]);
    let began = Instant::now();
    let error = world.status_within(Duration::from_millis(1_500)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::DeadlineExceeded);
    assert!(began.elapsed() <= Duration::from_millis(1_500));
}

#[tokio::test(start_paused = true)]
async fn a_mutation_that_has_not_begun_ends_in_time_and_was_not_sent() {
    // Waiting for an access token.
    let world = World::new();
    world.walmart.tokens([Step::Hang]);
    let began = Instant::now();
    let error = world.create_within(Duration::from_secs(3)).await.unwrap_err();
    assert_eq!((error.kind, error.effect), (ErrorKind::DeadlineExceeded, Effect::None));
    assert!(began.elapsed() <= Duration::from_secs(3));
    assert!(world.walmart.seen().is_empty());
    // Waiting for the limit: the second attempt would begin too late.
    let world = World::limited(1);
    world.create().await.unwrap();
    let error = world.create_within(Duration::from_secs(3)).await.unwrap_err();
    assert_eq!((error.kind, error.effect), (ErrorKind::RateLimited, Effect::None));
    // Refused, and not to be tried again in time: what left was not carried out.
    let world = World::new();
    world.walmart.calls([throttled("30")]);
    let error = world.create_within(Duration::from_secs(3)).await.unwrap_err();
    assert_eq!((error.kind, error.effect), (ErrorKind::RateLimited, Effect::None));
    assert_eq!(world.shared.metrics.upstream.retries_tried.of(Operation::Create).get(), 0);
}
