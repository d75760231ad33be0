//! The durable store of the ledger and the feeds, in a SQLite file ([`sqlite`]). [`memory`] and [`memory_feed`] are
//! models for tests and for the simulation; no setting selects them.
//!
//! A store keeps entries, events and subscriptions without interpreting them; their rules are in `domain::ledger`,
//! `domain::feed` and the use cases, which depend on the ports only.

mod codes;
#[cfg(test)]
mod conformance;
pub mod health;
mod keys;
mod marks;
pub mod memory;
pub mod memory_feed;
#[allow(dead_code, reason = "the feeds and the configured store use the rest; they follow")]
pub mod postgres;
pub mod sqlite;

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;

use self::health::StoreFailure;
use self::sqlite::SqliteLedger;
use crate::config::StoreConfig;
use crate::domain::account::{AccountId, SellerId};
use crate::domain::clock_check::ClockRecord;
use crate::domain::effect::Effect;
use crate::domain::feed::notification::WebhookDelivery;
use crate::domain::feed::subscription::{Subscription, SubscriptionCounts, SubscriptionHead};
use crate::domain::feed::{FeedName, FoundIntent};
use crate::domain::ledger::{AlertKind, AuditAlert, Entry, EntryState, MutationKind, NewEntry, OperationId};
use crate::domain::moment::Moment;
use crate::domain::timestamp::Timestamp;
use crate::ports::clock::Clock;
use crate::ports::clock_record::ClockRecords;
use crate::ports::event_log::{
    AppendOutcome, EventLog, LogBounds, QuarantinedDelivery, RereadOutcome, StoredEvent, TrimOutcome, TrimTimes,
};
use crate::ports::ledger::{BeginOutcome, EntryCount, EntryQuery, Ledger, PlannedAudit, SaveResult};
use crate::ports::replicas::{Duty, Replicas};
use crate::ports::store_error::StoreError;
use crate::ports::subscriptions::{CreateOutcome, NewSubscription, RemoveOutcome, SubscriptionStore};
use crate::ports::token_keys::{TokenKeyBytes, TokenKeys};
use crate::telemetry::metrics::StoreMetrics;

/// The surroundings of a store.
#[derive(Clone)]
pub struct StoreSettings {
    /// Source of the time, for failures and for the boot of leases.
    pub clock: Clock,
    /// Metrics of the store.
    pub metrics: StoreMetrics,
    /// The accounts of the settings with their sellers; rows of a seller are found by the id of its account.
    pub accounts: Vec<(AccountId, SellerId)>,
    /// Ends the process after logging a line for the operator: an fsync failed and the content of the disk is unknown,
    /// or the file is shared with a different process. Must not return, because waiting callers must not get an answer.
    pub on_fatal: Arc<dyn Fn(&str) + Send + Sync>,
}

/// The configured store. Cheap to clone; all clones share one store.
#[derive(Clone, Debug)]
pub enum Store {
    /// A SQLite file: `sqlite://PATH`.
    Sqlite(SqliteLedger),
}

impl Store {
    /// Opens the store. Blocks, for about a second at most; see [`SqliteLedger::open`].
    ///
    /// # Errors
    /// One line for the operator, when this process must not use the store.
    pub fn open(config: &StoreConfig, settings: StoreSettings) -> Result<Self, String> {
        match config {
            StoreConfig::Sqlite(path) => SqliteLedger::open(path, settings).map(Self::Sqlite),
            StoreConfig::Postgres(_) => Err("postgres is not supported by this version".into()),
        }
    }

    /// The present failure of the store: from a failed write until the next commit.
    pub fn failing(&self) -> Option<StoreFailure> {
        match self {
            Self::Sqlite(ledger) => ledger.failing(),
        }
    }

    /// Adds the accounts that the store does not know, or none of them if there are conflicts, which are returned.
    pub(crate) async fn add_accounts(
        &self,
        accounts: Vec<(AccountId, SellerId)>,
    ) -> Result<Vec<AccountConflict>, StoreError> {
        match self {
            Self::Sqlite(ledger) => ledger.add_accounts(accounts).await,
        }
    }

    /// Checks whether the store works; see [`SqliteLedger::prove`].
    pub(crate) async fn prove(&self) {
        match self {
            Self::Sqlite(ledger) => ledger.prove().await,
        }
    }

    /// Closes the store after all writers have stopped: queued writes become durable, and the file is released.
    pub async fn close(&self) {
        match self {
            Self::Sqlite(ledger) => ledger.close().await,
        }
    }
}

/// An account that the store knows otherwise. Accounts are renamed at the start only, when nothing refers to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountConflict {
    /// The seller's account has another id in the store.
    Renamed {
        /// The id in the settings.
        account: AccountId,
        /// The id in the store.
        from: String,
    },
    /// The id is that of another seller in the store.
    Taken {
        /// The id in the settings.
        account: AccountId,
    },
}

/// Delegates the methods of a port to the selected store; methods in brackets are written in full.
macro_rules! delegate {
    (
        $port:ident to $store:ident
        $($name:ident($($argument:ident: $type:ty),*) -> $result:ty;)*
        [$($written_out:item)*]
    ) => {
        impl $port for Store {
            $(async fn $name(&self, $($argument: $type),*) -> Result<$result, StoreError> {
                match self {
                    Self::Sqlite($store) => $port::$name($store, $($argument),*).await,
                }
            })*
            $($written_out)*
        }
    };
}

delegate! {
    Ledger to store
    begin(new: Vec<NewEntry>, join: bool) -> BeginOutcome;
    save(entries: Vec<Entry>, audits: Vec<PlannedAudit>) -> SaveResult;
    owe(id: OperationId) -> ();
    hear(id: OperationId) -> ();
    get(id: OperationId) -> Option<Entry>;
    of_request(account: &AccountId, kind: MutationKind, request_id: &str) -> Vec<Entry>;
    creation_of(account: &AccountId, order_number: &str) -> Option<Entry>;
    orphans(after: OperationId, limit: usize) -> Vec<Entry>;
    due(accounts: &[AccountId], now: Timestamp, limit: usize) -> Vec<Entry>;
    in_hand(after: OperationId, limit: usize) -> Vec<Entry>;
    which_ended(ids: &[OperationId]) -> Vec<OperationId>;
    changes_of(account: &AccountId, kind: MutationKind, order_number: &str, since: Timestamp, limit: usize) -> Vec<Entry>;
    list(query: &EntryQuery) -> Vec<Entry>;
    counts() -> Vec<EntryCount>;
    due_audits(now: Timestamp, limit: usize) -> Vec<PlannedAudit>;
    end_audit(audit: PlannedAudit, found: Option<AuditAlert>) -> bool;
    alerts(operation: OperationId) -> Vec<(AlertKind, Timestamp)>;
    trim(before: Timestamp, limit: usize) -> usize;
    []
}

delegate! {
    Replicas to store
    claim(duties: Vec<Duty>) -> Vec<Duty>;
    end_dead() -> usize;
    resign() -> ();
    [
        fn is_shared(&self) -> bool {
            match self {
                Self::Sqlite(store) => store.is_shared(),
            }
        }

        fn trusted_until(&self) -> Option<Instant> {
            match self {
                Self::Sqlite(store) => store.trusted_until(),
            }
        }
    ]
}

delegate! {
    EventLog to store
    append(arrival: WebhookDelivery) -> AppendOutcome;
    bounds(feed: FeedName) -> LogBounds;
    read(feed: FeedName, after: u64, most: usize, most_bytes: usize, raw: bool) -> Vec<StoredEvent>;
    pick(feed: FeedName, seqs: Vec<u64>, raw: bool) -> Vec<StoredEvent>;
    find(feed: FeedName, account: &AccountId, event_id: &str, raw: bool) -> Option<StoredEvent>;
    before(feed: FeedName, time: Timestamp) -> u64;
    reread(id: u64, arrival: WebhookDelivery) -> RereadOutcome;
    quarantined(accounts: &[AccountId], after: u64, limit: usize, raw: bool) -> Vec<QuarantinedDelivery>;
    append_found(found: FoundIntent) -> Option<u64>;
    note_intent_lines(limit: usize) -> bool;
    trim_log(times: TrimTimes, limit: usize) -> TrimOutcome;
    [
        fn head(&self, feed: FeedName) -> watch::Receiver<u64> {
            match self {
                Self::Sqlite(store) => EventLog::head(store, feed),
            }
        }
    ]
}

delegate! {
    SubscriptionStore to store
    make(new: NewSubscription) -> CreateOutcome;
    outline(name: &str) -> Option<SubscriptionCounts>;
    names(after: &str, limit: usize) -> Vec<SubscriptionHead>;
    remove(name: &str, only: Option<(u64, u64)>) -> RemoveOutcome;
    [
        async fn change<T, F>(&self, name: &str, change: F) -> Result<Option<T>, StoreError>
        where
            T: Send + 'static,
            F: FnMut(&mut Subscription) -> T + Send + 'static,
        {
            match self {
                Self::Sqlite(store) => store.change(name, change).await,
            }
        }
    ]
}

delegate! {
    ClockRecords to store
    clock_record() -> Option<ClockRecord>;
    keep_clock_record(record: ClockRecord) -> ();
    []
}

delegate! {
    TokenKeys to store
    token_key(fresh: TokenKeyBytes) -> TokenKeyBytes;
    []
}

/// The first stored form of a new entry. An entry that is sent next counts as sent.
fn made(new: NewEntry, id: OperationId) -> Entry {
    let sent = new.state == EntryState::Sending;
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
        boot: new.boot,
        correlation_id: new.correlation_id,
        unknown: None,
        body: new.body,
        snapshot: new.snapshot,
        answer: Bytes::new(),
        last_error: String::new(),
        resolution: String::new(),
        evidence: None,
        is_owed: false,
    }
}

/// Whether an entry that is written so is in hand of the process that writes it.
fn is_in_hand(state: EntryState, next: Option<Moment>) -> bool {
    state == EntryState::Sending || (state == EntryState::Recorded && next.is_none())
}

/// The stored form of an entry.
fn kept(entry: Entry) -> Entry {
    if entry.state.is_open() { entry } else { entry.without_steady_times() }
}
