//! GatewayService: status of the gateway, and operators' access to the ledger.

use std::time::SystemTime;

use tonic::{Request, Response, Status};

use super::fulfillment::context;
use super::{operation, status};
use crate::domain::feed::FeedName;
use crate::domain::operation::Operation;
use crate::pb;
use crate::pb::gateway_service_server::GatewayService;
use crate::ports::ledger::Ledger;
use crate::ports::overview::{CircuitView, OperationView, TokenFailure, TokenFailureKind, TokenView};
use crate::ports::upstream::WalmartApi;
use crate::service::feed::{FeedState, FeedStore};
use crate::service::{
    AccountState, BackfillView, ClockView, GatewayStatus, Operations, ServiceError, SettingsView, WebhookCheckView,
};

/// The RPCs of GatewayService, over any upstream and store.
pub(crate) struct GatewayRpcs<U, L, F> {
    /// The use case of GetStatus.
    pub(crate) status: GatewayStatus<U, L, F>,
    /// The use cases of the operations' RPCs.
    pub(crate) operations: Operations<U, L>,
}

#[tonic::async_trait]
impl<U: WalmartApi, L: Ledger, F: FeedStore> GatewayService for GatewayRpcs<U, L, F> {
    async fn get_status(
        &self,
        request: Request<pb::GetStatusRequest>,
    ) -> Result<Response<pb::GetStatusResponse>, Status> {
        let call = context(&request)?;
        let request = request.into_inner();
        let view = self.status.reply(&request.account, request.confirm_clock, &call).await;
        let view = view.map_err(|error| status::failure(error, "", &call))?;
        Ok(Response::new(pb::GetStatusResponse {
            version: env!("CARGO_PKG_VERSION").into(),
            start_time: Some(self.status.start_time.into()),
            accounts: view.accounts.into_iter().map(account).collect(),
            feed: view.feed.as_ref().map(|state| feed(state, FeedName::CancelIntents)),
            order_updates: view.feed.as_ref().map(|state| feed(state, FeedName::OrderUpdates)),
            clock: Some(clock(view.clock)),
            settings: Some(settings(view.settings)),
        }))
    }

    async fn get_operation(
        &self,
        request: Request<pb::GetOperationRequest>,
    ) -> Result<Response<pb::GetOperationResponse>, Status> {
        let call = context(&request)?;
        let found = self.operations.get(&request.get_ref().name, &call).await;
        let view = found.map_err(|error| status::failure(error, "", &call))?;
        let operation = Some(operation::viewed(view));
        Ok(Response::new(pb::GetOperationResponse { operation }))
    }

    async fn list_operations(
        &self,
        request: Request<pb::ListOperationsRequest>,
    ) -> Result<Response<pb::ListOperationsResponse>, Status> {
        let call = context(&request)?;
        let page = match operation::listing(request.into_inner()) {
            Ok(request) => self.operations.list(request, &call).await,
            Err(faults) => Err(ServiceError::Invalid(faults)),
        };
        let page = page.map_err(|error| status::failure(error, "", &call))?;
        Ok(Response::new(pb::ListOperationsResponse {
            operations: page.entries.into_iter().map(operation::message).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn resolve_operation(
        &self,
        request: Request<pb::ResolveOperationRequest>,
    ) -> Result<Response<pb::ResolveOperationResponse>, Status> {
        let call = context(&request)?;
        let request = request.into_inner();
        let verdict = operation::verdict(request.outcome());
        let resolved = self.operations.resolve(&request.name, verdict, &request.reason, &call).await;
        let entry = resolved.map_err(|error| status::failure(error, "", &call))?;
        let operation = Some(operation::message(entry));
        Ok(Response::new(pb::ResolveOperationResponse { operation }))
    }
}

fn account(state: AccountState) -> pb::AccountStatus {
    pb::AccountStatus {
        account: state.id.to_string(),
        ledger: state.ledger.iter().flatten().map(operation::count).collect(),
        token: Some(token(state.token, state.token_failure)),
        operations: state.operations.map(|(operation, view)| bucket(operation, view)).into(),
        webhook_subscriptions: state.webhooks.map(webhook_subscriptions),
        backfill: state.backfill.map(backfill),
    }
}

fn webhook_subscriptions(view: WebhookCheckView) -> pb::WebhookSubscriptionsStatus {
    pb::WebhookSubscriptionsStatus {
        checked_time: view.checked_time.map(|time| SystemTime::from(time).into()),
        missing: view.missing.into_iter().map(str::to_owned).collect(),
        error: view.error,
    }
}

fn backfill(view: BackfillView) -> pb::BackfillStatus {
    pb::BackfillStatus {
        last_backfill_time: view.last_backfill_time.map(|time| SystemTime::from(time).into()),
        backfilled: view.backfilled,
        error: view.error,
    }
}

fn bucket(operation: Operation, view: OperationView) -> pb::OperationStatus {
    let (circuit, probe_time) = match view.circuit {
        CircuitView::Closed => (pb::CircuitState::Closed, None),
        CircuitView::Open(until) => (pb::CircuitState::Open, Some(until)),
        CircuitView::HalfOpen => (pb::CircuitState::HalfOpen, None),
    };
    pb::OperationStatus {
        operation: operation.name().into(),
        limit_per_minute: view.limit_per_minute,
        // Two digits are enough for a reader.
        tokens: (view.tokens * 100.0).floor() / 100.0,
        next_token_time: view.next_token.map(Into::into),
        circuit: circuit.into(),
        probe_time: probe_time.map(Into::into),
    }
}

fn feed(state: &FeedState, name: FeedName) -> pb::FeedStatus {
    let bounds = state.bounds.of(name);
    let subscriptions = state.subscriptions.iter().filter(|subscription| subscription.feed == name);
    pb::FeedStatus {
        log_id: bounds.log.to_string(),
        first_available: bounds.first,
        head: bounds.head,
        open_streams: *state.open_streams.of(name),
        subscriptions: subscriptions.map(|subscription| subscription.shown.clone()).collect(),
    }
}

fn clock(view: ClockView) -> pb::ClockStatus {
    let (time, step) = view.last_step.unzip();
    pb::ClockStatus {
        time: Some(SystemTime::from(view.now).into()),
        steps: view.steps,
        last_step_time: time.map(|time| SystemTime::from(time).into()),
        last_step: step.map(|step| prost_types::Duration {
            seconds: step.0 / 1000,
            nanos: i32::try_from(step.0 % 1000).unwrap_or_default() * 1_000_000,
        }),
        trimming_paused_for: view.trimming_paused_for.and_then(|left| left.try_into().ok()),
    }
}

fn settings(view: SettingsView) -> pb::SettingsStatus {
    let (time, faults, omitted) = match view.refused {
        Some(refused) => (Some(refused.time.into()), refused.faults, refused.omitted),
        None => (None, Vec::new(), 0),
    };
    pb::SettingsStatus {
        load_time: Some(view.load_time.into()),
        refused_time: time,
        refused_faults: faults,
        omitted_faults: u32::try_from(omitted).unwrap_or(u32::MAX),
    }
}

fn token(view: TokenView, failure: Option<TokenFailure>) -> pb::TokenStatus {
    let (state, expire_time, retry_time) = match view {
        TokenView::None => (pb::TokenState::None, None, None),
        TokenView::Valid(until) => (pb::TokenState::Valid, Some(until), None),
        TokenView::Expired(since) => (pb::TokenState::Expired, Some(since), None),
        TokenView::Failed(retry) => (pb::TokenState::Failed, None, Some(retry)),
    };
    pb::TokenStatus {
        state: state.into(),
        expire_time: expire_time.map(Into::into),
        retry_time: retry_time.map(Into::into),
        last_failure: failure.map(token_failure),
    }
}

fn token_failure(failure: TokenFailure) -> pb::TokenFailure {
    let TokenFailure { time, kind, http_status, said, correlation_id } = failure;
    let kind = match kind {
        TokenFailureKind::CredentialsRefused => pb::TokenFailureKind::CredentialsRefused,
        TokenFailureKind::EdgeRefused => pb::TokenFailureKind::EdgeRefused,
        TokenFailureKind::TokenRefused => pb::TokenFailureKind::TokenRefused,
        TokenFailureKind::Limited => pb::TokenFailureKind::Limited,
        TokenFailureKind::Unavailable => pb::TokenFailureKind::Unavailable,
    };
    pb::TokenFailure {
        time: Some(time.into()),
        kind: kind.into(),
        http_status: http_status.unwrap_or_default().into(),
        said,
        correlation_id: correlation_id.to_string(),
    }
}

#[cfg(test)]
#[path = "gateway_tests.rs"]
mod tests;
