//! The durable store of mutations.

use std::future::Future;

use super::replicas::Replicas;
use super::store_error::StoreError;
use crate::domain::account::AccountId;
use crate::domain::ledger::{
    AlertKind, AuditAlert, Entry, EntryState, Fingerprint, MutationKind, NewEntry, OperationId,
};
use crate::domain::timestamp::Timestamp;

/// A durable table of mutations, of one process or of several.
///
/// An entry that is written as [`EntryState::Sending`], or as [`EntryState::Recorded`] without a next moment, is in hand of
/// the process that wrote it; any other open entry is in nobody's hand.
///
/// A method's writes are durable (synced) when the method returns `Ok`; after an error nothing was written. Every
/// method may be called from any task at any time, and waits its turn. A write handed to the store happens even when
/// the future is dropped.
pub trait Ledger: Replicas {
    /// Creates the entries of one call, all of them or none. When the ledger already has entries of the same call, or
    /// of a different call under the same number or id, `begin` creates nothing and returns the existing entries. The
    /// steps, in one transaction; the first step with a result ends it:
    ///
    /// 1. Entries of the same account, kind and request id, if a request id was given; unless all of them free the
    ///    id (`Entry::frees_request_id`).
    /// 2. For a kind identified by its order number: an entry of the same account and order number whose state holds
    ///    the number ([`EntryState::holds_order_number`]), or the remains of a trimmed entry.
    /// 3. For any other kind, if `join` is set: an entry of the same account, kind, order number and fingerprint that
    ///    is open, or whose outcome is owed ([`Entry::is_owed`]). All entries of its request are returned; the request
    ///    is open when at least one is. The debt of an owed outcome ends with this step.
    /// 4. Otherwise the entries are created, with rising ids in the given order.
    ///
    /// `new` is not empty, and all of its entries have the same account, kind, order number, request id and
    /// fingerprint. The batches are 0, 1, 2, …, as many as every entry says. An entry created as
    /// [`EntryState::Sending`] counts as handed over once.
    fn begin(&self, new: Vec<NewEntry>, join: bool) -> impl Future<Output = Result<BeginOutcome, StoreError>> + Send;

    /// Writes changed entries, all or none. Every entry carries the fence that was read; the stored fence must be
    /// equal, and is incremented. Only mutable fields are written: the identity (id, account, kind, order number,
    /// request id, batch, batches, fingerprint, created, correlation id) stays unchanged. A final entry is never
    /// overwritten. The same transaction plans `audits`, which [`Ledger::due_audits`] returns from their times on.
    fn save(
        &self,
        entries: Vec<Entry>,
        audits: Vec<PlannedAudit>,
    ) -> impl Future<Output = Result<SaveResult, StoreError>> + Send;

    /// Makes the outcome of a final entry owed ([`Entry::is_owed`]). Nothing changes for an entry that is open, gone, or of a
    /// kind identified by its order number.
    fn owe(&self, id: OperationId) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Ends the debt of an owed outcome, because a caller has received it.
    fn hear(&self, id: OperationId) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Reads the entry with this id.
    fn get(&self, id: OperationId) -> impl Future<Output = Result<Option<Entry>, StoreError>> + Send;

    /// Reads the entries of one request, by batch. For an id that was freed and used again, the entries of the last
    /// use.
    fn of_request(
        &self,
        account: &AccountId,
        kind: MutationKind,
        request_id: &str,
    ) -> impl Future<Output = Result<Vec<Entry>, StoreError>> + Send;

    /// Reads the creation that holds this order number.
    fn creation_of(
        &self,
        account: &AccountId,
        order_number: &str,
    ) -> impl Future<Output = Result<Option<Entry>, StoreError>> + Send;

    /// Reads open entries that were in hand of a process that has ended, in the order of their ids, after `after`, at most
    /// `limit`. In a store of one process: every open entry made before this process made its first.
    fn orphans(&self, after: OperationId, limit: usize) -> impl Future<Output = Result<Vec<Entry>, StoreError>> + Send;

    /// Reads open entries of `accounts` that are in nobody's hand and whose next moment has come by the time of day
    /// `now`, longest overdue first, at most `limit`.
    fn due(
        &self,
        accounts: &[AccountId],
        now: Timestamp,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Entry>, StoreError>> + Send;

    /// Reads entries that are in hand of this process, in the order of their ids, after `after`, at most `limit`.
    fn in_hand(&self, after: OperationId, limit: usize) -> impl Future<Output = Result<Vec<Entry>, StoreError>> + Send;

    /// Those of `ids` whose entries are final or gone, in any order.
    fn which_ended(&self, ids: &[OperationId]) -> impl Future<Output = Result<Vec<OperationId>, StoreError>> + Send;

    /// Reads entries of a kind about an object that had an effect or may have had one: open ones, and final ones last changed
    /// at `since` or later. Newest first, at most `limit`; none for a kind identified by its order number.
    fn changes_of(
        &self,
        account: &AccountId,
        kind: MutationKind,
        order_number: &str,
        since: Timestamp,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Entry>, StoreError>> + Send;

    /// Reads matching entries in the order of their ids, oldest first. Dropping the future ends the query.
    fn list(&self, query: &EntryQuery) -> impl Future<Output = Result<Vec<Entry>, StoreError>> + Send;

    /// Counts the entries of every account and state with any entries.
    fn counts(&self) -> impl Future<Output = Result<Vec<EntryCount>, StoreError>> + Send;

    /// Reads audits due at `now`, oldest first, at most `limit`.
    fn due_audits(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<PlannedAudit>, StoreError>> + Send;

    /// Ends one audit and stores its finding, once for an operation and kind. Returns whether the finding was new.
    fn end_audit(
        &self,
        audit: PlannedAudit,
        found: Option<AuditAlert>,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Reads the findings of audits about an entry.
    fn alerts(
        &self,
        operation: OperationId,
    ) -> impl Future<Output = Result<Vec<(AlertKind, Timestamp)>, StoreError>> + Send;

    /// Drops final entries last changed before `before`, oldest first, at most `limit`, and returns their number. The
    /// entries of one call are dropped together, once all have expired; the first call of a step may exceed the limit.
    /// Order number, fingerprint and answer of a successful creation stay forever.
    fn trim(&self, before: Timestamp, limit: usize) -> impl Future<Output = Result<usize, StoreError>> + Send;
}

/// The result of [`Ledger::begin`].
#[derive(Clone, Debug, PartialEq)]
pub enum BeginOutcome {
    /// The entries were created.
    New(Vec<Entry>),
    /// Existing entries conflict with the call, or the call joins them.
    Existing {
        /// The key by which the entries were found.
        by: BeginConflict,
        /// All entries of the existing request, by batch.
        entries: Vec<Entry>,
    },
    /// An order of this number was created and trimmed; only the remains exist.
    Trimmed {
        /// Fingerprint of the payload.
        fingerprint: Fingerprint,
        /// The encoded answer, as in [`Entry::answer`].
        answer: Vec<u8>,
    },
}

/// The key by which existing entries conflict with a new call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeginConflict {
    /// The same request id.
    RequestId,
    /// The same order number.
    OrderNumber,
    /// The same content in an open request.
    Content,
}

/// The result of [`Ledger::save`].
#[derive(Clone, Debug, PartialEq)]
pub enum SaveResult {
    /// The entries were written and have new fences.
    Done(Vec<Entry>),
    /// A concurrent change moved a fence first; nothing was written.
    Stale,
}

/// The conditions of [`Ledger::list`].
#[derive(Clone, Debug, PartialEq)]
pub struct EntryQuery {
    /// Accounts of the entries; `None` for all accounts, including removed ones.
    pub accounts: Option<Vec<AccountId>>,
    /// States of the entries; empty for any state.
    pub states: Vec<EntryState>,
    /// Entries created before this moment.
    pub created_before: Option<Timestamp>,
    /// Entries after this id.
    pub after: OperationId,
    /// Largest number of entries returned.
    pub limit: usize,
}

/// The number of entries of an account in one state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryCount {
    /// Account of the entries.
    pub account: AccountId,
    /// State of the entries.
    pub state: EntryState,
    /// Number of the entries.
    pub entries: u64,
    /// Creation time of the oldest entry; known for open states.
    pub oldest: Option<Timestamp>,
}

/// A planned audit of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedAudit {
    /// Entry to be audited.
    pub operation: OperationId,
    /// Planned time of the audit.
    pub time: Timestamp,
}
