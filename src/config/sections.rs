//! The sections of which there is one each. What a key means to an operator is told in `keys`; here is what the code
//! may rely on.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::Secret;
use crate::domain::operation::Operation;
use crate::domain::timestamp::Timestamp;

/// `[grpc]`
#[derive(Clone, Debug)]
pub struct GrpcConfig {
    /// Where calls are accepted.
    pub listen: SocketAddr,
    /// Whether reflection is served, v1 and v1alpha.
    pub reflection: bool,
    /// Age at which a connection is asked to go, before jitter. Not zero.
    pub max_connection_age: Duration,
    /// Unary calls that one client may have in flight.
    pub max_calls_per_client: NonZeroU32,
    /// Streams that one client may have open.
    pub max_streams_per_client: NonZeroU32,
    /// Absent: plaintext.
    pub tls: Option<TlsConfig>,
}

/// `[grpc.tls]`
#[derive(Clone, Debug)]
pub struct TlsConfig {
    /// The certificate chain, PEM.
    pub cert_file: PathBuf,
    /// Its private key, PEM.
    pub key_file: PathBuf,
    /// Authorities that callers' certificates must come from, PEM. Present: mTLS.
    pub client_ca_file: Option<PathBuf>,
}

/// `[http]`
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// Where webhooks and probes are served.
    pub listen: SocketAddr,
    /// Whether there is a page for people.
    pub page: bool,
}

/// `[admin]`
#[derive(Clone, Debug)]
pub struct AdminConfig {
    /// Where the page for people and metrics are served. Absent: at `http.listen`.
    pub listen: Option<SocketAddr>,
    /// Names under which they may be asked for, besides localhost and any IP address: lower case, without a dot at the end.
    pub hosts: Vec<String>,
}

/// `[store]`
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Which store, and where.
    pub url: StoreUrl,
    /// Postgres only.
    pub password: Option<Secret>,
}

/// Which store, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    /// A file of this process alone.
    Sqlite(PathBuf),
    /// A server that many replicas share.
    Postgres {
        /// `postgres://user@host:port/db`, without a password.
        url: Url,
    },
}

/// `[walmart]`
#[derive(Clone, Debug)]
pub struct WalmartConfig {
    /// Which of Walmart's two worlds is spoken to.
    pub profile: WalmartProfile,
    /// http or https, without credentials, query and fragment. Its path, if any, stands before Walmart's paths.
    pub base_url: Url,
    /// Sent as `WM_SVC.NAME`: visible ASCII and spaces.
    pub service_name: String,
    /// Wire time of one attempt. Not zero.
    pub attempt_timeout: Duration,
    /// Where the buckets start.
    pub limits: LimitsConfig,
    /// Repeats of a failed call.
    pub retry: RetryConfig,
    /// Answers kept for identical promise requests.
    pub promise_cache: PromiseCacheConfig,
}

/// Which of Walmart's two worlds is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalmartProfile {
    /// Real orders.
    Production,
    /// Walmart's sandbox: further headers are sent.
    Sandbox,
}

impl WalmartProfile {
    /// As in the settings.
    pub const fn name(self) -> &'static str {
        match self {
            WalmartProfile::Production => "production",
            WalmartProfile::Sandbox => "sandbox",
        }
    }

    /// Where Walmart answers, without a path.
    pub const fn base_url(self) -> &'static str {
        match self {
            WalmartProfile::Production => "https://marketplace.walmartapis.com",
            WalmartProfile::Sandbox => "https://sandbox.walmartapis.com",
        }
    }
}

/// `[walmart.limits]`: calls a minute, per account and operation, until Walmart's answers say otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitsConfig(pub [NonZeroU32; Operation::ALL.len()]);

impl LimitsConfig {
    /// Calls a minute of one operation.
    pub const fn of(&self, operation: Operation) -> NonZeroU32 {
        self.0[operation.index()]
    }
}

/// `[walmart.retry]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryConfig {
    /// Attempts of one call, the first included.
    pub max_attempts: NonZeroU32,
}

/// `[walmart.promise_cache]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PromiseCacheConfig {
    /// How long an answer is kept. Zero: not at all.
    pub ttl: Duration,
}

/// `[ledger]`
#[derive(Clone, Debug)]
pub struct LedgerConfig {
    /// How long an order that was sent may stay invisible in Walmart's answers before it counts as not made.
    pub settle_window: Duration,
    /// When Walmart is asked about an outcome, from the moment it became unknown. Rising, at least one.
    pub lookup_delays: Vec<Duration>,
    /// Age of a call after which nothing of it is sent again.
    pub not_after: Duration,
    /// Creations that come before this moment are looked up before they are sent.
    pub look_first_until: Option<Timestamp>,
    /// How long final entries are kept; at least [`LedgerConfig::LEAST_RETENTION`].
    pub retention: Duration,
}

impl LedgerConfig {
    /// So long callers may rely on it that a call repeated is answered as it was.
    pub const LEAST_RETENTION: Duration = Duration::from_hours(90 * 24);

    /// Shortest window in production: Walmart shows an order some seconds after it took it.
    pub const LEAST_SETTLE_WINDOW: Duration = Duration::from_secs(30);

    /// Fewest look-ups in production: as many absences as the resolve rule counts before anything is sent again.
    pub const LEAST_LOOKUPS: usize = 3;
}

/// `[feed]`
#[derive(Clone, Debug)]
pub struct FeedConfig {
    /// Longest silence on a stream. Not zero.
    pub heartbeat_interval: Duration,
    /// How long events are kept. Not zero.
    pub retention: Duration,
    /// How long events are kept that a subscription still needs. At least `retention`.
    pub max_retention: Duration,
    /// Subscriptions that one client may have.
    pub max_subscriptions_per_client: NonZeroU32,
}

/// `[telemetry]`
#[derive(Clone, Debug)]
pub struct TelemetryConfig {
    /// Where traces go, by OTLP over gRPC. Absent: what the `OTEL_*` variables say, or nowhere.
    pub otlp_endpoint: Option<Url>,
    /// Share of the calls that are traced, 0 to 1.
    pub trace_sample_ratio: f64,
    /// Which calls get a line in the log.
    pub access_log: AccessLog,
}

/// Which calls get a line in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// Failed and slow ones.
    Failures,
    /// Every one.
    All,
    /// None.
    Off,
}

impl AccessLog {
    /// As in the settings.
    pub const fn name(self) -> &'static str {
        match self {
            AccessLog::Failures => "failures",
            AccessLog::All => "all",
            AccessLog::Off => "off",
        }
    }
}

/// `[shutdown]`
#[derive(Clone, Debug)]
pub struct ShutdownConfig {
    /// How long calls in flight may go on after the signal to end.
    pub grace: Duration,
}
