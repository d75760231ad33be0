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
use crate::upstream::call::{Answered, Attempting, Call};
use crate::upstream::classify::classify;
use crate::upstream::exchange::Exchange;
use crate::upstream::failure::{Failure, Lost, NotSent};

/// How an attempt of `X` ends.
pub type Ended<X> = Result<Answered<<X as WalmartCall>::Answer>, Failure>;

/// A future that lets pass, or a refusal.
pub type OrRefused<F, X> = Either<F, Ready<Ended<X>>>;

/// The attempt is not made.
pub fn refused<F, A>(why: NotSent) -> Either<F, Ready<Result<Answered<A>, Failure>>> {
    Either::Right(ready(Err(Failure::NotSent(why))))
}

/// What a layer holds while an attempt passes. Dropped without its end, the attempt was given up.
pub trait Watch {
    /// The attempt ended so.
    fn ended<A>(self, result: &Result<Answered<A>, Failure>);
}

pin_project! {
    /// An attempt that is watched.
    pub struct Watched<F, W> {
        #[pin]
        inner: F,
        watch: Option<W>,
    }
}

impl<F, W> Watched<F, W> {
    /// Tells `watch` how `inner` ends.
    pub fn new(inner: F, watch: W) -> Self {
        Self { inner, watch: Some(watch) }
    }
}

impl<F, W, A> Future for Watched<F, W>
where
    F: Future<Output = Result<Answered<A>, Failure>>,
    W: Watch,
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
pub struct Ends {
    /// By then the request must have begun to leave.
    pub begin_by: Instant,
    /// How it ends if it has not.
    pub unsent: NotSent,
    /// By then the answer must be there. Not before `begin_by`.
    pub end: Instant,
    /// How it ends if it is not.
    pub lost: Lost,
}

pin_project! {
    /// An attempt whose time is bounded. One whose time is over is dropped at once, also where others follow it.
    pub struct Timed<F> {
        #[pin]
        inner: Option<F>,
        #[pin]
        sleep: Sleep,
        on_clock: OnClock,
        sends: u32,
        ends: Ends,
    }
}

/// While it is there, the call has an attempt under way that ends in time by itself.
struct OnClock(Arc<Call>);

impl Drop for OnClock {
    fn drop(&mut self) {
        self.0.set_on_clock(false);
    }
}

impl<F> Timed<F> {
    /// Ends `inner` as `ends` says. The request has begun to leave when the call counts more than `sends`.
    pub fn new(inner: F, call: Arc<Call>, sends: u32, ends: Ends) -> Self {
        let sleep = sleep_until(ends.begin_by);
        Self { inner: Some(inner), sleep, on_clock: OnClock(call), sends, ends }
    }
}

impl<F, A> Future for Timed<F>
where
    F: Future<Output = Result<Answered<A>, Failure>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let (call, ends) = (&this.on_clock.0, *this.ends);
        if let Some(inner) = this.inner.as_mut().as_pin_mut()
            && let Poll::Ready(ended) = inner.poll(cx)
        {
            call.set_on_clock(false);
            if ended.as_ref().is_err_and(|failure| classify(call.operation, failure).effect == Effect::None) {
                call.set_settled();
            }
            return Poll::Ready(ended);
        }
        loop {
            if this.sleep.as_mut().poll(cx).is_pending() {
                // From the first time that the timer was asked it will wake whoever polls this.
                call.set_on_clock(true);
                return Poll::Pending;
            }
            let left = call.sends() > *this.sends;
            if left && this.sleep.deadline() < ends.end {
                this.sleep.as_mut().reset(ends.end);
                continue;
            }
            if (left && ends.lost == Lost::TimedOut) || (!left && ends.unsent == NotSent::Connect) {
                call.set_timed_out();
            }
            this.inner.set(None);
            call.set_on_clock(false);
            let failure = if left { Failure::Lost(ends.lost) } else { Failure::NotSent(ends.unsent) };
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
        call: Arc<Call>,
    }
}

impl<F> UntilDeadline<F> {
    /// Ends `inner` at the deadline of `call`.
    pub fn new(inner: F, call: Arc<Call>) -> Self {
        Self { inner, sleep: None, call }
    }
}

impl<F, A> Future for UntilDeadline<F>
where
    F: Future<Output = Result<Answered<A>, Failure>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(result) = this.inner.poll(cx) {
            return Poll::Ready(result);
        }
        if this.call.is_on_clock() {
            return Poll::Pending;
        }
        let deadline = this.call.context.deadline;
        let sleep = this.sleep.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        ready!(sleep.as_mut().poll(cx));
        let left = this.call.is_in_doubt();
        Poll::Ready(Err(if left { Failure::Lost(Lost::Deadline) } else { Failure::NotSent(NotSent::Deadline) }))
    }
}

/// What may follow a first attempt.
pub trait Follow<X: Exchange> {
    /// What the first attempt's end is to the layer above, or what is done after it.
    fn follow(self, first: Ended<X>) -> Then<X>;
}

/// See [`Follow`].
pub enum Then<X: Exchange> {
    /// Nothing follows.
    Over(Ended<X>),
    /// This does.
    More(Attempting<X>),
}

pin_project! {
    /// An attempt that others may follow. Only those are boxed: nearly always the first is the only one.
    pub struct Followed<F, W, X: Exchange> {
        #[pin]
        first: F,
        follow: Option<W>,
        then: Option<Attempting<X>>,
    }
}

impl<F, W, X: Exchange> Followed<F, W, X> {
    /// Asks `follow` what comes after `first`.
    pub fn new(first: F, follow: W) -> Self {
        Self { first, follow: Some(follow), then: None }
    }
}

impl<F, W, X> Future for Followed<F, W, X>
where
    F: Future<Output = Ended<X>>,
    W: Follow<X>,
    X: Exchange,
{
    type Output = Ended<X>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Some(then) = this.then {
            return then.as_mut().poll(cx);
        }
        let first = ready!(this.first.poll(cx));
        let Some(follow) = this.follow.take() else { return Poll::Ready(first) };
        match follow.follow(first) {
            Then::Over(result) => Poll::Ready(result),
            Then::More(then) => this.then.insert(then).as_mut().poll(cx),
        }
    }
}
