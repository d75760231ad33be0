//! Connections to the server: who connects, with which options of the session, and what is checked of the server.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use std::{fmt, sync::Arc};

use secrecy::ExposeSecret as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::{AsyncMessage, Client, NoTls, Notification, Statement};

use super::settings::PostgresSettings;
use super::tls::PostgresTlsConnector;
use super::trouble::PgError;
use crate::config::PostgresTls;

/// Longest wait for a connection that is ready for use.
const CONNECT: Duration = Duration::from_secs(5);

/// Silence after which the operating system gives a connection up, and asks whether the other side is there.
const SILENCE: Duration = Duration::from_secs(5);

/// Options of every session, or of every transaction behind a pooler.
const OPTIONS: [(&str, &str); 3] =
    [("lock_timeout", "3s"), ("idle_in_transaction_session_timeout", "10s"), ("client_min_messages", "warning")];

/// The use of a connection; its name tells operators and other replicas whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::store) enum SessionUse {
    /// A lane of a life: writes under its epoch.
    Lane {
        /// The life (`replicas.id`).
        life: i64,
        /// Number of the lane.
        lane: i16,
    },
    /// Reads, each a statement of its own.
    Reads,
    /// Writes of which losing the last second costs nothing: `synchronous_commit = off`.
    Draws,
    /// LISTEN.
    Listen,
    /// Start, migrations, heartbeats and takeovers.
    Life,
}

/// Makes connections.
#[derive(Clone)]
pub(in crate::store) struct Connector(Arc<ConnectorParts>);

struct ConnectorParts {
    settings: PostgresSettings,
    config: tokio_postgres::Config,
    tls: Option<PostgresTlsConnector>,
}

impl Connector {
    /// # Errors
    /// One line for the operator: the url or the authorities cannot be used.
    pub(super) fn new(settings: PostgresSettings) -> Result<Self, String> {
        if !is_plain_name(&settings.schema) {
            return Err(format!(
                "schema {:?} must be 1 to 40 lower-case letters, digits and underscores, and begin with a letter or an \
                 underscore",
                settings.schema
            ));
        }
        let mut config: tokio_postgres::Config =
            settings.url.as_str().parse().map_err(|error| format!("the url cannot be used: {error}"))?;
        let tls = match &settings.tls {
            PostgresTls::Verify { ca_file } => Some(PostgresTlsConnector::new(ca_file.as_deref())?),
            PostgresTls::Off => None,
        };
        config
            .ssl_mode(if tls.is_some() { SslMode::Require } else { SslMode::Disable })
            .connect_timeout(CONNECT)
            .tcp_user_timeout(SILENCE)
            .keepalives_idle(SILENCE)
            .keepalives_interval(SILENCE)
            .keepalives_retries(2);
        Ok(Self(Arc::new(ConnectorParts { settings, config, tls })))
    }

    /// Longest pause between two attempts to connect.
    pub(super) fn longest_pause(&self) -> Duration {
        self.0.settings.lease / 3
    }

    pub(super) fn settings(&self) -> &PostgresSettings {
        &self.0.settings
    }

    /// The name of the sessions of this use, in `pg_stat_activity`.
    pub(super) fn session_name(&self, session: SessionUse) -> String {
        let schema = &self.0.settings.schema;
        match session {
            SessionUse::Lane { life, lane } => format!("og/{life}/{lane}/{schema}"),
            SessionUse::Reads => format!("og/reads/{schema}"),
            SessionUse::Draws => format!("og/draws/{schema}"),
            SessionUse::Listen => format!("og/listen/{schema}"),
            SessionUse::Life => format!("og/life/{schema}"),
        }
    }

    /// Connects to a server that can be written.
    pub(in crate::store) async fn connect(&self, session: SessionUse) -> Result<Connection, PgError> {
        self.connect_with(session, None).await
    }

    /// As [`Self::connect`], with the notifications that come over the connection.
    pub(in crate::store) async fn connect_listening(
        &self,
    ) -> Result<(Connection, mpsc::UnboundedReceiver<Notification>), PgError> {
        #[expect(clippy::disallowed_methods, reason = "a listener reads on at once; a notification is a few bytes")]
        let (send, notifications) = mpsc::unbounded_channel();
        Ok((self.connect_with(SessionUse::Listen, Some(send)).await?, notifications))
    }

    async fn connect_with(
        &self,
        session: SessionUse,
        notifications: Option<mpsc::UnboundedSender<Notification>>,
    ) -> Result<Connection, PgError> {
        let connecting = async {
            let mut connection = self.open(session, notifications).await?;
            let rows = connection
                .client
                .simple_query(
                    "SELECT pg_is_in_recovery()::int, pg_backend_pid(), current_setting('server_version_num')",
                )
                .await?;
            let row = rows.iter().find_map(|message| match message {
                tokio_postgres::SimpleQueryMessage::Row(row) => Some(row),
                _ => None,
            });
            let number = |at| row.and_then(|row| row.get(at)).and_then(|text: &str| text.parse::<i32>().ok());
            let (Some(recovering), Some(pid), Some(version)) = (number(0), number(1), number(2)) else {
                return Err(PgError::Damaged("the server does not tell its state".into()));
            };
            if recovering != 0 {
                return Err(PgError::Unreachable(
                    "the server is a standby, which cannot be written: the address must lead to the primary".into(),
                ));
            }
            if version >= 17_00_00 && !self.0.settings.pooler {
                connection.client.batch_execute("SET transaction_timeout = '15s'").await?;
            }
            (connection.pid, connection.version) = (pid, version);
            Ok(connection)
        };
        let connected = tokio::time::timeout(CONNECT, connecting).await;
        connected.unwrap_or(Err(PgError::Silent(CONNECT.as_secs()))).map_err(|error| self.advise(error))
    }

    async fn open(
        &self,
        session: SessionUse,
        notifications: Option<mpsc::UnboundedSender<Notification>>,
    ) -> Result<Connection, PgError> {
        let ConnectorParts { settings, config, tls } = &*self.0;
        let mut config = config.clone();
        config.application_name(self.session_name(session));
        if let Some(password) = &settings.password {
            let password = password.read_again();
            config.password(password.expose_secret());
        }
        if !settings.pooler {
            let options = self.options(session).into_iter().map(|(key, value)| format!("-c {key}={value}"));
            config.options(options.collect::<Vec<_>>().join(" "));
        }
        let warned = Arc::<AtomicBool>::default();
        let watch = Watch { warned: warned.clone(), notifications };
        let (client, driver) = match tls {
            Some(tls) => {
                let (client, connection) = config.connect(tls.clone()).await?;
                (client, tokio::spawn(drive(connection, watch)))
            }
            None => {
                let (client, connection) = config.connect(NoTls).await?;
                (client, tokio::spawn(drive(connection, watch)))
            }
        };
        Ok(Connection {
            client,
            pid: 0,
            version: 0,
            prelude: self.prelude(session),
            statements: (!settings.pooler).then(Mutex::default),
            warned,
            driver: driver.abort_handle(),
        })
    }

    fn options(&self, session: SessionUse) -> Vec<(&str, &str)> {
        let mut options = Vec::from(OPTIONS);
        options.push(("search_path", &self.0.settings.schema));
        options.push(("synchronous_commit", if session == SessionUse::Draws { "off" } else { "on" }));
        // A life's session migrates, which takes as long as it takes.
        if session != SessionUse::Life {
            options.push(("statement_timeout", "10s"));
        }
        options
    }

    /// The statements after BEGIN that set the options of one transaction behind a pooler.
    fn prelude(&self, session: SessionUse) -> String {
        if !self.0.settings.pooler {
            return String::new();
        }
        let set = |(key, value)| format!("SET LOCAL {key} = '{value}'; ");
        self.options(session).into_iter().map(set).collect()
    }

    /// Says what to do about an error that the operator has to mend.
    fn advise(&self, error: PgError) -> PgError {
        let PgError::Database(told) = &error else { return error };
        let user = self.0.config.get_user().unwrap_or_default();
        let database = self.0.config.get_dbname().unwrap_or_default();
        let line = match told.code() {
            Some(code) if *code == SqlState::INVALID_PASSWORD => {
                format!(
                    "the password of {user:?} is wrong: correct store.password or its file, which is read at each connect"
                )
            }
            Some(code) if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
                format!("the server does not let {user:?} in ({error}): create the role, or permit it in pg_hba.conf")
            }
            Some(code) if *code == SqlState::INVALID_CATALOG_NAME => {
                format!("there is no database {database:?}: create it, or correct store.url")
            }
            Some(code) if *code == SqlState::TOO_MANY_CONNECTIONS => format!(
                "the server has no connection left: each replica needs {}; raise max_connections or lower store.connections",
                self.0.settings.connections
            ),
            Some(code) if *code == SqlState::INSUFFICIENT_PRIVILEGE => {
                format!("{user:?} may not use the database {database:?}: grant it CONNECT")
            }
            Some(_) => return error,
            None => format!("no connection to the server: {error}"),
        };
        PgError::Unreachable(line)
    }
}

/// A connection that was checked. Dropping it closes the socket.
pub(in crate::store) struct Connection {
    pub(super) client: Client,
    /// The process of the server.
    pub(super) pid: i32,
    /// The version of the server: 15.3 is 150003.
    pub(super) version: i32,
    /// Statements that follow BEGIN; empty without a pooler.
    pub(super) prelude: String,
    /// Prepared statements; `None` behind a pooler.
    pub(super) statements: Option<Mutex<HashMap<&'static str, Statement>>>,
    warned: Arc<AtomicBool>,
    driver: AbortHandle,
}

impl Connection {
    /// Whether the server has warned since the last question: a commit may be without the answer of a standby.
    pub(super) fn take_warning(&self) -> bool {
        self.warned.swap(false, Ordering::AcqRel)
    }

    pub(super) fn prepared(&self, sql: &'static str) -> Option<Statement> {
        let statements = self.statements.as_ref()?;
        statements.lock().unwrap_or_else(PoisonError::into_inner).get(sql).cloned()
    }

    pub(super) fn keep(&self, sql: &'static str, statement: Statement) {
        if let Some(statements) = &self.statements {
            statements.lock().unwrap_or_else(PoisonError::into_inner).insert(sql, statement);
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Also when the server is silent: the socket closes now.
        self.driver.abort();
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("pid", &self.pid).finish_non_exhaustive()
    }
}

/// What comes over a connection without being asked for.
struct Watch {
    warned: Arc<AtomicBool>,
    notifications: Option<mpsc::UnboundedSender<Notification>>,
}

/// Moves the bytes of a connection until it closes. Warnings are noted before the answer behind them is given out.
async fn drive<S, T>(mut connection: tokio_postgres::Connection<S, T>, watch: Watch)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(Ok(message)) = poll_fn(|cx| connection.poll_message(cx)).await {
        match message {
            AsyncMessage::Notice(notice) if *notice.code() == SqlState::WARNING => {
                tracing::warn!(warning = notice.message(), "Postgres warns");
                watch.warned.store(true, Ordering::Release);
            }
            AsyncMessage::Notification(notification) => {
                if let Some(send) = &watch.notifications {
                    // Whoever listened has left.
                    let _ = send.send(notification);
                }
            }
            _ => {}
        }
    }
}

/// Whether the name needs no quotes anywhere, and leaves room in the name of a session.
fn is_plain_name(name: &str) -> bool {
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    begins && name.len() <= 40 && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_is_a_plain_name() {
        for (name, fits) in [
            ("order_gateway", true),
            ("_a1", true),
            ("", false),
            ("1a", false),
            ("A", false),
            ("a-b", false),
            ("a b", false),
        ] {
            assert_eq!(is_plain_name(name), fits, "{name}");
        }
        assert!(is_plain_name(&"a".repeat(40)) && !is_plain_name(&"a".repeat(41)));
    }
}
