//! The composition root: builds all parts from the settings, and starts and stops them in order.

mod backfill;
mod clients;
mod feed;
mod reload;
mod upstream;
mod webhooks;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tonic::codec::CompressionEncoding;
use tonic_reflection::pb::v1::server_reflection_server::ServerReflectionServer;
use tonic_reflection::pb::v1alpha;
use tracing_appender::non_blocking::ErrorCounter;

use self::reload::{Reload, ReloadParts};
use crate::accept::ListenSocket;
use crate::config::{self, AccountConfig, Config, GrpcListen, SettingsFiles};
use crate::domain::account::SellerId;
use crate::domain::ledger::machine::LedgerRules;
use crate::domain::operation::Operation;
use crate::grpc::cancel_intents::CancelIntentRpcs;
use crate::grpc::connection::listener::{self, ConnectionSettings};
use crate::grpc::fulfillment::FulfillmentRpcs;
use crate::grpc::gateway::GatewayRpcs;
use crate::grpc::health::ServiceHealth;
use crate::grpc::layers::authn::AllowedClients;
use crate::grpc::methods;
use crate::grpc::order_updates::OrderUpdateRpcs;
use crate::grpc::reflection::{ReflectionV1, ReflectionV1Alpha};
use crate::grpc::returns::ReturnRpcs;
use crate::grpc::seller_orders::SellerOrderRpcs;
use crate::grpc::server::{self, InboundConfig};
use crate::grpc::services::ServiceRouter;
use crate::grpc::tls::TlsFiles;
use crate::grpc::webhook_subscriptions::WebhookSubscriptionRpcs;
use crate::http;
use crate::http::admin::AdminHosts;
use crate::http::page::{GrpcEndpoint, StatusPage, WebhookCounts};
use crate::http::webhooks::WebhookReceiver;
use crate::http::{HealthProbes, ProcessStage};
use crate::limits;
use crate::pb;
use crate::pb::cancel_intent_service_server::CancelIntentServiceServer;
use crate::pb::fulfillment_service_server::FulfillmentServiceServer;
use crate::pb::gateway_service_server::GatewayServiceServer;
use crate::pb::order_update_service_server::OrderUpdateServiceServer;
use crate::pb::return_service_server::ReturnServiceServer;
use crate::pb::seller_order_service_server::SellerOrderServiceServer;
use crate::pb::webhook_subscription_service_server::WebhookSubscriptionServiceServer;
use crate::ports::clock::Clock;
use crate::ports::ledger::Ledger;
use crate::ports::random::Random;
use crate::ports::upstream::WalmartApi;
use crate::service::feed::{Feed, FeedStore};
use crate::service::{
    AccountDirectory, CacheSettings, ClientAccounts, ClockWatch, GatewayStatus, MutationSettings, Mutations,
    Operations, Resolver, SettingsState, WebhookSubscriptions,
};
use crate::shutdown::{DrainOutcome, OnceEvent, Shutdown};
use crate::store::{self, Store};
use crate::telemetry::log;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::otlp::OtlpExport;
use crate::telemetry::trace::Tracer;
use crate::upstream::client::RestUpstream;
use crate::upstream::overview::StackOverview;
use crate::upstream::transport::HttpService;

/// Interval of samples of Walmart's buckets: a bucket of 20 calls a minute gains a token in this time.
const LEVELS_EVERY: Duration = Duration::from_secs(3);
/// Interval of test writes to the store when nothing else is written.
const PROVE_EVERY: Duration = Duration::from_secs(5);
/// Time limit for the last export.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);

/// The external dependencies of a gateway, replaceable in tests.
pub struct Externals<H> {
    /// HTTP client for Walmart.
    pub http: H,
    /// Source of the time of day.
    pub clock: Clock,
    /// Source of ids and jitter.
    pub random: Random,
    /// Builder of spans for calls and attempts.
    pub tracer: Tracer,
    /// Exporter of spans and metrics, flushed at the end.
    pub otlp: Option<OtlpExport>,
    /// Counter of dropped log lines.
    pub log: Option<ErrorCounter>,
    /// The files from which the settings came, to be read again when they change. `None`: accounts and clients are
    /// fixed.
    pub settings: Option<SettingsFiles>,
    /// Notified when everything that can change is to be read again at once.
    pub reload: Arc<Notify>,
}

/// The listening sockets of a gateway.
#[derive(Debug)]
pub struct BoundListeners {
    /// Listening socket for gRPC.
    pub grpc: ListenSocket,
    /// Socket for webhooks and probes; without `admin`, also for the status page and metrics.
    pub http: TcpListener,
    /// Socket for the status page and metrics, if `admin.listen` is set.
    pub admin: Option<TcpListener>,
}

impl BoundListeners {
    /// Binds all addresses. The error is a single line with key and address.
    pub async fn bind(config: &Config) -> Result<Self, String> {
        let grpc = match &config.grpc.listen {
            GrpcListen::Tcp(address) => bind("grpc.listen", *address).await?.into(),
            GrpcListen::Unix(path) => ListenSocket::unix(path)
                .map_err(|error| format!("grpc.listen: cannot listen on unix:{}: {error}", path.display()))?,
        };
        let http = bind("http.listen", config.http.listen).await?;
        let admin = match config.admin.listen {
            Some(listen) => Some(bind("admin.listen", listen).await?),
            None => None,
        };
        Ok(Self { grpc, http, admin })
    }
}

/// Binds an address. The error is a single line.
pub async fn bind(what: &str, address: SocketAddr) -> Result<TcpListener, String> {
    let listening = async {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // Allow reuse of a port right after the end of the last process, as usual for servers.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(limits::ACCEPT_QUEUE)
    };
    listening.await.map_err(|error: std::io::Error| format!("{what}: cannot listen on {address}: {error}"))
}

/// The reason why a gateway cannot start: a single line with the key at fault.
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

/// A running gateway, stopped with [`Gateway::stop`].
pub struct Gateway {
    shutdown: Shutdown,
    health: ServiceHealth,
    probes: HealthProbes,
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
        let Externals { http, clock, random, tracer, mut otlp, log: lines, settings, reload } = externals;
        let shutdown = Shutdown::new();
        let metrics = Arc::new(Metrics::new(methods::paths()));
        if let Some(lines) = lines {
            metrics.watch_log(lines.clone());
            let stopping = shutdown.stopping().clone();
            shutdown.tasks().spawn(async move { stopping.run_until_cancelled(log::tell_losses(lines)).await });
        }
        if let Some(otlp) = &mut otlp {
            metrics.watch_exports(otlp.outages());
            otlp.export(metrics.clone(), Box::new(move || clock.now()));
        }
        let tls = config.grpc.tls.as_ref();
        let tls = tls.map(|files| TlsFiles::load(files, clock, metrics.callers.clone())).transpose()?;
        let directory = directory(config);
        let upstream = upstream::build(config, &directory, http, clock, &random, tracer.clone(), metrics.clone())?;
        let store = open_store(config, clock, &metrics).await.map_err(StartError::Store)?;
        let clock_watch = ClockWatch::new(clock, config.feed.retention, metrics.clock.clone());
        shutdown.tasks().spawn(clock_watch.clone().run(store.clone(), shutdown.stopping().clone()));
        let closing = shutdown.closing().clone();
        let mutations =
            mutations(config, &directory, &upstream, store.clone(), clock, &random, &tracer, closing, &metrics);
        // Take over before the first call: operations open now belong to another process.
        mutations.take_over(shutdown.tasks(), shutdown.stopping().clone()).await;
        let resolver = Resolver::new(mutations.clone(), config.ledger.retention, shutdown.tasks().clone())
            .with_clock_watch(clock_watch.clone());
        shutdown.tasks().spawn(resolver.run(shutdown.stopping().clone()));
        let health = ServiceHealth::new(&SERVICES);
        let clients = AllowedClients::new(clients::from_config(config, &directory));
        let client_accounts = ClientAccounts::new(clients::scopes(config));
        let accounts = (directory.clone(), client_accounts.clone());
        let feed = feed::start(config, store.clone(), accounts, &shutdown, (clock, &clock_watch), &random, &metrics);
        let scans = (&upstream, store.clone(), &directory);
        let backfill = backfill::start(config, scans, &shutdown, clock, tracer.clone(), &metrics);
        let status = GatewayStatus {
            directory: directory.clone(),
            overview: Arc::new(StackOverview::new(upstream.shared().clone(), clock)),
            operations: Operations::new(mutations.clone()),
            feed: feed.clone(),
            webhooks: webhooks::start(config, &upstream, &directory, &shutdown, (clock, &tracer), &metrics),
            backfill,
            clock_watch,
            settings: SettingsState::new(clock.now()),
            start_time: clock.now(),
        };
        let used = (upstream.clone(), mutations.clone());
        let services = services(config, used, feed, status.clone(), &shutdown, &health, &metrics);
        let inbound = InboundConfig {
            tracer: tracer.clone(),
            metrics: metrics.clone(),
            access_log: config.telemetry.access_log,
            clients: clients.clone(),
            stopping: shutdown.stopping().clone(),
            closing: shutdown.closing().clone(),
        };
        let connections = ConnectionSettings {
            max: limits::GRPC_CONNECTIONS,
            max_age: config.grpc.max_connection_age,
            jitter: Arc::new(move || random.fraction()),
            tls: tls.as_ref().map(TlsFiles::tls),
        };
        let grpc = server::stack(inbound, services);
        let listen = listeners.grpc.address().map_or_else(|| config.grpc.listen.clone(), GrpcListen::Tcp);
        tokio::spawn(listener::serve(listeners.grpc, grpc, connections, shutdown.clone(), metrics.clone()));
        let probes = HealthProbes::new(vec![("store", store_check(store.clone()))]);
        shutdown.tasks().spawn(prove_store(store.clone(), shutdown.stopping().clone()));
        if config.http.page {
            shutdown.tasks().spawn(note_levels(status.clone(), metrics.clone(), shutdown.stopping().clone()));
        }
        let webhooks = WebhookReceiver::new(&config.accounts, store.clone(), clock, metrics.clone(), tracer);
        let counts = WebhookCounts::new(&config.accounts, &metrics);
        let parts = ReloadParts {
            store: store.clone(),
            directory,
            upstream,
            mutations,
            clients,
            client_accounts,
            webhooks: webhooks.accounts(),
            counts: counts.clone(),
            state: status.settings.clone(),
            clock,
            metrics: metrics.clone(),
        };
        let files = Reload::new(config.clone(), parts, tls, settings);
        tokio::spawn(files.run(reload, shutdown.stopping().clone()));
        let router = http::router(probes.clone()).merge(webhooks.router());
        let page = config.http.page.then(|| {
            let grpc = GrpcEndpoint { listen, tls: config.grpc.tls.is_some(), clients: !config.clients.is_empty() };
            let (probes, metrics) = (probes.clone(), metrics.clone());
            StatusPage { status, probes, metrics, webhooks: counts, grpc, clock }.router()
        });
        let hosts = AdminHosts::new(config.admin.hosts.iter().cloned());
        let operators = http::admin::router(metrics.clone(), page, hosts);
        let serve = |listener, router, bounds| {
            tokio::spawn(http::serve(listener, router, bounds, shutdown.clone(), metrics.clone()))
        };
        let usual = http::HttpLimits::default();
        let probing = match listeners.admin {
            Some(listener) => {
                let few = http::HttpLimits { connections: limits::ADMIN_CONNECTIONS, ..usual };
                vec![serve(listeners.http, router, usual), serve(listener, operators, few)]
            }
            None => vec![serve(listeners.http, router.merge(operators), usual)],
        };
        health.serving();
        probes.set(ProcessStage::Ready);
        Ok(Self { shutdown, health, probes, probing, grace: config.shutdown.grace, otlp, store })
    }

    /// Reports not ready, ends streams, and lets calls in flight finish within the grace.
    pub async fn stop(self) -> DrainOutcome {
        let not_ready = async {
            self.probes.set(ProcessStage::Draining);
            self.health.not_serving();
        };
        let drained = self.shutdown.run(not_ready, self.grace).await;
        for listener in self.probing {
            if listener.await.is_err() {
                tracing::error!("an HTTP listener panicked");
            }
        }
        // All writers have ended.
        self.store.close().await;
        if let Some(otlp) = self.otlp {
            otlp.flush(FLUSH_LIMIT).await;
        }
        drained
    }
}

/// Full names of the services, for health checks.
static SERVICES: [&str; 7] = [
    pb::fulfillment_service_server::SERVICE_NAME,
    pb::cancel_intent_service_server::SERVICE_NAME,
    pb::order_update_service_server::SERVICE_NAME,
    pb::seller_order_service_server::SERVICE_NAME,
    pb::return_service_server::SERVICE_NAME,
    pb::webhook_subscription_service_server::SERVICE_NAME,
    pb::gateway_service_server::SERVICE_NAME,
];

/// Common options of all services, as a macro because the generated servers share no trait. Answers are compressed by
/// the first of these encodings which the caller accepts.
macro_rules! served {
    ($server:expr) => {
        $server
            .max_decoding_message_size(limits::MESSAGE_BYTES)
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Zstd)
            .send_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Zstd)
    };
}

async fn open_store(config: &Config, clock: Clock, metrics: &Metrics) -> Result<Store, String> {
    let store = config.store.clone();
    let accounts = config.accounts.iter();
    let settings = store::StoreSettings {
        clock,
        metrics: metrics.store.clone(),
        accounts: accounts.map(|account| (account.id.clone(), SellerId::new(&account.partner_id))).collect(),
        // The state of the disk is unknown, or another process owns the store. Exit at once: a caller must be able to
        // trust an acknowledged order, and nothing may be sent without an entry in the ledger.
        on_fatal: Arc::new(|line| {
            // Bypass the log: the log's thread may not get to write before the exit.
            eprintln!("{line}");
            std::process::exit(1);
        }),
    };
    let opened = tokio::task::spawn_blocking(move || Store::open(&store, settings)).await;
    let opened = opened.unwrap_or_else(|error| Err(error.to_string()));
    opened.map_err(|line| format!("store.url: {line}"))
}

fn store_check(store: Store) -> Box<dyn Fn() -> Option<String> + Send + Sync> {
    Box::new(move || store.failing().map(|failing| failing.error.to_string()))
}

/// Tests the store at an interval, so that the probes report a failing store also without calls.
async fn prove_store(store: Store, stopping: CancellationToken) {
    while stopping.run_until_cancelled(sleep(PROVE_EVERY)).await.is_some() {
        stopping.run_until_cancelled(store.prove()).await;
    }
}

/// Samples the levels of Walmart's buckets, for the last hour on the status page.
async fn note_levels<U: WalmartApi, L: Ledger, F: FeedStore>(
    status: GatewayStatus<U, L, F>,
    metrics: Arc<Metrics>,
    stopping: CancellationToken,
) {
    while stopping.run_until_cancelled(sleep(LEVELS_EVERY)).await.is_some() {
        status.note_levels(&metrics.last_hour);
    }
}

fn directory(config: &Config) -> AccountDirectory {
    let account = |account: &AccountConfig| (SellerId::new(&account.partner_id), account.id.clone());
    AccountDirectory::new(config.accounts.iter().map(account))
}

#[expect(clippy::too_many_arguments, reason = "everything comes together here")]
fn mutations<H: HttpService, L: Ledger>(
    config: &Config,
    directory: &AccountDirectory,
    upstream: &RestUpstream<H>,
    ledger: L,
    clock: Clock,
    random: &Random,
    tracer: &Tracer,
    closing: OnceEvent,
    metrics: &Arc<Metrics>,
) -> Mutations<RestUpstream<H>, L> {
    let config::LedgerConfig { settle_window, lookup_delays, not_after, look_first_until, .. } = config.ledger.clone();
    let rules = LedgerRules { settle_window, lookup_delays, not_after };
    let status_limit = config.walmart.limits.of(Operation::Status).get();
    let settings = MutationSettings { rules, status_limit, look_first_until, tracer: tracer.clone(), closing };
    Mutations::new(upstream.clone(), ledger, directory.clone(), settings, clock, random.clone(), metrics.clone())
}

fn services<H: HttpService, L: Ledger, F: FeedStore, B>(
    config: &Config,
    (upstream, mutations): (RestUpstream<H>, Mutations<RestUpstream<H>, L>),
    feed: Feed<F>,
    status: GatewayStatus<RestUpstream<H>, L, F>,
    shutdown: &Shutdown,
    health: &ServiceHealth,
    metrics: &Arc<Metrics>,
) -> ServiceRouter<B>
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<tonic::codegen::StdError> + Send,
{
    let cache = CacheSettings { ttl: config.walmart.promise_cache.ttl, max_bytes: limits::PROMISE_CACHE_BYTES };
    let tasks = shutdown.tasks().clone();
    let returns = ReturnRpcs::new(upstream.clone(), mutations.clone(), tasks.clone());
    let seller_orders = SellerOrderRpcs::new(upstream.clone(), mutations.clone(), tasks.clone());
    let webhooks =
        WebhookSubscriptions::new(upstream.clone(), mutations.clone(), tasks.clone(), status.webhooks.clone());
    let fulfillment = FulfillmentRpcs::new(upstream, mutations, tasks, cache, metrics.clone());
    let gateway = GatewayRpcs { operations: status.operations.clone(), status };
    let mut services = ServiceRouter::builder()
        .with(served!(FulfillmentServiceServer::new(fulfillment)))
        .with(served!(CancelIntentServiceServer::new(CancelIntentRpcs { feed: feed.clone() })))
        .with(served!(OrderUpdateServiceServer::new(OrderUpdateRpcs { feed })))
        .with(served!(SellerOrderServiceServer::new(seller_orders)))
        .with(served!(ReturnServiceServer::new(returns)))
        .with(served!(WebhookSubscriptionServiceServer::new(WebhookSubscriptionRpcs(webhooks))))
        .with(served!(GatewayServiceServer::new(gateway)))
        .with(health.service());
    if config.grpc.reflection {
        services = services
            .with(ServerReflectionServer::new(ReflectionV1))
            .with(v1alpha::server_reflection_server::ServerReflectionServer::new(ReflectionV1Alpha));
    }
    services.build()
}
