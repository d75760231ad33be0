//! Versions of the schema. A released file never changes; a change is a new file that the release before can live with.

use std::time::Duration;

use tokio::time::sleep;
use tokio_postgres::types::Type;

use super::connect::Connection;
use super::trouble::PgError;
use super::tx;

/// The steps; the first brings a new schema to version 1.
const STEPS: &[&str] = &[include_str!("0001_replicas_and_ledger.sql")];

/// The schema version of this program.
pub(super) const LATEST: i32 = STEPS.len() as i32;

/// The oldest program that can use the schema of this one, by its schema version.
const OLDEST_READER: i32 = 1;

/// Pause between two attempts to get the lock, which is never waited for: a waiter would stop index builds.
const PAUSE: Duration = Duration::from_millis(100);

/// Number of the lock, with the schema's name: "OGM1".
const LOCK: i32 = 0x4f47_4d31;

/// Versions that a schema tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SchemaVersion {
    /// Version of the schema; 0 for none.
    pub(super) version: i32,
    /// The oldest program that can use it.
    pub(super) oldest_reader: i32,
}

/// Reads the version of the schema.
pub(super) async fn version(connection: &Connection) -> Result<SchemaVersion, PgError> {
    let there = tx::query(connection, "SELECT to_regclass('schema_version') IS NOT NULL", &[]).await?;
    if !there.first().is_some_and(|row| row.get(0)) {
        return Ok(SchemaVersion { version: 0, oldest_reader: 0 });
    }
    let rows = tx::query(connection, "SELECT version, oldest_reader FROM schema_version", &[]).await?;
    let Some(row) = rows.first() else { return Ok(SchemaVersion { version: 0, oldest_reader: 0 }) };
    Ok(SchemaVersion { version: row.try_get(0)?, oldest_reader: row.try_get(1)? })
}

/// Brings the schema up to date. Several replicas may do so at the same time; each step is one transaction.
pub(super) async fn run(connection: &Connection, schema: &str) -> Result<(), PgError> {
    let present =
        tx::query(connection, "SELECT 1 FROM pg_namespace WHERE nspname = $1", &[(&schema, Type::TEXT)]).await?;
    if present.is_empty() {
        // Another replica may create it at the same time, which is then a violation of a unique index.
        let created = connection.client.batch_execute(&format!("CREATE SCHEMA IF NOT EXISTS {schema}")).await;
        if let Err(error) = created.map_err(PgError::from)
            && !error.is_of_one()
        {
            return Err(error);
        }
    }
    while version(connection).await?.version < LATEST {
        connection.client.batch_execute("BEGIN; SET LOCAL lock_timeout = '2s'").await?;
        match step(connection, schema).await {
            Ok(true) => connection.client.batch_execute("COMMIT").await?,
            Ok(false) => {
                connection.client.batch_execute("ROLLBACK").await?;
                sleep(PAUSE).await;
            }
            Err(error) => {
                connection.client.batch_execute("ROLLBACK").await?;
                if error.remedy() != super::trouble::Remedy::Again {
                    return Err(error);
                }
                sleep(PAUSE).await;
            }
        }
    }
    Ok(())
}

/// Takes the next step in the open transaction; returns whether there was one to take and the lock was had.
async fn step(connection: &Connection, schema: &str) -> Result<bool, PgError> {
    let lock = "SELECT pg_try_advisory_xact_lock($1, hashtext($2))";
    let locked = tx::query(connection, lock, &[(&LOCK, Type::INT4), (&schema, Type::TEXT)]).await?;
    if !locked.first().is_some_and(|row| row.get(0)) {
        return Ok(false);
    }
    let from = version(connection).await?.version;
    let Some(sql) = usize::try_from(from).ok().and_then(|from| STEPS.get(from)) else { return Ok(false) };
    if from == 0 {
        let table = "CREATE TABLE schema_version (one boolean PRIMARY KEY DEFAULT true CHECK (one), version int NOT NULL, \
                     oldest_reader int NOT NULL); INSERT INTO schema_version (version, oldest_reader) VALUES (0, 0)";
        connection.client.batch_execute(table).await?;
    }
    connection.client.batch_execute(sql).await?;
    let update = "UPDATE schema_version SET version = $1, oldest_reader = greatest(oldest_reader, $2)";
    tx::execute(connection, update, &[(&(from + 1), Type::INT4), (&OLDEST_READER, Type::INT4)]).await?;
    Ok(true)
}
