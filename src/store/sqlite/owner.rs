//! The owner of the database: the owner epoch, and the sellers by the present names of their accounts.
//!
//! Every process that opens the file raises the epoch, and every transaction checks the epoch. A process that finds a
//! higher epoch has been succeeded: the transaction is not written, no work begins, and the process ends.

use rusqlite::{Connection, TransactionBehavior};

use super::sellers;
use crate::domain::account::{AccountId, SellerId};

/// The reason why a transaction was not written.
#[derive(Debug)]
pub(super) enum OwnerError {
    /// A different process has taken the file.
    Succeeded,
    /// A failure of the store.
    Failed(rusqlite::Error),
}

impl From<rusqlite::Error> for OwnerError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error)
    }
}

/// Takes the database for this process in one transaction, before anything else is written: raises the epoch, and
/// renames the sellers' accounts. `known` is the epoch of this process if taken before; the file must then still have
/// the same epoch.
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

/// Checks that this process still owns the database. Within a transaction the result holds until its end.
pub(super) fn check(connection: &Connection, epoch: i64) -> Result<(), OwnerError> {
    let mut found = connection.prepare_cached("SELECT value FROM numbers WHERE name = 'epoch'")?;
    let found: i64 = found.query_row([], |row| row.get(0))?;
    if found == epoch { Ok(()) } else { Err(OwnerError::Succeeded) }
}

#[cfg(test)]
#[path = "owner_tests.rs"]
mod tests;
