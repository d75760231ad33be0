//! The futures of the layers: observe the end of an attempt, limit the time of an attempt, run a follow-up.
//! The futures are nested by value, because boxing would cost an allocation per layer and call.

use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::future::Either;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::upstream::call::{AttemptFuture, AttemptResponse, OutboundCall};
use crate::upstream::failure::{AttemptFailure, LostAnswer, NotSent};

/// The result of an attempt.
pub(crate) type AttemptResult = Result<AttemptResponse, AttemptFailure>;

/// The future of a layer which either passes an attempt on or refuses.
pub(crate) type OrRefused<F> = Either<F, Ready<AttemptResult>>;

/// Refuses the attempt without sending anything.
pub(crate) fn refused<F>(why: NotSent) -> OrRefused<F> {
    Either::Right(ready(Err(AttemptFailure::NotSent(why))))
}

/// State of a layer during an attempt. If the observer is dropped without [`ended`](Self::ended), the attempt was
/// abandoned.
pub(crate) trait AttemptObserver {
    /// Called with the result of the attempt.
    fn ended(self, result: &Result<AttemptResponse, AttemptFailure>);
}

pin_project! {
    /// An attempt with an observer.
    pub struct ObservedAttempt<F, W> {
        #[pin]
        inner: F,
        watch: Option<W>,
    }
}

impl<F, W> ObservedAttempt<F, W> {
    /// Calls `watch` with the result of `inner`.
    pub(crate) fn new(inner: F, watch: W) -> Self {
        Self { inner, watch: Some(watch) }
    }
}

impl<F, W> Future for ObservedAttempt<F, W>
where
    F: Future<Output = Result<AttemptResponse, AttemptFailure>>,
    W: AttemptObserver,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.inner.poll(cx));
        if let Some(watch) = this.watch.take() {
            watch.ended(&result);
        }
        Poll::Ready(result)
    }
}

/// Time limits of an attempt, and the failures on expiry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AttemptLimits {
    /// The time limit for the first byte of the request.
    pub begin_by: Instant,
    /// The failure if no byte has left by `begin_by`.
    pub unsent: NotSent,
    /// The time limit for the answer. Not before `begin_by`.
    pub end: Instant,
    /// The failure if no answer has arrived by `end`.
    pub lost: LostAnswer,
}

pin_project! {
    /// An attempt with time limits. On expiry the inner future is dropped at once, before any follow-up starts.
    pub struct TimedAttempt<F> {
        #[pin]
        inner: Option<F>,
        #[pin]
        sleep: Sleep,
        call: Arc<OutboundCall>,
        sends: u32,
        ends: AttemptLimits,
    }
}

impl<F> TimedAttempt<F> {
    /// Limits `inner` by `ends`. The request has left once the call counts more than `sends`.
    pub(crate) fn new(inner: F, call: Arc<OutboundCall>, sends: u32, ends: AttemptLimits) -> Self {
        let sleep = sleep_until(ends.begin_by);
        Self { inner: Some(inner), sleep, call, sends, ends }
    }
}

impl<F> Future for TimedAttempt<F>
where
    F: Future<Output = Result<AttemptResponse, AttemptFailure>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let (call, ends) = (this.call, *this.ends);
        if let Some(inner) = this.inner.as_mut().as_pin_mut()
            && let Poll::Ready(ended) = inner.poll(cx)
        {
            return Poll::Ready(ended);
        }
        loop {
            ready!(this.sleep.as_mut().poll(cx));
            let left = call.sends() > *this.sends;
            if left && this.sleep.deadline() < ends.end {
                this.sleep.as_mut().reset(ends.end);
                continue;
            }
            if (left && ends.lost == LostAnswer::TimedOut) || (!left && ends.unsent == NotSent::Connect) {
                call.set_timed_out();
            }
            this.inner.set(None);
            let failure = if left { AttemptFailure::Lost(ends.lost) } else { AttemptFailure::NotSent(ends.unsent) };
            return Poll::Ready(Err(failure));
        }
    }
}

/// Decides whether anything follows the first attempt.
pub(crate) trait FollowUp {
    /// Returns the final result after the first attempt, or a future to run next.
    fn follow(self, first: AttemptResult) -> FollowUpStep;
}

/// The decision of a [`FollowUp`].
pub(crate) enum FollowUpStep {
    /// The result is final.
    Over(AttemptResult),
    /// Continue with this future.
    More(AttemptFuture),
}

pin_project! {
    /// A first attempt and a possible follow-up. Only the follow-up is boxed, because nearly all calls need a single
    /// attempt.
    pub struct AndThenAttempt<F, W> {
        #[pin]
        first: F,
        follow: Option<W>,
        then: Option<AttemptFuture>,
    }
}

impl<F, W> AndThenAttempt<F, W> {
    /// Runs `first`, then asks `follow`.
    pub(crate) fn new(first: F, follow: W) -> Self {
        Self { first, follow: Some(follow), then: None }
    }
}

impl<F, W> Future for AndThenAttempt<F, W>
where
    F: Future<Output = AttemptResult>,
    W: FollowUp,
{
    type Output = AttemptResult;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Some(then) = this.then {
            return then.as_mut().poll(cx);
        }
        let first = ready!(this.first.poll(cx));
        let Some(follow) = this.follow.take() else { return Poll::Ready(first) };
        match follow.follow(first) {
            FollowUpStep::Over(result) => Poll::Ready(result),
            FollowUpStep::More(then) => this.then.insert(then).as_mut().poll(cx),
        }
    }
}
