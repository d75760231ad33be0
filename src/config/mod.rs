//! The settings: what they are, what they mean, where they come from.
//!
//! A [`Config`] that exists is valid: [`Config::load`] refuses everything else, naming every fault at once. Each key,
//! its kind, its default and its documentation stand once, in `keys`; reading, `config dump`, `config.defaults.toml` and
//! `docs/CONFIG.md` follow that table. Nothing here reads the process environment by itself: it is passed in.
//!
//! Secrets and tokens that come from files change while the process runs ([`Secret::current`], [`Tokens::accept`],
//! [`Watcher`]); nothing else here does.

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

pub use accounts::{Account, Webhook};
pub use clients::{AccountSet, Client, San};
pub use dump::defaults;
pub use fault::Fault;
pub use reference::reference;
pub use secrets::Secret;
pub use sections::{
    AccessLog, Admin, Feed, Grpc, Http, Ledger, Limits, Profile, PromiseCache, Retry, Shutdown, Store, StoreUrl,
    Telemetry, Tls, Walmart,
};
pub use tokens::{TokenHash, Tokens};
pub use tree::PREFIX;
pub use watcher::Watcher;

/// All settings of one gateway.
#[derive(Clone, Debug)]
pub struct Config {
    /// The gRPC door.
    pub grpc: Grpc,
    /// Webhooks and probes.
    pub http: Http,
    /// The operators' door.
    pub admin: Admin,
    /// Where the ledger and the feed are kept.
    pub store: Store,
    /// The way to Walmart.
    pub walmart: Walmart,
    /// How outcomes that became unknown are found out.
    pub ledger: Ledger,
    /// The feed of cancel intents.
    pub feed: Feed,
    /// Traces and logs.
    pub telemetry: Telemetry,
    /// How the process ends.
    pub shutdown: Shutdown,
    /// The seller accounts, at least one, ids unique. [`AccountIndex`](crate::domain::account::AccountIndex) is a
    /// position in it.
    pub accounts: Vec<Account>,
    /// Who may call. Empty: everyone who reaches the listen address, which then is a loopback one.
    pub clients: Vec<Client>,
}
