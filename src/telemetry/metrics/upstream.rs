//! Metrics of the outbound edge.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tokio::time::Instant;

use super::levels::{BucketLevel, LevelCollector};
use super::{BUCKETS, Durations, durations, observe};
use crate::domain::account::AccountId;
use crate::domain::operation::Operation;
use crate::telemetry::semconv;
use crate::telemetry::trace::TraceContext;

/// Attempts, retries, limits, tokens, circuits, the promise cache.
pub struct UpstreamMetrics {
    attempts: AttemptMetrics,
    circuits: Family<CircuitLabels, Gauge>,
    token_refreshes: [Counter; TokenOutcome::ALL.len()],
    levels: Arc<LevelCollector>,

    /// Repeats that were sent.
    pub retries_tried: ByOperation<Counter>,
    /// Calls that succeeded after at least one repeat.
    pub retries_succeeded: ByOperation<Counter>,
    /// Calls that still failed at `max_attempts`.
    pub retries_out_of_attempts: ByOperation<Counter>,
    /// Repeats not sent because the retry budget was empty.
    pub retries_out_of_budget: ByOperation<Counter>,
    /// How long attempts waited for the rate limit, in seconds; attempts that need not wait are not counted.
    pub rate_limit_waits: ByOperation<Histogram>,
    /// Calls refused because waiting for the rate limit would have passed their deadline.
    pub rate_limit_refusals: ByOperation<Counter>,
    /// Promises answered from the cache.
    pub promise_cache_hits: Counter,
    /// Promises that were asked of Walmart.
    pub promise_cache_misses: Counter,
    /// Promises that joined an identical call in flight.
    pub promise_cache_coalesced: Counter,
}

impl UpstreamMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let attempts = Family::<AttemptLabels, Durations, _>::new_with_constructor(durations as fn() -> Durations);
        r.register_with_unit(
            semconv::flat(semconv::HTTP_CLIENT_REQUEST_DURATION),
            "Duration of attempts upstream, on the wire",
            Unit::Seconds,
            attempts.clone(),
        );
        let retries_tried = counters(r, "retries_tried", "Repeats sent upstream");
        let retries_succeeded = counters(r, "retries_succeeded", "Calls that succeeded after a repeat");
        let retries_out_of_attempts =
            counters(r, "retries_out_of_attempts", "Calls that still failed at walmart.retry.max_attempts");
        let retries_out_of_budget =
            counters(r, "retries_out_of_budget", "Repeats not sent because the retry budget was empty");
        let refusals = "Calls refused because waiting for the rate limit would have passed their deadline";
        let rate_limit_refusals = counters(r, "rate_limit_refusals", refusals);

        let waits = Family::<OperationLabels, Histogram, _>::new_with_constructor(
            (|| Histogram::new(BUCKETS)) as fn() -> Histogram,
        );
        let help = "How long attempts waited for the rate limit";
        r.register_with_unit("order_gateway_rate_limit_wait", help, Unit::Seconds, waits.clone());

        let token_refreshes = Family::<TokenLabels, Counter>::default();
        r.register("order_gateway_token_refreshes", "Access tokens asked for", token_refreshes.clone());
        let circuits = Family::<CircuitLabels, Gauge>::default();
        let help = "Circuit of an account and operation: 0 closed, 1 half open, 2 open";
        r.register("order_gateway_circuit_state", help, circuits.clone());

        let levels = Arc::<LevelCollector>::default();
        r.register_collector(Box::new(levels.clone()));

        let mut counter = |name: &str, help: &str| {
            let counter = Counter::default();
            r.register(format!("order_gateway_promise_cache_{name}"), help, counter.clone());
            counter
        };
        Self {
            attempts: AttemptMetrics { server: OnceLock::new(), family: attempts, handles: Default::default() },
            circuits,
            token_refreshes: TokenOutcome::ALL
                .map(|outcome| token_refreshes.get_or_create_owned(&TokenLabels { outcome: outcome.name() })),
            levels,
            retries_tried,
            retries_succeeded,
            retries_out_of_attempts,
            retries_out_of_budget,
            rate_limit_waits: ByOperation::new(|operation| waits.get_or_create_owned(&OperationLabels { operation })),
            rate_limit_refusals,
            promise_cache_hits: counter("hits", "Promises answered from the cache"),
            promise_cache_misses: counter("misses", "Promises asked of Walmart"),
            promise_cache_coalesced: counter("coalesced", "Promises that joined an identical call in flight"),
        }
    }

    /// Where Walmart is, for the labels of attempts; the first one stands.
    pub fn set_server(&self, address: &str, port: u16) {
        self.attempts.server.get_or_init(|| (address.to_owned(), port.to_string()));
    }

    /// An attempt ended; `operation` is `None` for the token call. `took` is the time on the wire. `method` is always the
    /// same for an operation.
    pub fn attempt(
        &self,
        operation: Option<Operation>,
        method: &'static str,
        outcome: AttemptOutcome,
        took: Duration,
        trace: &TraceContext,
    ) {
        let row = operation.map_or(Operation::ALL.len(), Operation::index);
        let durations = self.attempts.handles[row][outcome as usize].get_or_init(|| {
            let operation = operation.map_or("token", Operation::name);
            let (server_address, server_port) = self.attempts.server.get().cloned().unwrap_or_default();
            let labels = AttemptLabels {
                operation,
                outcome: outcome.name(),
                http_request_method: method,
                server_address,
                server_port,
            };
            self.attempts.family.get_or_create_owned(&labels)
        });
        observe(durations, took, trace);
    }

    /// The gauge of one circuit, to be kept by it. See [`CircuitState`].
    pub fn circuit(&self, account: &AccountId, operation: Operation) -> Gauge {
        let labels = CircuitLabels { account: account.as_str().to_owned(), operation: operation.name() };
        self.circuits.get_or_create_owned(&labels)
    }

    /// Where the levels of all buckets can be seen; the first one stands.
    pub fn watch_buckets(&self, look: impl Fn() -> Vec<BucketLevel> + Send + Sync + 'static) {
        self.levels.watch_buckets(Box::new(look));
    }

    /// An access token came.
    pub fn token_came(&self, account: &AccountId, at: Instant) {
        self.levels.token_came(account, at);
    }

    /// An access token was asked for.
    pub fn token_refresh(&self, outcome: TokenOutcome) {
        self.token_refreshes[outcome as usize].inc();
    }
}

fn counters(r: &mut Registry, name: &str, help: &str) -> ByOperation<Counter> {
    let family = Family::<OperationLabels, Counter>::default();
    r.register(format!("order_gateway_{name}"), help, family.clone());
    ByOperation::new(|operation| family.get_or_create_owned(&OperationLabels { operation }))
}

/// One metric for each operation.
pub struct ByOperation<M>([M; Operation::ALL.len()]);

impl<M> ByOperation<M> {
    fn new(make: impl Fn(&'static str) -> M) -> Self {
        Self(Operation::ALL.map(|operation| make(operation.name())))
    }

    /// The metric of this operation.
    pub fn of(&self, operation: Operation) -> &M {
        &self.0[operation.index()]
    }
}

struct AttemptMetrics {
    /// Host and port.
    server: OnceLock<(String, String)>,
    family: Family<AttemptLabels, Durations, fn() -> Durations>,
    /// One row for each operation and one for the token call.
    handles: [[OnceLock<Durations>; AttemptOutcome::ALL.len()]; Operation::ALL.len() + 1],
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttemptOutcome {
    /// 2xx, readable.
    Success,
    /// 4xx other than the two below.
    Rejected,
    /// 401 or 403.
    Unauthorized,
    /// 429.
    RateLimited,
    /// 5xx.
    ServerError,
    /// No connection; nothing was sent.
    NotSent,
    /// It broke after something was sent.
    Interrupted,
    /// No answer in time.
    TimedOut,
    /// An answer that cannot be read.
    Unreadable,
    /// Given up by our side: the caller left.
    Cancelled,
}

impl AttemptOutcome {
    const ALL: [Self; 10] = [
        Self::Success,
        Self::Rejected,
        Self::Unauthorized,
        Self::RateLimited,
        Self::ServerError,
        Self::NotSent,
        Self::Interrupted,
        Self::TimedOut,
        Self::Unreadable,
        Self::Cancelled,
    ];

    /// As the label says it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Rejected => "rejected",
            Self::Unauthorized => "unauthorized",
            Self::RateLimited => "rate_limited",
            Self::ServerError => "server_error",
            Self::NotSent => "not_sent",
            Self::Interrupted => "interrupted",
            Self::TimedOut => "timed_out",
            Self::Unreadable => "unreadable",
            Self::Cancelled => "cancelled",
        }
    }
}

/// How asking for an access token ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenOutcome {
    /// A token came.
    Success,
    /// Walmart refused the credentials.
    Refused,
    /// No usable answer.
    Failed,
}

impl TokenOutcome {
    const ALL: [Self; 3] = [Self::Success, Self::Refused, Self::Failed];

    const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// Values of `order_gateway_circuit_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CircuitState {
    /// Calls pass.
    Closed = 0,
    /// One call is let through to see.
    HalfOpen = 1,
    /// Calls fail at once.
    Open = 2,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabels {
    operation: &'static str,
    outcome: &'static str,
    http_request_method: &'static str,
    server_address: String,
    server_port: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CircuitLabels {
    account: String,
    operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenLabels {
    outcome: &'static str,
}
