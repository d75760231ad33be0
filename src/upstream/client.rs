//! Walmart as the use cases see it.

use std::sync::Arc;

use tower::ServiceExt as _;
use uuid::Uuid;

use super::call::{Call, Next, Outbound};
use super::classify::{classify, says_order_exists};
use super::exchange::{CancelOrder, CreateOrder, Exchange, FetchPromise, LookUp, OrderByNumber, OrderStatus};
use super::failure::Failure;
use super::transport::Http;
use super::{Shared, Stack, StackSettings, stack};
use crate::domain::account::AccountIndex;
use crate::domain::ledger::evidence::LookupAnswer;
use crate::pb;
use crate::ports::call::CallContext;
use crate::ports::clock::Clock;
use crate::ports::random::Random;
use crate::ports::upstream::{Accepted, Reply, Upstream, UpstreamError};

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

    async fn exchange<X: Exchange>(
        &self,
        account: AccountIndex,
        request: &X::Request,
        correlation_id: Uuid,
        context: &CallContext,
    ) -> Result<Reply<X::Answer>, UpstreamError>
    where
        Stack<H>: Next<X>,
    {
        let header = &self.0.shared.site.accounts().get(account).header;
        let call = Call::new::<X>(X::build(request, header), account, correlation_id, context.clone());
        match self.0.stack.clone().oneshot(Outbound::<X>::new(call)).await {
            Ok(answered) => Ok(Reply { answer: answered.answer, correlation_id }),
            Err(failure) => Err(error::<X>(failure, correlation_id)),
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

impl<H: Http> Upstream for RestUpstream<H> {
    async fn fetch_promise(
        &self,
        account: AccountIndex,
        request: &pb::FetchDeliveryPromiseRequest,
        call: &CallContext,
    ) -> Result<Reply<pb::FetchDeliveryPromiseResponse>, UpstreamError> {
        self.exchange::<FetchPromise>(account, request, self.0.random.uuid(), call).await
    }

    async fn create_order(
        &self,
        account: AccountIndex,
        request: &pb::CreateOrderRequest,
        correlation_id: Uuid,
        call: &CallContext,
    ) -> Result<Reply<Accepted>, UpstreamError> {
        self.exchange::<CreateOrder>(account, request, correlation_id, call).await
    }

    async fn cancel_order(
        &self,
        account: AccountIndex,
        request: &pb::CancelOrderRequest,
        correlation_id: Uuid,
        call: &CallContext,
    ) -> Result<Reply<Accepted>, UpstreamError> {
        self.exchange::<CancelOrder>(account, request, correlation_id, call).await
    }

    async fn order_status(
        &self,
        account: AccountIndex,
        request: &pb::GetOrderStatusRequest,
        call: &CallContext,
    ) -> Result<Reply<pb::GetOrderStatusResponse>, UpstreamError> {
        let correlation_id = self.0.random.uuid();
        if request.order_number.is_empty() {
            self.exchange::<OrderStatus>(account, request, correlation_id, call).await
        } else {
            self.exchange::<OrderByNumber>(account, request, correlation_id, call).await
        }
    }

    async fn look_up(
        &self,
        account: AccountIndex,
        request: &pb::GetOrderStatusRequest,
        call: &CallContext,
    ) -> Result<Reply<LookupAnswer>, UpstreamError> {
        self.exchange::<LookUp>(account, request, self.0.random.uuid(), call).await
    }
}
