//! Statements outside the lanes, each a transaction of its own: reads, and writes that need no fence.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join3;
use tokio::sync::Semaphore;
use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::connect::{Connection, Connector, SessionUse};
use super::patience::answered;
use super::trouble::{PgError, Remedy};
use super::tx::{self, Param};

/// Longest wait for the answer to one statement.
const ANSWER: Duration = Duration::from_secs(10);

/// Ends sessions of gateways that hold a lock for which the session $1 waits, while they wait for their clients.
const END_BLOCKERS: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
     WHERE pid = ANY(pg_blocking_pids($1)) AND application_name LIKE 'og/%' AND wait_event = 'ClientRead' \
     AND state <> 'idle' AND state_change < clock_timestamp() - interval '2 seconds'";

/// A few connections for single statements. Cheap to clone.
#[derive(Clone)]
pub(in crate::store) struct Requests(Arc<RequestParts>);

struct RequestParts {
    connector: Connector,
    session: SessionUse,
    room: Semaphore,
    idle: Mutex<Vec<Connection>>,
}

impl Requests {
    pub(super) fn new(connector: Connector, session: SessionUse, connections: usize) -> Self {
        let room = Semaphore::new(connections);
        Self(Arc::new(RequestParts { connector, session, room, idle: Mutex::default() }))
    }

    /// Runs a statement and reads its rows. A read whose connection broke is repeated once.
    pub(in crate::store) async fn query(&self, sql: &'static str, params: &[Param<'_>]) -> Result<Vec<Row>, PgError> {
        let Ok(_room) = self.0.room.acquire().await else {
            return Err(PgError::Unreachable("the store is closed".into()));
        };
        let again = self.0.session == SessionUse::Reads;
        match self.try_query(sql, params).await {
            Err(error) if again && error.remedy() == Remedy::Connect && !matches!(error, PgError::Unreachable(_)) => {
                // The server was restarted, and all connections from before are as broken.
                self.lock().clear();
                self.try_query(sql, params).await
            }
            result => result,
        }
    }

    async fn try_query(&self, sql: &'static str, params: &[Param<'_>]) -> Result<Vec<Row>, PgError> {
        let idle = self.lock().pop().filter(|connection| !connection.client.is_closed());
        let connection = match idle {
            Some(connection) => connection,
            None => self.0.connector.connect(self.0.session).await?,
        };
        let result = answered(ANSWER, run(&connection, sql, params)).await;
        // A failed statement leaves nothing open on the connection; a broken or silent connection is dropped.
        if result.as_ref().err().is_none_or(|error| error.remedy() != Remedy::Connect) {
            self.lock().push(connection);
        }
        result
    }

    /// Ends sessions of gateways that stopped in mid-transaction and hold a lock for which the session of this process of
    /// the server waits.
    pub(super) async fn end_blockers(&self, pid: i32) {
        if let Ok(ended) = self.query(END_BLOCKERS, &[(&pid, Type::INT4)]).await
            && !ended.is_empty()
        {
            tracing::warn!(sessions = ended.len(), "ended sessions that held a lock and waited for their client");
        }
    }

    /// Refuses further statements and closes the connections.
    pub(super) fn close(&self) {
        self.0.room.close();
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        // Every change is one call of the list.
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn run(connection: &Connection, sql: &'static str, params: &[Param<'_>]) -> Result<Vec<Row>, PgError> {
    if connection.prelude.is_empty() {
        return tx::query(connection, sql, params).await;
    }
    let begin = format!("BEGIN; {}", connection.prelude);
    let (begun, rows, ended) = join3(
        connection.client.batch_execute(&begin),
        tx::query(connection, sql, params),
        connection.client.batch_execute("COMMIT"),
    )
    .await;
    begun?;
    let rows = rows?;
    ended?;
    Ok(rows)
}
