//! Takes a token of the account's bucket before each attempt; a retry pays like a first attempt. Waits when there is time
//! for it, and refuses at once when waiting would pass the deadline. What the ledger does to settle doubts goes first, within
//! its half of the limit (`bucket`).

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::Either;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tower::{Layer, Service};

use super::attempt_futures::{AttemptObserver, ObservedAttempt};
use super::bucket::{QueueSide, QueueTicket, TakeOutcome, TokenBucket};
use crate::domain::account::AccountIndex;
use crate::domain::operation::Operation;
use crate::planted_bug::{PlantedBug, is_planted};
use crate::ports::call::CallPurpose;
use crate::telemetry::metrics::Metrics;
use crate::upstream::call::{AttemptFuture, AttemptRequest, AttemptResponse, AttemptService, OutboundCall};
use crate::upstream::codec::OperationCodec;
use crate::upstream::failure::{AttemptFailure, NotSent};
use crate::upstream::headers::RateLimitHeaders;

/// The buckets of all accounts. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AccountBuckets(Arc<[[SharedBucket; Operation::ALL.len()]]>);

#[derive(Debug)]
struct SharedBucket {
    bucket: Mutex<TokenBucket>,
    /// Told when those who wait have to look again.
    changed: Notify,
}

impl AccountBuckets {
    /// Full ones for this many accounts, with `per_minute` tokens for each operation.
    pub fn new(accounts: usize, per_minute: impl Fn(Operation) -> u32) -> Self {
        let now = Instant::now();
        let limit = |operation| {
            let bucket = TokenBucket::new(per_minute(operation), now).beside_published(operation.published_limit());
            let bucket = Mutex::new(bucket);
            SharedBucket { bucket, changed: Notify::new() }
        };
        Self((0..accounts).map(|_| Operation::ALL.map(limit)).collect())
    }

    /// What to show of one.
    pub fn state(&self, account: AccountIndex, operation: Operation) -> BucketState {
        let now = Instant::now();
        self.limit(account, operation).with(|bucket| BucketState {
            per_minute: bucket.per_minute(),
            available: bucket.available(now),
            next: bucket.next_token(now),
        })
    }

    fn limit(&self, account: AccountIndex, operation: Operation) -> &SharedBucket {
        &self.0[account.0][operation.index()]
    }
}

impl SharedBucket {
    fn with<T>(&self, use_it: impl FnOnce(&mut TokenBucket) -> T) -> T {
        // A bucket is never left half changed.
        use_it(&mut self.bucket.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A change that may move those who wait.
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

/// What can be seen of a bucket.
#[derive(Clone, Copy, Debug)]
pub struct BucketState {
    /// Tokens that refill in a minute.
    pub per_minute: u32,
    /// Tokens that could be used at once.
    pub available: f64,
    /// When the next token can be had.
    pub next: Instant,
}

/// See the module.
#[derive(Clone)]
pub struct RateLimitLayer {
    buckets: AccountBuckets,
    metrics: Arc<Metrics>,
}

impl RateLimitLayer {
    /// Draws from `buckets`.
    pub fn new(buckets: AccountBuckets, metrics: Arc<Metrics>) -> Self {
        Self { buckets, metrics }
    }

    /// A token, if there is one.
    fn try_take(&self, call: &Arc<OutboundCall>, now: Instant) -> Option<TokenReservation> {
        let taken = self.buckets.limit(call.account, call.operation).with(|bucket| bucket.take(side(call), now, now));
        (taken == Ok(TakeOutcome::Token)).then(|| TokenReservation::new(self.buckets.clone(), call))
    }

    /// A token, and when it was had. Asked for at `began`.
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
        let place = QueueGuard { limit, ticket };
        loop {
            // Before looking, so that no change in between is missed.
            let changed = limit.changed.notified();
            let now = Instant::now();
            let Some(at) = limit.with(|bucket| bucket.turn(place.ticket, now)) else {
                self.metrics.upstream.rate_limit_waits.of(call.operation).observe((now - began).as_secs_f64());
                return Ok((TokenReservation::new(self.buckets.clone(), call), now));
            };
            if at > latest {
                return Err(self.refuse(call, at - now));
            }
            // Meanwhile an answer may tell that Walmart has none, or more.
            let _ = timeout_at(at, changed).await;
        }
    }

    fn refuse(&self, call: &OutboundCall, wait: Duration) -> AttemptFailure {
        self.metrics.upstream.rate_limit_refusals.of(call.operation).inc();
        AttemptFailure::NotSent(NotSent::RateLimited(wait))
    }
}

/// A place in the queue. Dropped it is free for those behind; one that had its turn is free already.
struct QueueGuard<'a> {
    limit: &'a SharedBucket,
    ticket: QueueTicket,
}

impl Drop for QueueGuard<'_> {
    fn drop(&mut self) {
        self.limit.change(|bucket| bucket.leave(self.ticket));
    }
}

/// A token that is held. Dropped it goes back, unless a request has left meanwhile: that one paid with it.
pub struct TokenReservation {
    buckets: AccountBuckets,
    call: Arc<OutboundCall>,
    /// Requests of the call that had left before.
    sends: u32,
    used: bool,
}

impl TokenReservation {
    fn new(buckets: AccountBuckets, call: &Arc<OutboundCall>) -> Self {
        Self { buckets, call: call.clone(), sends: call.sends(), used: false }
    }

    /// The attempt left, or may have; this was known at `now`. `refused_for`: see [`TokenBucket::answered`].
    fn answered(mut self, now: Instant, hint: Option<&RateLimitHeaders>, refused_for: Option<Option<Duration>>) {
        self.used = true;
        let (left, replenished) = hint.map_or((None, None), |h| (h.tokens_left, h.replenished_in));
        self.limit().change(|bucket| bucket.answered(now, left, replenished, refused_for));
    }

    /// Certainly no request left.
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
    fn ended<A>(self, result: &Result<AttemptResponse<A>, AttemptFailure>) {
        match result {
            Ok(answered) => self.answered(answered.at, Some(&answered.hint), None),
            // Never left: the token goes back.
            Err(AttemptFailure::NotSent(_)) => self.unused(),
            Err(failure) => self.answered(Instant::now(), failure.hint(), refused_for(failure)),
        }
    }
}

fn side(call: &OutboundCall) -> QueueSide {
    match call.context.purpose {
        Purpose::Caller => QueueSide::Caller,
        _ if is_planted(PlantedBug::ShareNotReserved) => QueueSide::Caller,
        Purpose::Lookup | Purpose::Resend => QueueSide::Ledger,
    }
}

/// Whether Walmart refused the call for a time, and for how long if it said so.
fn refused_for(failure: &AttemptFailure) -> Option<Option<Duration>> {
    match failure {
        _ if failure.is_throttled() => Some(failure.hint().and_then(RateLimitHeaders::wait)),
        // An outage that tells its end is obeyed by all, as a refusal for want of tokens is.
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

/// See the module.
#[derive(Clone)]
pub struct RateLimit<S> {
    inner: S,
    layer: Arc<RateLimitLayer>,
}

impl<X: OperationCodec, S: AttemptService<X>> Service<AttemptRequest<X>> for RateLimit<S> {
    type Response = S::Response;
    type Error = AttemptFailure;
    type Future = Either<ObservedAttempt<S::Future, TokenReservation>, AttemptFuture<X>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AttemptFailure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut outbound: AttemptRequest<X>) -> Self::Future {
        if let Some(reservation) = self.layer.try_take(&outbound.call, outbound.at) {
            tracing::trace!(layer = "rate_limit", "token taken");
            return Either::Left(ObservedAttempt::new(self.inner.call(outbound), reservation));
        }
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
