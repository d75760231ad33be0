//! Metrics of the outbound edge.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabel as _, EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use tokio::time::Instant;

use super::levels::{BucketLevel, LevelCollector};
use super::unmapped::UnmappedMetrics;
use super::{Durations, SECONDS, durations, observe};
use crate::domain::account::AccountId;
use crate::domain::operation::Operation;
use crate::telemetry::semconv;
use crate::telemetry::trace::TraceContext;

/// Attempts, retries, rate limits, access tokens, circuits and the promise cache.
pub struct UpstreamMetrics {
    attempts: AttemptMetrics,
    circuits: Family<CircuitLabels, Gauge>,
    token_refreshes: [Counter; TokenOutcome::ALL.len()],
    levels: Arc<LevelCollector>,

    /// Repeats sent after a failed attempt.
    pub retries_tried: ByOperation<Counter>,
    /// Calls which succeeded after at least one repeat.
    pub retries_succeeded: ByOperation<Counter>,
    /// Calls which still failed at `max_attempts`.
    pub retries_out_of_attempts: ByOperation<Counter>,
    /// Repeats not sent because the retry budget was empty.
    pub retries_out_of_budget: ByOperation<Counter>,
    /// Time spent waiting for the rate limit, in seconds; attempts without a wait are not counted.
    pub rate_limit_waits: ByOperation<Histogram>,
    /// Calls refused because the wait for the rate limit would have passed the deadline.
    pub rate_limit_refusals: ByOperation<Counter>,
    /// Answers with fields that the messages do not have.
    pub unmapped: UnmappedMetrics,
    /// Promises answered from the cache.
    pub promise_cache_hits: Counter,
    /// Promises fetched from Walmart.
    pub promise_cache_misses: Counter,
    /// Promises which joined an identical call in flight.
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
            (|| Histogram::new(SECONDS)) as fn() -> Histogram,
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

        let unmapped = UnmappedMetrics::register(r);
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
            unmapped,
            promise_cache_hits: counter("hits", "Promises answered from the cache"),
            promise_cache_misses: counter("misses", "Promises asked of Walmart"),
            promise_cache_coalesced: counter("coalesced", "Promises that joined an identical call in flight"),
        }
    }

    /// Sets the server labels of attempts. Only the first call has an effect.
    pub fn set_server(&self, address: &str, port: u16) {
        self.attempts.server.get_or_init(|| (address.to_owned(), port.to_string()));
    }

    /// Records a finished attempt. `operation` is `None` for the token call, `status` where no answer came. `took` is the
    /// time on the wire. `method` must not vary for an operation.
    pub fn attempt(
        &self,
        operation: Option<Operation>,
        method: &'static str,
        outcome: AttemptOutcome,
        status: Option<u16>,
        took: Duration,
        trace: &TraceContext,
    ) {
        let row = operation.map_or(Operation::ALL.len(), Operation::index);
        let find = || {
            let operation = operation.map_or("token", Operation::name);
            let server = self.attempts.server.get().cloned().unwrap_or_default();
            self.attempts.family.get_or_create_owned(&AttemptLabels { operation, outcome, method, server, status })
        };
        let (usual, durations) = self.attempts.handles[row][outcome as usize].get_or_init(|| (status, find()));
        match *usual == status {
            true => observe(durations, took, trace),
            false => observe(&find(), took, trace),
        }
    }

    /// The gauge of a circuit, set to a [`CircuitState`] by the circuit.
    pub fn circuit(&self, account: &AccountId, operation: Operation) -> Gauge {
        let labels = CircuitLabels { account: account.as_str().to_owned(), operation: operation.name() };
        self.circuits.get_or_create_owned(&labels)
    }

    /// Sets the source of bucket levels. Only the first call has an effect.
    pub fn watch_buckets(&self, look: impl Fn() -> Vec<BucketLevel> + Send + Sync + 'static) {
        self.levels.watch_buckets(Box::new(look));
    }

    /// Records the arrival of an access token.
    pub fn token_came(&self, account: &AccountId, at: Instant) {
        self.levels.token_came(account, at);
    }

    /// Counts a request for an access token.
    pub fn token_refresh(&self, outcome: TokenOutcome) {
        self.token_refreshes[outcome as usize].inc();
    }
}

fn counters(r: &mut Registry, name: &str, help: &str) -> ByOperation<Counter> {
    let family = Family::<OperationLabels, Counter>::default();
    r.register(format!("order_gateway_{name}"), help, family.clone());
    ByOperation::new(|operation| family.get_or_create_owned(&OperationLabels { operation }))
}

/// A metric for each operation.
pub struct ByOperation<M>([M; Operation::ALL.len()]);

impl<M> ByOperation<M> {
    fn new(make: impl Fn(&'static str) -> M) -> Self {
        Self(Operation::ALL.map(|operation| make(operation.name())))
    }

    /// The metric of an operation.
    pub fn of(&self, operation: Operation) -> &M {
        &self.0[operation.index()]
    }
}

/// The metric of the status that an outcome nearly always has, after its first attempt.
type UsualAttempt = OnceLock<(Option<u16>, Durations)>;

struct AttemptMetrics {
    /// Host and port of Walmart.
    server: OnceLock<(String, String)>,
    family: Family<AttemptLabels, Durations, fn() -> Durations>,
    /// A row for each operation, and a row for the token call. Attempts with another status look for their metric in the
    /// family.
    handles: [[UsualAttempt; AttemptOutcome::ALL.len()]; Operation::ALL.len() + 1],
}

/// The outcome of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttemptOutcome {
    /// A 2xx with a readable body.
    Success,
    /// 4xx other than 401, 403 and 429.
    Rejected,
    /// 401 or 403: token or credentials rejected.
    Unauthorized,
    /// 429 or another throttled answer.
    RateLimited,
    /// 5xx: a failure at Walmart.
    ServerError,
    /// No connection; nothing was sent.
    NotSent,
    /// The connection broke after bytes had left.
    Interrupted,
    /// No answer in time.
    TimedOut,
    /// An answer with an unreadable body.
    Unreadable,
    /// Abandoned because the caller left.
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

    /// The failure in a word, where it is none that an HTTP status tells.
    pub const fn failure(self) -> Option<&'static str> {
        match self {
            Self::NotSent | Self::Interrupted | Self::TimedOut | Self::Unreadable | Self::Cancelled => {
                Some(self.name())
            }
            Self::Success | Self::Rejected | Self::Unauthorized | Self::RateLimited | Self::ServerError => None,
        }
    }

    /// The value of the label `outcome`.
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

/// The outcome of a request for an access token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenOutcome {
    /// A token was issued.
    Success,
    /// Walmart refused the credentials.
    Refused,
    /// No answer, or an unusable answer.
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

/// The states of a circuit, as values of `order_gateway_circuit_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CircuitState {
    /// Calls pass; Walmart works.
    Closed = 0,
    /// A single probe passes.
    HalfOpen = 1,
    /// Calls fail at once.
    Open = 2,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    operation: &'static str,
}

/// The attributes of `http.client.request.duration`, and our own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct AttemptLabels {
    operation: &'static str,
    outcome: AttemptOutcome,
    method: &'static str,
    server: (String, String),
    status: Option<u16>,
}

impl EncodeLabelSet for AttemptLabels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        ("operation", self.operation).encode(encoder.encode_label())?;
        ("outcome", self.outcome.name()).encode(encoder.encode_label())?;
        ("http_request_method", self.method).encode(encoder.encode_label())?;
        ("server_address", self.server.0.as_str()).encode(encoder.encode_label())?;
        ("server_port", self.server.1.as_str()).encode(encoder.encode_label())?;
        let status = self.status.map(|status| status.to_string());
        if let Some(status) = &status {
            ("http_response_status_code", status.as_str()).encode(encoder.encode_label())?;
        }
        let failed = status.as_deref().filter(|_| self.status.is_some_and(|status| status >= 400));
        match self.outcome.failure().or(failed) {
            Some(failure) => ("error_type", failure).encode(encoder.encode_label()),
            None => Ok(()),
        }
    }
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
