//! Whose the database is: the owner epoch, and the sellers by their accounts' names of now.
//!
//! Each process that opens the file raises the epoch, and each of its transactions asks whether it is still the same. A process
//! that finds another one has been succeeded: nothing of that transaction is written, nothing new is begun, and it ends.

use rusqlite::{Connection, TransactionBehavior};

use super::sellers;
use crate::domain::account::{AccountId, SellerId};

/// Why a transaction does not happen.
#[derive(Debug)]
pub(super) enum OwnerError {
    /// Another process has taken the file.
    Succeeded,
    /// The store failed.
    Failed(rusqlite::Error),
}

impl From<rusqlite::Error> for OwnerError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error)
    }
}

/// Takes the database for this process, in one transaction, before anything else is written: raises the epoch, and gives the
/// sellers their accounts' names. `known` is the epoch of this process if it has one; then the file must still have it.
pub(super) fn take(
    connection: &mut Connection,
    known: Option<i64>,
    accounts: &[(AccountId, SellerId)],
) -> Result<i64, OwnerError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let epoch = match known {
        Some(known) => {
            check(&transaction, known)?;
            known
        }
        None => {
            let raise = "UPDATE numbers SET value = value + 1 WHERE name = 'epoch' RETURNING value";
            transaction.query_row(raise, [], |row| row.get(0))?
        }
    };
    sellers::name(&transaction, accounts)?;
    transaction.commit()?;
    sellers::warn(connection, accounts)?;
    Ok(epoch)
}

/// Whether this process still owns the database. Within a transaction, so that the answer holds until its end.
pub(super) fn check(connection: &Connection, epoch: i64) -> Result<(), OwnerError> {
    let mut found = connection.prepare_cached("SELECT value FROM numbers WHERE name = 'epoch'")?;
    let found: i64 = found.query_row([], |row| row.get(0))?;
    if found == epoch { Ok(()) } else { Err(OwnerError::Succeeded) }
}

#[cfg(test)]
#[path = "owner_tests.rs"]
mod tests;
