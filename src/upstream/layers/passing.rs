//! The futures of layers: one watches how an attempt ends, one bounds its time, one lets others follow it. They stand in
//! each other, where boxes would cost each call an allocation a layer.

use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::future::Either;
use pin_project_lite::pin_project;
use tokio::time::{Instant, Timeout, timeout_at};

use crate::upstream::call::{Answered, Attempting, Call};
use crate::upstream::exchange::Exchange;
use crate::upstream::failure::{Failure, Lost, NotSent};

/// How an attempt of `X` ends.
pub type Ended<X> = Result<Answered<<X as Exchange>::Answer>, Failure>;

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

pin_project! {
    /// An attempt, or a call, whose time is bounded.
    pub struct Timed<F> {
        #[pin]
        inner: Timeout<F>,
        call: Arc<Call>,
        sends: u32,
        unsent: NotSent,
        lost: Lost,
    }
}

impl<F: Future> Timed<F> {
    /// Ends `inner` at `end`: as `lost` if a request left after `sends` others had, else as `unsent`.
    pub fn new(inner: F, end: Instant, call: Arc<Call>, sends: u32, unsent: NotSent, lost: Lost) -> Self {
        Self { inner: timeout_at(end, inner), call, sends, unsent, lost }
    }
}

impl<F, A> Future for Timed<F>
where
    F: Future<Output = Result<Answered<A>, Failure>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        Poll::Ready(ready!(this.inner.poll(cx)).unwrap_or_else(|_| {
            let left = this.call.sends() > *this.sends;
            Err(if left { Failure::Lost(*this.lost) } else { Failure::NotSent(*this.unsent) })
        }))
    }
}

/// What may follow a first attempt.
pub trait Follow<X: Exchange> {
    /// What the first attempt's end is to the layer above, or what is done after it.
    fn follow(self, first: Ended<X>) -> Next<X>;
}

/// See [`Follow`].
pub enum Next<X: Exchange> {
    /// Nothing follows.
    Over(Ended<X>),
    /// This does.
    Then(Attempting<X>),
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
            Next::Over(result) => Poll::Ready(result),
            Next::Then(then) => this.then.insert(then).as_mut().poll(cx),
        }
    }
}
