//! Tries a call again when the classification table says that it is right, the budget affords it and the deadline leaves
//! time. The only place where anything is retried, but for the one replay with a fresh token in `auth`.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tower::{Layer, Service, ServiceExt as _};

use super::budget::Budget;
use super::passing::{Ended, Follow, Followed, Then};
use crate::domain::account::AccountIndex;
use crate::ports::random::Random;
use crate::telemetry::metrics::Metrics;
use crate::upstream::call::{Call, Next, Outbound};
use crate::upstream::classify::{Retry as Advice, classify};
use crate::upstream::exchange::Exchange;
use crate::upstream::failure::Failure;

const BASE: Duration = Duration::from_millis(50);
const BASE_WHEN_BUSY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(2);
/// Spread added to a wait that Walmart asked for, so that its callers do not all come back at once.
const HINT_SPREAD: f64 = 0.1;
const LONGEST_HINT_SPREAD: Duration = Duration::from_secs(1);

/// See the module. Budgets are shared by all services that one layer makes.
#[derive(Clone)]
pub struct RetryLayer {
    max_attempts: u32,
    budgets: Arc<[Mutex<Budget>]>,
    random: Random,
    metrics: Arc<Metrics>,
}

impl RetryLayer {
    /// At most `max_attempts` attempts a call; a budget for each of `accounts` accounts.
    pub fn new(max_attempts: u32, accounts: usize, random: Random, metrics: Arc<Metrics>) -> Self {
        let now = Instant::now();
        let budgets = (0..accounts).map(|_| Mutex::new(Budget::new(now))).collect();
        Self { max_attempts, budgets, random, metrics }
    }

    fn budget<T>(&self, account: AccountIndex, use_it: impl FnOnce(&mut Budget) -> T) -> T {
        // A budget is never left half changed.
        use_it(&mut self.budgets[account.0].lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// When to make the attempt after `attempts` failed ones; `None` when there is to be none.
    fn next_attempt(&self, call: &Call, failure: &Failure, attempts: u32) -> Option<Instant> {
        let advice = classify(call.operation, failure).retry;
        let delay = match advice {
            Advice::Never => return None,
            Advice::Soon => self.random.up_to(backoff(BASE, attempts)),
            Advice::Later => self.random.up_to(backoff(BASE_WHEN_BUSY, attempts)),
            Advice::After(hint) => hint + self.random.up_to(hint.mul_f64(HINT_SPREAD).min(LONGEST_HINT_SPREAD)),
        };
        let metrics = &self.metrics.upstream;
        if attempts >= self.max_attempts {
            metrics.retries_out_of_attempts.of(call.operation).inc();
            return None;
        }
        let now = Instant::now();
        let at = now + delay;
        if at > call.latest_start() {
            return None;
        }
        if !self.budget(call.account, |budget| budget.try_retry(now, advice != Advice::Soon)) {
            metrics.retries_out_of_budget.of(call.operation).inc();
            return None;
        }
        metrics.retries_tried.of(call.operation).inc();
        Some(at)
    }
}

/// Longest delay after `attempts` failed attempts: doubles from `base`, at most two seconds.
fn backoff(base: Duration, attempts: u32) -> Duration {
    base.saturating_mul(1 << attempts.saturating_sub(1).min(10)).min(LONGEST_DELAY)
}

impl<S: Clone> Layer<S> for RetryLayer {
    type Service = Retry<S>;

    fn layer(&self, inner: S) -> Retry<S> {
        Retry { parts: Arc::new(Parts { layer: self.clone(), again: inner.clone() }), inner }
    }
}

/// See the module.
#[derive(Clone)]
pub struct Retry<S> {
    inner: S,
    parts: Arc<Parts<S>>,
}

struct Parts<S> {
    layer: RetryLayer,
    /// What makes the attempts after the first: cloned by the few calls that come to a second.
    again: S,
}

impl<X: Exchange, S: Next<X>> Service<Outbound<X>> for Retry<S> {
    type Response = S::Response;
    type Error = Failure;
    type Future = Followed<S::Future, Further<S>, X>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, outbound: Outbound<X>) -> Self::Future {
        self.parts.layer.budget(outbound.call.account, |budget| budget.first_attempt(outbound.at));
        tracing::trace!(layer = "retry", attempt = outbound.attempt, "attempt");
        let (call, attempt) = (outbound.call.clone(), outbound.attempt);
        let further = Further { parts: self.parts.clone(), call, attempt };
        Followed::new(self.inner.call(outbound), further)
    }
}

/// The attempts after the first.
pub struct Further<S> {
    parts: Arc<Parts<S>>,
    call: Arc<Call>,
    /// The last one.
    attempt: u32,
}

impl<X: Exchange, S: Next<X>> Follow<X> for Further<S> {
    fn follow(mut self, first: Ended<X>) -> Then<X> {
        match self.judge::<X>(first) {
            Ok(over) => Then::Over(over),
            Err(at) => Then::More(Box::pin(self.attempts(at))),
        }
    }
}

impl<S> Further<S> {
    /// Tries from `at` on, until it is over.
    async fn attempts<X: Exchange>(mut self, mut at: Instant) -> Ended<X>
    where
        S: Next<X>,
    {
        let mut inner = self.parts.again.clone();
        loop {
            tracing::trace!(layer = "retry", "waits");
            sleep_until(at).await;
            let outbound = Outbound::nth(self.call.clone(), self.attempt);
            tracing::trace!(layer = "retry", attempt = outbound.attempt, "attempt");
            let result = inner.ready().await?.call(outbound).await;
            match self.judge::<X>(result) {
                Ok(over) => return over,
                Err(next) => at = next,
            }
        }
    }

    /// Whether it is over with this, or else when to try again.
    fn judge<X: Exchange>(&mut self, result: Ended<X>) -> Result<Ended<X>, Instant> {
        let Self { parts, call, attempt } = self;
        let layer = &parts.layer;
        match &result {
            Ok(_) => {
                layer.budget(call.account, Budget::success);
                if *attempt > 0 {
                    layer.metrics.upstream.retries_succeeded.of(X::OPERATION).inc();
                }
                Ok(result)
            }
            Err(failure) => {
                *attempt += 1;
                layer.next_attempt(call, failure, *attempt).map_or(Ok(result), Err)
            }
        }
    }
}
