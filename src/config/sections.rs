//! The sections which occur once, as used by the code. `keys` documents the keys for operators.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::Secret;
use crate::domain::operation::Operation;
use crate::domain::timestamp::Timestamp;

/// The section `[grpc]`: the listener for callers.
#[derive(Clone, Debug)]
pub struct GrpcConfig {
    /// Listen address for calls.
    pub listen: GrpcListen,
    /// Whether reflection is served, v1 and v1alpha.
    pub reflection: bool,
    /// Age at which a connection gets GOAWAY, before jitter. Not zero.
    pub max_connection_age: Duration,
    /// Maximum unary calls in flight per client.
    pub max_calls_per_client: NonZeroU32,
    /// Maximum open streams per client.
    pub max_streams_per_client: NonZeroU32,
    /// TLS files. Absent: plaintext connections.
    pub tls: Option<TlsConfig>,
}

/// The section `[grpc.tls]`: certificate files.
#[derive(Clone, Debug)]
pub struct TlsConfig {
    /// File with the certificate chain, PEM.
    pub cert_file: PathBuf,
    /// Private key of the certificate, PEM.
    pub key_file: PathBuf,
    /// Authorities for client certificates, PEM. If present, clients must use mTLS.
    pub client_ca_file: Option<PathBuf>,
}

/// The address of the gRPC listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrpcListen {
    /// An address and a port.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl GrpcListen {
    /// Whether only programs on this machine can call.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }

    /// The address; `None` for a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for GrpcListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The section `[http]`: the listener for webhooks and probes.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// Listen address for webhooks and probes.
    pub listen: SocketAddr,
    /// Whether the status page is served.
    pub page: bool,
}

/// The section `[admin]`: the operators' listener.
#[derive(Clone, Debug)]
pub struct AdminConfig {
    /// Listen address for the status page and metrics. Absent: served at `http.listen`.
    pub listen: Option<SocketAddr>,
    /// Accepted Host names besides localhost and IP addresses: lower case, without a trailing dot.
    pub hosts: Vec<String>,
}

/// The section `[store]`: storage of ledger and feeds.
#[derive(Clone, Debug)]
pub enum StoreConfig {
    /// A file used by a single process.
    Sqlite(PathBuf),
    /// A database shared by many replicas.
    Postgres(PostgresConfig),
}

impl StoreConfig {
    /// The password of the database, if there is one.
    pub fn password(&self) -> Option<&Secret> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres(postgres) => postgres.password.as_ref(),
        }
    }
}

/// The keys of `[store]` for Postgres.
#[derive(Clone, Debug)]
pub struct PostgresConfig {
    /// `postgres://user@host:port/db`, without a password, a query and a fragment. One host.
    pub url: Url,
    /// The password; a file is read again at each connect.
    pub password: Option<Secret>,
    /// Proof of the server's identity.
    pub tls: PostgresTls,
    /// Maximum connections of a replica; at least [`PostgresConfig::LEAST_CONNECTIONS`].
    pub connections: NonZeroU32,
    /// Time for which a replica counts as alive after its last heartbeat; within [`PostgresConfig::LEASE`].
    pub lease: Duration,
    /// Whether a pooler in transaction mode stands before the server.
    pub pooler: bool,
    /// Whether a replica brings the schema up to date at its start.
    pub migrate: bool,
    /// Name of the schema with all tables: lower-case letters, digits and underscores.
    pub schema: String,
}

impl PostgresConfig {
    /// Fewest connections: seven have one use each, and one is for reads.
    pub const LEAST_CONNECTIONS: u32 = 8;

    /// Most connections; more are of no use.
    pub const MOST_CONNECTIONS: u32 = 100;

    /// Shortest and longest lease.
    pub const LEASE: RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_secs(60);

    /// Longest name of a schema.
    pub const LONGEST_SCHEMA: usize = 40;
}

/// Proof of a database server's identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PostgresTls {
    /// A certificate for the host in the url, from an authority in the file or from one that the machine trusts.
    Verify {
        /// Certificates of authorities, PEM.
        ca_file: Option<PathBuf>,
    },
    /// None: the connection is not encrypted.
    Off,
}

impl PostgresTls {
    /// The name in the settings.
    pub const fn name(&self) -> &'static str {
        match self {
            PostgresTls::Verify { .. } => "verify",
            PostgresTls::Off => "off",
        }
    }
}

/// The section `[walmart]`: the connection to Walmart.
#[derive(Clone, Debug)]
pub struct WalmartConfig {
    /// Walmart's environment: production or sandbox.
    pub profile: WalmartProfile,
    /// An http or https URL without credentials, query and fragment. A path is put before Walmart's paths.
    pub base_url: Url,
    /// Sent as `WM_SVC.NAME`: visible ASCII and spaces.
    pub service_name: String,
    /// Maximum time of an attempt on the wire. Not zero.
    pub attempt_timeout: Duration,
    /// Path of returns of Multichannel orders, without a slash at its end.
    pub return_orders_path: String,
    /// Time between two checks of webhook subscriptions; zero switches them off.
    pub webhook_check_interval: Duration,
    /// Initial rate limits by operation.
    pub limits: LimitsConfig,
    /// Retries of failed calls.
    pub retry: RetryConfig,
    /// Cache for identical promise requests.
    pub promise_cache: PromiseCacheConfig,
}

/// Walmart's environment: production or sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalmartProfile {
    /// Production, with real orders.
    Production,
    /// Walmart's sandbox, which needs further headers.
    Sandbox,
}

impl WalmartProfile {
    /// The name in the settings.
    pub const fn name(self) -> &'static str {
        match self {
            WalmartProfile::Production => "production",
            WalmartProfile::Sandbox => "sandbox",
        }
    }

    /// The default base URL, without a path.
    pub const fn base_url(self) -> &'static str {
        match self {
            WalmartProfile::Production => "https://marketplace.walmartapis.com",
            WalmartProfile::Sandbox => "https://sandbox.walmartapis.com",
        }
    }
}

/// The section `[walmart.limits]`: calls per minute, by account and operation, corrected later by Walmart's answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitsConfig(pub [NonZeroU32; Operation::ALL.len()]);

impl LimitsConfig {
    /// Calls per minute of an operation.
    pub const fn of(&self, operation: Operation) -> NonZeroU32 {
        self.0[operation.index()]
    }
}

/// The section `[walmart.retry]`: retries of failed calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryConfig {
    /// Maximum attempts per call, including the first.
    pub max_attempts: NonZeroU32,
}

/// The section `[walmart.promise_cache]`: cache for promise requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PromiseCacheConfig {
    /// Lifetime of a cached answer. Zero turns the cache off.
    pub ttl: Duration,
}

/// The section `[ledger]`: resolution of unknown outcomes.
#[derive(Clone, Debug)]
pub struct LedgerConfig {
    /// Time during which a sent order may be missing in Walmart's answers before the order counts as not created.
    pub settle_window: Duration,
    /// Delays of look-ups from the time the outcome became unknown. Increasing, at least one.
    pub lookup_delays: Vec<Duration>,
    /// Age of a call after which nothing is sent again.
    pub not_after: Duration,
    /// Creations before this time are looked up at Walmart before being sent.
    pub look_first_until: Option<Timestamp>,
    /// Retention of final entries; at least [`LedgerConfig::LEAST_RETENTION`].
    pub retention: Duration,
}

impl LedgerConfig {
    /// The guaranteed time during which a repeated call gets the same answer.
    pub const LEAST_RETENTION: Duration = Duration::from_hours(90 * 24);

    /// Shortest window in production: Walmart shows an order some seconds after accepting.
    pub const LEAST_SETTLE_WINDOW: Duration = Duration::from_secs(30);

    /// Fewest look-ups in production: the number of absences required before anything is sent again.
    pub const LEAST_LOOKUPS: usize = 3;
}

/// The section `[feed]`: heartbeats, retention and limits.
#[derive(Clone, Debug)]
pub struct FeedConfig {
    /// Longest silence on a stream. Not zero.
    pub heartbeat_interval: Duration,
    /// Retention of events. Not zero.
    pub retention: Duration,
    /// Retention of events still needed by a subscription. At least `retention`.
    pub max_retention: Duration,
    /// Maximum subscriptions per client.
    pub max_subscriptions_per_client: NonZeroU32,
    /// Search for intents that no webhook told.
    pub backfill: BackfillConfig,
}

/// The section `[feed.backfill]`: search for intents in the orders.
#[derive(Clone, Debug)]
pub struct BackfillConfig {
    /// Whether orders are searched.
    pub enabled: bool,
    /// Time between two searches of an account. Not zero.
    pub interval: Duration,
    /// Age of the oldest orders searched. At most [`BackfillConfig::LONGEST_WINDOW`].
    pub window: Duration,
    /// Types of ship nodes whose orders are searched; at least one.
    pub ship_node_types: Vec<String>,
}

impl BackfillConfig {
    /// Walmart shows no older orders.
    pub const LONGEST_WINDOW: Duration = Duration::from_hours(180 * 24);
}

/// The section `[telemetry]`: export and access log.
#[derive(Clone, Debug)]
pub struct TelemetryConfig {
    /// OTLP collector. Absent: as set by the `OTEL_*` variables, or none.
    pub otlp_endpoint: Option<Url>,
    /// Part of the calls to trace, 0 to 1.
    pub trace_sample_ratio: f64,
    /// Calls to write to the access log.
    pub access_log: AccessLog,
}

/// Calls to write to the access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// Failed calls, and unary calls of 2 s or more. Failures that are logged in summary are left out.
    Failures,
    /// All calls, including successes. A line costs as much as three inbound layers.
    All,
    /// No calls at all.
    Off,
}

impl AccessLog {
    /// The name in the settings.
    pub const fn name(self) -> &'static str {
        match self {
            AccessLog::Failures => "failures",
            AccessLog::All => "all",
            AccessLog::Off => "off",
        }
    }
}

/// The section `[shutdown]`: the end of the process.
#[derive(Clone, Debug)]
pub struct ShutdownConfig {
    /// Time for calls in flight after the termination signal.
    pub grace: Duration,
}
