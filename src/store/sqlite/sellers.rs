//! The sellers of the database, by the names of their accounts.
//!
//! A row of `accounts` is a seller; entries, deliveries and counts refer to its number. The name is the id of the
//! seller's account in the settings, which finds rows stored under an earlier account id. Rows of a file of an earlier
//! version have no seller; every such row gets the seller of the account with the same name.
//!
//! A seller without an account keeps its last name, unless a different seller now has that name: then the row gets a
//! name that no account can have.

use std::collections::HashMap;

use rusqlite::{Connection, params};

use super::feed::rename_filters;
use super::reads;
use crate::domain::account::{AccountId, SellerId};
use crate::store::AccountConflict;

struct SellerRow {
    id: i64,
    name: String,
    seller: Option<String>,
}

/// Names every seller of the settings after its account. Runs within a transaction.
pub(super) fn name(db: &Connection, accounts: &[(AccountId, SellerId)]) -> rusqlite::Result<()> {
    let mut rows = db.prepare("SELECT id, name, seller FROM accounts ORDER BY id")?;
    let rows = rows.query_map([], |row| Ok(SellerRow { id: row.get(0)?, name: row.get(1)?, seller: row.get(2)? }))?;
    let rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    let mut named: HashMap<i64, &AccountId> = HashMap::new();
    for (account, seller) in accounts {
        let of_seller = rows.iter().find(|row| row.seller.as_deref() == Some(seller.as_str()));
        let of_name = || rows.iter().find(|row| row.seller.is_none() && row.name == account.as_str());
        if let Some(row) = of_seller.or_else(of_name) {
            named.insert(row.id, account);
            if row.seller.is_none() {
                db.execute("UPDATE accounts SET seller = ?2 WHERE id = ?1", params![row.id, seller.as_str()])?;
            }
        }
    }
    let taken = |name: &str| accounts.iter().any(|(account, _)| account.as_str() == name);
    let name_of = |row: &SellerRow| match named.get(&row.id) {
        Some(account) => account.as_str().to_owned(),
        None if taken(&row.name) => AccountId::without_account(row.seller.as_deref(), &row.name).as_str().to_owned(),
        None => row.name.clone(),
    };
    let renamed: Vec<_> = rows.iter().map(|row| (row, name_of(row))).filter(|(row, name)| row.name != *name).collect();
    rename(db, &renamed)?;
    for (account, seller) in accounts {
        db.execute(
            "INSERT INTO accounts (name, seller) SELECT ?1, ?2 WHERE NOT EXISTS (SELECT 1 FROM accounts WHERE seller = ?2)",
            params![account.as_str(), seller.as_str()],
        )?;
    }
    Ok(())
}

/// Adds the sellers that have no row, while the process runs. With any conflict nothing is written.
pub(super) fn add(db: &Connection, accounts: &[(AccountId, SellerId)]) -> rusqlite::Result<Vec<AccountConflict>> {
    let mut find = db.prepare_cached("SELECT id, name, seller FROM accounts WHERE seller = ?1 OR name = ?2")?;
    let (mut conflicts, mut new, mut named) = (Vec::new(), Vec::new(), Vec::new());
    for (account, seller) in accounts {
        let rows = find.query_map([seller.as_str(), account.as_str()], |row| {
            Ok(SellerRow { id: row.get(0)?, name: row.get(1)?, seller: row.get(2)? })
        })?;
        let rows = rows.collect::<rusqlite::Result<Vec<_>>>()?;
        let of_seller = rows.iter().find(|row| row.seller.as_deref() == Some(seller.as_str()));
        match (of_seller, rows.first()) {
            (Some(row), _) if row.name == account.as_str() => {}
            (Some(row), _) => {
                conflicts.push(AccountConflict::Renamed { account: account.clone(), from: row.name.clone() });
            }
            (None, Some(row)) if row.seller.is_none() => named.push((row.id, seller)),
            (None, Some(_)) => conflicts.push(AccountConflict::Taken { account: account.clone() }),
            (None, None) => new.push((account, seller)),
        }
    }
    if conflicts.is_empty() {
        for (id, seller) in named {
            db.execute("UPDATE accounts SET seller = ?2 WHERE id = ?1", params![id, seller.as_str()])?;
        }
        for (account, seller) in new {
            db.execute("INSERT INTO accounts (name, seller) VALUES (?1, ?2)", [account.as_str(), seller.as_str()])?;
        }
    }
    Ok(conflicts)
}

/// Renames these rows, also in the filters of subscriptions.
fn rename(db: &Connection, renamed: &[(&SellerRow, String)]) -> rusqlite::Result<()> {
    if renamed.is_empty() {
        return Ok(());
    }
    // Two names may be exchanged: all old names are removed before the first new name is set.
    for (row, _) in renamed {
        db.execute("UPDATE accounts SET name = '#' || id WHERE id = ?1", [row.id])?;
    }
    for (row, name) in renamed {
        // Events are stored with the name of their account at that time.
        db.execute(
            "UPDATE accounts SET name = ?2, renamed_at = (SELECT coalesce(max(seq), 0) FROM events), \
             updates_renamed_at = (SELECT coalesce(max(seq), 0) FROM updates) WHERE id = ?1",
            params![row.id, name],
        )?;
        tracing::info!(from = row.name, to = name, "an account of the store has another name now");
    }
    // Accounts of such events are looked up by this index from now on; without a renamed account the index costs
    // nothing.
    db.execute_batch(
        "CREATE INDEX IF NOT EXISTS deliveries_by_seq ON deliveries (seq, account) WHERE seq IS NOT NULL",
    )?;
    let names: HashMap<_, _> = renamed.iter().map(|(row, name)| (row.name.as_str(), name.as_str())).collect();
    rename_filters(db, &names)
}

/// Logs, in one line, the entries of sellers without an account.
pub(super) fn warn(db: &Connection, accounts: &[(AccountId, SellerId)]) -> rusqlite::Result<()> {
    if accounts.is_empty() {
        return Ok(());
    }
    let mut left: Vec<(String, u64, u64)> = Vec::new();
    for count in reads::counts(db)? {
        if accounts.iter().any(|(account, _)| *account == count.account) {
            continue;
        }
        let open = if count.state.is_open() { count.entries } else { 0 };
        match left.last_mut().filter(|(name, ..)| name == count.account.as_str()) {
            Some((_, all, all_open)) => (*all, *all_open) = (*all + count.entries, *all_open + open),
            None => left.push((count.account.as_str().to_owned(), count.entries, open)),
        }
    }
    if left.is_empty() {
        return Ok(());
    }
    let mut seller = db.prepare("SELECT seller FROM accounts WHERE name = ?1")?;
    let mut shown = Vec::with_capacity(left.len());
    for (name, entries, open) in left {
        let seller: Option<String> = seller.query_row([&name], |row| row.get(0))?;
        let seller = seller.unwrap_or_else(|| "unknown".into());
        shown.push(format!("seller {seller} (last account {name}): {entries}, {open} of them open"));
    }
    tracing::warn!(
        operations = shown.join("; "),
        "operations of sellers that no account names stay as they are: give an account the seller's partner_id and they go \
         on, or leave them; callers who may see every account can list them"
    );
    Ok(())
}

#[cfg(test)]
#[path = "sellers_tests.rs"]
mod tests;
