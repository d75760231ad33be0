//! Walmart as the use cases see it.

use std::sync::Arc;

use tower::ServiceExt as _;
use uuid::Uuid;

use super::call::{Call, Next, Outbound};
use super::classify::{classify, says_order_exists};
use super::exchange::Exchange;
use super::failure::Failure;
use super::transport::Http;
use super::{Shared, Stack, StackSettings, stack};
use crate::domain::account::AccountIndex;
use crate::ports::call::CallContext;
use crate::ports::clock::Clock;
use crate::ports::random::Random;
use crate::ports::upstream::{Reply, Upstream, UpstreamError};

/// Walmart's REST API behind the stack of layers. Cheap to clone.
#[derive(Clone)]
pub struct RestUpstream<H: Http>(Arc<Parts<H>>);

struct Parts<H: Http> {
    stack: Stack<H>,
    shared: Shared<H>,
    random: Random,
}

impl<H: Http> RestUpstream<H> {
    /// Calls through `http`.
    pub fn new(http: H, settings: StackSettings, shared: Shared<H>, clock: Clock, random: Random) -> Self {
        let stack = stack(http, settings, &shared, clock, random.clone());
        Self(Arc::new(Parts { stack, shared, random }))
    }

    /// Limits, circuits and tokens, to look at.
    pub fn shared(&self) -> &Shared<H> {
        &self.0.shared
    }
}

impl<C: Exchange, H: Http> Upstream<C> for RestUpstream<H>
where
    // Proved for each call by itself: for all calls at once the compiler takes minutes.
    Stack<H>: Next<C>,
{
    async fn call(
        &self,
        account: AccountIndex,
        request: &C::Request,
        correlation_id: Option<Uuid>,
        context: &CallContext,
    ) -> Result<Reply<C::Answer>, UpstreamError> {
        let correlation_id = correlation_id.unwrap_or_else(|| self.0.random.uuid());
        let header = &self.0.shared.site.accounts().get(account).header;
        let call = Call::new::<C>(C::build(request, header), account, correlation_id, context.clone());
        match self.0.stack.clone().oneshot(Outbound::<C>::new(call)).await {
            Ok(answered) => Ok(Reply { answer: answered.answer, correlation_id }),
            Err(failure) => Err(error::<C>(failure, correlation_id)),
        }
    }
}

fn error<X: Exchange>(failure: Failure, correlation_id: Uuid) -> UpstreamError {
    let verdict = classify(X::OPERATION, &failure);
    let http_status = failure.status().unwrap_or(0);
    let says_order_exists = says_order_exists(X::OPERATION, &failure);
    let body = match failure {
        Failure::Refused { body, .. } => body,
        _ => Default::default(),
    };
    UpstreamError {
        operation: X::OPERATION,
        kind: verdict.kind,
        effect: verdict.effect,
        http_status,
        errors: body.errors,
        omitted: body.omitted,
        says_order_exists,
        retry_after: verdict.retry_after,
        correlation_id,
    }
}
