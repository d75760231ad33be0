//! Accounts that were renamed after their events were stored.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, params};

use super::super::log_tables::{self, LogTables};
use super::super::rows::{self, integer};
use crate::domain::account::AccountId;
use crate::domain::feed::subscription::SubscriptionConfig;
use crate::domain::feed::{FeedName, with_account};
use crate::ports::event_log::StoredEvent;

/// Puts the new names into the filters of subscriptions. Runs within the transaction that renames accounts.
pub(in crate::store::sqlite) fn rename_filters(db: &Connection, names: &HashMap<&str, &str>) -> rusqlite::Result<()> {
    let mut all = db.prepare("SELECT id, config FROM subscriptions")?;
    let all = all.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?)))?;
    for (id, config) in all.collect::<rusqlite::Result<Vec<_>>>()? {
        // A damaged configuration is reported when the subscription is used.
        let Ok(mut config) = SubscriptionConfig::decode(&config) else { continue };
        let mut changed = false;
        for account in &mut config.filter.accounts {
            if let Some(name) = names.get(account.as_str()) {
                (*account, changed) = ((*name).to_owned(), true);
            }
        }
        if changed {
            db.execute("UPDATE subscriptions SET config = ?2 WHERE id = ?1", params![id, config.encode()])?;
        }
    }
    Ok(())
}

/// Replaces the account names of events with the present names. Costs a read of a small table when no account was
/// renamed since these events.
pub(super) fn named_now(
    db: &Connection,
    feed: FeedName,
    mut events: Vec<StoredEvent>,
) -> rusqlite::Result<Vec<StoredEvent>> {
    let Some(first) = events.first().map(|event| event.seq) else { return Ok(events) };
    let LogTables { renamed_at, .. } = log_tables::of(feed);
    let mut last = db.prepare_cached(&format!("SELECT coalesce(max({renamed_at}), 0) FROM accounts"))?;
    let last = last.query_row([], |row| rows::number(row, 0))?;
    if last < first {
        return Ok(events);
    }
    let mut name = db.prepare_cached(match feed {
        FeedName::CancelIntents => {
            "SELECT a.name FROM deliveries d INDEXED BY deliveries_by_seq JOIN accounts a ON a.id = d.account \
             WHERE d.seq = ?1 AND a.renamed_at >= ?1"
        }
        FeedName::OrderUpdates => {
            "SELECT a.name FROM updates u JOIN accounts a ON a.id = u.account \
             WHERE u.seq = ?1 AND a.updates_renamed_at >= ?1"
        }
    })?;
    for event in events.iter_mut().take_while(|event| event.seq <= last) {
        let renamed: Option<AccountId> =
            name.query_row([integer(event.seq)], |row| rows::account(row, 0)).optional()?;
        if let Some(account) = renamed {
            event.message = with_account(&event.message, &account);
        }
    }
    Ok(events)
}
