//! What bounds a call: calls under way, its deadline, the time of an attempt.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::effect::Effect;
use crate::ports::upstream::ErrorKind;
use crate::testing::upstream::{FOUND, Settings, Step, World, answer, settle, slow};
use crate::upstream::StackSettings;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn world(change: impl FnOnce(&mut StackSettings)) -> World {
    let mut settings = Settings::default();
    change(&mut settings.stack);
    World::with(settings)
}

#[tokio::test(start_paused = true)]
async fn what_is_too_much_is_refused_at_once_and_places_come_back() {
    let world = world(|stack| stack.max_in_flight = 2);
    world.walmart.calls([Step::Hang, slow(1, answer(200, FOUND))]);
    let spawn = || {
        let world = world.clone();
        tokio::spawn(async move { world.status().await })
    };
    let (hanging, slow) = (spawn(), spawn());
    settle().await;
    let began = Instant::now();
    let error = world.create().await.unwrap_err();
    assert_eq!((error.kind, error.effect, began.elapsed()), (ErrorKind::Overloaded, Effect::None, Duration::ZERO));
    hanging.abort();
    settle().await;
    assert!(world.create().await.is_ok(), "given up");
    slow.await.unwrap().unwrap();
    for _ in 0..3 {
        assert!(world.create().await.is_ok(), "ended");
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_ends_with_its_deadline() {
    let world = World::new();
    world.status().await.unwrap();
    world.walmart.calls([Step::Hang]);
    let began = Instant::now();
    let error = world.status_within(ms(2000)).await.unwrap_err();
    assert_eq!((error.kind, error.effect), (ErrorKind::DeadlineExceeded, Effect::None), "a read");
    assert!((2_000..2_005).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    world.walmart.calls([Step::Hang]);
    let error = world.create_within(ms(2000)).await.unwrap_err();
    assert_eq!((error.kind, error.effect), (ErrorKind::Unavailable, Effect::Unknown), "a mutation");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_takes_no_longer_than_it_may() {
    let world = world(|stack| stack.attempt_timeout = ms(1000));
    world.walmart.calls([Step::Hang]);
    let began = Instant::now();
    let error = world.create().await.unwrap_err();
    assert_eq!((error.kind, error.effect), (ErrorKind::Unavailable, Effect::Unknown));
    assert!((1_000..1_005).contains(&began.elapsed().as_millis()));
    world.walmart.calls([Step::Hang, Step::Hang, Step::Hang]);
    assert_eq!(world.status().await.unwrap_err().kind, ErrorKind::Unavailable, "there was time, Walmart was silent");
    assert_eq!(world.walmart.seen().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_token_is_no_time_on_the_wire() {
    let world = world(|stack| stack.attempt_timeout = ms(3000));
    let token = answer(200, r#"{"access_token":"t"}"#);
    world.walmart.tokens([slow(2, token)]);
    world.walmart.calls([slow(2, answer(200, FOUND))]);
    world.status().await.unwrap();
    assert_eq!(world.walmart.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_without_time_is_not_begun() {
    let world = World::new();
    world.status().await.unwrap();
    for time in [ms(0), ms(100), ms(299)] {
        let error = world.create_within(time).await.unwrap_err();
        assert_eq!((error.kind, error.effect), (ErrorKind::DeadlineExceeded, Effect::None));
    }
    assert_eq!(world.walmart.seen().len(), 1);
    assert!(world.create_within(ms(300)).await.is_ok());
}

mod never_ready {
    //! A service that is not ready in time has sent nothing.

    use std::future::Pending;
    use std::task::{Context, Poll};

    use tower::{Layer as _, Service, ServiceExt as _};

    use super::*;
    use crate::domain::mutations::CreateOrder;
    use crate::ports::random::Random;
    use crate::testing::upstream::{FIRST, context};
    use crate::upstream::call::{AttemptRequest, AttemptResponse, OutboundCall};
    use crate::upstream::codec::OperationCodec as _;
    use crate::upstream::failure::{AttemptFailure, LostAnswer, NotSent};
    use crate::upstream::layers::attempt_timeout::AttemptTimeoutLayer;

    /// Never ends; sends or not.
    #[derive(Clone)]
    struct Stuck {
        sends: bool,
    }

    impl Service<AttemptRequest> for Stuck {
        type Response = AttemptResponse;
        type Error = AttemptFailure;
        type Future = Pending<Result<AttemptResponse, AttemptFailure>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), AttemptFailure>> {
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, outbound: AttemptRequest) -> Self::Future {
            if self.sends {
                outbound.call.mark_sent();
            }
            std::future::pending()
        }
    }

    fn outbound() -> AttemptRequest {
        let request = CreateOrder::build(&Default::default(), &Default::default());
        AttemptRequest::new(OutboundCall::new::<CreateOrder>(
            request,
            FIRST,
            Random::from_seed(1).uuid(),
            context(ms(2000)),
        ))
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_left_had_no_effect() {
        let timeout = AttemptTimeoutLayer::new(ms(500));
        let unsent = timeout.layer(Stuck { sends: false }).oneshot(outbound()).await.unwrap_err();
        assert!(matches!(unsent, AttemptFailure::NotSent(NotSent::Connect)), "{unsent:?}");
        let sent = timeout.layer(Stuck { sends: true }).oneshot(outbound()).await.unwrap_err();
        assert!(matches!(sent, AttemptFailure::Lost(LostAnswer::TimedOut)), "{sent:?}");
        // A send of an earlier attempt is no send of this one.
        let again = outbound();
        again.call.mark_sent();
        let unsent = timeout.layer(Stuck { sends: false }).oneshot(again).await.unwrap_err();
        assert!(matches!(unsent, AttemptFailure::NotSent(NotSent::Connect)), "{unsent:?}");
        // One that has begun has all the time of an attempt; one that has not ends at the deadline.
        let began = Instant::now();
        let long = AttemptTimeoutLayer::new(ms(5000));
        let begun = long.layer(Stuck { sends: true }).oneshot(outbound()).await;
        assert!(matches!(begun, Err(AttemptFailure::Lost(LostAnswer::TimedOut))), "{begun:?}");
        assert!((5_000..5_005).contains(&began.elapsed().as_millis()));
        let began = Instant::now();
        let unsent = long.layer(Stuck { sends: false }).oneshot(outbound()).await;
        assert!(matches!(unsent, Err(AttemptFailure::NotSent(NotSent::Deadline))), "{unsent:?}");
        assert!((2_000..2_005).contains(&began.elapsed().as_millis()));
    }
}
