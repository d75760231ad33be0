//! The settings of the store on Postgres.

use std::time::Duration;

use url::Url;

use crate::config::{PostgresConfig, PostgresTls, Secret};

/// Where the database is, and how this process uses it.
#[derive(Clone, Debug)]
pub struct PostgresSettings {
    /// `postgres://user@host:port/db`, without a password.
    pub url: Url,
    /// The password; a file is read again at each connect.
    pub password: Option<Secret>,
    /// How the server proves who it is.
    pub tls: PostgresTls,
    /// Largest number of connections of this process.
    pub connections: usize,
    /// How long this process counts as alive after its last heartbeat.
    pub lease: Duration,
    /// Longest attempt of a call to Walmart (`walmart.attempt_timeout`): what a dead process may have under way is over
    /// after it.
    pub attempt_timeout: Duration,
    /// Whether a pooler in transaction mode is between: nothing of a session is relied on then.
    pub pooler: bool,
    /// Whether the schema is brought up to date at the start.
    pub migrate: bool,
    /// The schema that has all tables.
    pub schema: String,
}

impl PostgresSettings {
    /// Takes the settings from the section `[store]`.
    pub fn of(config: &PostgresConfig, attempt_timeout: Duration) -> Self {
        let PostgresConfig { url, password, tls, connections, lease, pooler, migrate, schema } = config.clone();
        let connections = usize::try_from(connections.get()).unwrap_or(usize::MAX);
        Self { url, password, tls, connections, lease, attempt_timeout, pooler, migrate, schema }
    }
}
