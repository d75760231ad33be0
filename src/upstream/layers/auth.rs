//! Gives each attempt the account's access token. When Walmart turns it away, the attempt is made once more with a fresh
//! one: the gateway refuses before anything is carried out, so that is safe for mutations too.

use std::mem;
use std::task::{Context, Poll};

use tokio::time::timeout_at;
use tower::{Layer, Service, ServiceExt as _};

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

impl<S, H: Http> Layer<S> for AuthLayer<H> {
    type Service = Auth<S, H>;

    fn layer(&self, inner: S) -> Auth<S, H> {
        Auth { inner, tokens: self.0.clone() }
    }
}

/// See the module.
#[derive(Clone)]
pub struct Auth<S, H> {
    inner: S,
    tokens: Tokens<H>,
}

impl<X: Exchange, S: Next<X>, H: Http> Service<Outbound<X>> for Auth<S, H> {
    type Response = S::Response;
    type Error = Failure;
    type Future = Attempting<X>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut outbound: Outbound<X>) -> Self::Future {
        let inner = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, inner);
        let tokens = self.tokens.clone();
        Box::pin(async move {
            let call = outbound.call.clone();
            let (token, at) = in_time(&call, tokens.get(call.account, outbound.at)).await?;
            outbound.at = at;
            tracing::trace!(layer = "auth", "token");
            outbound.token = Some(token.clone());
            let result = inner.call(outbound.clone()).await;
            if !result.as_ref().err().is_some_and(Failure::token_refused) {
                return result;
            }
            let (fresh, at) = in_time(&call, tokens.replace(call.account, &token)).await?;
            outbound.at = at;
            tracing::trace!(layer = "auth", "fresh token");
            outbound.token = Some(fresh.clone());
            let result = inner.ready().await?.call(outbound).await;
            match &result {
                Err(failure) if failure.token_refused() => tokens.refused_again(call.account, &fresh),
                // A token that Walmart never saw is neither good nor bad.
                Err(failure) if failure.status().is_none() => {}
                _ => tokens.accepted(call.account),
            }
            result
        })
    }
}

/// Waits for a token as long as an attempt could still follow.
async fn in_time<T>(call: &Call, token: impl Future<Output = Result<T, NotSent>>) -> Result<T, Failure> {
    match timeout_at(call.latest_start(), token).await {
        Ok(result) => result.map_err(Failure::NotSent),
        Err(_) => Err(Failure::NotSent(NotSent::Deadline)),
    }
}
