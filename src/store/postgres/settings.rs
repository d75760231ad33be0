//! The settings of the store on Postgres.

use std::time::Duration;

use url::Url;

pub use crate::config::PostgresTls;
use crate::config::{PostgresConfig, Secret};

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
    /// The settings of the section `[store]`, with the longest attempt of a call to Walmart.
    pub fn of(config: &PostgresConfig, attempt_timeout: Duration) -> Self {
        let PostgresConfig { url, password, tls, connections, lease, pooler, migrate, schema } = config;
        Self {
            url: url.clone(),
            password: password.clone(),
            tls: tls.clone(),
            connections: usize::try_from(connections.get()).unwrap_or(usize::MAX),
            lease: *lease,
            attempt_timeout,
            pooler: *pooler,
            migrate: *migrate,
            schema: schema.clone(),
        }
    }

    /// The settings besides those given, as they are by default.
    pub fn new(url: Url) -> Self {
        let tls = if is_near(&url) { PostgresTls::Off } else { PostgresTls::Verify { ca_file: None } };
        Self {
            url,
            password: None,
            tls,
            connections: 8,
            lease: Duration::from_secs(15),
            attempt_timeout: Duration::from_secs(10),
            pooler: false,
            migrate: true,
            schema: "order_gateway".into(),
        }
    }
}

/// Whether the server is on this machine: a loopback address, or the folder of a socket (`?host=/run/postgresql`).
fn is_near(url: &Url) -> bool {
    let folder = url.query_pairs().any(|(key, value)| key == "host" && value.starts_with('/'));
    folder
        || match url.host() {
            // The addresses of a scheme unknown to the crate are names to it.
            Some(url::Host::Domain(name)) => {
                name == "localhost"
                    || name.trim_matches(['[', ']']).parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
            }
            Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
            Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
            None => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_verified_unless_the_server_is_on_this_machine() {
        for (url, off) in [
            ("postgres://og@localhost:5432/db", true),
            ("postgres://og@127.0.0.1/db", true),
            ("postgres://og@[::1]:5432/db", true),
            ("postgres://og@x/db?host=/run/postgresql", true),
            ("postgres://og@db.example:5432/db", false),
            ("postgres://og@10.0.0.1/db", false),
        ] {
            let settings = PostgresSettings::new(Url::parse(url).unwrap());
            assert_eq!(settings.tls == PostgresTls::Off, off, "{url}");
        }
    }
}
