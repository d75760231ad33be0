//! The operator: decides about what the gateway leaves to a person, by what Walmart's side really did.
//!
//! A creation never comes to that. A cancellation may: when Walmart could not be asked for the order before it was sent, and
//! its answer was lost, then a part of a line that is cancelled proves nothing. A refund whose answer was lost, and that no
//! look-up shows, always does.

use order_gateway::pb::gateway_service_client::GatewayServiceClient;
use order_gateway::pb::{OperationKind, OperationState, ResolveOperationRequest, ResolveOutcome};
use tonic::Code;
use tonic::transport::Channel;

use crate::emulator::Emulator;
use crate::observe;
use crate::operations;

/// Decides about every operation that needs it, but for creations; tells about how many.
pub(crate) async fn decide(channel: &Channel, emulator: &Emulator) -> Result<usize, String> {
    let mut waiting = operations::list(channel.clone(), &[OperationState::NeedsOperator]).await?;
    waiting.retain(|operation| operation.kind() != OperationKind::Create);
    if waiting.is_empty() {
        return Ok(0);
    }
    let observed = observe::observe(emulator).await?;
    let mut client = GatewayServiceClient::new(channel.clone());
    let mut decided = 0;
    for operation in &waiting {
        let mut calls = observed.calls.values().flatten();
        let done = calls.any(|call| call.correlation_id == operation.correlation_id && call.had_effect());
        let outcome = if done { ResolveOutcome::Succeeded } else { ResolveOutcome::Rejected };
        let reason = "looked up at the emulator".to_owned();
        let request = ResolveOperationRequest { name: operation.name.clone(), outcome: outcome.into(), reason };
        match client.resolve_operation(request).await {
            Ok(_) => decided += 1,
            // The gateway goes on asking: it was settled meanwhile, or a look-up was written just now. What stays open is
            // decided the next time.
            Err(status) if matches!(status.code(), Code::FailedPrecondition | Code::Unavailable) => {}
            Err(status) => return Err(format!("ResolveOperation: {status}")),
        }
    }
    Ok(decided)
}
