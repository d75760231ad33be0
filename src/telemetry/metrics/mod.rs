//! All metrics, in [`Metrics`]. Names and units follow OpenTelemetry where defined, else `order_gateway_*`. No label
//! contains an order, event or request id.
//!
//! Callers hold ready handles, so no call looks up a metric in a locked family.

mod backfill;
mod callers;
mod calls;
mod clock;
mod connections;
mod exports;
mod feed;
mod http_server;
mod ledger;
mod levels;
mod process;
mod store;
mod subscriptions;
mod text;
mod unmapped;
mod upstream;
mod webhooks;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use foldhash::fast::RandomState;
use prometheus_client::encoding::prometheus_protobuf::prometheus_data_model::MetricFamily;
use prometheus_client::encoding::{EncodeLabelSet, prometheus_protobuf};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use tracing_appender::non_blocking::ErrorCounter;

pub use backfill::{AccountBackfill, BackfillMetrics};
pub use callers::{CallerMetrics, CallerRefused};
pub use calls::MethodMetrics;
use calls::{CallMetrics, RpcLabels};
pub use clock::ClockMetrics;
pub use connections::{ConnectionMetrics, CutReason};
use exports::ExportMetrics;
pub use feed::FeedMetrics;
pub use http_server::{HttpLabels, HttpServerMetrics};
pub use ledger::LedgerMetrics;
pub use levels::BucketLevel;
use process::ProcessMetrics;
pub use store::StoreMetrics;
pub use subscriptions::{MAX_LABELLED, SubscriptionLag, SubscriptionMetrics};
pub use text::TextFormat;
pub use unmapped::UnmappedMetrics;
pub use upstream::{AttemptOutcome, ByOperation, CircuitState, TokenOutcome, UpstreamMetrics};
pub use webhooks::{AccountWebhooks, DeliveryOutcome, WebhookMetrics};

use super::export_outage::ExportOutages;
use super::last_hour::LastHour;
use super::recent::RecentFailures;
use super::semconv;
use super::trace::TraceContext;

/// The buckets of all histograms of time, in seconds: those of the semantic conventions, and more for what takes less
/// than 5 ms, as cached answers and commits do, or more than 10 s, as calls with long deadlines do.
const SECONDS: [f64; 21] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5,
    10.0, 30.0, 60.0,
];

/// Method label of unknown methods, so that callers cannot create labels.
pub const OTHER_METHOD: &str = semconv::OTHER;

type Durations = HistogramWithExemplars<TraceLabel>;

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    methods: HashMap<&'static str, Arc<MethodMetrics>, RandomState>,
    other: Arc<MethodMetrics>,
    log_lines: OnceLock<ErrorCounter>,
    log_lines_dropped: Counter,
    secret_reloads: OnceLock<Arc<AtomicU64>>,
    secret_reloads_refused: Counter,
    /// Changed settings files that were refused.
    pub settings_refused: Counter,
    exports: ExportMetrics,

    /// Scans of the orders for missed intents.
    pub backfill: BackfillMetrics,
    /// Refused callers and certificates.
    pub callers: CallerMetrics,
    /// Steps of the wall clock.
    pub clock: ClockMetrics,
    /// Refused and ended connections.
    pub peers: ConnectionMetrics,
    /// Streams and deliveries of the feeds.
    pub feed: FeedMetrics,
    /// Open and closed mutations.
    pub ledger: LedgerMetrics,
    /// Commits and failures of the store.
    pub store: StoreMetrics,
    /// Calls to Walmart and their limits.
    pub upstream: UpstreamMetrics,
    /// Webhook deliveries and token requests from Walmart.
    pub webhooks: WebhookMetrics,
    /// Requests to the webhook paths, as the semantic conventions have them.
    pub http_server: HttpServerMetrics,
    /// Failed calls without a line in the access log, because there were too many.
    pub access_lines_left_out: Counter,
    /// RPCs in flight, including streams.
    pub calls_in_flight: Gauge,
    /// RPCs refused because too many were in flight.
    pub calls_shed: Counter,
    /// Panics in handlers; a panic costs only its own call.
    pub panics: Counter,
    /// Number of open gRPC connections.
    pub connections: Gauge,
    /// gRPC connections closed at once because too many were open.
    pub connections_refused: Counter,
    /// gRPC connections with a failed TLS handshake.
    pub tls_failures: Counter,
    /// The latest failed RPCs, for the status page only.
    pub recent: RecentFailures,
    /// The RPCs of the last hour, for the status page only.
    pub last_hour: LastHour,
}

impl Metrics {
    /// Creates all metrics. `methods` are the paths of all served RPCs, such as
    /// `/ordergateway.v1.FulfillmentService/CreateOrder`.
    pub fn new(methods: impl IntoIterator<Item = &'static str>) -> Self {
        let mut registry = Registry::default();
        let r = &mut registry;

        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        r.register("order_gateway_build", "The running version", build);
        let rpc = Family::<RpcLabels, Durations, _>::new_with_constructor(durations as fn() -> Durations);
        let name = semconv::flat(semconv::RPC_SERVER_CALL_DURATION);
        r.register_with_unit(name, "Duration of RPCs, of streams to their end", Unit::Seconds, rpc.clone());
        let calls = CallMetrics::register(r);
        let exports = ExportMetrics::register(r);
        r.register_collector(Box::new(ProcessMetrics));

        let peers = ConnectionMetrics::register(r);
        let store = StoreMetrics::register(r);
        let upstream = UpstreamMetrics::register(r);
        let backfill = BackfillMetrics::register(r);
        let callers = CallerMetrics::register(r);
        let clock = ClockMetrics::register(r);
        let feed = FeedMetrics::register(r);
        let ledger = LedgerMetrics::register(r);
        let webhooks = WebhookMetrics::register(r);
        let http_server = HttpServerMetrics::register(r);
        let calls_in_flight = Gauge::default();
        r.register("order_gateway_calls_in_flight", "RPCs in flight, streams too", calls_in_flight.clone());
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::default();
            r.register(format!("order_gateway_{name}"), help, counter.clone());
            counter
        };
        let calls_shed = counter("calls_shed", "RPCs refused because too many were in flight");
        let panics = counter("panics", "Handlers that panicked");
        let connections_refused = counter("connections_refused", "gRPC connections over the limit of open ones");
        let tls_failures = counter("tls_failures", "gRPC connections that failed in the TLS handshake");
        let secret_reloads_refused =
            counter("secret_reloads_refused", "Secret files that changed into something unusable");
        let settings_refused = counter("settings_refused", "Changed settings files that were refused");
        let log_lines_dropped = counter("log_lines_dropped", "Log lines lost because the output was too slow");
        let access_lines_left_out =
            counter("access_lines_left_out", "Failed calls that the access log left out, because there were so many");
        let connections = Gauge::default();
        r.register("order_gateway_connections", "Open gRPC connections", connections.clone());

        let methods = methods
            .into_iter()
            .map(|path| (path, Arc::new(MethodMetrics::new(path.trim_start_matches('/'), &rpc, &calls))));
        Self {
            methods: methods.collect(),
            other: Arc::new(MethodMetrics::new(OTHER_METHOD, &rpc, &calls)),
            registry,
            log_lines: OnceLock::new(),
            log_lines_dropped,
            secret_reloads: OnceLock::new(),
            secret_reloads_refused,
            settings_refused,
            exports,
            peers,
            store,
            upstream,
            backfill,
            callers,
            clock,
            feed,
            webhooks,
            http_server,
            ledger,
            access_lines_left_out,
            calls_in_flight,
            calls_shed,
            panics,
            connections,
            connections_refused,
            tls_failures,
            recent: RecentFailures::default(),
            last_hour: LastHour::default(),
        }
    }

    /// The handles of the RPC with this path.
    pub fn method(&self, path: &str) -> &Arc<MethodMetrics> {
        self.methods.get(path).unwrap_or(&self.other)
    }

    /// Sets the counter of lost log lines. Only the first call has an effect.
    pub fn watch_log(&self, lines: ErrorCounter) {
        self.log_lines.get_or_init(|| lines);
    }

    /// Sets the counter of rejected changes to secrets. Only the first call has an effect.
    pub fn watch_secrets(&self, refused: Arc<AtomicU64>) {
        self.secret_reloads.get_or_init(|| refused);
    }

    /// Sets the state of the exports. Only the first call has an effect.
    pub fn watch_exports(&self, outages: ExportOutages) {
        self.exports.watch(outages);
    }

    /// Encodes all metrics as text. Fails only if a metric cannot be written, which is a bug.
    pub fn encode(&self, form: TextFormat) -> Result<String, fmt::Error> {
        self.look();
        text::encode(&self.registry, form)
    }

    /// Encodes all metrics as protobuf messages. Fails like [`Self::encode`].
    pub(crate) fn families(&self) -> Result<Vec<MetricFamily>, fmt::Error> {
        self.look();
        prometheus_protobuf::encode(&self.registry)
    }

    /// Copies values counted elsewhere into the registry.
    fn look(&self) {
        if let Some(lines) = self.log_lines.get() {
            self.log_lines_dropped.inner().store(lines.dropped_lines() as u64, Ordering::Relaxed);
        }
        if let Some(refused) = self.secret_reloads.get() {
            self.secret_reloads_refused.inner().store(refused.load(Ordering::Relaxed), Ordering::Relaxed);
        }
        self.exports.look();
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

fn durations() -> Durations {
    HistogramWithExemplars::new(SECONDS.into_iter())
}

fn observe(durations: &Durations, took: Duration, trace: &TraceContext) {
    let exemplar = trace.sampled.then(|| TraceLabel { trace_id: trace.trace_id_text() });
    // No timestamp: a scraper knows the time well enough.
    durations.observe(took.as_secs_f64(), exemplar, None);
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TraceLabel {
    trace_id: String,
}

/// Increments a gauge until dropped.
#[derive(Debug)]
pub struct GaugeGuard(Gauge<i64, AtomicI64>);

impl GaugeGuard {
    /// Increments the gauge until the guard is dropped.
    pub fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests;
