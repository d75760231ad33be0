//! Implements the operators' overview of rate limits, circuits and tokens.

use tokio::time::Instant;

use super::StackResources;
use super::transport::HttpService;
use crate::domain::account::AccountIndex;
use crate::domain::operation::Operation;
use crate::ports::clock::Clock;
use crate::ports::overview::{CircuitView, OperationView, TokenFailure, TokenView, UpstreamOverview};
use crate::telemetry::metrics::CircuitState;

/// Reads the shared state of a stack.
pub(crate) struct StackOverview<H> {
    shared: StackResources<H>,
    clock: Clock,
}

impl<H> StackOverview<H> {
    /// Creates an overview; `clock` converts instants into times of day.
    pub(crate) fn new(shared: StackResources<H>, clock: Clock) -> Self {
        Self { shared, clock }
    }
}

impl<H: HttpService> UpstreamOverview for StackOverview<H> {
    fn token(&self, account: AccountIndex) -> TokenView {
        self.shared.tokens.view(account)
    }

    fn token_failure(&self, account: AccountIndex) -> Option<TokenFailure> {
        self.shared.tokens.failure(account)
    }

    fn operation(&self, account: AccountIndex, operation: Operation) -> OperationView {
        let bucket = self.shared.buckets.state(account, operation);
        let circuit = match self.shared.circuits.state(account, operation) {
            (CircuitState::Open, Some(until)) => CircuitView::Open(self.clock.at(until)),
            (CircuitState::HalfOpen, _) => CircuitView::HalfOpen,
            _ => CircuitView::Closed,
        };
        OperationView {
            limit_per_minute: bucket.per_minute,
            tokens: bucket.available,
            next_token: (bucket.next > Instant::now()).then(|| self.clock.at(bucket.next)),
            circuit,
        }
    }
}
