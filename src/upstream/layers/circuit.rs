//! Stops calling an operation of an account that keeps failing, and looks from time to time whether it works again.
//!
//! Counts calls, not attempts, so it stands outside `retry`. Only Walmart's faults are failures: 5xx, an attempt that took all
//! the time that an attempt may, a broken connection or none. Refusals (4xx) are signs of life, and a call that its caller
//! did not wait for says nothing.
//!
//! A look-up of the ledger passes an open circuit as its probe: a doubt must get its turn.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::Either;
use prometheus_client::metrics::gauge::Gauge;
use tokio::time::Instant;
use tower::{Layer, Service};

use super::attempt_futures::{AttemptObserver, ObservedAttempt, OrRefused, refused};
use crate::domain::account::AccountIndex;
use crate::domain::operation::Operation;
use crate::planted_bug::{PlantedBug, is_planted};
use crate::ports::call::CallPurpose;
use crate::telemetry::metrics::{CircuitState, Metrics};
use crate::upstream::accounts::UpstreamAccounts;
use crate::upstream::call::{AttemptRequest, AttemptResponse, AttemptService};
use crate::upstream::codec::OperationCodec;
use crate::upstream::failure::{AttemptFailure, LostAnswer, NotSent};
use crate::upstream::wording::is_outage_in_disguise;

const IN_A_ROW: usize = 5;
const WINDOW: usize = 20;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The circuit of one operation of one account. Time is passed in.
#[derive(Debug)]
pub struct Circuit {
    /// The last calls, newest at the end; true is a failure.
    recent: VecDeque<bool>,
    state: BreakerState,
    pause: Duration,
    /// Grows with every change of state. A call speaks for the state that admitted it, not for a later one: one begun
    /// before the circuit opened is no probe.
    generation: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum BreakerState {
    Closed,
    Open {
        until: Instant,
    },
    /// A probe is under way.
    HalfOpen,
}

impl Default for Circuit {
    fn default() -> Self {
        Self { recent: VecDeque::with_capacity(WINDOW), state: BreakerState::Closed, pause: FIRST_PAUSE, generation: 0 }
    }
}

impl Circuit {
    /// Whether a call may pass at `now`, and the generation that it speaks for; if not, how long the circuit stays open yet.
    /// A look-up always passes; while the circuit is not closed it is a probe.
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

    /// A call that was admitted in this generation has ended.
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
            // The probe told nothing: the next call is one.
            (BreakerState::HalfOpen, CallOutcome::Neither) => self.turn(BreakerState::Open { until: now() }),
            (BreakerState::Closed, CallOutcome::Neither) => {}
            (BreakerState::Closed, _) => {
                if self.recent.len() == WINDOW {
                    self.recent.pop_front();
                }
                self.recent.push_back(outcome == CallOutcome::Failure);
                // A success that fills the window is no reason to stop, whatever failed before it.
                if outcome == CallOutcome::Failure && self.is_failing() {
                    self.recent.clear();
                    self.turn(BreakerState::Open { until: now() + self.pause });
                }
            }
            // Nobody is admitted while it is open.
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

    /// What to show of it.
    pub fn state(&self) -> (CircuitState, Option<Instant>) {
        match self.state {
            BreakerState::Closed => (CircuitState::Closed, None),
            BreakerState::Open { until } => (CircuitState::Open, Some(until)),
            BreakerState::HalfOpen => (CircuitState::HalfOpen, None),
        }
    }
}

/// How a call ended, for its circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    /// Walmart answered, be it with a refusal.
    Success,
    /// It did not, or with an error of its own.
    Failure,
    /// It was not asked, the call was given up by its caller, or the answer says nothing of Walmart's health.
    Neither,
}

impl CallOutcome {
    fn of<A>(result: &Result<AttemptResponse<A>, AttemptFailure>) -> Self {
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
            // The caller's time was over, or nothing was asked, or nobody knows who wrote the answer.
            AttemptFailure::Lost(LostAnswer::Deadline)
            | AttemptFailure::NotSent(_)
            | AttemptFailure::Unreadable { cut: false, .. } => Self::Neither,
            _ if failure.is_throttled() => Self::Neither,
            AttemptFailure::Refused { status: 401 | 403, .. } => Self::Neither,
            AttemptFailure::Refused { status: 500.., .. } => Self::Failure,
            // A 5xx in disguise.
            AttemptFailure::Refused { body, .. } if body.errors.iter().any(is_outage_in_disguise) => Self::Failure,
            AttemptFailure::Refused { .. } => Self::Success,
        }
    }
}

/// The circuits of all accounts, with their gauges. Cheap to clone.
#[derive(Clone)]
pub struct AccountCircuits(Arc<[[CircuitCell; Operation::ALL.len()]]>);

struct CircuitCell {
    circuit: Mutex<Circuit>,
    gauge: Gauge,
}

impl AccountCircuits {
    /// Closed ones.
    pub fn new(accounts: &UpstreamAccounts, metrics: &Metrics) -> Self {
        let all = accounts.iter().map(|account| {
            Operation::ALL.map(|operation| CircuitCell {
                circuit: Mutex::default(),
                gauge: metrics.upstream.circuit(&account.id, operation),
            })
        });
        Self(all.collect())
    }

    /// What to show of one.
    pub fn state(&self, account: AccountIndex, operation: Operation) -> (CircuitState, Option<Instant>) {
        self.with(account, operation, |circuit| circuit.state())
    }

    fn with<T>(&self, account: AccountIndex, operation: Operation, use_it: impl FnOnce(&mut Circuit) -> T) -> T {
        let guarded = &self.0[account.0][operation.index()];
        // A circuit is never left half changed.
        let mut circuit = guarded.circuit.lock().unwrap_or_else(PoisonError::into_inner);
        let before = circuit.state;
        let result = use_it(&mut circuit);
        if circuit.state != before {
            guarded.gauge.set(circuit.state().0 as i64);
        }
        result
    }
}

/// See the module.
#[derive(Clone)]
pub struct CircuitLayer(AccountCircuits);

impl CircuitLayer {
    /// Watches over these circuits.
    pub fn new(circuits: AccountCircuits) -> Self {
        Self(circuits)
    }
}

impl<S> Layer<S> for CircuitLayer {
    type Service = CircuitBreaker<S>;

    fn layer(&self, inner: S) -> CircuitBreaker<S> {
        CircuitBreaker { inner, circuits: self.0.clone() }
    }
}

/// See the module.
#[derive(Clone)]
pub struct CircuitBreaker<S> {
    inner: S,
    circuits: AccountCircuits,
}

impl<X: OperationCodec, S: AttemptService<X>> Service<AttemptRequest<X>> for CircuitBreaker<S> {
    type Response = S::Response;
    type Error = AttemptFailure;
    type Future = OrRefused<ObservedAttempt<S::Future, CircuitPermit>, X>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AttemptFailure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, outbound: AttemptRequest<X>) -> Self::Future {
        let (circuits, account) = (self.circuits.clone(), outbound.call.account);
        let purpose = outbound.call.context.purpose;
        let admitted = circuits.with(account, X::OPERATION, |circuit| circuit.admit(purpose, outbound.at));
        let generation = match admitted {
            Ok(generation) => generation,
            Err(wait) => return refused(NotSent::CircuitOpen(wait)),
        };
        tracing::trace!(layer = "circuit", "admitted");
        let admitted =
            CircuitPermit { circuits, account, operation: X::OPERATION, generation, outcome: CallOutcome::Neither };
        Either::Left(ObservedAttempt::new(self.inner.call(outbound), admitted))
    }
}

/// A call that may pass. Records the outcome when dropped, so that a call which is given up does not hold the probe's place
/// for ever.
pub struct CircuitPermit {
    circuits: AccountCircuits,
    account: AccountIndex,
    operation: Operation,
    generation: u64,
    outcome: CallOutcome,
}

impl AttemptObserver for CircuitPermit {
    fn ended<A>(mut self, result: &Result<AttemptResponse<A>, AttemptFailure>) {
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
mod tests;
