//! The history: one short line for every order call that was ever received, in order, for tests that run longer than the
//! journal remembers. It has no headers and no bodies, so a million lines fit where ten thousand requests do not.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::calls::Effect;
use super::requests::{Filter, Outcome, Received};

/// Lines kept at most. Those that come later are counted, not kept: a history with a gap at its end is told from a whole
/// one.
const MAX_LINES: usize = 1_000_000;
/// Calls about an order; promises and tokens are none.
const OPERATIONS: [&str; 3] = ["create", "cancel", "status"];

/// Everything that happened to orders.
#[derive(Debug, Default)]
pub(crate) struct History {
    lines: Vec<Line>,
    left_out: u64,
}

#[derive(Debug)]
struct Line {
    id: u64,
    time: Timestamp,
    operation: &'static str,
    account: Option<String>,
    order_number: String,
    correlation_id: String,
    effect: Effect,
    /// None: the connection was dropped.
    status: Option<u16>,
}

impl History {
    /// `id` is the request's in the journal.
    pub(crate) fn record(&mut self, id: u64, received: &Received, outcome: &Outcome) {
        if !OPERATIONS.contains(&received.operation) {
            return;
        }
        if self.lines.len() == MAX_LINES {
            self.left_out += 1;
            return;
        }
        self.lines.push(Line {
            id,
            time: received.time,
            operation: received.operation,
            account: outcome.account.clone(),
            order_number: received.order_number.clone(),
            correlation_id: received.correlation_id.clone(),
            effect: outcome.effect,
            status: outcome.status,
        });
    }

    /// The lines that match, oldest first.
    pub(crate) fn show(&self, filter: &Filter) -> Value {
        let calls: Vec<Value> = self
            .lines
            .iter()
            .filter(|line| filter.matches(line.operation, &line.order_number, &line.correlation_id))
            .map(|line| {
                json!({"id": line.id, "time": line.time.to_string(), "operation": line.operation,
                    "account": line.account, "order_number": line.order_number, "correlation_id": line.correlation_id,
                    "effect": line.effect.name(), "status": line.status})
            })
            .collect();
        json!({"left_out": self.left_out, "calls": calls})
    }
}
