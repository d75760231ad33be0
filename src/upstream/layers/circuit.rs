//! Stops calling an operation of an account that keeps failing, and looks from time to time whether it works again.
//!
//! Counts calls, not attempts, so it stands outside `retry`. Refusals by Walmart (4xx, 429) are signs of life, not failures.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::Either;
use prometheus_client::metrics::gauge::Gauge;
use tokio::time::Instant;
use tower::{Layer, Service};

use super::passing::{OrRefused, Watch, Watched, refused};
use crate::domain::account::AccountIndex;
use crate::domain::operation::Operation;
use crate::ports::upstream::ErrorKind;
use crate::telemetry::metrics::{CircuitState, Metrics};
use crate::upstream::accounts::Accounts;
use crate::upstream::call::{Answered, Next, Outbound};
use crate::upstream::classify::classify;
use crate::upstream::exchange::Exchange;
use crate::upstream::failure::{Failure, NotSent};

const IN_A_ROW: usize = 5;
const WINDOW: usize = 20;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// The circuit of one operation of one account. Time is passed in.
#[derive(Debug)]
pub struct Circuit {
    /// The last calls, newest at the end; true is a failure.
    recent: VecDeque<bool>,
    state: State,
    pause: Duration,
    /// Grows with every change of state. A call speaks for the state that admitted it, not for a later one: one begun
    /// before the circuit opened is no probe.
    generation: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Closed,
    Open {
        until: Instant,
    },
    /// A probe is under way.
    HalfOpen,
}

impl Default for Circuit {
    fn default() -> Self {
        Self { recent: VecDeque::with_capacity(WINDOW), state: State::Closed, pause: FIRST_PAUSE, generation: 0 }
    }
}

impl Circuit {
    /// Whether a call may pass at `now`, and the generation that it speaks for; if not, how long the circuit stays open yet.
    pub fn admit(&mut self, now: Instant) -> Result<u64, Duration> {
        match self.state {
            State::Closed => Ok(self.generation),
            State::Open { until } if now >= until => {
                self.turn(State::HalfOpen);
                Ok(self.generation)
            }
            State::Open { until } => Err(until - now),
            State::HalfOpen => Err(FIRST_PAUSE),
        }
    }

    /// A call that was admitted in this generation has ended.
    pub fn record(&mut self, generation: u64, outcome: Outcome, now: impl FnOnce() -> Instant) {
        if generation != self.generation {
            return;
        }
        match (self.state, outcome) {
            (State::HalfOpen, Outcome::Success) => {
                self.pause = FIRST_PAUSE;
                self.turn(State::Closed);
            }
            (State::HalfOpen, Outcome::Failure) => {
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                self.turn(State::Open { until: now() + self.pause });
            }
            // The probe told nothing: the next call is one.
            (State::HalfOpen, Outcome::Neither) => self.turn(State::Open { until: now() }),
            (State::Closed, Outcome::Neither) => {}
            (State::Closed, _) => {
                if self.recent.len() == WINDOW {
                    self.recent.pop_front();
                }
                self.recent.push_back(outcome == Outcome::Failure);
                if self.is_failing() {
                    self.recent.clear();
                    self.turn(State::Open { until: now() + self.pause });
                }
            }
            // Nobody is admitted while it is open.
            (State::Open { .. }, _) => {}
        }
    }

    fn turn(&mut self, state: State) {
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
            State::Closed => (CircuitState::Closed, None),
            State::Open { until } => (CircuitState::Open, Some(until)),
            State::HalfOpen => (CircuitState::HalfOpen, None),
        }
    }
}

/// How a call ended, for its circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Walmart answered, be it with a refusal.
    Success,
    /// It did not, or with an error of its own.
    Failure,
    /// It was not asked, or the call was given up by its caller.
    Neither,
}

impl Outcome {
    fn of<A>(operation: Operation, result: &Result<Answered<A>, Failure>) -> Self {
        let failure = match result {
            Ok(_) => return Self::Success,
            Err(failure) => failure,
        };
        // Silence is a failure, whoever's patience ended; a lock on the order (423) is a sign of life.
        match failure {
            Failure::Lost(_) => return Self::Failure,
            Failure::Refused { status: 423, .. } => return Self::Success,
            _ => {}
        }
        match classify(operation, failure).kind {
            ErrorKind::Unavailable => Self::Failure,
            ErrorKind::Rejected | ErrorKind::WrongState | ErrorKind::NotFound | ErrorKind::Duplicate => Self::Success,
            ErrorKind::CredentialsRefused
            | ErrorKind::RateLimited
            | ErrorKind::Overloaded
            | ErrorKind::CircuitOpen
            | ErrorKind::DeadlineExceeded => Self::Neither,
        }
    }
}

/// The circuits of all accounts, with their gauges. Cheap to clone.
#[derive(Clone)]
pub struct Circuits(Arc<[[Guarded; Operation::ALL.len()]]>);

struct Guarded {
    circuit: Mutex<Circuit>,
    gauge: Gauge,
}

impl Circuits {
    /// Closed ones.
    pub fn new(accounts: &Accounts, metrics: &Metrics) -> Self {
        let all = accounts.iter().map(|account| {
            Operation::ALL.map(|operation| Guarded {
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
pub struct CircuitLayer(Circuits);

impl CircuitLayer {
    /// Watches over these circuits.
    pub fn new(circuits: Circuits) -> Self {
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
    circuits: Circuits,
}

impl<X: Exchange, S: Next<X>> Service<Outbound<X>> for CircuitBreaker<S> {
    type Response = S::Response;
    type Error = Failure;
    type Future = OrRefused<Watched<S::Future, Admitted>, X>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, outbound: Outbound<X>) -> Self::Future {
        let (circuits, account) = (self.circuits.clone(), outbound.call.account);
        let admitted = circuits.with(account, X::OPERATION, |circuit| circuit.admit(outbound.at));
        let generation = match admitted {
            Ok(generation) => generation,
            Err(wait) => return refused(NotSent::CircuitOpen(wait)),
        };
        tracing::trace!(layer = "circuit", "admitted");
        let admitted = Admitted { circuits, account, operation: X::OPERATION, generation, outcome: Outcome::Neither };
        Either::Left(Watched::new(self.inner.call(outbound), admitted))
    }
}

/// A call that may pass. Records the outcome when dropped, so that a call which is given up does not hold the probe's place
/// for ever.
pub struct Admitted {
    circuits: Circuits,
    account: AccountIndex,
    operation: Operation,
    generation: u64,
    outcome: Outcome,
}

impl Watch for Admitted {
    fn ended<A>(mut self, result: &Result<Answered<A>, Failure>) {
        self.outcome = Outcome::of(self.operation, result);
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.circuits.with(self.account, self.operation, |circuit| {
            circuit.record(self.generation, self.outcome, Instant::now);
        });
    }
}

#[cfg(test)]
mod tests;
