//! What the writer remembers of the feed between transactions.

use std::collections::VecDeque;

use rusqlite::Connection;

use super::reads;
use crate::domain::feed::subscription::{REMEMBERED, Subscription};
use crate::domain::feed::{ByFeed, FeedName};
use crate::domain::timestamp::Timestamp;

/// Positions of one row of a table of spans.
pub(super) const SPAN: u64 = 1024;

/// Subscriptions that are remembered; those that were not used for longest are read again.
const SUBSCRIPTIONS: usize = 64;

/// Rows of them all, of about 150 bytes each. One is always remembered.
const ROWS: u64 = 400_000;

/// Forgotten with the rest of the writer's memory when a transaction is rolled back.
pub(in crate::store::sqlite) struct Memory {
    /// The last position of each log that was given, perhaps in a transaction that is not committed yet.
    pub(in crate::store::sqlite) heads: ByFeed<u64>,
    /// The last row of each log's table of spans, once it was written.
    spans: ByFeed<Option<(u64, Timestamp)>>,
    /// Whether there are deliveries of versions that kept the ids of events without their kinds.
    pub(super) has_old_keys: bool,
    /// Whether there may be anything in quarantine.
    pub(super) has_quarantine: bool,
    /// Whether steady times in the tables are known to be of this boot.
    pub(super) is_of_this_boot: bool,
    /// As they are in the database, the last one used at the end; with about as many rows as each has.
    subscriptions: VecDeque<(u64, Subscription)>,
    rows: u64,
}

impl Memory {
    pub(in crate::store::sqlite) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        Ok(Self {
            heads: reads::heads(connection)?,
            spans: ByFeed::default(),
            has_old_keys: exists(
                connection,
                "SELECT 1 FROM deliveries WHERE id <= (SELECT value FROM numbers WHERE name = 'old_keys')",
            )?,
            has_quarantine: exists(connection, "SELECT 1 FROM quarantine")?,
            is_of_this_boot: false,
            subscriptions: VecDeque::new(),
            rows: 0,
        })
    }

    /// The span of an event that is appended, if its row must be written.
    pub(super) fn span(&mut self, feed: FeedName, seq: u64, received: Timestamp) -> Option<u64> {
        let span = seq / SPAN;
        let last = self.spans.of_mut(feed);
        if last.is_some_and(|(known, earliest)| known == span && earliest <= received) {
            return None;
        }
        *last = Some((span, received));
        Some(span)
    }

    /// Gives out a subscription, so that nobody sees it before its changes are written.
    pub(super) fn take(&mut self, name: &str) -> Option<Subscription> {
        let at = self.subscriptions.iter().position(|(_, one)| one.head().name == name)?;
        let (rows, subscription) = self.subscriptions.remove(at)?;
        self.rows -= rows;
        Some(subscription)
    }

    /// Remembers one whose changes are written.
    pub(super) fn keep(&mut self, subscription: Subscription) {
        let rows = subscription.unsettled() + subscription.parked() + REMEMBERED.min(subscription.head().floor);
        self.rows += rows;
        self.subscriptions.push_back((rows, subscription));
        while (self.subscriptions.len() > SUBSCRIPTIONS || self.rows > ROWS)
            && self.subscriptions.len() > 1
            && let Some((rows, _)) = self.subscriptions.pop_front()
        {
            self.rows -= rows;
        }
    }
}

fn exists(connection: &Connection, rows: &str) -> rusqlite::Result<bool> {
    connection.query_row(&format!("SELECT EXISTS ({rows})"), [], |row| row.get(0))
}
