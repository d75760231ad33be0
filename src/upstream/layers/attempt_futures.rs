//! The futures of layers: they watch how an attempt ends, bound its time or a call's, let others follow it. They stand in
//! each other, where boxes would cost each call an allocation a layer.

use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::future::Either;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::domain::effect::Effect;
use crate::domain::operation::WalmartCall;
use crate::upstream::call::{AttemptFuture, AttemptResponse, OutboundCall};
use crate::upstream::classify::classify;
use crate::upstream::codec::OperationCodec;
use crate::upstream::failure::{AttemptFailure, LostAnswer, NotSent};

/// How an attempt of `X` ends.
pub type AttemptResult<X> = Result<AttemptResponse<<X as WalmartCall>::Answer>, AttemptFailure>;

/// A future that lets pass, or a refusal.
pub type OrRefused<F, X> = Either<F, Ready<AttemptResult<X>>>;

/// The attempt is not made.
pub fn refused<F, A>(why: NotSent) -> Either<F, Ready<Result<AttemptResponse<A>, AttemptFailure>>> {
    Either::Right(ready(Err(AttemptFailure::NotSent(why))))
}

/// What a layer holds while an attempt passes. Dropped without its end, the attempt was given up.
pub trait AttemptObserver {
    /// The attempt ended so.
    fn ended<A>(self, result: &Result<AttemptResponse<A>, AttemptFailure>);
}

pin_project! {
    /// An attempt that is watched.
    pub struct ObservedAttempt<F, W> {
        #[pin]
        inner: F,
        watch: Option<W>,
    }
}

impl<F, W> ObservedAttempt<F, W> {
    /// Tells `watch` how `inner` ends.
    pub fn new(inner: F, watch: W) -> Self {
        Self { inner, watch: Some(watch) }
    }
}

impl<F, W, A> Future for ObservedAttempt<F, W>
where
    F: Future<Output = Result<AttemptResponse<A>, AttemptFailure>>,
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

/// When an attempt ends by its time, and how.
#[derive(Clone, Copy, Debug)]
pub struct AttemptLimits {
    /// By then the request must have begun to leave.
    pub begin_by: Instant,
    /// How it ends if it has not.
    pub unsent: NotSent,
    /// By then the answer must be there. Not before `begin_by`.
    pub end: Instant,
    /// How it ends if it is not.
    pub lost: LostAnswer,
}

pin_project! {
    /// An attempt whose time is bounded. One whose time is over is dropped at once, also where others follow it.
    pub struct TimedAttempt<F> {
        #[pin]
        inner: Option<F>,
        #[pin]
        sleep: Sleep,
        deadline_armed: ArmedDeadline,
        sends: u32,
        ends: AttemptLimits,
    }
}

/// While it is there, the call has an attempt under way that ends in time by itself.
struct ArmedDeadline(Arc<OutboundCall>);

impl Drop for ArmedDeadline {
    fn drop(&mut self) {
        self.0.set_deadline_armed(false);
    }
}

impl<F> TimedAttempt<F> {
    /// Ends `inner` as `ends` says. The request has begun to leave when the call counts more than `sends`.
    pub fn new(inner: F, call: Arc<OutboundCall>, sends: u32, ends: AttemptLimits) -> Self {
        let sleep = sleep_until(ends.begin_by);
        Self { inner: Some(inner), sleep, deadline_armed: ArmedDeadline(call), sends, ends }
    }
}

impl<F, A> Future for TimedAttempt<F>
where
    F: Future<Output = Result<AttemptResponse<A>, AttemptFailure>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let (call, ends) = (&this.deadline_armed.0, *this.ends);
        if let Some(inner) = this.inner.as_mut().as_pin_mut()
            && let Poll::Ready(ended) = inner.poll(cx)
        {
            call.set_deadline_armed(false);
            if ended.as_ref().is_err_and(|failure| classify(call.operation, failure).effect == Effect::None) {
                call.set_settled();
            }
            return Poll::Ready(ended);
        }
        loop {
            if this.sleep.as_mut().poll(cx).is_pending() {
                // From the first time that the timer was asked it will wake whoever polls this.
                call.set_deadline_armed(true);
                return Poll::Pending;
            }
            let left = call.sends() > *this.sends;
            if left && this.sleep.deadline() < ends.end {
                this.sleep.as_mut().reset(ends.end);
                continue;
            }
            if (left && ends.lost == LostAnswer::TimedOut) || (!left && ends.unsent == NotSent::Connect) {
                call.set_timed_out();
            }
            this.inner.set(None);
            call.set_deadline_armed(false);
            let failure = if left { AttemptFailure::Lost(ends.lost) } else { AttemptFailure::NotSent(ends.unsent) };
            return Poll::Ready(Err(failure));
        }
    }
}

pin_project! {
    /// A call that ends at its deadline. While an attempt is under way that has a timer of its own, it needs none: whoever
    /// polls this polls it when the attempt has ended. The timer stands apart: what stands here is moved with every call.
    pub struct UntilDeadline<F> {
        #[pin]
        inner: F,
        sleep: Option<Pin<Box<Sleep>>>,
        call: Arc<OutboundCall>,
    }
}

impl<F> UntilDeadline<F> {
    /// Ends `inner` at the deadline of `call`.
    pub fn new(inner: F, call: Arc<OutboundCall>) -> Self {
        Self { inner, sleep: None, call }
    }
}

impl<F, A> Future for UntilDeadline<F>
where
    F: Future<Output = Result<AttemptResponse<A>, AttemptFailure>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(result) = this.inner.poll(cx) {
            return Poll::Ready(result);
        }
        if this.call.is_deadline_armed() {
            return Poll::Pending;
        }
        let deadline = this.call.context.deadline;
        let sleep = this.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        ready!(sleep.as_mut().poll(cx));
        let left = this.call.is_in_doubt();
        Poll::Ready(Err(if left {
            AttemptFailure::Lost(LostAnswer::Deadline)
        } else {
            AttemptFailure::NotSent(NotSent::Deadline)
        }))
    }
}

/// What may follow a first attempt.
pub trait FollowUp<X: OperationCodec> {
    /// What the first attempt's end is to the layer above, or what is done after it.
    fn follow(self, first: AttemptResult<X>) -> FollowUpStep<X>;
}

/// See [`FollowUp`].
pub enum FollowUpStep<X: OperationCodec> {
    /// Nothing follows.
    Over(AttemptResult<X>),
    /// This does.
    More(AttemptFuture<X>),
}

pin_project! {
    /// An attempt that others may follow. Only those are boxed: nearly always the first is the only one.
    pub struct AndThenAttempt<F, W, X: OperationCodec> {
        #[pin]
        first: F,
        follow: Option<W>,
        then: Option<AttemptFuture<X>>,
    }
}

impl<F, W, X: OperationCodec> AndThenAttempt<F, W, X> {
    /// Asks `follow` what comes after `first`.
    pub fn new(first: F, follow: W) -> Self {
        Self { first, follow: Some(follow), then: None }
    }
}

impl<F, W, X> Future for AndThenAttempt<F, W, X>
where
    F: Future<Output = AttemptResult<X>>,
    W: FollowUp<X>,
    X: OperationCodec,
{
    type Output = AttemptResult<X>;

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
