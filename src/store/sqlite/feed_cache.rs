//! The writer's cache of the feed between transactions.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;
use rusqlite::Connection;

use super::log_tables::{self, LogTables};
use super::rows::{self, number};
use crate::domain::feed::subscription::Subscription;
use crate::domain::feed::{ByFeed, FeedName};

/// Positions in one row of a table of spans.
pub(super) const SPAN: u64 = 1024;

/// Most cached subscriptions; the least recently used ones are dropped. Loading a subscription costs a read of every
/// row, and the cache has room for all subscriptions likely in use.
const SUBSCRIPTIONS: usize = 4096;

/// Most cached rows of all subscriptions, about 150 bytes each. The last used subscription always stays.
const ROWS: u64 = 400_000;

/// The cache. Dropped with the rest of the writer's memory when a transaction is rolled back.
pub(super) struct FeedCache {
    /// The last assigned position of every log, possibly in an uncommitted transaction.
    pub(super) heads: ByFeed<u64>,
    /// The id of the next delivery.
    pub(super) next_delivery: i64,
    /// The next unused generation of subscriptions.
    pub(super) next_generation: u64,
    /// Subscriptions by the name of their client, once they were counted.
    pub(super) of_clients: Option<HashMap<String, u64, RandomState>>,
    /// Whether deliveries exist from versions that stored event ids without kinds.
    pub(super) has_old_keys: bool,
    /// Whether the quarantine may have rows.
    pub(super) has_quarantine: bool,
    /// Whether steady times in the tables are known to be of this boot.
    pub(super) is_of_this_boot: bool,
    /// Subscriptions as stored in the database, by name.
    subscriptions: HashMap<String, CachedSubscription, RandomState>,
    /// Subscription names by the time of their last use.
    used: BTreeMap<u64, String>,
    uses: u64,
    rows: u64,
}

struct CachedSubscription {
    subscription: Subscription,
    used: u64,
    rows: u64,
}

impl FeedCache {
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            heads: heads(connection)?,
            next_delivery: connection
                .query_row("SELECT coalesce(max(id), 0) + 1 FROM deliveries", [], |row| row.get(0))?,
            next_generation: connection
                .prepare_cached("SELECT value FROM numbers WHERE name = 'next_generation'")?
                .query_row([], |row| number(row, 0))?,
            of_clients: None,
            has_old_keys: exists(
                connection,
                "SELECT 1 FROM deliveries WHERE id <= (SELECT value FROM numbers WHERE name = 'old_keys')",
            )?,
            has_quarantine: exists(connection, "SELECT 1 FROM quarantine")?,
            is_of_this_boot: false,
            subscriptions: HashMap::default(),
            used: BTreeMap::new(),
            uses: 0,
            rows: 0,
        })
    }

    /// Takes a subscription out of the cache, which hides it until its changes are written.
    pub(super) fn take(&mut self, name: &str) -> Option<Subscription> {
        let CachedSubscription { subscription, used, rows } = self.subscriptions.remove(name)?;
        self.used.remove(&used);
        self.rows -= rows;
        Some(subscription)
    }

    /// Caches a subscription with written changes.
    pub(super) fn keep(&mut self, subscription: Subscription) {
        let (name, rows) = (subscription.head().name.clone(), subscription.row_count());
        self.uses += 1;
        let used = self.uses;
        self.rows += rows;
        self.used.insert(used, name.clone());
        self.subscriptions.insert(name, CachedSubscription { subscription, used, rows });
        while (self.subscriptions.len() > SUBSCRIPTIONS || self.rows > ROWS)
            && self.subscriptions.len() > 1
            && let Some((_, longest_ago)) = self.used.pop_first()
        {
            self.rows -= self.subscriptions.remove(&longest_ago).map_or(0, |forgotten| forgotten.rows);
        }
    }
}

/// The last position of every log; 0 for an empty log.
pub(super) fn heads(db: &Connection) -> rusqlite::Result<ByFeed<u64>> {
    let mut heads = ByFeed::default();
    for feed in FeedName::ALL {
        *heads.of_mut(feed) = head(db, feed)?;
    }
    Ok(heads)
}

pub(super) fn head(db: &Connection, feed: FeedName) -> rusqlite::Result<u64> {
    let LogTables { events, .. } = log_tables::of(feed);
    let mut last = db.prepare_cached(&format!("SELECT coalesce(max(seq), 0) FROM {events}"))?;
    last.query_row([], |row| rows::number(row, 0))
}

fn exists(connection: &Connection, rows: &str) -> rusqlite::Result<bool> {
    connection.query_row(&format!("SELECT EXISTS ({rows})"), [], |row| row.get(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::feed::subscription::SubscriptionConfig;
    use crate::domain::timestamp::Timestamp;

    fn memory() -> FeedCache {
        FeedCache {
            next_delivery: 1,
            next_generation: 1,
            of_clients: None,
            heads: ByFeed::default(),
            has_old_keys: false,
            has_quarantine: false,
            is_of_this_boot: true,
            subscriptions: HashMap::default(),
            used: BTreeMap::new(),
            uses: 0,
            rows: 0,
        }
    }

    fn subscription(number: usize) -> Subscription {
        Subscription::new(number as u64, 1, number.to_string(), SubscriptionConfig::default(), 0, Timestamp(0))
    }

    #[test]
    fn those_that_were_not_used_for_longest_are_forgotten() {
        let mut memory = memory();
        (0..SUBSCRIPTIONS).for_each(|number| memory.keep(subscription(number)));
        let first = memory.take("0").unwrap();
        assert!(memory.take("0").is_none(), "it is given out once");
        memory.keep(first);
        memory.keep(subscription(SUBSCRIPTIONS));
        assert!(memory.take("1").is_none(), "it was used before all others");
        for kept in ["0", "2", &SUBSCRIPTIONS.to_string()] {
            assert!(memory.take(kept).is_some(), "{kept}");
        }
        assert_eq!((memory.subscriptions.len(), memory.used.len()), (SUBSCRIPTIONS - 3, SUBSCRIPTIONS - 3));
    }
}
