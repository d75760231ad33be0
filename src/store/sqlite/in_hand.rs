//! What the only process of a file has in hand, and what an earlier process left.
//!
//! The ids of entries rise, so the first entry of a process divides its own entries from those of earlier processes.

use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::{Connection, OptionalExtension as _};
use tokio::time::Instant;

use super::SqliteLedger;
use super::listing::{self, ListQuery};
use super::rows::{CodedValue, integer, number_of};
use crate::domain::account::AccountId;
use crate::domain::ledger::{Entry, EntryState, OperationId};
use crate::domain::timestamp::Timestamp;
use crate::ports::ledger::BeginOutcome;
use crate::ports::replicas::{Duty, Replicas};
use crate::ports::store_error::StoreError;
use crate::store::is_in_hand;

/// The id of the first entry made by this process; the largest number before it.
#[derive(Debug)]
pub(super) struct FirstOwn(AtomicU64);

impl Default for FirstOwn {
    fn default() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }
}

impl FirstOwn {
    /// Notes what a begin has made.
    pub(super) fn note(&self, begun: &BeginOutcome) {
        if let BeginOutcome::New(entries) = begun
            && let Some(first) = entries.first()
        {
            self.0.fetch_min(first.id.0, Ordering::AcqRel);
        }
    }

    pub(super) fn get(&self) -> OperationId {
        OperationId(self.0.load(Ordering::Acquire))
    }
}

/// One process owns the file ([`super::guard`]), and everything in it for as long as it runs.
impl Replicas for SqliteLedger {
    fn is_shared(&self) -> bool {
        false
    }

    fn trusted_until(&self) -> Option<Instant> {
        None
    }

    async fn claim(&self, duties: Vec<Duty>) -> Result<Vec<Duty>, StoreError> {
        Ok(duties)
    }

    async fn end_dead(&self) -> Result<usize, StoreError> {
        Ok(0)
    }

    async fn resign(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Open entries made before `first_own`.
pub(super) fn orphans(
    db: &Connection,
    first_own: OperationId,
    after: OperationId,
    limit: usize,
) -> rusqlite::Result<Vec<Entry>> {
    let open = open(db, listing::all_accounts(db)?, &open_states(), after, limit)?;
    Ok(open.into_iter().take_while(|entry| entry.id < first_own).collect())
}

/// Open entries whose next moment has come. Reads every open entry of the accounts: with one process the queue in memory
/// is asked instead.
pub(super) fn due(
    db: &Connection,
    accounts: &[AccountId],
    now: Timestamp,
    limit: usize,
) -> rusqlite::Result<Vec<Entry>> {
    let mut numbers = Vec::with_capacity(accounts.len());
    for account in accounts {
        numbers.extend(number_of(db, account)?);
    }
    let mut due = open(db, numbers, &open_states(), OperationId(0), usize::MAX)?;
    let time = |entry: &Entry| entry.next.filter(|_| !is_in_hand(entry.state, entry.next)).map(|next| next.wall);
    due.retain(|entry| time(entry).is_some_and(|time| time <= now));
    due.sort_by_key(|entry| (time(entry), entry.id));
    due.truncate(limit);
    Ok(due)
}

/// Entries from `first_own` on that are being sent, or wait for their turn.
pub(super) fn in_hand(
    db: &Connection,
    first_own: OperationId,
    after: OperationId,
    limit: usize,
) -> rusqlite::Result<Vec<Entry>> {
    let states = [EntryState::Recorded, EntryState::Sending];
    let after = after.max(OperationId(first_own.0.saturating_sub(1)));
    let mut entries = open(db, listing::all_accounts(db)?, &states, after, usize::MAX)?;
    entries.retain(|entry| is_in_hand(entry.state, entry.next));
    entries.truncate(limit);
    Ok(entries)
}

pub(super) fn which_ended(db: &Connection, ids: &[OperationId]) -> rusqlite::Result<Vec<OperationId>> {
    let mut state = db.prepare_cached("SELECT state FROM entries WHERE id = ?1")?;
    let mut ended = Vec::new();
    for id in ids {
        let state = state.query_row([integer(id.0)], |row| row.get::<_, CodedValue<EntryState>>(0)).optional()?;
        if state.is_none_or(|state| !state.0.is_open()) {
            ended.push(*id);
        }
    }
    Ok(ended)
}

fn open_states() -> Vec<EntryState> {
    EntryState::ALL.into_iter().filter(|state| state.is_open()).collect()
}

fn open(
    db: &Connection,
    accounts: Vec<i64>,
    states: &[EntryState],
    after: OperationId,
    limit: usize,
) -> rusqlite::Result<Vec<Entry>> {
    let wanted = ListQuery { accounts, states, before: i64::MAX, after: integer(after.0), limit };
    listing::matching(db, &wanted, &|| false)
}
