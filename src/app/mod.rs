//! The composition root: builds every part from the settings, starts them and ends them in order.

mod clients;
mod feed;
mod upstream;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tonic::codec::CompressionEncoding;
use tracing_appender::non_blocking::ErrorCounter;

use crate::config::{self, Config, SecretWatcher, files};
use crate::domain::account::SellerId;
use crate::domain::ledger::machine::LedgerRules;
use crate::domain::operation::Operation;
use crate::grpc::cancel_intents::CancelIntents;
use crate::grpc::fulfillment::Fulfillment;
use crate::grpc::gateway::Gateway as GatewayRpcs;
use crate::grpc::layers::trace::AccessLog;
use crate::grpc::listener::{self, Connections};
use crate::grpc::methods;
use crate::grpc::order_updates::OrderUpdates;
use crate::grpc::reflection;
use crate::grpc::server::{self, Edge, Health, MAX_MESSAGE};
use crate::grpc::services::Services;
use crate::grpc::tls::TlsFiles;
use crate::http;
use crate::http::admin::AdminHosts;
use crate::http::page::{Door, Page};
use crate::http::webhooks::Webhooks;
use crate::http::{Probes, Stage};
use crate::pb;
use crate::pb::cancel_intent_service_server::CancelIntentServiceServer;
use crate::pb::fulfillment_service_server::FulfillmentServiceServer;
use crate::pb::gateway_service_server::GatewayServiceServer;
use crate::pb::order_update_service_server::OrderUpdateServiceServer;
use crate::ports::clock::Clock;
use crate::ports::ledger::Ledger;
use crate::ports::random::Random;
use crate::ports::upstream::WalmartApi;
use crate::service::feed::{Feed, FeedStore};
use crate::service::{
    AccountDirectory, CacheSettings, ClockWatch, GatewayStatus, MutationSettings, Mutations, Operations, Resolver,
};
use crate::shutdown::{DrainOutcome, Shutdown};
use crate::store::{self, Store};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::otlp::OtlpExport;
use crate::telemetry::trace::Tracer;
use crate::upstream::client::RestUpstream;
use crate::upstream::overview::StackOverview;
use crate::upstream::transport::HttpService;

/// Open gRPC connections at a time.
const MAX_CONNECTIONS: usize = 10_000;
/// Connections that wait to be accepted: thousands may come at once, and who does not fit tries again after seconds only.
const BACKLOG: u32 = 4096;
/// Open connections of the operators' door at a time, where it has a listener of its own.
const ADMIN_CONNECTIONS: usize = 256;
/// Bytes that kept promises may take, about.
const PROMISE_CACHE_BYTES: u64 = 32 * 1024 * 1024;
/// How often files of secrets, tokens and certificates are looked at; what has changed counts from the second look on.
const FILES_EVERY: Duration = Duration::from_secs(2);
/// How often the store is tried where nothing is written.
const PROVE_EVERY: Duration = Duration::from_secs(5);
/// For what is still to be exported at the end.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);

/// What a gateway takes from outside, so that tests can replace it.
pub struct Externals<H> {
    /// Speaks HTTP to Walmart.
    pub http: H,
    /// Tells the time of day.
    pub clock: Clock,
    /// Ids and jitter.
    pub random: Random,
    /// Makes spans.
    pub tracer: Tracer,
    /// Exports spans and metrics; flushed at the end.
    pub otlp: Option<OtlpExport>,
    /// Counts log lines that were dropped.
    pub log: Option<ErrorCounter>,
}

/// Where the gateway listens.
#[derive(Debug)]
pub struct BoundListeners {
    /// gRPC.
    pub grpc: TcpListener,
    /// Webhooks and probes; and what operators see, where that has no listener of its own.
    pub http: TcpListener,
    /// The page for people and metrics, where `admin.listen` is set.
    pub admin: Option<TcpListener>,
}

impl BoundListeners {
    /// Takes all addresses. The error is one line that names the key and the address.
    pub async fn bind(config: &Config) -> Result<Self, String> {
        let grpc = bind("grpc.listen", config.grpc.listen).await?;
        let http = bind("http.listen", config.http.listen).await?;
        let admin = match config.admin.listen {
            Some(listen) => Some(bind("admin.listen", listen).await?),
            None => None,
        };
        Ok(Self { grpc, http, admin })
    }
}

/// Takes an address. The error is one line.
pub async fn bind(what: &str, address: SocketAddr) -> Result<TcpListener, String> {
    let listening = async {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // As with any server: a port is free again as soon as its process has gone.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listening.await.map_err(|error: std::io::Error| format!("{what}: cannot listen on {address}: {error}"))
}

/// Why a gateway does not start: one line that names the key at fault.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting cannot be used.
    #[error("{0}")]
    Setting(String),
    /// The store cannot be used by this process.
    #[error("{0}")]
    Store(String),
}

impl From<String> for StartError {
    fn from(line: String) -> Self {
        Self::Setting(line)
    }
}

/// A gateway that serves.
pub struct Gateway {
    shutdown: Shutdown,
    health: Health,
    probes: Probes,
    /// The HTTP listeners, which answer until the drain is over.
    probing: Vec<JoinHandle<()>>,
    grace: Duration,
    otlp: Option<OtlpExport>,
    store: Store,
}

impl Gateway {
    /// Builds all parts and starts to serve.
    pub async fn start<H: HttpService>(
        config: &Config,
        listeners: BoundListeners,
        externals: Externals<H>,
    ) -> Result<Self, StartError> {
        let Externals { http, clock, random, tracer, mut otlp, log } = externals;
        let shutdown = Shutdown::new();
        let metrics = Arc::new(Metrics::new(methods::paths()));
        if let Some(lines) = log {
            metrics.watch_log(lines);
        }
        if let Some(otlp) = &mut otlp {
            metrics.watch_exports(otlp.outages());
            otlp.export(metrics.clone(), Box::new(move || clock.now()));
        }
        let tls = config.grpc.tls.as_ref();
        let tls = tls.map(|files| TlsFiles::load(files, clock, metrics.callers.clone())).transpose()?;
        let upstream = upstream::build(config, http, clock, random.clone(), tracer.clone(), metrics.clone())?;
        let store = open_store(config, clock, &metrics).await.map_err(StartError::Store)?;
        let clock_watch = ClockWatch::new(clock, config.feed.retention, metrics.clock.clone());
        shutdown.tasks().spawn(clock_watch.clone().run(store.clone(), shutdown.stopping().clone()));
        let mutations = mutations(config, &upstream, store.clone(), clock, &random, &tracer, &metrics);
        // Before the first call: what is open now is what another process left.
        mutations.take_over(shutdown.tasks(), shutdown.stopping().clone()).await;
        let resolver = Resolver::new(mutations.clone(), config.ledger.retention, shutdown.tasks().clone())
            .with_clock_watch(clock_watch.clone());
        shutdown.tasks().spawn(resolver.run(shutdown.stopping().clone()));
        let health = Health::new(&SERVICES).await;
        let feed = feed::start(config, store.clone(), &shutdown, clock, &clock_watch, &random, &metrics);
        let status = status(config, &upstream, mutations.clone(), feed.clone(), clock, clock_watch);
        let services = services(config, upstream, mutations, feed, status.clone(), &shutdown, &health, &metrics);
        let edge = Edge {
            tracer,
            metrics: metrics.clone(),
            access_log: access_log(config.telemetry.access_log),
            clients: clients::from_config(config),
            stopping: shutdown.stopping().clone(),
            closing: shutdown.closing().clone(),
        };
        let connections = Connections {
            max: MAX_CONNECTIONS,
            max_age: config.grpc.max_connection_age,
            jitter: Arc::new(move || random.fraction()),
            tls: tls.as_ref().map(TlsFiles::tls),
        };
        watch_files(config, tls, &shutdown, &metrics);
        let grpc = server::stack(edge, services);
        let door = listeners.grpc.local_addr().unwrap_or(config.grpc.listen);
        tokio::spawn(listener::serve(listeners.grpc, grpc, connections, shutdown.clone(), metrics.clone()));
        let probes = Probes::new(vec![("store", store_check(store.clone()))]);
        shutdown.tasks().spawn(prove_store(store.clone(), shutdown.stopping().clone()));
        let webhooks = Webhooks::new(&config.accounts, store.clone(), clock, metrics.clone());
        let router = http::router(probes.clone()).merge(webhooks.router());
        let page = || page(config, door, status, probes.clone(), metrics.clone(), clock).router();
        let page = config.http.page.then(page);
        let hosts = AdminHosts::new(config.admin.hosts.iter().cloned());
        let operators = http::admin::router(metrics.clone(), page, hosts);
        let serve = |listener, router, limits| {
            tokio::spawn(http::serve(listener, router, limits, shutdown.clone(), metrics.clone()))
        };
        let limits = http::Limits::default();
        let probing = match listeners.admin {
            Some(listener) => {
                let few = http::Limits { connections: ADMIN_CONNECTIONS, ..limits };
                vec![serve(listeners.http, router, limits), serve(listener, operators, few)]
            }
            None => vec![serve(listeners.http, router.merge(operators), limits)],
        };
        health.serving().await;
        probes.set(Stage::Ready);
        Ok(Self { shutdown, health, probes, probing, grace: config.shutdown.grace, otlp, store })
    }

    /// Not ready at once, streams end, calls in flight finish within the grace.
    pub async fn stop(self) -> DrainOutcome {
        let not_ready = async {
            self.probes.set(Stage::Draining);
            self.health.not_serving().await;
        };
        let drained = self.shutdown.run(not_ready, self.grace).await;
        for listener in self.probing {
            if listener.await.is_err() {
                tracing::error!("an HTTP listener panicked");
            }
        }
        // Nobody writes any more.
        self.store.close().await;
        if let Some(otlp) = self.otlp {
            otlp.flush(FLUSH_LIMIT).await;
        }
        drained
    }
}

/// Full names, for health checks.
const SERVICES: [&str; 4] = [
    pb::fulfillment_service_server::SERVICE_NAME,
    pb::cancel_intent_service_server::SERVICE_NAME,
    pb::order_update_service_server::SERVICE_NAME,
    pb::gateway_service_server::SERVICE_NAME,
];

/// What holds for each of our services; the generated servers share no trait. Answers are packed for callers that accept
/// it, by the first of these that they do.
macro_rules! served {
    ($server:expr) => {
        $server
            .max_decoding_message_size(MAX_MESSAGE)
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Zstd)
            .send_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Zstd)
    };
}

async fn open_store(config: &Config, clock: Clock, metrics: &Metrics) -> Result<Store, String> {
    let url = config.store.url.clone();
    let accounts = config.accounts.iter();
    let settings = store::Settings {
        clock,
        metrics: metrics.store.clone(),
        accounts: accounts.map(|account| (account.id.clone(), SellerId::new(&account.partner_id))).collect(),
        // What the disk holds is not known, or another process has it. Whoever is told that an order was made must be able
        // to trust it, and nothing may be sent that the ledger does not know of.
        on_fatal: Arc::new(|line| {
            // Not by the log, which is written by a thread that may not come to it.
            eprintln!("{line}");
            std::process::exit(1);
        }),
    };
    let opened = tokio::task::spawn_blocking(move || Store::open(&url, settings)).await;
    let opened = opened.unwrap_or_else(|error| Err(error.to_string()));
    opened.map_err(|line| format!("store.url: {line}"))
}

fn store_check(store: Store) -> Box<dyn Fn() -> Option<String> + Send + Sync> {
    Box::new(move || store.failing().map(|failing| failing.error.to_string()))
}

/// Finds out every now and then whether the store works, so that the probes say so also where nobody calls.
async fn prove_store(store: Store, stopping: CancellationToken) {
    while stopping.run_until_cancelled(sleep(PROVE_EVERY)).await.is_some() {
        stopping.run_until_cancelled(store.prove()).await;
    }
}

fn directory(config: &Config) -> AccountDirectory {
    AccountDirectory::new(config.accounts.iter().map(|account| account.id.clone()).collect())
}

fn mutations<H: HttpService, L: Ledger>(
    config: &Config,
    upstream: &RestUpstream<H>,
    ledger: L,
    clock: Clock,
    random: &Random,
    tracer: &Tracer,
    metrics: &Arc<Metrics>,
) -> Mutations<RestUpstream<H>, L> {
    let config::LedgerConfig { settle_window, lookup_delays, not_after, look_first_until, .. } = config.ledger.clone();
    let rules = Rules { settle_window, lookup_delays, not_after };
    let status_limit = config.walmart.limits.of(Operation::Status).get();
    let settings = MutationSettings { rules, status_limit, look_first_until, tracer: tracer.clone() };
    Mutations::new(upstream.clone(), ledger, directory(config), settings, clock, random.clone(), metrics.clone())
}

/// The gateway's view of itself.
fn status<H: HttpService, L: Ledger, F: FeedStore>(
    config: &Config,
    upstream: &RestUpstream<H>,
    mutations: Mutations<RestUpstream<H>, L>,
    feed: Feed<F>,
    clock: Clock,
    clock_watch: ClockWatch,
) -> GatewayStatus<RestUpstream<H>, L, F> {
    GatewayStatus {
        directory: directory(config),
        overview: Arc::new(StackOverview::new(upstream.shared().clone(), clock)),
        operations: Operations::new(mutations),
        feed,
        clock_watch,
        start_time: clock.now(),
    }
}

fn page<U: WalmartApi, L: Ledger, F: FeedStore>(
    config: &Config,
    address: SocketAddr,
    status: GatewayStatus<U, L, F>,
    probes: Probes,
    metrics: Arc<Metrics>,
    clock: Clock,
) -> Page<U, L, F> {
    let receiving = config.accounts.iter().filter(|account| account.webhook.is_some());
    let webhooks = receiving.map(|account| (account.id.clone(), metrics.webhooks.of(account.id.as_str()))).collect();
    let door = Door { address, tls: config.grpc.tls.is_some(), clients: !config.clients.is_empty() };
    Page { status, probes, metrics, webhooks, door, clock }
}

#[expect(clippy::too_many_arguments, reason = "everything comes together here")]
fn services<H: HttpService, L: Ledger, F: FeedStore, B>(
    config: &Config,
    upstream: RestUpstream<H>,
    mutations: Mutations<RestUpstream<H>, L>,
    feed: Feed<F>,
    status: GatewayStatus<RestUpstream<H>, L, F>,
    shutdown: &Shutdown,
    health: &Health,
    metrics: &Arc<Metrics>,
) -> Services<B>
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<tonic::codegen::StdError> + Send,
{
    let directory = directory(config);
    let cache = CacheSettings { ttl: config.walmart.promise_cache.ttl, max_bytes: PROMISE_CACHE_BYTES };
    let tasks = shutdown.tasks().clone();
    let fulfillment = Fulfillment::new(directory, upstream, mutations, tasks, cache, metrics.clone());
    let gateway = GatewayRpcs { operations: status.operations.clone(), status };
    let mut services = Services::builder()
        .with(served!(FulfillmentServiceServer::new(fulfillment)))
        .with(served!(CancelIntentServiceServer::new(CancelIntents { feed: feed.clone() })))
        .with(served!(OrderUpdateServiceServer::new(OrderUpdates { feed })))
        .with(served!(GatewayServiceServer::new(gateway)))
        .with(health.service());
    if config.grpc.reflection {
        services = services.with(reflection::v1()).with(reflection::v1alpha());
    }
    services.build()
}

fn watch_files(config: &Config, mut tls: Option<TlsFiles>, shutdown: &Shutdown, metrics: &Metrics) {
    let mut secrets = SecretWatcher::new(config);
    metrics.watch_secrets(secrets.refused());
    if secrets.is_empty() && tls.is_none() {
        return;
    }
    let check = move || {
        secrets.check();
        if let Some(tls) = &mut tls {
            tls.check();
        }
    };
    tokio::spawn(files::poll(FILES_EVERY, shutdown.stopping().clone(), check));
}

const fn access_log(setting: config::AccessLog) -> AccessLog {
    match setting {
        config::AccessLog::Failures => AccessLog::Failures,
        config::AccessLog::All => AccessLog::All,
        config::AccessLog::Off => AccessLog::Off,
    }
}
