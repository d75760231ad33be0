//! GatewayService: the gateway's view of itself.

use std::sync::Arc;
use std::time::SystemTime;

use tonic::{Request, Response, Status};

use super::fulfillment::context;
use super::{operation, status};
use crate::domain::account::AccountIndex;
use crate::domain::operation::Operation;
use crate::pb;
use crate::pb::gateway_service_server::GatewayService;
use crate::ports::ledger::{Count, Ledger};
use crate::ports::overview::{CircuitView, Overview, TokenView};
use crate::ports::upstream::Upstream;
use crate::service::feed::{Feed, FeedStore};
use crate::service::{Directory, Operations, ServiceError};

/// The service, over any upstream and store.
pub struct Gateway<U, L, F> {
    /// The accounts by name.
    pub directory: Directory,
    /// Their state.
    pub overview: Arc<dyn Overview>,
    /// Their mutations.
    pub operations: Operations<U, L>,
    /// The feed.
    pub feed: Feed<F>,
    /// When the process began to serve.
    pub start_time: SystemTime,
}

#[tonic::async_trait]
impl<U: Upstream, L: Ledger, F: FeedStore> GatewayService for Gateway<U, L, F> {
    async fn get_status(
        &self,
        request: Request<pb::GetStatusRequest>,
    ) -> Result<Response<pb::GetStatusResponse>, Status> {
        let call = context(&request)?;
        let accounts = self
            .directory
            .many(&request.get_ref().account, &call)
            .map_err(|error| status::failure(error, "", &call))?;
        let counts = self.operations.counts().await.unwrap_or_default();
        Ok(Response::new(pb::GetStatusResponse {
            version: env!("CARGO_PKG_VERSION").into(),
            start_time: Some(self.start_time.into()),
            accounts: accounts.into_iter().map(|account| self.account(account, &counts)).collect(),
            feed: self.feed.overview(&call).await,
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

impl<U: Upstream, L: Ledger, F: FeedStore> Gateway<U, L, F> {
    fn account(&self, account: AccountIndex, counts: &[Count]) -> pb::AccountStatus {
        let id = self.directory.id(account);
        let ledger = counts.iter().filter(|count| count.account == *id && count.entries > 0);
        pb::AccountStatus {
            account: id.to_string(),
            ledger: ledger.map(operation::count).collect(),
            token: Some(token(self.overview.token(account))),
            operations: Operation::ALL.map(|operation| self.operation(account, operation)).into(),
        }
    }

    fn operation(&self, account: AccountIndex, operation: Operation) -> pb::OperationStatus {
        let view = self.overview.operation(account, operation);
        let (circuit, probe_time) = match view.circuit {
            CircuitView::Closed => (pb::CircuitState::Closed, None),
            CircuitView::Open(until) => (pb::CircuitState::Open, Some(until)),
            CircuitView::HalfOpen => (pb::CircuitState::HalfOpen, None),
        };
        pb::OperationStatus {
            operation: operation.name().into(),
            limit_per_minute: view.limit_per_minute,
            // More digits would be noise to a reader.
            tokens: (view.tokens * 100.0).floor() / 100.0,
            next_token_time: view.next_token.map(Into::into),
            circuit: circuit.into(),
            probe_time: probe_time.map(Into::into),
        }
    }
}

fn token(view: TokenView) -> pb::TokenStatus {
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
    }
}

#[cfg(test)]
#[path = "gateway_tests.rs"]
mod tests;
