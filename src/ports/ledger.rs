//! Where entries of mutations are kept.

use std::future::Future;

use crate::domain::account::AccountId;
use crate::domain::ledger::{
    AlertKind, AuditAlert, Entry, EntryState, Fingerprint, MutationKind, NewEntry, OperationId,
};
use crate::domain::timestamp::Timestamp;

/// A durable table of mutations.
///
/// What a method has written is durable (synced) when it returns `Ok`; after an error nothing of it was written. Every
/// method may be called from any task at any time, and waits its turn. A write that was handed over happens, also when the
/// future is dropped.
pub trait Ledger: Clone + Send + Sync + 'static {
    /// Makes the entries of one call, all of them or none. When the ledger already has entries of the same call, or of another
    /// call with the same order number or request id, `begin` makes nothing and returns those. It takes these steps in one
    /// transaction, and the first step that finds entries is the last:
    ///
    /// 1. Entries of the same account, kind and request id, if one was given; unless all of them are
    ///    [`EntryState::NotSent`], which frees the id.
    /// 2. For a kind that is known by its order number: an entry of the same account and order number whose state holds the
    ///    number ([`EntryState::holds_order_number`]), or what is left of one that was trimmed.
    /// 3. For any other kind, if `join` is set: the entries of a request with the same account, kind, order number and
    ///    fingerprint, of which at least one is open or owes its outcome ([`Entry::is_owed`]). The caller who joins gets the
    ///    outcome, so the entries no longer owe it.
    /// 4. Otherwise the entries are made, with rising ids in the order given.
    ///
    /// `new` is not empty, all of it has the same account, kind, order number, request id and fingerprint, and its batches
    /// are 0, 1, 2, …, as many as each says. What is made as [`EntryState::Sending`] counts as handed over once.
    fn begin(&self, new: Vec<NewEntry>, join: bool) -> impl Future<Output = Result<Begun, StoreError>> + Send;

    /// Writes entries as they are given, all or none. Each has the fence that was read; the stored one must be the same,
    /// and becomes one more. Only what may change in an entry's life is written: its identity (id, account, kind, order
    /// number, request id, batch, batches, fingerprint, created, correlation id) stays as it was made. A final entry is
    /// never overwritten. In the same transaction `audits` are planned: from its time on each is due in
    /// [`Ledger::due_audits`].
    fn save(&self, entries: Vec<Entry>, audits: Vec<Audit>) -> impl Future<Output = Result<Saved, StoreError>> + Send;

    /// One entry.
    fn get(&self, id: OperationId) -> impl Future<Output = Result<Option<Entry>, StoreError>> + Send;

    /// The entries of one request, by batch. Where the id was freed and used again, those of the last that used it.
    fn of_request(
        &self,
        account: &AccountId,
        kind: MutationKind,
        request_id: &str,
    ) -> impl Future<Output = Result<Vec<Entry>, StoreError>> + Send;

    /// The creation that holds this order number.
    fn creation_of(
        &self,
        account: &AccountId,
        order_number: &str,
    ) -> impl Future<Output = Result<Option<Entry>, StoreError>> + Send;

    /// Open entries in the order of their ids, after `after`, at most `limit`.
    fn open(&self, after: OperationId, limit: usize) -> impl Future<Output = Result<Vec<Entry>, StoreError>> + Send;

    /// Entries that match, in the order of their ids, oldest first. Ends when the future is dropped.
    fn list(&self, query: &Query) -> impl Future<Output = Result<Vec<Entry>, StoreError>> + Send;

    /// How many entries there are, for each account and state that has any.
    fn counts(&self) -> impl Future<Output = Result<Vec<Count>, StoreError>> + Send;

    /// Audits due at `now`, oldest first, at most `limit`.
    fn due_audits(&self, now: Timestamp, limit: usize) -> impl Future<Output = Result<Vec<Audit>, StoreError>> + Send;

    /// Ends one audit; keeps what it found, once for each operation and kind. Tells whether that was new.
    fn end_audit(
        &self,
        audit: Audit,
        found: Option<AuditAlert>,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// What audits found about an entry.
    fn alerts(
        &self,
        operation: OperationId,
    ) -> impl Future<Output = Result<Vec<(AlertKind, Timestamp)>, StoreError>> + Send;

    /// Drops final entries that last changed before `before`, oldest first, at most `limit`; tells how many. The entries of
    /// one call go together, once all of them may; such a call may pass the limit when it is the first. Of a creation that
    /// succeeded, the order number, fingerprint and answer stay for good.
    fn trim(&self, before: Timestamp, limit: usize) -> impl Future<Output = Result<usize, StoreError>> + Send;
}

/// What became of [`Ledger::begin`].
#[derive(Clone, Debug, PartialEq)]
pub enum Begun {
    /// The entries were made.
    New(Vec<Entry>),
    /// These stand against it: by their request id, by order number, or (joined) by content.
    Existing {
        /// By which of the three.
        by: Match,
        /// All entries of that request, by batch.
        entries: Vec<Entry>,
    },
    /// An order of this number was created so long ago that only this is left.
    Trimmed {
        /// Of its payload.
        fingerprint: Fingerprint,
        /// As [`Entry::answer`].
        answer: Vec<u8>,
    },
}

/// Why entries stand against a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// The same request id.
    RequestId,
    /// The same order number.
    OrderNumber,
    /// The same content, still open.
    Content,
}

/// What became of [`Ledger::save`].
#[derive(Clone, Debug, PartialEq)]
pub enum Saved {
    /// Written; these are the entries with their new fences.
    Done(Vec<Entry>),
    /// Somebody else changed one of them first; nothing was written.
    Stale,
}

/// Which entries [`Ledger::list`] gives.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Of these accounts; `None` for all there are, those that are in no settings any more among them.
    pub accounts: Option<Vec<AccountId>>,
    /// In these states; empty for any.
    pub states: Vec<EntryState>,
    /// Made before this moment.
    pub created_before: Option<Timestamp>,
    /// After this one.
    pub after: OperationId,
    /// At most so many.
    pub limit: usize,
}

/// How many entries of an account are in a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// Whose.
    pub account: AccountId,
    /// In which state.
    pub state: EntryState,
    /// How many.
    pub entries: u64,
    /// When the one made first of them was made; known for open states.
    pub oldest: Option<Timestamp>,
}

/// A planned look at an entry after the fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Audit {
    /// Which entry.
    pub operation: OperationId,
    /// When it was planned for.
    pub time: Timestamp,
}

/// The store could not do it. Nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}: {text}")]
pub struct StoreError {
    /// What kind of trouble.
    pub kind: StoreTrouble,
    /// The store's words, for the log.
    pub text: String,
}

/// What can be wrong with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoreTrouble {
    /// No room.
    Full,
    /// May not be written.
    ReadOnly,
    /// Another process holds it.
    Busy,
    /// Its content is damaged.
    Corrupt,
    /// Anything else.
    Failed,
}

impl std::fmt::Display for StoreTrouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Full => "the store is full",
            Self::ReadOnly => "the store is read-only",
            Self::Busy => "the store is locked by another process",
            Self::Corrupt => "the store is damaged",
            Self::Failed => "the store failed",
        })
    }
}
