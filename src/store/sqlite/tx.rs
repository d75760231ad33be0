//! One transaction of the writer: what several writes of a group share.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use rusqlite::{CachedStatement, Connection, OptionalExtension as _, params};

use super::rows::Coded;
use crate::domain::account::AccountId;
use crate::domain::ledger::State;

/// What the writer remembers of the database between transactions. Forgotten when one is rolled back.
pub(super) struct Memory {
    accounts: HashMap<AccountId, i64, RandomState>,
    next_entry: u64,
    /// The database says that numbers below this are used, so that it need not be told of each.
    reserved: u64,
}

/// Numbers of entries that are reserved at a time. What is left of them at the end of the process is never used.
const RESERVED_AT_ONCE: u64 = 1000;

impl Memory {
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let next = "SELECT value FROM numbers WHERE name = 'next_entry'";
        let next: i64 = connection.prepare_cached(next)?.query_row([], |row| row.get(0))?;
        let next_entry = u64::try_from(next).unwrap_or(1);
        Ok(Self { accounts: HashMap::default(), next_entry, reserved: next_entry })
    }
}

/// The transaction. Committed by the writer, never by a write.
pub(super) struct Tx<'a> {
    connection: &'a Connection,
    memory: &'a mut Memory,
    reserved_before: u64,
    /// Changes of the numbers of entries by account and state: written once, however many entries changed.
    counts: HashMap<(i64, State), i64, RandomState>,
    /// Entries made or changed.
    pub(super) rows: u64,
}

impl<'a> Tx<'a> {
    pub(super) fn new(connection: &'a Connection, memory: &'a mut Memory) -> Self {
        let reserved_before = memory.reserved;
        Self { connection, memory, reserved_before, counts: HashMap::default(), rows: 0 }
    }

    /// A statement, prepared once.
    pub(super) fn sql(&self, sql: &str) -> rusqlite::Result<CachedStatement<'a>> {
        self.connection.prepare_cached(sql)
    }

    /// The number of an account, which gets one when it has none.
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

    /// The number of a new entry.
    pub(super) fn next_entry(&mut self) -> u64 {
        let id = self.memory.next_entry;
        self.memory.next_entry += 1;
        if id >= self.memory.reserved {
            self.memory.reserved = id + RESERVED_AT_ONCE;
        }
        id
    }

    /// An entry of this account came into this state (1) or left it (-1).
    pub(super) fn count(&mut self, account: i64, state: State, change: i64) {
        *self.counts.entry((account, state)).or_default() += change;
    }

    /// Writes what was gathered.
    pub(super) fn finish(&mut self) -> rusqlite::Result<()> {
        let mut add = self.sql(
            "INSERT INTO counts (account, state, entries) VALUES (?1, ?2, ?3) \
             ON CONFLICT DO UPDATE SET entries = entries + excluded.entries",
        )?;
        for ((account, state), change) in self.counts.drain().filter(|(_, change)| *change != 0) {
            add.execute(params![account, Coded(state), change])?;
        }
        if self.memory.reserved != self.reserved_before {
            let next = super::rows::integer(self.memory.reserved);
            self.sql("UPDATE numbers SET value = ?1 WHERE name = 'next_entry'")?.execute([next])?;
        }
        Ok(())
    }
}
