//! Every layer asks the one below whether it is ready before each attempt, on the very clone that it then calls.

use std::collections::VecDeque;
use std::future::{Ready, ready};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;
use tower::{Layer, Service, ServiceExt as _};

use crate::domain::reads::SearchOrders;
use crate::pb;
use crate::ports::random::Random;
use crate::telemetry::trace::Tracer;
use crate::testing::upstream::{FIRST, World, context};
use crate::upstream::call::{AttemptRequest, AttemptResponse, AttemptService, OutboundCall};
use crate::upstream::codec::OperationCodec as _;
use crate::upstream::failure::AttemptFailure;
use crate::upstream::headers::RateLimitHeaders;
use crate::upstream::layers::attempt::AttemptTelemetryLayer;
use crate::upstream::layers::attempt_timeout::AttemptTimeoutLayer;
use crate::upstream::layers::auth::AuthLayer;
use crate::upstream::layers::circuit::CircuitLayer;
use crate::upstream::layers::deadline::DeadlineLayer;
use crate::upstream::layers::load_shed::LoadShedLayer;
use crate::upstream::layers::rate_limit::RateLimitLayer;
use crate::upstream::layers::retry::RetryLayer;
use crate::upstream::layers::trace::TraceLayer;

/// Is ready the second time it is asked, for one call. Fails with the statuses it is given, then succeeds.
#[derive(Default)]
struct Strict {
    asked: u32,
    fails: Arc<Mutex<VecDeque<u16>>>,
    calls: Arc<Mutex<u32>>,
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        Self { asked: 0, fails: self.fails.clone(), calls: self.calls.clone() }
    }
}

impl Service<AttemptRequest> for Strict {
    type Response = AttemptResponse;
    type Error = AttemptFailure;
    type Future = Ready<Result<Self::Response, AttemptFailure>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AttemptFailure>> {
        self.asked += 1;
        if self.asked > 1 {
            return Poll::Ready(Ok(()));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn call(&mut self, _: AttemptRequest) -> Self::Future {
        assert!(self.asked > 1, "called without being ready");
        self.asked = 0;
        *self.calls.lock().unwrap() += 1;
        ready(match self.fails.lock().unwrap().pop_front() {
            Some(status) => Err(AttemptFailure::Refused {
                status,
                body: Default::default(),
                hint: RateLimitHeaders { ..Default::default() },
            }),
            None => Ok(AttemptResponse {
                answer: Box::new(pb::GetOrderStatusResponse::default()),
                status: 200,
                at: Instant::now(),
                hint: RateLimitHeaders::default(),
                unmapped: None,
            }),
        })
    }
}

fn outbound() -> AttemptRequest {
    let request = SearchOrders::build(&Default::default(), &Default::default());
    let context = context(Duration::from_secs(10));
    AttemptRequest::new(OutboundCall::new::<SearchOrders>(request, FIRST, Random::from_seed(1).uuid(), context))
}

/// A probe that is not followed by a call, then three calls one after the other and two at once.
async fn survives<L: Layer<Strict>>(layer: L, fails: &[u16])
where
    L::Service: AttemptService,
{
    let strict = Strict::default();
    let mut service = layer.layer(strict.clone());
    drop(service.clone().ready_oneshot().await);
    service.ready().await.unwrap();
    for _ in 0..3 {
        strict.fails.lock().unwrap().extend(fails);
        assert!(service.ready().await.unwrap().call(outbound()).await.is_ok());
    }
    let (one, other) = tokio::join!(service.clone().oneshot(outbound()), service.clone().oneshot(outbound()));
    assert!(one.is_ok() && other.is_ok());
    assert_eq!(*strict.calls.lock().unwrap() as usize, 3 * (1 + fails.len()) + 2);
}

#[tokio::test(start_paused = true)]
async fn every_layer_asks_before_it_calls() {
    let world = World::new();
    let shared = &world.shared;
    survives(TraceLayer, &[]).await;
    survives(DeadlineLayer, &[]).await;
    survives(LoadShedLayer::new(2), &[]).await;
    survives(CircuitLayer::new(shared.circuits.clone()), &[]).await;
    survives(RetryLayer::new(3, Random::from_seed(1), shared.metrics.clone()), &[503, 503]).await;
    survives(RateLimitLayer::new(shared.buckets.clone(), shared.metrics.clone(), Tracer::off()), &[]).await;
    survives(AuthLayer::new(shared.tokens.clone()), &[401]).await;
    survives(AttemptTelemetryLayer::new(shared.endpoint.clone(), shared.metrics.clone()), &[]).await;
    survives(AttemptTimeoutLayer::new(Duration::from_secs(1)), &[]).await;
}
