//! Versions of the schema. A released file never changes; a change is a new file.

use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, TransactionBehavior};
use sha2::{Digest as _, Sha256};

use super::newest_keys;
use crate::domain::feed::{order_update_of_kept, with_intent_key};
use crate::domain::timestamp::Timestamp;
use crate::store::keys;

/// The steps; the first brings a database from version 0 to 1.
const STEPS: &[&str] = &[
    include_str!("0001_ledger.sql"),
    include_str!("0002_feed.sql"),
    include_str!("0003_keys.sql"),
    include_str!("0004_evidence.sql"),
    include_str!("0005_clock.sql"),
    include_str!("0006_owner.sql"),
    include_str!("0007_token_key.sql"),
    include_str!("0008_order_updates.sql"),
    include_str!("0009_succeeded.sql"),
    include_str!("0010_quarantine.sql"),
    include_str!("0011_generations.sql"),
    include_str!("0012_scopes.sql"),
    include_str!("0013_kept_leases.sql"),
    include_str!("0014_delivery_keys.sql"),
    include_str!("0015_span_latest.sql"),
    include_str!("0016_intent_lines.sql"),
    include_str!("0017_objects.sql"),
];

/// The schema version of this program.
pub(super) const LATEST: i64 = STEPS.len() as i64;

/// Migrates a database of this version to the latest, in one transaction.
pub(super) fn run(connection: &mut Connection, application: i32, from: i64) -> rusqlite::Result<()> {
    run_to(connection, application, from, LATEST)
}

/// Migrates a database to a version, in one transaction.
pub(super) fn run_to(connection: &mut Connection, application: i32, from: i64, to: i64) -> rusqlite::Result<()> {
    let step = |version| usize::try_from(version).unwrap_or(0);
    let missing = STEPS.get(step(from)..step(to)).unwrap_or_default();
    if missing.is_empty() {
        return Ok(());
    }
    let hash = |row: &rusqlite::functions::Context<'_>| {
        Ok(newest_keys::hash_of(row.get(0)?, row.get(1)?, row.get_raw(2).as_blob()?))
    };
    connection.create_scalar_function("key_hash", 3, FunctionFlags::SQLITE_DETERMINISTIC, hash)?;
    connection.create_scalar_function("order_update", 4, FunctionFlags::SQLITE_DETERMINISTIC, order_update)?;
    connection.create_scalar_function("sha256", 1, FunctionFlags::SQLITE_DETERMINISTIC, sha256)?;
    connection.create_scalar_function("body_key", 1, FunctionFlags::SQLITE_DETERMINISTIC, |row| {
        sha256(row).map(|hash| keys::body(&hash))
    })?;
    connection.create_scalar_function("with_intent_key", 2, FunctionFlags::SQLITE_DETERMINISTIC, |row| {
        Ok(with_intent_key(row.get_raw(0).as_blob()?, row.get::<Option<String>>(1)?.as_deref()))
    })?;
    connection.create_scalar_function("delivery_hash", 1, FunctionFlags::SQLITE_DETERMINISTIC, |row| {
        Ok(keys::delivery_hash(row.get_raw(0).as_blob()?))
    })?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for step in missing {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "application_id", application)?;
    transaction.pragma_update(None, "user_version", to)?;
    transaction.commit()?;
    for (name, arguments) in [
        ("key_hash", 3),
        ("order_update", 4),
        ("sha256", 1),
        ("body_key", 1),
        ("with_intent_key", 2),
        ("delivery_hash", 1),
    ] {
        connection.remove_function(name, arguments)?;
    }
    Ok(())
}

fn sha256(row: &rusqlite::functions::Context<'_>) -> rusqlite::Result<[u8; 32]> {
    Ok(Sha256::digest(row.get_raw(0).as_blob()?).into())
}

/// The message of an event stored by an earlier version as account, time, event type and body.
fn order_update(row: &rusqlite::functions::Context<'_>) -> rusqlite::Result<Vec<u8>> {
    let (account, received, event_type) = (row.get::<String>(0)?, row.get::<i64>(1)?, row.get::<String>(2)?);
    let received = Timestamp(u64::try_from(received).unwrap_or_default());
    Ok(order_update_of_kept(account, received, event_type, row.get_raw(3).as_blob()?))
}
