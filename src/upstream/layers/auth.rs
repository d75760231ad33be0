//! Adds the account's access token to each attempt. If Walmart rejects the token, the attempt is repeated once with a
//! fresh token. Walmart's gateway rejects tokens before any processing, so the replay is safe for mutations too.

use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::Either;
use http::HeaderValue;
use tokio::time::{Instant, timeout_at};
use tower::{Layer, Service, ServiceExt as _};

use crate::upstream::attempt_futures::{AndThenAttempt, AttemptResult, FollowUp, FollowUpStep};
use crate::upstream::call::{AttemptFuture, AttemptRequest, AttemptService, OutboundCall};
use crate::upstream::failure::{AttemptFailure, NotSent};
use crate::upstream::token::TokenCache;
use crate::upstream::transport::HttpService;

#[derive(Clone)]
pub(crate) struct AuthLayer<H>(TokenCache<H>);

impl<H> AuthLayer<H> {
    /// Takes access tokens from `tokens`.
    pub(crate) fn new(tokens: TokenCache<H>) -> Self {
        Self(tokens)
    }
}

impl<S: Clone, H: HttpService> Layer<S> for AuthLayer<H> {
    type Service = Auth<S, H>;

    fn layer(&self, inner: S) -> Auth<S, H> {
        Auth { parts: Arc::new(AuthShared { tokens: self.0.clone(), again: inner.clone() }), inner }
    }
}

pub(crate) struct Auth<S, H> {
    inner: S,
    parts: Arc<AuthShared<S, H>>,
}

struct AuthShared<S, H> {
    tokens: TokenCache<H>,
    /// The service for replays. Cloned only if a replay is needed.
    again: S,
}

impl<S: Clone, H> Clone for Auth<S, H> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), parts: self.parts.clone() }
    }
}

impl<S: AttemptService, H: HttpService> Service<AttemptRequest> for Auth<S, H> {
    type Response = S::Response;
    type Error = AttemptFailure;
    type Future = Either<AndThenAttempt<S::Future, TokenReplay<S, H>>, AttemptFuture>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AttemptFailure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut outbound: AttemptRequest) -> Self::Future {
        if let Some(token) = self.parts.tokens.kept(outbound.call.account, outbound.at) {
            return Either::Left(self.attempt(outbound, token));
        }
        let call = outbound.call.clone();
        // Move the service polled ready into the future, and keep the clone: the clone was never polled.
        let inner = self.inner.clone();
        let mut ready = Self { inner: mem::replace(&mut self.inner, inner), parts: self.parts.clone() };
        Either::Right(Box::pin(async move {
            let token = ready.parts.in_time(&call, ready.parts.tokens.get(call.account)).await?;
            outbound.at = Instant::now();
            ready.attempt(outbound, token).await
        }))
    }
}

impl<S, H: HttpService> Auth<S, H> {
    fn attempt(
        &mut self,
        mut outbound: AttemptRequest,
        token: HeaderValue,
    ) -> AndThenAttempt<S::Future, TokenReplay<S, H>>
    where
        S: AttemptService,
    {
        tracing::trace!(layer = "auth", "token");
        let (call, attempt) = (outbound.call.clone(), outbound.attempt);
        let replay = TokenReplay { parts: self.parts.clone(), call, attempt, token: token.clone() };
        outbound.token = Some(token);
        AndThenAttempt::new(self.inner.call(outbound), replay)
    }
}

/// The single replay with a fresh token, after Walmart rejected the first.
pub(crate) struct TokenReplay<S, H> {
    parts: Arc<AuthShared<S, H>>,
    call: Arc<OutboundCall>,
    attempt: u32,
    /// The token rejected by Walmart.
    token: HeaderValue,
}

impl<S: AttemptService, H: HttpService> FollowUp for TokenReplay<S, H> {
    fn follow(self, first: AttemptResult) -> FollowUpStep {
        if first.as_ref().err().is_some_and(AttemptFailure::token_refused) {
            FollowUpStep::More(Box::pin(self.replayed()))
        } else {
            FollowUpStep::Over(first)
        }
    }
}

impl<S, H: HttpService> TokenReplay<S, H> {
    async fn replayed(self) -> AttemptResult
    where
        S: AttemptService,
    {
        let Self { parts, call, attempt, token } = self;
        let (tokens, mut inner) = (&parts.tokens, parts.again.clone());
        let fresh = parts.in_time(&call, tokens.replace(call.account, &token)).await?;
        tracing::trace!(layer = "auth", "fresh token");
        let mut outbound = AttemptRequest::nth(call.clone(), attempt);
        outbound.token = Some(fresh.clone());
        let result = inner.ready().await?.call(outbound).await;
        match &result {
            Err(failure) if failure.token_refused() => {
                tokens.refused_again(call.account, &fresh, call.correlation_id, failure);
            }
            // Walmart did not answer, so the token is neither accepted nor rejected.
            Err(failure) if failure.status().is_none() => {}
            _ => tokens.accepted(call.account),
        }
        result
    }
}

impl<S, H: HttpService> AuthShared<S, H> {
    /// Waits for a token until the latest start of an attempt.
    async fn in_time<T>(
        &self,
        call: &OutboundCall,
        token: impl Future<Output = Result<T, NotSent>>,
    ) -> Result<T, AttemptFailure> {
        let _wait = self.tokens.tracer().wait_span("wait for access token");
        match timeout_at(call.latest_start(), token).await {
            Ok(result) => result.map_err(AttemptFailure::NotSent),
            Err(_) => Err(AttemptFailure::NotSent(NotSent::Deadline)),
        }
    }
}
