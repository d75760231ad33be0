//! Gives each attempt the account's access token. When Walmart turns it away, the attempt is made once more with a fresh
//! one: the gateway refuses before anything is carried out, so that is safe for mutations too.

use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::Either;
use http::HeaderValue;
use tokio::time::{Instant, timeout_at};
use tower::{Layer, Service, ServiceExt as _};

use super::passing::{Ended, Follow, Followed, Then};
use crate::upstream::call::{Attempting, Call, Next, Outbound};
use crate::upstream::exchange::Exchange;
use crate::upstream::failure::{Failure, NotSent};
use crate::upstream::token::Tokens;
use crate::upstream::transport::Http;

/// See the module.
#[derive(Clone)]
pub struct AuthLayer<H>(Tokens<H>);

impl<H> AuthLayer<H> {
    /// Takes tokens from here.
    pub fn new(tokens: Tokens<H>) -> Self {
        Self(tokens)
    }
}

impl<S: Clone, H: Http> Layer<S> for AuthLayer<H> {
    type Service = Auth<S, H>;

    fn layer(&self, inner: S) -> Auth<S, H> {
        Auth { parts: Arc::new(Parts { tokens: self.0.clone(), again: inner.clone() }), inner }
    }
}

/// See the module.
pub struct Auth<S, H> {
    inner: S,
    parts: Arc<Parts<S, H>>,
}

struct Parts<S, H> {
    tokens: Tokens<H>,
    /// What makes the attempt with a fresh token: cloned by the few that need one.
    again: S,
}

impl<S: Clone, H> Clone for Auth<S, H> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), parts: self.parts.clone() }
    }
}

impl<X: Exchange, S: Next<X>, H: Http> Service<Outbound<X>> for Auth<S, H> {
    type Response = S::Response;
    type Error = Failure;
    type Future = Either<Followed<S::Future, Replay<S, H>, X>, Attempting<X>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut outbound: Outbound<X>) -> Self::Future {
        if let Some(token) = self.parts.tokens.kept(outbound.call.account, outbound.at) {
            return Either::Left(self.attempt(outbound, token));
        }
        let call = outbound.call.clone();
        let inner = self.inner.clone();
        let mut ready = Self { inner: mem::replace(&mut self.inner, inner), parts: self.parts.clone() };
        Either::Right(Box::pin(async move {
            let token = in_time(&call, ready.parts.tokens.get(call.account)).await?;
            outbound.at = Instant::now();
            ready.attempt(outbound, token).await
        }))
    }
}

impl<S, H: Http> Auth<S, H> {
    fn attempt<X: Exchange>(
        &mut self,
        mut outbound: Outbound<X>,
        token: HeaderValue,
    ) -> Followed<S::Future, Replay<S, H>, X>
    where
        S: Next<X>,
    {
        tracing::trace!(layer = "auth", "token");
        let (call, attempt) = (outbound.call.clone(), outbound.attempt);
        let replay = Replay { parts: self.parts.clone(), call, attempt, token: token.clone() };
        outbound.token = Some(token);
        Followed::new(self.inner.call(outbound), replay)
    }
}

/// The one attempt with a fresh token, after the first was turned away.
pub struct Replay<S, H> {
    parts: Arc<Parts<S, H>>,
    call: Arc<Call>,
    attempt: u32,
    /// The first attempt's.
    token: HeaderValue,
}

impl<X: Exchange, S: Next<X>, H: Http> Follow<X> for Replay<S, H> {
    fn follow(self, first: Ended<X>) -> Then<X> {
        if first.as_ref().err().is_some_and(Failure::token_refused) {
            Then::More(Box::pin(self.replayed()))
        } else {
            Then::Over(first)
        }
    }
}

impl<S, H: Http> Replay<S, H> {
    async fn replayed<X: Exchange>(self) -> Ended<X>
    where
        S: Next<X>,
    {
        let Self { parts, call, attempt, token } = self;
        let (tokens, mut inner) = (&parts.tokens, parts.again.clone());
        let fresh = in_time(&call, tokens.replace(call.account, &token)).await?;
        tracing::trace!(layer = "auth", "fresh token");
        let mut outbound = Outbound::nth(call.clone(), attempt);
        outbound.token = Some(fresh.clone());
        let result = inner.ready().await?.call(outbound).await;
        match &result {
            Err(failure) if failure.token_refused() => {
                tokens.refused_again(call.account, &fresh, call.correlation_id, failure);
            }
            // A token that Walmart never saw is neither good nor bad.
            Err(failure) if failure.status().is_none() => {}
            _ => tokens.accepted(call.account),
        }
        result
    }
}

/// Waits for a token as long as an attempt could still follow.
async fn in_time<T>(call: &Call, token: impl Future<Output = Result<T, NotSent>>) -> Result<T, Failure> {
    match timeout_at(call.latest_start(), token).await {
        Ok(result) => result.map_err(Failure::NotSent),
        Err(_) => Err(Failure::NotSent(NotSent::Deadline)),
    }
}
