//! The history: a short line per order call, in order of arrival, for tests that run longer than the journal. Without
//! headers and bodies a million lines take as much memory as ten thousand requests.

use serde_json::{Value, json};

use super::records::CallRecord;
use super::requests::{ReceivedRequest, RequestFilter, RequestOutcome};

/// Lines kept at most. Later calls are only counted: a reader can tell a truncated history from a complete one.
const MAX_LINES: usize = 1_000_000;
/// Calls about an order, a return or a subscription, which excludes promises and tokens.
const OPERATIONS: [&str; 15] = [
    "create",
    "cancel",
    "status",
    "order",
    "acknowledge",
    "cancel_lines",
    "ship",
    "refund",
    "return_refund",
    "mcs_return_create",
    "mcs_return_cancel",
    "webhook_create",
    "webhook_update",
    "webhook_delete",
    "webhook_test",
];

/// All order calls, in order of arrival.
#[derive(Debug, Default)]
pub(crate) struct History {
    calls: Vec<CallRecord>,
    /// The id of every call in the journal.
    ids: Vec<u64>,
    left_out: u64,
}

impl History {
    /// Appends a call. `id` is its id in the journal.
    pub(crate) fn record(&mut self, id: u64, received: &ReceivedRequest, outcome: &RequestOutcome) {
        if !OPERATIONS.contains(&received.operation) {
            return;
        }
        if self.calls.len() == MAX_LINES {
            self.left_out += 1;
            return;
        }
        self.ids.push(id);
        self.calls.push(CallRecord {
            time: received.time,
            operation: received.operation,
            account: outcome.account.clone(),
            order_number: received.order_number.clone(),
            correlation_id: received.correlation_id.clone(),
            effect: outcome.effect,
            status: outcome.status,
        });
    }

    /// All calls kept, oldest first.
    pub(crate) fn calls(&self) -> &[CallRecord] {
        &self.calls
    }

    /// The lines that match, oldest first.
    pub(crate) fn show(&self, filter: &RequestFilter) -> Value {
        let calls: Vec<Value> = self
            .ids
            .iter()
            .zip(&self.calls)
            .filter(|(_, call)| filter.matches(call.operation, &call.order_number, &call.correlation_id))
            .map(|(id, call)| {
                json!({"id": id, "time": call.time.to_string(), "operation": call.operation,
                    "account": call.account, "order_number": call.order_number, "correlation_id": call.correlation_id,
                    "effect": call.effect.name(), "status": call.status})
            })
            .collect();
        json!({"left_out": self.left_out, "calls": calls})
    }
}
