//! The settings: what they are, what they mean, where they come from.
//!
//! A [`Config`] that exists is valid: [`Config::load`] refuses everything else, naming every fault at once. Each key,
//! its kind, its default and its documentation stand once, in `keys`; reading, `config dump`, `config.defaults.toml` and
//! `docs/CONFIG.md` follow that table. Nothing here reads the process environment by itself: it is passed in.
//!
//! Secrets and tokens that come from files change while the process runs ([`Secret::current`], [`ClientTokens::accept`],
//! [`SecretWatcher`]); nothing else here does.

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
mod secrets;
mod sections;
#[cfg(test)]
mod several_files_tests;
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
pub use secrets::Secret;
pub use sections::{
    AccessLog, AdminConfig, FeedConfig, GrpcConfig, HttpConfig, LedgerConfig, LimitsConfig, PromiseCacheConfig,
    RetryConfig, ShutdownConfig, StoreConfig, StoreUrl, TelemetryConfig, TlsConfig, WalmartConfig, WalmartProfile,
};
pub use tokens::{ClientTokens, TokenHash};
pub use tree::PREFIX;
pub use watcher::SecretWatcher;

/// All settings of one gateway.
#[derive(Clone, Debug)]
pub struct Config {
    /// The gRPC door.
    pub grpc: GrpcConfig,
    /// Webhooks and probes.
    pub http: HttpConfig,
    /// The operators' door.
    pub admin: AdminConfig,
    /// Where the ledger and the feed are kept.
    pub store: StoreConfig,
    /// The way to Walmart.
    pub walmart: WalmartConfig,
    /// How outcomes that became unknown are found out.
    pub ledger: LedgerConfig,
    /// The feed of cancel intents.
    pub feed: FeedConfig,
    /// Traces and logs.
    pub telemetry: TelemetryConfig,
    /// How the process ends.
    pub shutdown: ShutdownConfig,
    /// The seller accounts, at least one, ids unique. [`AccountIndex`](crate::domain::account::AccountIndex) is a
    /// position in it.
    pub accounts: Vec<AccountConfig>,
    /// Who may call. Empty: everyone who reaches the listen address, which then is a loopback one.
    pub clients: Vec<ClientConfig>,
}
