//! Retries a call if the classification says so, the budget allows, and the deadline leaves time. Nothing else
//! retries, except for the single replay with a fresh token in `auth`.

use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tower::{Layer, Service, ServiceExt as _};

use super::budget::RetryBudget;
use crate::domain::account::AccountIndex;
use crate::domain::account_table::AccountTable;
use crate::ports::random::Random;
use crate::telemetry::metrics::Metrics;
use crate::upstream::attempt_futures::{AndThenAttempt, AttemptResult, FollowUp, FollowUpStep};
use crate::upstream::call::{AttemptRequest, AttemptService, OutboundCall};
use crate::upstream::classify::{RetryAdvice, classify, may_have_acted};
use crate::upstream::failure::AttemptFailure;

const BASE: Duration = Duration::from_millis(50);
const BASE_WHEN_BUSY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(2);
/// Jitter added to a wait asked for by Walmart, so that callers do not return all at once.
const HINT_SPREAD: f64 = 0.1;
const LONGEST_HINT_SPREAD: Duration = Duration::from_secs(1);

/// All services made by a layer share the budgets.
#[derive(Clone)]
pub(crate) struct RetryLayer {
    max_attempts: u32,
    budgets: Arc<AccountTable<Mutex<RetryBudget>>>,
    random: Random,
    metrics: Arc<Metrics>,
}

impl RetryLayer {
    /// Allows `max_attempts` attempts per call. Each account has a budget of its own.
    pub(crate) fn new(max_attempts: u32, random: Random, metrics: Arc<Metrics>) -> Self {
        Self { max_attempts, budgets: Arc::default(), random, metrics }
    }

    fn budget<T>(&self, account: AccountIndex, use_it: impl FnOnce(&mut RetryBudget) -> T) -> T {
        let budget = self.budgets.row(account, || Mutex::new(RetryBudget::new(Instant::now())));
        // A poisoned lock is safe to use: no budget is left half changed.
        use_it(&mut budget.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The time of the next attempt after `attempts` failures, or `None` to stop.
    fn next_attempt(&self, call: &OutboundCall, failure: &AttemptFailure, attempts: u32) -> Option<Instant> {
        let advice = classify(call.operation, failure).retry;
        let delay = match advice {
            RetryAdvice::Never => return None,
            RetryAdvice::Soon => self.random.up_to(backoff(BASE, attempts)),
            RetryAdvice::Later => self.random.up_to(backoff(BASE_WHEN_BUSY, attempts)),
            RetryAdvice::After(hint) => hint + self.random.up_to(hint.mul_f64(HINT_SPREAD).min(LONGEST_HINT_SPREAD)),
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
        if !self.budget(call.account, |budget| budget.try_retry(now, advice != RetryAdvice::Soon)) {
            metrics.retries_out_of_budget.of(call.operation).inc();
            return None;
        }
        metrics.retries_tried.of(call.operation).inc();
        if may_have_acted(failure) {
            call.set_lost_attempt();
        }
        Some(at)
    }
}

/// The maximum delay after `attempts` failures: doubles from `base`, up to two seconds.
fn backoff(base: Duration, attempts: u32) -> Duration {
    base.saturating_mul(1 << attempts.saturating_sub(1).min(10)).min(LONGEST_DELAY)
}

impl<S: Clone> Layer<S> for RetryLayer {
    type Service = Retry<S>;

    fn layer(&self, inner: S) -> Retry<S> {
        Retry { parts: Arc::new(RetryShared { layer: self.clone(), again: inner.clone() }), inner }
    }
}

#[derive(Clone)]
pub(crate) struct Retry<S> {
    inner: S,
    parts: Arc<RetryShared<S>>,
}

struct RetryShared<S> {
    layer: RetryLayer,
    /// The service for later attempts. Cloned only by calls with a second attempt.
    again: S,
}

impl<S: AttemptService> Service<AttemptRequest> for Retry<S> {
    type Response = S::Response;
    type Error = AttemptFailure;
    type Future = AndThenAttempt<S::Future, RetryLoop<S>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AttemptFailure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, outbound: AttemptRequest) -> Self::Future {
        self.parts.layer.budget(outbound.call.account, |budget| budget.first_attempt(outbound.at));
        tracing::trace!(layer = "retry", attempt = outbound.attempt, "attempt");
        let (call, attempt) = (outbound.call.clone(), outbound.attempt);
        let further = RetryLoop { parts: self.parts.clone(), call, attempt };
        AndThenAttempt::new(self.inner.call(outbound), further)
    }
}

/// The attempts after the first.
pub(crate) struct RetryLoop<S> {
    parts: Arc<RetryShared<S>>,
    call: Arc<OutboundCall>,
    /// The number of the latest attempt.
    attempt: u32,
}

impl<S: AttemptService> FollowUp for RetryLoop<S> {
    fn follow(mut self, first: AttemptResult) -> FollowUpStep {
        match self.judge(first) {
            Ok(over) => FollowUpStep::Over(over),
            Err(at) => FollowUpStep::More(Box::pin(self.attempts(at))),
        }
    }
}

impl<S> RetryLoop<S> {
    /// Runs attempts from `at` on, until a result is final.
    async fn attempts(mut self, mut at: Instant) -> AttemptResult
    where
        S: AttemptService,
    {
        let mut inner = self.parts.again.clone();
        loop {
            tracing::trace!(layer = "retry", "waits");
            sleep_until(at).await;
            let outbound = AttemptRequest::nth(self.call.clone(), self.attempt);
            tracing::trace!(layer = "retry", attempt = outbound.attempt, "attempt");
            let result = inner.ready().await?.call(outbound).await;
            match self.judge(result) {
                Ok(over) => return over,
                Err(next) => at = next,
            }
        }
    }

    /// Returns `Ok` with a final result, or `Err` with the time of the next attempt.
    fn judge(&mut self, result: AttemptResult) -> Result<AttemptResult, Instant> {
        let Self { parts, call, attempt } = self;
        let layer = &parts.layer;
        match &result {
            Ok(_) => {
                layer.budget(call.account, RetryBudget::success);
                if *attempt > 0 {
                    layer.metrics.upstream.retries_succeeded.of(call.operation).inc();
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
