//! The ledger as the gateway lists it.

use std::error::Error as _;

use order_gateway::pb::gateway_service_client::GatewayServiceClient;
use order_gateway::pb::{ListOperationsRequest, Operation, OperationState};
use tonic::transport::Channel;

/// Rows of one page.
const PAGE: i32 = 1000;
/// How often a page is asked for again when its connection broke.
const RETRIES: usize = 4;

/// All rows, oldest first, or only those in some states.
pub(crate) async fn list(channel: Channel, states: &[OperationState]) -> Result<Vec<Operation>, String> {
    let mut client = GatewayServiceClient::new(channel);
    let mut all = Vec::new();
    let mut page_token = String::new();
    loop {
        let states = states.iter().map(|state| i32::from(*state)).collect();
        let request = ListOperationsRequest { states, page_size: PAGE, page_token, ..Default::default() };
        let mut told = client.list_operations(request.clone()).await;
        for _ in 0..RETRIES {
            // The connection broke: it was one to a gateway that has been killed, or callers on it reset too many streams.
            // The next call makes a new one.
            if told.as_ref().is_err_and(|status| status.source().is_some()) {
                told = client.list_operations(request.clone()).await;
            }
        }
        let page = told.map_err(|status| format!("ListOperations: {status}"))?.into_inner();
        all.extend(page.operations);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(all);
        }
    }
}

/// The states that may still change.
pub(crate) const OPEN: [OperationState; 4] =
    [OperationState::Recorded, OperationState::Sending, OperationState::Unknown, OperationState::NeedsOperator];
