//! Circuits, through the layer.

use std::time::Duration;

use tokio::time::{Instant, advance};

use crate::domain::operation::Operation;
use crate::ports::upstream::ErrorKind;
use crate::telemetry::metrics::CircuitState;
use crate::testing::upstream::{ACCEPTED, FIRST, FOUND, SECOND, Step, World, answer, settle, slow, throttled};
use crate::upstream::transport::HttpError;

fn state(world: &World) -> CircuitState {
    world.shared.circuits.state(FIRST, Operation::Create).0
}

/// A world whose create circuit has just opened.
async fn open() -> World {
    let world = World::new();
    world.walmart.calls(vec![answer(500, ""); 5]);
    for _ in 0..5 {
        assert_eq!(state(&world), CircuitState::Closed);
        assert!(world.create().await.is_err());
    }
    assert_eq!(state(&world), CircuitState::Open);
    world
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_fails_at_once_and_says_for_how_long() {
    let world = open().await;
    let (began, sent) = (Instant::now(), world.walmart.seen().len());
    let error = world.create().await.unwrap_err();
    assert_eq!((error.kind, error.retry_after), (ErrorKind::CircuitOpen, Some(Duration::from_secs(1))));
    assert_eq!((began.elapsed(), world.walmart.seen().len()), (Duration::ZERO, sent));
    assert!(world.cancel().await.is_ok(), "another operation");
    assert!(world.status_of(SECOND, Duration::from_secs(10)).await.is_ok());
    advance(Duration::from_secs(1)).await;
    assert!(world.create().await.is_ok());
    assert_eq!(state(&world), CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_given_up_makes_room() {
    let world = open().await;
    advance(Duration::from_secs(1)).await;
    world.walmart.calls([Step::Hang]);
    let probe = tokio::spawn({
        let world = world.clone();
        async move { world.create().await }
    });
    settle().await;
    assert_eq!(state(&world), CircuitState::HalfOpen);
    assert_eq!(world.create().await.unwrap_err().kind, ErrorKind::CircuitOpen, "one probe at a time");
    probe.abort();
    settle().await;
    assert!(world.create().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_call_from_before_it_opened_is_no_probe() {
    let world = World::new();
    world.walmart.calls([slow(3, answer(202, crate::testing::upstream::ACCEPTED))]);
    let early = tokio::spawn({
        let world = world.clone();
        async move { world.create().await }
    });
    settle().await;
    world.walmart.calls(vec![answer(500, ""); 5]);
    for _ in 0..5 {
        assert!(world.create().await.is_err());
    }
    advance(Duration::from_secs(1)).await;
    world.walmart.calls([slow(5, answer(500, ""))]);
    let probe = tokio::spawn({
        let world = world.clone();
        async move { world.create().await }
    });
    early.await.unwrap().unwrap();
    assert_eq!(state(&world), CircuitState::HalfOpen);
    assert!(probe.await.unwrap().is_err());
    assert_eq!(state(&world), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn silence_and_faults_of_walmart_open_it_and_refusals_do_not() {
    let cases = [
        (answer(503, ""), CircuitState::Open),
        (Step::Fail(HttpError::BadBody(202)), CircuitState::Open),
        (Step::Fail(HttpError::Interrupted), CircuitState::Open),
        (Step::Hang, CircuitState::Open),
        // An answer that somebody wrote, perhaps Walmart.
        (answer(202, "<html>"), CircuitState::Closed),
        (throttled("60"), CircuitState::Closed),
        (answer(400, ""), CircuitState::Closed),
        (answer(403, ""), CircuitState::Closed),
        (answer(404, ""), CircuitState::Closed),
        (Step::Answer(423, vec![("retry-after", "60".into())], String::new()), CircuitState::Closed),
        (answer(202, r#"{"status":"FAIL"}"#), CircuitState::Closed),
    ];
    for (step, want) in cases {
        let world = World::new();
        for _ in 0..5 {
            world.walmart.calls([step.clone()]);
            assert!(world.create_within(Duration::from_secs(5)).await.is_err());
            // Past the wait of a 429.
            if want == CircuitState::Closed {
                advance(Duration::from_secs(61)).await;
            }
        }
        assert_eq!(state(&world), want, "{step:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn it_counts_calls_and_not_attempts() {
    let world = World::new();
    // Each call succeeds at its third attempt.
    for _ in 0..5 {
        world.walmart.calls([answer(500, ""), answer(500, "")]);
        world.status().await.unwrap();
    }
    assert_eq!(world.walmart.seen().len(), 15);
    assert_eq!(world.shared.circuits.state(FIRST, Operation::Status).0, CircuitState::Closed);
}

#[tokio::test(start_paused = true)]
async fn impatience_of_callers_is_no_fault_of_walmarts() {
    const IMPATIENT: Duration = Duration::from_millis(900);
    let world = World::new();
    let second = |body: &str| Step::After(Duration::from_secs(1), Box::new(answer(200, body)));
    // Walmart answers after a second: creations are not cut, and reads that are say nothing of Walmart.
    for (body, operation) in [(ACCEPTED, Operation::Create), (FOUND, Operation::Status)] {
        world.walmart.calls(vec![second(body); 90]);
        let impatient = (0..8).map(|_| async {
            for _ in 0..10 {
                match operation {
                    Operation::Create => drop(world.create_within(IMPATIENT).await.unwrap()),
                    _ => {
                        let error = world.status_within(IMPATIENT).await.unwrap_err();
                        assert_eq!(error.kind, ErrorKind::DeadlineExceeded);
                    }
                }
            }
        });
        let patient = async {
            for _ in 0..10 {
                match operation {
                    Operation::Create => drop(world.create().await.unwrap()),
                    _ => drop(world.status().await.unwrap()),
                }
            }
        };
        futures_util::future::join(futures_util::future::join_all(impatient), patient).await;
        assert_eq!(world.shared.circuits.state(FIRST, operation).0, CircuitState::Closed, "{operation}");
    }
    // Silence to the end of the time of an attempt is one.
    world.walmart.calls(vec![Step::Hang; 5]);
    for _ in 0..5 {
        assert!(world.create_within(IMPATIENT).await.is_err());
    }
    assert_eq!(state(&world), CircuitState::Open);
}

#[tokio::test(start_paused = true)]
async fn a_look_up_passes_an_open_circuit() {
    let world = World::new();
    world.walmart.calls(vec![answer(500, ""); 15]);
    for _ in 0..5 {
        assert!(world.status().await.is_err());
    }
    assert_eq!(world.status().await.unwrap_err().kind, ErrorKind::CircuitOpen);
    world.look_up_within(Duration::from_secs(10)).await.unwrap();
    world.status().await.unwrap();
}
