//! Circuit breaker: stops calls of an operation and account while Walmart keeps failing, and probes from time to
//! time.
//!
//! The breaker counts calls, not attempts, and therefore sits outside `retry`. Only Walmart's faults are failures:
//! 5xx, an attempt timeout, a broken connection or no connection. A refusal (4xx) proves Walmart alive. A call
//! abandoned by the caller counts as neither.
//!
//! A look-up of the ledger passes an open circuit as the probe, because unknown outcomes must not wait for a caller.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::Either;
use prometheus_client::metrics::gauge::Gauge;
use tokio::time::Instant;
use tower::{Layer, Service};

use crate::domain::account::AccountIndex;
use crate::domain::account_table::AccountTable;
use crate::domain::operation::Operation;
use crate::planted_bug::{PlantedBug, is_planted};
use crate::ports::call::CallPurpose;
use crate::telemetry::metrics::{CircuitState, Metrics};
use crate::upstream::accounts::UpstreamAccounts;
use crate::upstream::attempt_futures::{AttemptObserver, ObservedAttempt, OrRefused, refused};
use crate::upstream::call::{AttemptRequest, AttemptResponse, AttemptService};
use crate::upstream::failure::{AttemptFailure, LostAnswer, NotSent};
use crate::upstream::wording::is_outage_in_disguise;

const IN_A_ROW: usize = 5;
const WINDOW: usize = 20;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The circuit of an operation and account. Time is passed in.
#[derive(Debug)]
pub struct Circuit {
    /// The latest calls, newest last; true is a failure.
    recent: VecDeque<bool>,
    state: BreakerState,
    pause: Duration,
    /// Incremented with every change of state. A call counts only for the state by which the call was admitted: a
    /// call started before the circuit opened is not a probe.
    generation: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum BreakerState {
    Closed,
    Open {
        until: Instant,
    },
    /// A probe is in flight.
    HalfOpen,
}

impl Default for Circuit {
    fn default() -> Self {
        Self { recent: VecDeque::with_capacity(WINDOW), state: BreakerState::Closed, pause: FIRST_PAUSE, generation: 0 }
    }
}

impl Circuit {
    /// Admits a call at `now` and returns the generation to record the result for. Fails with the remaining time
    /// while the circuit is open. A look-up is always admitted, as a probe unless the circuit is closed.
    pub fn admit(&mut self, purpose: CallPurpose, now: Instant) -> Result<u64, Duration> {
        let lookup = purpose == CallPurpose::Lookup;
        match self.state {
            BreakerState::Closed => Ok(self.generation),
            BreakerState::Open { until } if lookup || now >= until => {
                self.turn(BreakerState::HalfOpen);
                Ok(self.generation)
            }
            BreakerState::HalfOpen if lookup => Ok(self.generation),
            BreakerState::Open { until } => Err(until - now),
            BreakerState::HalfOpen => Err(FIRST_PAUSE),
        }
    }

    /// Records the result of a call admitted in `generation`.
    pub fn record(&mut self, generation: u64, outcome: CallOutcome, now: impl FnOnce() -> Instant) {
        if generation != self.generation {
            return;
        }
        match (self.state, outcome) {
            (BreakerState::HalfOpen, CallOutcome::Success) => {
                self.pause = FIRST_PAUSE;
                self.turn(BreakerState::Closed);
            }
            (BreakerState::HalfOpen, CallOutcome::Failure) => {
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                self.turn(BreakerState::Open { until: now() + self.pause });
            }
            // The probe was inconclusive: the next call becomes the probe.
            (BreakerState::HalfOpen, CallOutcome::Neither) => self.turn(BreakerState::Open { until: now() }),
            (BreakerState::Closed, CallOutcome::Neither) => {}
            (BreakerState::Closed, _) => {
                if self.recent.len() == WINDOW {
                    self.recent.pop_front();
                }
                self.recent.push_back(outcome == CallOutcome::Failure);
                // A success completing the window does not open the circuit, even if half of the window failed.
                if outcome == CallOutcome::Failure && self.is_failing() {
                    self.recent.clear();
                    self.turn(BreakerState::Open { until: now() + self.pause });
                }
            }
            // No call is admitted while the circuit is open, so no result can arrive for this generation.
            (BreakerState::Open { .. }, _) => {}
        }
    }

    fn turn(&mut self, state: BreakerState) {
        self.state = state;
        self.generation += 1;
    }

    fn is_failing(&self) -> bool {
        let in_a_row = self.recent.iter().rev().take_while(|failed| **failed).count();
        let failed = self.recent.iter().filter(|failed| **failed).count();
        in_a_row >= IN_A_ROW || (self.recent.len() == WINDOW && failed * 2 >= WINDOW)
    }

    /// The state for the overview, with the end of the pause if open.
    pub fn state(&self) -> (CircuitState, Option<Instant>) {
        match self.state {
            BreakerState::Closed => (CircuitState::Closed, None),
            BreakerState::Open { until } => (CircuitState::Open, Some(until)),
            BreakerState::HalfOpen => (CircuitState::HalfOpen, None),
        }
    }
}

/// The result of a call from the circuit's point of view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    /// Walmart answered, possibly with a refusal.
    Success,
    /// Walmart did not answer, or answered with a server error.
    Failure,
    /// Nothing was sent, the caller gave up, or the answer does not show whether Walmart works.
    Neither,
}

impl CallOutcome {
    fn of(result: &Result<AttemptResponse, AttemptFailure>) -> Self {
        let failure = match result {
            Ok(_) => return Self::Success,
            Err(failure) => failure,
        };
        match failure {
            AttemptFailure::Lost(LostAnswer::Deadline) if is_planted(PlantedBug::ImpatienceOpensCircuit) => {
                Self::Failure
            }
            AttemptFailure::Lost(LostAnswer::TimedOut | LostAnswer::Interrupted)
            | AttemptFailure::NotSent(NotSent::Connect)
            | AttemptFailure::Unreadable { cut: true, .. } => Self::Failure,
            // The caller gave up, nothing was sent, or an unknown program wrote the answer.
            AttemptFailure::Lost(LostAnswer::Deadline)
            | AttemptFailure::NotSent(_)
            | AttemptFailure::Unreadable { cut: false, .. } => Self::Neither,
            _ if failure.is_throttled() => Self::Neither,
            AttemptFailure::Refused { status: 401 | 403, .. } => Self::Neither,
            AttemptFailure::Refused { status: 500.., .. } => Self::Failure,
            // Walmart's outages also come as a generic 4xx.
            AttemptFailure::Refused { body, .. } if body.errors.iter().any(is_outage_in_disguise) => Self::Failure,
            AttemptFailure::Refused { .. } => Self::Success,
        }
    }
}

/// The circuits of all accounts, with gauges. Cheap to clone.
#[derive(Clone)]
pub struct AccountCircuits(Arc<CircuitTable>);

struct CircuitTable {
    accounts: UpstreamAccounts,
    metrics: Arc<Metrics>,
    rows: AccountTable<[CircuitCell; Operation::ALL.len()]>,
}

struct CircuitCell {
    circuit: Mutex<Circuit>,
    gauge: Gauge,
}

impl AccountCircuits {
    /// Creates a closed circuit for each account and operation.
    pub fn new(accounts: &UpstreamAccounts, metrics: &Arc<Metrics>) -> Self {
        let table =
            CircuitTable { accounts: accounts.clone(), metrics: metrics.clone(), rows: AccountTable::default() };
        let circuits = Self(Arc::new(table));
        (0..accounts.len()).map(AccountIndex).for_each(|account| circuits.begin(account));
        circuits
    }

    /// Makes the circuits of an account, whose gauges are shown from now on.
    pub(crate) fn begin(&self, account: AccountIndex) {
        self.0.row(account);
    }

    /// The state of a circuit for the overview.
    pub fn state(&self, account: AccountIndex, operation: Operation) -> (CircuitState, Option<Instant>) {
        self.with(account, operation, |circuit| circuit.state())
    }

    fn with<T>(&self, account: AccountIndex, operation: Operation, use_it: impl FnOnce(&mut Circuit) -> T) -> T {
        let guarded = &self.0.row(account)[operation.index()];
        // A poisoned lock is safe to use: no circuit is left half changed.
        let mut circuit = guarded.circuit.lock().unwrap_or_else(PoisonError::into_inner);
        let before = circuit.state;
        let result = use_it(&mut circuit);
        if circuit.state != before {
            guarded.gauge.set(circuit.state().0 as i64);
        }
        result
    }
}

impl CircuitTable {
    fn row(&self, account: AccountIndex) -> &[CircuitCell; Operation::ALL.len()] {
        self.rows.row(account, || {
            let id = &self.accounts.get(account).id;
            Operation::ALL.map(|operation| CircuitCell {
                circuit: Mutex::default(),
                gauge: self.metrics.upstream.circuit(id, operation),
            })
        })
    }
}

#[derive(Clone)]
pub(crate) struct CircuitLayer(AccountCircuits);

impl CircuitLayer {
    /// Guards calls by `circuits`.
    pub(crate) fn new(circuits: AccountCircuits) -> Self {
        Self(circuits)
    }
}

impl<S> Layer<S> for CircuitLayer {
    type Service = CircuitBreaker<S>;

    fn layer(&self, inner: S) -> CircuitBreaker<S> {
        CircuitBreaker { inner, circuits: self.0.clone() }
    }
}

#[derive(Clone)]
pub(crate) struct CircuitBreaker<S> {
    inner: S,
    circuits: AccountCircuits,
}

impl<S: AttemptService> Service<AttemptRequest> for CircuitBreaker<S> {
    type Response = S::Response;
    type Error = AttemptFailure;
    type Future = OrRefused<ObservedAttempt<S::Future, CircuitPermit>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AttemptFailure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, outbound: AttemptRequest) -> Self::Future {
        let (circuits, account, operation) = (self.circuits.clone(), outbound.call.account, outbound.call.operation);
        let purpose = outbound.call.context.purpose;
        let admitted = circuits.with(account, operation, |circuit| circuit.admit(purpose, outbound.at));
        let generation = match admitted {
            Ok(generation) => generation,
            Err(wait) => return refused(NotSent::CircuitOpen(wait)),
        };
        tracing::trace!(layer = "circuit", "admitted");
        let admitted = CircuitPermit { circuits, account, operation, generation, outcome: CallOutcome::Neither };
        Either::Left(ObservedAttempt::new(self.inner.call(outbound), admitted))
    }
}

/// The right to make a call. Records the result when dropped, so that an abandoned probe does not keep the circuit
/// half open forever.
pub struct CircuitPermit {
    circuits: AccountCircuits,
    account: AccountIndex,
    operation: Operation,
    generation: u64,
    outcome: CallOutcome,
}

impl AttemptObserver for CircuitPermit {
    fn ended(mut self, result: &Result<AttemptResponse, AttemptFailure>) {
        self.outcome = CallOutcome::of(result);
    }
}

impl Drop for CircuitPermit {
    fn drop(&mut self) {
        self.circuits.with(self.account, self.operation, |circuit| {
            circuit.record(self.generation, self.outcome, Instant::now);
        });
    }
}

#[cfg(test)]
#[path = "circuit_tests.rs"]
mod tests;
