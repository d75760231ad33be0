//! One transaction of the writer, shared by the writes of a group.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use rusqlite::{CachedStatement, Connection, OptionalExtension as _, params};

use super::feed_cache::FeedCache;
use super::newest_keys::{KeyedRows, NewestKeys};
use super::rows::{CodedValue, integer};
use crate::domain::account::AccountId;
use crate::domain::ledger::EntryState;
use crate::domain::timestamp::Timestamp;
use crate::ports::clock::Clock;

/// The writer's cache of the database between transactions. Dropped when a transaction is rolled back.
pub(super) struct WriterCache {
    accounts: HashMap<AccountId, i64, RandomState>,
    next_entry: u64,
    /// Numbers below this are marked as used in the database, which saves a write for every number.
    reserved: u64,
    clock: Clock,
    pub(super) feed: FeedCache,
    entry_keys: NewestKeys,
    delivery_keys: NewestKeys,
    /// Entries with numbers below this are in the tables `counts` and `succeeded`.
    counted: i64,
    /// The last written row of `entry_spans`.
    entry_span: Option<(u64, Timestamp)>,
}

/// Entry ids in a row of `entry_spans`.
pub(super) const ENTRY_SPAN: u64 = 1024;

/// Entry numbers reserved at a time. The rest is never used after the end of the process. The newest entries, this many
/// to twice as many, are left out of the tables `counts` and `succeeded`: most entries end before they are taken in,
/// which saves writes to both tables.
const RESERVED_AT_ONCE: u64 = 1000;

/// The parts of the cache that survive a rollback.
#[derive(Default)]
pub(super) struct CacheRemains {
    entry_keys: Option<NewestKeys>,
    delivery_keys: Option<NewestKeys>,
}

impl WriterCache {
    /// Reads the cache, except the parts left by a rollback.
    pub(super) fn read(connection: &Connection, left: CacheRemains, clock: Clock) -> rusqlite::Result<Self> {
        let mut numbers = connection.prepare_cached("SELECT value FROM numbers WHERE name = ?1")?;
        let mut number = |name: &str| numbers.query_row([name], |row| row.get::<_, i64>(0));
        let next_entry = u64::try_from(number("next_entry")?).unwrap_or(1);
        let (counted, feed) = (number("counted")?, FeedCache::read(connection)?);
        let entry_keys = match left.entry_keys {
            Some(keys) => keys,
            None => NewestKeys::of_entries(connection, integer(next_entry))?,
        };
        let delivery_keys = match left.delivery_keys {
            Some(keys) => keys,
            None => NewestKeys::of_deliveries(connection, feed.next_delivery)?,
        };
        Ok(Self {
            accounts: HashMap::default(),
            next_entry,
            reserved: next_entry,
            clock,
            feed,
            entry_keys,
            delivery_keys,
            counted,
            entry_span: None,
        })
    }

    /// The parts of the cache that need not be read again after a rollback.
    pub(super) fn rolled_back(self) -> CacheRemains {
        CacheRemains { entry_keys: self.entry_keys.rolled_back(), delivery_keys: self.delivery_keys.rolled_back() }
    }
}

/// A transaction. The writer commits it; a write never does.
pub(super) struct WriteTx<'a> {
    connection: &'a Connection,
    memory: &'a mut WriterCache,
    reserved_before: u64,
    /// Changes of the counts by account and state, written once for any number of changed entries.
    counts: HashMap<(i64, EntryState), i64, RandomState>,
    /// Number of created or changed rows.
    pub(super) rows: u64,
}

impl<'a> WriteTx<'a> {
    pub(super) fn new(connection: &'a Connection, memory: &'a mut WriterCache) -> Self {
        let reserved_before = memory.reserved;
        memory.entry_keys.begin();
        memory.delivery_keys.begin();
        Self { connection, memory, reserved_before, counts: HashMap::default(), rows: 0 }
    }

    /// The connection, for reads within the transaction.
    pub(super) fn connection(&self) -> &'a Connection {
        self.connection
    }

    /// A cached prepared statement.
    pub(super) fn sql(&self, sql: &str) -> rusqlite::Result<CachedStatement<'a>> {
        self.connection.prepare_cached(sql)
    }

    /// The number of an account, assigned if missing.
    pub(super) fn account(&mut self, account: &AccountId) -> rusqlite::Result<i64> {
        if let Some(number) = self.memory.accounts.get(account) {
            return Ok(*number);
        }
        let known =
            self.sql("SELECT id FROM accounts WHERE name = ?1")?.query_row([account.as_str()], |row| row.get(0));
        let number = match known.optional()? {
            Some(number) => number,
            None => self.sql("INSERT INTO accounts (name) VALUES (?1)")?.insert([account.as_str()])?,
        };
        self.memory.accounts.insert(account.clone(), number);
        Ok(number)
    }

    /// The clock, which also has the present boot.
    pub(super) fn clock(&self) -> Clock {
        self.memory.clock
    }

    /// The cache of the feed.
    pub(super) fn feed(&mut self) -> &mut FeedCache {
        &mut self.memory.feed
    }

    /// The keys that are in no table yet.
    pub(super) fn newest(&mut self, of: KeyedRows) -> &mut NewestKeys {
        match of {
            KeyedRows::Entries => &mut self.memory.entry_keys,
            KeyedRows::Deliveries => &mut self.memory.delivery_keys,
        }
    }

    /// The number of a new entry.
    pub(super) fn next_entry(&mut self) -> u64 {
        let id = self.memory.next_entry;
        self.memory.next_entry += 1;
        if id >= self.memory.reserved {
            self.memory.reserved = id + RESERVED_AT_ONCE;
        }
        id
    }

    /// The span of a new entry, if its row must be written.
    pub(super) fn entry_span(&mut self, id: u64, created: Timestamp) -> Option<u64> {
        let span = id / ENTRY_SPAN;
        if self.memory.entry_span.is_some_and(|(known, earliest)| known == span && earliest <= created) {
            return None;
        }
        self.memory.entry_span = Some((span, created));
        Some(span)
    }

    /// Whether this entry is in the table of counts.
    pub(super) fn is_counted(&self, id: i64) -> bool {
        id < self.memory.counted
    }

    /// Counts an entry of an account that entered a state (1) or left it (-1).
    pub(super) fn count(&mut self, id: i64, account: i64, state: EntryState, change: i64) {
        if self.is_counted(id) {
            *self.counts.entry((account, state)).or_default() += change;
        }
    }

    /// Notes that an entry of an account has succeeded.
    pub(super) fn succeeded(&self, id: i64, account: i64) -> rusqlite::Result<()> {
        if !self.is_counted(id) {
            return Ok(());
        }
        self.sql("INSERT INTO succeeded (account, entry) VALUES (?1, ?2)")?.execute([account, id]).map(drop)
    }

    /// Writes the collected changes.
    pub(super) fn finish(&mut self) -> rusqlite::Result<()> {
        let mut add = self.sql(
            "INSERT INTO counts (account, state, entries) VALUES (?1, ?2, ?3) \
             ON CONFLICT DO UPDATE SET entries = entries + excluded.entries",
        )?;
        for ((account, state), change) in self.counts.drain().filter(|(_, change)| *change != 0) {
            add.execute(params![account, CodedValue(state), change])?;
        }
        if self.memory.reserved != self.reserved_before {
            self.count_newest()?;
            self.number("next_entry", integer(self.memory.reserved))?;
        }
        let (next_entry, next_delivery) = (integer(self.memory.next_entry), self.memory.feed.next_delivery);
        self.memory.entry_keys.move_due(self.connection, KeyedRows::Entries, next_entry)?;
        self.memory.delivery_keys.move_due(self.connection, KeyedRows::Deliveries, next_delivery)
    }

    /// Takes entries into the tables `counts` and `succeeded`, except the newest.
    fn count_newest(&mut self) -> rusqlite::Result<()> {
        let below = integer(self.memory.next_entry.saturating_sub(RESERVED_AT_ONCE)).max(self.memory.counted);
        let part = [self.memory.counted, below];
        let mut add = self.sql(
            "INSERT INTO counts (account, state, entries) \
             SELECT account, state, count(*) FROM entries NOT INDEXED WHERE id >= ?1 AND id < ?2 GROUP BY account, state \
             ON CONFLICT DO UPDATE SET entries = entries + excluded.entries",
        )?;
        add.execute(part)?;
        let mut add = self.sql(
            "INSERT INTO succeeded (account, entry) \
             SELECT account, id FROM entries NOT INDEXED WHERE id >= ?1 AND id < ?2 AND state = 4",
        )?;
        add.execute(part)?;
        self.memory.counted = below;
        self.number("counted", below)
    }

    /// Stores a number in the table `numbers`.
    pub(super) fn number(&self, name: &str, value: i64) -> rusqlite::Result<()> {
        self.sql("UPDATE numbers SET value = ?2 WHERE name = ?1")?.execute(params![name, value]).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tempfile::TempDir;

    use super::*;
    use crate::domain::ledger::Entry;
    use crate::ports::ledger::{Ledger as _, SaveResult};
    use crate::store::sqlite::SqliteLedger;
    use crate::testing::store::{create, made, settings, time};

    #[tokio::test]
    async fn counts_are_those_of_the_entries_however_many_there_were() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("db");
        let mut open = Vec::new();
        for part in ["a", "b", "c", "d", "e"] {
            let ledger = SqliteLedger::open(&path, settings()).unwrap();
            let numbers: Vec<_> = (0..700).map(|number| format!("{part}{number}")).collect();
            let new = futures_util::future::join_all(
                numbers.iter().map(|number| ledger.begin(vec![create(number, None)], false)),
            );
            open.extend(new.await.into_iter().flat_map(|begun| made(begun.unwrap())));
            // Of each part some are left open for the next.
            let end =
                |entry: Entry| Entry { state: EntryState::Succeeded, updated: time(1), body: Bytes::new(), ..entry };
            let ended = open.drain(..open.len() - 50).map(end).collect();
            assert!(matches!(ledger.save(ended, Vec::new()).await.unwrap(), SaveResult::Done(_)));
            ledger.trim(time(2), 100).await.unwrap();
            let counted: Vec<_> =
                ledger.counts().await.unwrap().iter().map(|count| (count.state, count.entries as i64)).collect();
            let of = |state: i64| {
                let sql = "SELECT count(*) FROM entries WHERE state = ?1";
                Connection::open(&path).unwrap().query_row(sql, [state], |row| row.get::<_, i64>(0)).unwrap()
            };
            assert_eq!(counted, [(EntryState::Sending, of(1)), (EntryState::Succeeded, of(4))], "{part}");
            ledger.close().await;
        }
        // Most of them are in the table of counts.
        let told: i64 = Connection::open(&path)
            .unwrap()
            .query_row("SELECT sum(entries) FROM counts", [], |row| row.get(0))
            .unwrap();
        assert!(told > 1000, "{told}");
    }
}
