//! GatewayService: the gateway's view of itself.

use std::sync::Arc;
use std::time::SystemTime;

use tonic::{Request, Response, Status};

use super::fulfillment::context;
use super::status;
use crate::domain::account::AccountIndex;
use crate::domain::operation::Operation;
use crate::pb;
use crate::pb::gateway_service_server::GatewayService;
use crate::ports::overview::{CircuitView, Overview, TokenView};
use crate::service::Directory;

/// The service.
#[derive(Clone)]
pub struct Gateway {
    /// The accounts by name.
    pub directory: Directory,
    /// Their state.
    pub overview: Arc<dyn Overview>,
    /// When the process began to serve.
    pub start_time: SystemTime,
}

#[tonic::async_trait]
impl GatewayService for Gateway {
    async fn get_status(
        &self,
        request: Request<pb::GetStatusRequest>,
    ) -> Result<Response<pb::GetStatusResponse>, Status> {
        let call = context(&request)?;
        let accounts = self
            .directory
            .many(&request.get_ref().account, &call)
            .map_err(|error| status::failure(error, "", &call))?;
        Ok(Response::new(pb::GetStatusResponse {
            version: env!("CARGO_PKG_VERSION").into(),
            start_time: Some(self.start_time.into()),
            accounts: accounts.into_iter().map(|account| self.account(account)).collect(),
        }))
    }
}

impl Gateway {
    fn account(&self, account: AccountIndex) -> pb::AccountStatus {
        pb::AccountStatus {
            account: self.directory.id(account).to_string(),
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
