//! Where the ledger is kept: in a SQLite file ([`sqlite`]), or nowhere beyond the process ([`memory`]).
//!
//! A store keeps entries without understanding them; what they mean is decided in `domain::ledger` and the use cases,
//! which know the port only.

#[cfg(test)]
mod conformance;
pub mod health;
mod keys;
pub mod memory;
pub mod sqlite;
#[cfg(test)]
mod testing;

use std::sync::Arc;

use self::health::Failing;
use self::memory::MemoryLedger;
use self::sqlite::SqliteLedger;
use crate::config::StoreUrl;
use crate::domain::account::AccountId;
use crate::domain::effect::Effect;
use crate::domain::ledger::{Alert, AlertKind, Entry, Kind, NewEntry, OperationId, State};
use crate::domain::timestamp::Timestamp;
use crate::ports::clock::Clock;
use crate::ports::ledger::{Audit, Begun, Count, Ledger, Query, Saved, StoreError};
use crate::telemetry::metrics::StoreMetrics;

/// What a store needs of its process.
#[derive(Clone)]
pub struct Settings {
    /// Tells since when it fails.
    pub clock: Clock,
    /// What it counts.
    pub metrics: StoreMetrics,
    /// Ends the process, after a line for the operator: a sync failed, and what the disk holds is not known. Whoever waits
    /// for a write then must hear nothing, so it should not return.
    pub on_fatal: Arc<dyn Fn(&str) + Send + Sync>,
}

/// The store that the settings name. Cheap to clone, all clones are one.
#[derive(Clone, Debug)]
pub enum Store {
    /// `memory:`
    Memory(MemoryLedger),
    /// `sqlite://PATH`
    Sqlite(SqliteLedger),
}

impl Store {
    /// Opens it. Blocks, for about a second at most; see [`SqliteLedger::open`].
    ///
    /// # Errors
    /// One line for the operator, when this process must not use it.
    pub fn open(url: &StoreUrl, settings: Settings) -> Result<Self, String> {
        match url {
            StoreUrl::Memory => Ok(Self::Memory(MemoryLedger::new())),
            StoreUrl::Sqlite(path) => SqliteLedger::open(path, settings).map(Self::Sqlite),
            StoreUrl::Postgres { .. } => Err("postgres is not supported by this version".into()),
        }
    }

    /// Why it does not work, if so. While it does not, asking makes it try again.
    pub fn failing(&self) -> Option<Failing> {
        match self {
            Self::Memory(_) => None,
            Self::Sqlite(ledger) => ledger.failing(),
        }
    }

    /// Ends it, once nobody writes any more: what was handed over is durable, and the file is let go.
    pub async fn close(&self) {
        match self {
            Self::Memory(_) => {}
            Self::Sqlite(ledger) => ledger.close().await,
        }
    }
}

/// Hands the methods of the port to the store that it is.
macro_rules! delegate {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*) => {
        impl Ledger for Store {
            $(async fn $name(&self, $($argument: $type),*) -> Result<$result, StoreError> {
                match self {
                    Self::Memory(ledger) => ledger.$name($($argument),*).await,
                    Self::Sqlite(ledger) => ledger.$name($($argument),*).await,
                }
            })*
        }
    };
}

delegate! {
    begin(new: Vec<NewEntry>, join: bool) -> Begun;
    save(entries: Vec<Entry>, audits: Vec<Audit>) -> Saved;
    get(id: OperationId) -> Option<Entry>;
    of_request(account: &AccountId, kind: Kind, request_id: &str) -> Vec<Entry>;
    creation_of(account: &AccountId, order_number: &str) -> Option<Entry>;
    open(after: OperationId, limit: usize) -> Vec<Entry>;
    list(query: &Query) -> Vec<Entry>;
    counts() -> Vec<Count>;
    due_audits(now: Timestamp, limit: usize) -> Vec<Audit>;
    end_audit(audit: Audit, found: Option<Alert>) -> bool;
    alerts(operation: OperationId) -> Vec<(AlertKind, Timestamp)>;
    trim(before: Timestamp, limit: usize) -> usize;
}

/// A new entry as it is kept first. What is sent next counts as sent.
fn made(new: NewEntry, id: OperationId) -> Entry {
    let sent = new.state == State::Sending;
    Entry {
        id,
        fence: 0,
        account: new.account,
        kind: new.kind,
        order_number: new.order_number,
        request_id: new.request_id,
        batch: new.batch,
        batches: new.batches,
        fingerprint: new.fingerprint,
        state: new.state,
        effect: if sent { Effect::Unknown } else { Effect::None },
        attempts: u32::from(sent),
        created: new.created,
        updated: new.created,
        not_after: new.not_after,
        next: None,
        correlation_id: new.correlation_id,
        doubt: None,
        body: new.body,
        snapshot: new.snapshot,
        answer: Vec::new(),
        last_error: String::new(),
        resolution: String::new(),
    }
}
