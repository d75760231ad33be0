//! What is checked of a server and its schema before this process uses them.

use tokio_postgres::error::SqlState;

use super::connect::Connection;
use super::migrations::{self, LATEST};
use super::settings::PostgresSettings;
use super::trouble::PgError;
use super::tx;

/// The oldest version of the server.
const OLDEST: i32 = 14_00_00;

/// Why this process does not start to use the store.
#[derive(Debug)]
pub(super) enum StartError {
    /// One line for the operator; waiting does not help.
    Refused(String),
    /// The server cannot be used now.
    Failing(PgError),
}

impl<E: Into<PgError>> From<E> for StartError {
    fn from(error: E) -> Self {
        Self::Failing(error.into())
    }
}

/// Checks the server and brings the schema up to date, if the settings permit that.
pub(super) async fn prepare(connection: &Connection, settings: &PostgresSettings) -> Result<(), StartError> {
    server(connection).await?;
    let schema = &settings.schema;
    let found = migrations::version(connection).await?;
    if found.oldest_reader > LATEST {
        return Err(StartError::Refused(format!(
            "schema {schema:?} was written by a newer version (schema version {}, readable from {} on; this program has \
             {LATEST}): start that version",
            found.version, found.oldest_reader
        )));
    }
    if found.version < LATEST && !settings.migrate {
        return Err(StartError::Failing(PgError::Unreachable(format!(
            "schema {schema:?} has version {} and this program needs {LATEST}: run order-gateway store migrate, or set \
             store.migrate",
            found.version
        ))));
    }
    if found.version < LATEST {
        migrate(connection, settings).await?;
    }
    may_write(connection, settings).await
}

/// Brings the schema up to date.
pub(super) async fn migrate(connection: &Connection, settings: &PostgresSettings) -> Result<(), StartError> {
    let schema = &settings.schema;
    migrations::run(connection, schema).await.map_err(|error| {
        let PgError::Database(told) = &error else { return StartError::Failing(error) };
        // Without rights on a schema that is there, the server says that there is none.
        let no_right = [SqlState::INSUFFICIENT_PRIVILEGE, SqlState::INVALID_SCHEMA_NAME];
        if told.code().is_some_and(|code| no_right.contains(code)) {
            return StartError::Failing(PgError::Unreachable(format!(
                "the role may not create schema {schema:?} or its tables ({error}): GRANT CREATE ON DATABASE to it, or run \
                 order-gateway store migrate with a role that may"
            )));
        }
        StartError::Failing(error)
    })
}

async fn server(connection: &Connection) -> Result<(), StartError> {
    if connection.version < OLDEST {
        return Err(StartError::Refused(format!(
            "the server is PostgreSQL {}; version 14 or later is needed",
            connection.version / 1_00_00
        )));
    }
    let rows = tx::query(
        connection,
        "SELECT current_setting('fsync'), current_setting('full_page_writes'), current_setting('server_version'), \
         current_setting('synchronous_standby_names')",
        &[],
    )
    .await?;
    let Some(row) = rows.first() else {
        return Err(StartError::Failing(PgError::Damaged("the server does not tell its settings".into())));
    };
    for (at, name) in ["fsync", "full_page_writes"].into_iter().enumerate() {
        if row.try_get::<_, &str>(at)? != "on" {
            return Err(StartError::Refused(format!(
                "the server runs with {name} = off, by which a crash loses acknowledged orders: set {name} = on"
            )));
        }
    }
    let (version, standbys): (&str, &str) = (row.try_get(2)?, row.try_get(3)?);
    if standbys.is_empty() {
        tracing::warn!(
            version,
            "Postgres has no synchronous standby: a failover can cost acknowledged orders, unless its storage is replicated"
        );
    } else {
        tracing::info!(version, standbys, "Postgres is the store");
    }
    Ok(())
}

async fn may_write(connection: &Connection, settings: &PostgresSettings) -> Result<(), StartError> {
    let sql = "SELECT coalesce(bool_and(CASE c.relkind WHEN 'S' THEN has_sequence_privilege(c.oid, 'USAGE') \
               ELSE has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT') \
               AND has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE') END), false) \
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
               WHERE c.relkind IN ('r', 'S') AND n.nspname = current_schema()";
    let rows = tx::query(connection, sql, &[]).await?;
    if rows.first().is_some_and(|row| row.get(0)) {
        return Ok(());
    }
    Err(StartError::Failing(PgError::Unreachable(format!(
        "the role may not read and write the tables of schema {:?}: GRANT USAGE ON SCHEMA, SELECT, INSERT, UPDATE, DELETE ON ALL \
         TABLES and USAGE ON ALL SEQUENCES in it",
        settings.schema
    ))))
}
