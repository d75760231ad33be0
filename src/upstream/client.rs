//! Implements [`Upstream`] on top of the layer stack.

use std::sync::Arc;

use tower::ServiceExt as _;
use uuid::Uuid;

use super::call::{AttemptRequest, OutboundCall};
use super::classify::{classify, says_order_exists};
use super::codec::OperationCodec;
use super::failure::AttemptFailure;
use super::headers::RateLimitHeaders;
use super::transport::HttpService;
use super::{Stack, StackResources, StackSettings, stack};
use crate::domain::account::AccountIndex;
use crate::ports::call::CallContext;
use crate::ports::clock::Clock;
use crate::ports::random::Random;
use crate::ports::upstream::{Reply, Upstream, UpstreamError};
use crate::wire::unmapped::Unmapped;

/// Walmart's REST API behind the layer stack. Cheap to clone.
#[derive(Clone)]
pub struct RestUpstream<H: HttpService>(Arc<UpstreamClient<H>>);

struct UpstreamClient<H: HttpService> {
    stack: Stack<H>,
    shared: StackResources<H>,
    random: Random,
}

impl<H: HttpService> RestUpstream<H> {
    /// Builds the stack around `http`.
    pub fn new(http: H, settings: StackSettings, shared: StackResources<H>, clock: Clock, random: Random) -> Self {
        let stack = stack(http, settings, &shared, clock, random.clone());
        Self(Arc::new(UpstreamClient { stack, shared, random }))
    }

    /// The rate limits, circuits and tokens, for the overview.
    pub fn shared(&self) -> &StackResources<H> {
        &self.0.shared
    }
}

impl<C: OperationCodec, H: HttpService> Upstream<C> for RestUpstream<H> {
    async fn call(
        &self,
        account: AccountIndex,
        request: &C::Request,
        correlation_id: Option<Uuid>,
        context: &CallContext,
    ) -> Result<Reply<C::Answer>, UpstreamError> {
        let correlation_id = correlation_id.unwrap_or_else(|| self.0.random.uuid());
        let settings = self.0.shared.endpoint.accounts().get(account);
        let call =
            OutboundCall::new::<C>(C::build(request, &settings.header), account, correlation_id, context.clone());
        match self.0.stack.clone().oneshot(AttemptRequest::new(call.clone())).await {
            Ok(answered) => match answered.answer.downcast::<C::Answer>() {
                Ok(mut answer) => {
                    if let Some(unmapped) = answered.unmapped {
                        let Unmapped { values, places } = *unmapped;
                        self.0.shared.metrics.upstream.unmapped.note(C::OPERATION, &places);
                        C::keep_unmapped(&mut answer, values);
                    }
                    Ok(Reply { answer: *answer, correlation_id })
                }
                // Cannot happen, because the reader of the call made the answer. In doubt nothing was understood.
                Err(_) => {
                    let (status, hint) = (answered.status, RateLimitHeaders::default());
                    Err(error(&call, AttemptFailure::Unreadable { status, hint, cut: false }))
                }
            },
            Err(failure) => Err(error(&call, failure)),
        }
    }
}

fn error(call: &OutboundCall, failure: AttemptFailure) -> UpstreamError {
    let operation = call.operation;
    let verdict = classify(operation, &failure);
    let http_status = failure.status().unwrap_or(0);
    let says_order_exists = says_order_exists(operation, &failure);
    let body = match failure {
        AttemptFailure::Refused { body, .. } => body,
        _ => Default::default(),
    };
    UpstreamError {
        operation,
        kind: verdict.kind,
        effect: verdict.effect,
        http_status,
        errors: body.errors,
        omitted: body.omitted,
        says_order_exists,
        after_lost_attempt: call.has_lost_attempt(),
        retry_after: verdict.retry_after,
        correlation_id: call.correlation_id,
    }
}
