//! The settings: types, meaning and sources.
//!
//! A [`Config`] is always valid: [`Config::load`] rejects invalid settings and reports all faults at once. `keys`
//! defines each key once, with type, default and documentation; reading, `config dump`, `config.defaults.toml` and
//! `docs/CONFIG.md` use the table. No function reads the process environment; variables are passed in.
//!
//! Secrets and tokens from files can change while the process runs ([`Secret::current`], [`ClientTokens::accept`],
//! [`SecretWatcher`]). Accounts and clients are read again from the [`SettingsFiles`]. All other settings are fixed.

mod accounts;
mod clients;
mod dump;
mod fault;
pub mod files;
mod key;
mod keys;
mod load;
mod reader;
mod reference;
mod reload;
mod secrets;
mod sections;
#[cfg(test)]
mod tests;
mod tokens;
mod tree;
mod validate;
mod values;
mod watcher;

pub use accounts::{AccountConfig, WebhookAuth};
pub use clients::{AccountSet, ClientConfig, SubjectAltName};
pub use dump::defaults;
pub use fault::ConfigFault;
pub use reference::reference;
pub use reload::{SettingsFiles, SettingsReading};
pub use secrets::Secret;
pub use sections::{
    AccessLog, AdminConfig, BackfillConfig, FeedConfig, GrpcConfig, GrpcListen, HttpConfig, LedgerConfig, LimitsConfig,
    PostgresConfig, PostgresTls, PromiseCacheConfig, RetryConfig, ShutdownConfig, StoreConfig, TelemetryConfig,
    TlsConfig, WalmartConfig, WalmartProfile,
};
pub use tokens::{ClientTokens, TokenHash};
pub use tree::PREFIX;
pub use values::listen_address;
pub use watcher::SecretWatcher;

/// All settings of a gateway.
#[derive(Clone, Debug)]
pub struct Config {
    /// The gRPC listener, with TLS and limits.
    pub grpc: GrpcConfig,
    /// The HTTP listener for webhooks and probes.
    pub http: HttpConfig,
    /// The operators' listener: status page and metrics.
    pub admin: AdminConfig,
    /// Storage of the ledger and the feeds.
    pub store: StoreConfig,
    /// Connection to Walmart, with limits and retries.
    pub walmart: WalmartConfig,
    /// Resolution of unknown outcomes.
    pub ledger: LedgerConfig,
    /// Heartbeats, retention and limits of the feeds.
    pub feed: FeedConfig,
    /// Export of traces and metrics, and the access log.
    pub telemetry: TelemetryConfig,
    /// The end of the process.
    pub shutdown: ShutdownConfig,
    /// The seller accounts, at least one, with unique ids.
    pub accounts: Vec<AccountConfig>,
    /// The permitted callers. If empty, anyone able to reach the listen address may call, and the address must be
    /// loopback.
    pub clients: Vec<ClientConfig>,
}

impl Config {
    /// Settings which are permitted, and are probably not meant; one line each, with the key.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if let StoreConfig::Postgres(postgres) = &self.store
            && postgres.lease <= self.walmart.attempt_timeout
        {
            let timeout = values::write_duration(self.walmart.attempt_timeout);
            warnings.push(format!(
                "store.lease: should be longer than walmart.attempt_timeout ({timeout}), or a replica can lose its lease \
                 during a single attempt"
            ));
        }
        warnings
    }
}
