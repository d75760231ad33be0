//! Takes a token of the account's bucket before each attempt; a retry pays like a first attempt. The layer waits for
//! a token if the deadline allows, and otherwise refuses at once. Ledger calls which settle unknown outcomes go first
//! within half of the limit, reads for which nobody waits go last (`bucket`).

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::Either;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tower::{Layer, Service};

use super::bucket::{QueueSide, QueueTicket, TakeOutcome, TokenBucket};
use crate::domain::account::AccountIndex;
use crate::domain::account_table::AccountTable;
use crate::domain::operation::Operation;
use crate::planted_bug::{PlantedBug, is_planted};
use crate::ports::call::CallPurpose;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::trace::Tracer;
use crate::upstream::attempt_futures::{AttemptObserver, ObservedAttempt};
use crate::upstream::call::{AttemptFuture, AttemptRequest, AttemptResponse, AttemptService, OutboundCall};
use crate::upstream::failure::{AttemptFailure, NotSent};
use crate::upstream::headers::RateLimitHeaders;

/// The buckets of all accounts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AccountBuckets(Arc<BucketTable>);

#[derive(Debug)]
struct BucketTable {
    /// Calls a minute, by operation.
    per_minute: [u32; Operation::ALL.len()],
    rows: AccountTable<[SharedBucket; Operation::ALL.len()]>,
}

#[derive(Debug)]
struct SharedBucket {
    bucket: Mutex<TokenBucket>,
    /// Notified when waiting calls must recompute their time.
    changed: Notify,
}

impl AccountBuckets {
    /// Creates the buckets, full, with `per_minute` tokens for each operation of each account.
    pub fn new(per_minute: impl Fn(Operation) -> u32) -> Self {
        Self(Arc::new(BucketTable { per_minute: Operation::ALL.map(per_minute), rows: AccountTable::default() }))
    }

    /// The state of a bucket for the overview.
    pub fn state(&self, account: AccountIndex, operation: Operation) -> BucketState {
        let now = Instant::now();
        self.limit(account, operation).with(|bucket| BucketState {
            per_minute: bucket.per_minute(),
            available: bucket.available(now),
            next: bucket.next_token(now),
        })
    }

    fn limit(&self, account: AccountIndex, operation: Operation) -> &SharedBucket {
        let BucketTable { per_minute, rows } = &*self.0;
        let full = |operation: Operation| SharedBucket::full(operation, per_minute[operation.index()]);
        &rows.row(account, || Operation::ALL.map(full))[operation.index()]
    }
}

impl SharedBucket {
    fn full(operation: Operation, per_minute: u32) -> Self {
        let bucket = TokenBucket::new(per_minute, Instant::now()).beside_published(operation.published_limit());
        Self { bucket: Mutex::new(bucket), changed: Notify::new() }
    }

    fn with<T>(&self, use_it: impl FnOnce(&mut TokenBucket) -> T) -> T {
        // A poisoned lock is safe to use: no bucket is left half changed.
        use_it(&mut self.bucket.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the bucket and wakes waiting calls.
    fn change(&self, change: impl FnOnce(&mut TokenBucket)) {
        let has_queue = self.with(|bucket| {
            change(bucket);
            bucket.has_queue()
        });
        if has_queue {
            self.changed.notify_waiters();
        }
    }
}

/// The visible state of a bucket.
#[derive(Clone, Copy, Debug)]
pub struct BucketState {
    /// Tokens refilled per minute.
    pub per_minute: u32,
    /// Tokens free for immediate use.
    pub available: f64,
    /// The time at which the next token is free.
    pub next: Instant,
}

#[derive(Clone)]
pub(crate) struct RateLimitLayer {
    buckets: AccountBuckets,
    metrics: Arc<Metrics>,
    tracer: Tracer,
}

impl RateLimitLayer {
    /// Takes tokens from `buckets`.
    pub(crate) fn new(buckets: AccountBuckets, metrics: Arc<Metrics>, tracer: Tracer) -> Self {
        Self { buckets, metrics, tracer }
    }

    /// Takes a token if free at `now`.
    fn try_take(&self, call: &Arc<OutboundCall>, now: Instant) -> Option<TokenReservation> {
        let taken = self.buckets.limit(call.account, call.operation).with(|bucket| bucket.take(side(call), now, now));
        (taken == Ok(TakeOutcome::Token)).then(|| TokenReservation::new(self.buckets.clone(), call))
    }

    /// Waits for a token, from `began` on. Returns the reservation and the time of the token.
    async fn take(
        &self,
        call: &Arc<OutboundCall>,
        began: Instant,
    ) -> Result<(TokenReservation, Instant), AttemptFailure> {
        let latest = call.latest_start();
        let limit = self.buckets.limit(call.account, call.operation);
        let ticket = match limit.with(|bucket| bucket.take(side(call), began, latest)) {
            Ok(TakeOutcome::Token) => return Ok((TokenReservation::new(self.buckets.clone(), call), began)),
            Ok(TakeOutcome::Place(ticket)) => ticket,
            Err(wait) => return Err(self.refuse(call, wait)),
        };
        tracing::trace!(layer = "rate_limit", "waits");
        let _wait = self.tracer.wait_span("wait for rate limit");
        let place = QueueGuard { limit, ticket };
        loop {
            // Register before looking at the bucket: a change in between would not wake this task.
            let changed = limit.changed.notified();
            let now = Instant::now();
            let Some(at) = limit.with(|bucket| bucket.turn(place.ticket, now)) else {
                self.metrics.upstream.rate_limit_waits.of(call.operation).observe((now - began).as_secs_f64());
                return Ok((TokenReservation::new(self.buckets.clone(), call), now));
            };
            if at > latest {
                return Err(self.refuse(call, at - now));
            }
            // An answer may change the level meanwhile, in either direction.
            let _ = timeout_at(at, changed).await;
        }
    }

    fn refuse(&self, call: &OutboundCall, wait: Duration) -> AttemptFailure {
        self.metrics.upstream.rate_limit_refusals.of(call.operation).inc();
        AttemptFailure::NotSent(NotSent::RateLimited(wait))
    }
}

/// A place in the queue, given up when dropped. After a taken turn the drop has no effect on the queue.
struct QueueGuard<'a> {
    limit: &'a SharedBucket,
    ticket: QueueTicket,
}

impl Drop for QueueGuard<'_> {
    fn drop(&mut self) {
        self.limit.change(|bucket| bucket.leave(self.ticket));
    }
}

/// A token held by an attempt. Dropping returns the token, unless a request has left since: such a request has used
/// the token.
pub struct TokenReservation {
    buckets: AccountBuckets,
    call: Arc<OutboundCall>,
    /// Sends of the call before the reservation.
    sends: u32,
    used: bool,
}

impl TokenReservation {
    fn new(buckets: AccountBuckets, call: &Arc<OutboundCall>) -> Self {
        Self { buckets, call: call.clone(), sends: call.sends(), used: false }
    }

    /// Records an attempt as sent, known at `now`. For `refused_for` see [`TokenBucket::answered`].
    fn answered(mut self, now: Instant, hint: Option<&RateLimitHeaders>, refused_for: Option<Option<Duration>>) {
        self.used = true;
        let (left, replenished) = hint.map_or((None, None), |h| (h.tokens_left, h.replenished_in));
        self.limit().change(|bucket| bucket.answered(now, left, replenished, refused_for));
    }

    /// Returns the token: certainly no request left.
    fn unused(mut self) {
        self.used = true;
        self.give_back();
    }

    fn give_back(&self) {
        self.limit().change(|bucket| bucket.unused(side(&self.call), Instant::now()));
    }

    fn limit(&self) -> &SharedBucket {
        self.buckets.limit(self.call.account, self.call.operation)
    }
}

impl AttemptObserver for TokenReservation {
    fn ended(self, result: &Result<AttemptResponse, AttemptFailure>) {
        match result {
            Ok(answered) => self.answered(answered.at, Some(&answered.hint), None),
            Err(AttemptFailure::NotSent(_)) => self.unused(),
            Err(failure) => self.answered(Instant::now(), failure.hint(), refused_for(failure)),
        }
    }
}

fn side(call: &OutboundCall) -> QueueSide {
    match call.context.purpose {
        CallPurpose::Caller => QueueSide::Caller,
        CallPurpose::Background => QueueSide::Background,
        _ if is_planted(PlantedBug::ShareNotReserved) => QueueSide::Caller,
        CallPurpose::Lookup | CallPurpose::Resend => QueueSide::Ledger,
    }
}

/// Whether Walmart refused calls for a time, with the time if known.
fn refused_for(failure: &AttemptFailure) -> Option<Option<Duration>> {
    match failure {
        _ if failure.is_throttled() => Some(failure.hint().and_then(RateLimitHeaders::wait)),
        // An outage with a known end stops all calls, like a throttled answer.
        AttemptFailure::Refused { status: 503, hint, .. } => hint.outage_wait().map(Some),
        _ => None,
    }
}

impl Drop for TokenReservation {
    fn drop(&mut self) {
        match self.used {
            true => {}
            false if self.call.sends() == self.sends => self.give_back(),
            false => self.limit().change(|bucket| bucket.answered(Instant::now(), None, None, None)),
        }
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimit<S>;

    fn layer(&self, inner: S) -> RateLimit<S> {
        RateLimit { inner, layer: Arc::new(self.clone()) }
    }
}

#[derive(Clone)]
pub(crate) struct RateLimit<S> {
    inner: S,
    layer: Arc<RateLimitLayer>,
}

impl<S: AttemptService> Service<AttemptRequest> for RateLimit<S> {
    type Response = S::Response;
    type Error = AttemptFailure;
    type Future = Either<ObservedAttempt<S::Future, TokenReservation>, AttemptFuture>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AttemptFailure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut outbound: AttemptRequest) -> Self::Future {
        if let Some(reservation) = self.layer.try_take(&outbound.call, outbound.at) {
            tracing::trace!(layer = "rate_limit", "token taken");
            return Either::Left(ObservedAttempt::new(self.inner.call(outbound), reservation));
        }
        // Move the service polled ready into the future, and keep the clone: the clone was never polled.
        let inner = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, inner);
        let layer = self.layer.clone();
        Either::Right(Box::pin(async move {
            let (reservation, at) = layer.take(&outbound.call, outbound.at).await?;
            outbound.at = at;
            tracing::trace!(layer = "rate_limit", "token taken");
            ObservedAttempt::new(inner.call(outbound), reservation).await
        }))
    }
}
