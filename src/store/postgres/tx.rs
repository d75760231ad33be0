//! A transaction that is open on a connection, and the statements in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::connect::Connection;
use super::trouble::PgError;

/// A parameter of a statement, with the type that the server expects.
pub(in crate::store) type Param<'a> = (&'a (dyn ToSql + Sync), Type);

/// An open transaction. Cheap to clone.
///
/// Statements are sent when their futures are first polled: futures polled together go in one flush, and the server
/// carries them out in the order in which they were polled. All of them must be awaited, else nothing is committed.
#[derive(Clone)]
pub(in crate::store) struct Tx(Arc<TxParts>);

struct TxParts {
    connection: Arc<Connection>,
    life: i64,
    started: AtomicUsize,
    done: AtomicUsize,
}

impl Tx {
    pub(super) fn new(connection: Arc<Connection>, life: i64) -> Self {
        Self(Arc::new(TxParts { connection, life, started: AtomicUsize::new(0), done: AtomicUsize::new(0) }))
    }

    /// The life of this process (`replicas.id`) under which the transaction writes.
    pub(in crate::store) fn life(&self) -> i64 {
        self.0.life
    }

    /// Runs a statement and reads its rows.
    pub(in crate::store) async fn query(&self, sql: &'static str, params: &[Param<'_>]) -> Result<Vec<Row>, PgError> {
        self.0.started.fetch_add(1, Ordering::Relaxed);
        let rows = query(&self.0.connection, sql, params).await?;
        self.0.done.fetch_add(1, Ordering::Relaxed);
        Ok(rows)
    }

    /// Runs a statement without rows; returns the number of rows that it wrote.
    pub(in crate::store) async fn execute(&self, sql: &'static str, params: &[Param<'_>]) -> Result<u64, PgError> {
        self.0.started.fetch_add(1, Ordering::Relaxed);
        let count = execute(&self.0.connection, sql, params).await?;
        self.0.done.fetch_add(1, Ordering::Relaxed);
        Ok(count)
    }

    /// Whether every statement was carried out and read. The COMMIT of a transaction with a failed statement is no error to
    /// the server, which rolls it back.
    pub(super) fn is_whole(&self) -> bool {
        self.0.started.load(Ordering::Relaxed) == self.0.done.load(Ordering::Relaxed)
    }
}

/// Runs a statement, which is prepared once for each connection; behind a pooler it has no name.
pub(super) async fn query(
    connection: &Connection,
    sql: &'static str,
    params: &[Param<'_>],
) -> Result<Vec<Row>, PgError> {
    if let Some(statement) = connection.prepared(sql) {
        return Ok(connection.client.query(&statement, &values(params)).await?);
    }
    let rows = connection.client.query_typed(sql, params).await?;
    prepare(connection, sql, params).await?;
    Ok(rows)
}

/// As [`query`], for the number of rows written.
pub(super) async fn execute(connection: &Connection, sql: &'static str, params: &[Param<'_>]) -> Result<u64, PgError> {
    if let Some(statement) = connection.prepared(sql) {
        return Ok(connection.client.execute(&statement, &values(params)).await?);
    }
    let count = connection.client.execute_typed(sql, params).await?;
    prepare(connection, sql, params).await?;
    Ok(count)
}

/// Prepares a statement for its next use, after it ran: preparing it first would let the statements polled after it go
/// before it.
async fn prepare(connection: &Connection, sql: &'static str, params: &[Param<'_>]) -> Result<(), PgError> {
    if connection.statements.is_some() {
        let types: Vec<Type> = params.iter().map(|(_, kind)| kind.clone()).collect();
        connection.keep(sql, connection.client.prepare_typed(sql, &types).await?);
    }
    Ok(())
}

fn values<'a>(params: &[Param<'a>]) -> Vec<&'a (dyn ToSql + Sync)> {
    params.iter().map(|(value, _)| *value).collect()
}
