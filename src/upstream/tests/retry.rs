//! What is tried again, when, and how often.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::effect::Effect;
use crate::domain::operation::Operation;
use crate::ports::upstream::ErrorKind;
use crate::testing::upstream::{Seen, Step, World, answer, slow, throttled};
use crate::upstream::transport::HttpError;

const BUSY: &str = r#"{"error":[{"code":"SYSTEM_ERROR.GMP_GATEWAY_API"}]}"#;

fn gaps(seen: &[Seen]) -> Vec<Duration> {
    seen.windows(2).map(|pair| pair[1].at - pair[0].at).collect()
}

#[tokio::test(start_paused = true)]
async fn a_read_is_asked_again_whatever_went_wrong_on_the_way() {
    let wrong = [
        answer(500, BUSY),
        answer(520, ""),
        answer(408, ""),
        answer(200, ""),
        answer(200, "<html>"),
        answer(400, r#"{"error":[{"code":"INVALID_REQUEST.GMP_ORDER_API","info":"Request invalid."}]}"#),
        Step::Fail(HttpError::NotSent),
        Step::Fail(HttpError::Interrupted),
        Step::Fail(HttpError::BadBody(200)),
        Step::Fail(HttpError::BadBody(502)),
    ];
    for step in wrong {
        let world = World::new();
        world.walmart.calls([step.clone(), step.clone()]);
        assert!(world.status().await.is_ok(), "{step:?}");
        assert_eq!(world.walmart.seen().len(), 3);
        world.walmart.calls([step.clone()]);
        assert!(world.promise().await.is_ok(), "a read too, though it is a POST");
        let metrics = &world.shared.metrics.upstream;
        assert_eq!(metrics.retries_tried.of(Operation::Promise).get(), 1);
        assert_eq!(metrics.retries_tried.of(Operation::Status).get(), 2);
        assert_eq!(metrics.retries_succeeded.of(Operation::Status).get(), 1);
        assert_eq!(metrics.retries_tried.of(Operation::Create).get(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_mutation_is_never_sent_again_once_it_may_have_been_carried_out() {
    let wrong = [
        answer(500, BUSY),
        answer(503, ""),
        answer(408, ""),
        answer(202, ""),
        answer(202, r#"{"status":"ACCEPTED","payload":{}}"#),
        answer(400, r#"{"error":[{"code":"INVALID_REQUEST.GMP_ORDER_API","info":"Request invalid."}]}"#),
        Step::Fail(HttpError::Interrupted),
        Step::Fail(HttpError::BadBody(202)),
        Step::Hang,
    ];
    for step in wrong {
        let world = World::new();
        world.walmart.calls([step.clone(), step.clone()]);
        let created = world.create().await.unwrap_err();
        assert_eq!((created.effect, created.kind), (Effect::Unknown, ErrorKind::Unavailable), "{step:?}");
        assert_eq!(world.cancel().await.unwrap_err().effect, Effect::Unknown, "{step:?}");
        assert_eq!(world.walmart.seen().len(), 2, "one each: {step:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_mutation_without_effect_is_sent_again() {
    for step in [Step::Fail(HttpError::NotSent), throttled("1"), answer(423, "")] {
        let world = World::new();
        world.walmart.calls([step.clone(), step.clone()]);
        assert!(world.create().await.is_ok(), "{step:?}");
        assert_eq!(world.walmart.seen().len(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_final() {
    for status in [301, 400, 403, 404, 405, 409, 413, 415, 422, 451] {
        let world = World::new();
        world.walmart.calls([answer(status, BUSY)]);
        let error = world.status().await.unwrap_err();
        assert_eq!((error.http_status, error.effect, world.walmart.seen().len()), (status, Effect::None, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn all_attempts_are_one_call_in_one_trace() {
    let world = World::new();
    world.walmart.calls([answer(500, ""), answer(401, "")]);
    let reply = world.status().await.unwrap();
    let seen = world.walmart.seen();
    let ids: BTreeSet<_> = seen.iter().map(|s| s.header("wm_qos.correlation_id").to_owned()).collect();
    assert_eq!(ids, BTreeSet::from([reply.correlation_id.to_string()]));
    let traces: BTreeSet<_> = seen.iter().map(|s| s.header("traceparent")[3..35].to_owned()).collect();
    assert_eq!(traces, BTreeSet::from([format!("{:032x}", 0xabc)]));
    let spans: BTreeSet<_> = seen.iter().map(|s| s.header("traceparent")[36..52].to_owned()).collect();
    assert_eq!((seen.len(), spans.len()), (3, 3), "500, 401, 200");
    assert!(!spans.contains("0000000000000001"), "a span of its own, below the call's");
    let another = world.status().await.unwrap();
    assert_ne!(another.correlation_id, reply.correlation_id);
}

#[tokio::test(start_paused = true)]
async fn attempts_are_counted_and_end() {
    let world = World::new();
    world.walmart.calls(vec![answer(500, BUSY); 9]);
    let error = world.status().await.unwrap_err();
    assert_eq!((error.kind, error.http_status), (ErrorKind::Unavailable, 500));
    assert_eq!(world.walmart.seen().len(), 3);
    let metrics = &world.shared.metrics.upstream;
    assert_eq!(metrics.retries_out_of_attempts.of(Operation::Status).get(), 1);
    assert_eq!(metrics.retries_succeeded.of(Operation::Status).get(), 0);
}

#[tokio::test(start_paused = true)]
async fn delays_are_spread_over_a_range_that_doubles() {
    let (mut first, mut second, mut busy) = (Vec::new(), Vec::new(), Vec::new());
    let world = World::new();
    for _ in 0..100 {
        for (step, at) in [(answer(500, ""), 0), (answer(423, ""), 1)] {
            let before = world.walmart.seen().len();
            world.walmart.calls([step.clone(), step]);
            world.status().await.unwrap();
            let gaps = gaps(&world.walmart.seen()[before..]);
            if at == 0 {
                first.push(gaps[0]);
                second.push(gaps[1]);
            } else {
                busy.push(gaps[0]);
            }
            // Half a minute refills the budget of retries.
            tokio::time::advance(Duration::from_secs(30)).await;
            let all = (0..20).map(|_| world.status());
            futures_util::future::join_all(all).await;
        }
    }
    let range = |gaps: &[Duration]| (*gaps.iter().min().unwrap(), *gaps.iter().max().unwrap());
    let ms = Duration::from_millis;
    for (gaps, limit) in [(first, ms(50)), (second, ms(100)), (busy, ms(1000))] {
        let (least, most) = range(&gaps);
        // Timers tick in milliseconds.
        assert!(least <= limit / 10 && most <= limit + ms(2) && most >= limit * 8 / 10, "{least:?} {most:?} {limit:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn walmarts_wait_is_obeyed_and_spread_a_little() {
    for (seconds, spread) in [(2, 0.2), (20, 1.0)] {
        let world = World::new();
        world.walmart.calls([throttled(&seconds.to_string())]);
        world.status_within(Duration::from_secs(60)).await.unwrap();
        let gap = gaps(&world.walmart.seen())[0].as_secs_f64();
        assert!((f64::from(seconds)..=f64::from(seconds) + spread + 0.002).contains(&gap), "{gap}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_of_days_counts_as_five_minutes() {
    let world = World::new();
    world.walmart.calls([throttled("1793369103000")]);
    let error = world.status_within(Duration::from_secs(60)).await.unwrap_err();
    assert_eq!((error.kind, error.retry_after), (ErrorKind::RateLimited, Some(Duration::from_secs(300))));
    assert_eq!(world.walmart.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn no_attempt_is_begun_that_could_not_end_in_time() {
    // An attempt needs 300 ms.
    for (took_ms, attempts) in [(9_000, 2), (9_640, 2), (9_705, 1)] {
        let world = World::new();
        let busy = Step::After(Duration::from_millis(took_ms), Box::new(answer(500, "")));
        world.walmart.calls([busy]);
        let began = Instant::now();
        let result = world.status().await;
        assert_eq!((world.walmart.seen().len(), result.is_ok()), (attempts, attempts == 2), "{took_ms}");
        assert!(began.elapsed() < Duration::from_millis(9_800), "answered at once, not at the deadline");
    }
    let world = World::new();
    world.walmart.calls([throttled("9.8")]);
    let began = Instant::now();
    assert_eq!(world.status().await.unwrap_err().retry_after, Some(Duration::from_millis(9_800)));
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn the_budget_ends_retries_and_says_so() {
    let world = World::new();
    world.walmart.calls(vec![answer(423, ""); 1000]);
    // Refusals do not open the circuit, so the budget alone is at work: two a second over ten seconds.
    futures_util::future::join_all((0..15).map(|_| world.create())).await;
    let metrics = &world.shared.metrics.upstream;
    assert_eq!(metrics.retries_tried.of(Operation::Create).get(), 20);
    assert_eq!(metrics.retries_out_of_budget.of(Operation::Create).get(), 10);
    assert_eq!(world.walmart.seen().len(), 35);
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_silence_needs_time_too() {
    let world = World::new();
    world.walmart.calls([slow(11, answer(200, ""))]);
    let error = world.status_within(Duration::from_secs(30)).await;
    assert!(error.is_ok(), "an attempt that took too long is given up and made again");
    assert_eq!(world.walmart.seen().len(), 2);
}
