//! The logs of events, one for each feed, and what could not be read.

use std::future::Future;

use bytes::Bytes;
use tokio::sync::watch;

use super::ledger::StoreError;
use crate::domain::account::AccountId;
use crate::domain::feed::notification::{Arrival, EventIdentity};
use crate::domain::feed::{ByFeed, FeedName, LogId};
use crate::domain::timestamp::Timestamp;

/// The durable logs of both feeds. Positions (`seq`) of a log count from 1, without gaps, in the order in which its events
/// became durable.
///
/// What a method has written is durable (synced) when it returns `Ok`; after an error nothing of it was written. A write
/// that was handed over happens, also when the future is dropped.
pub trait EventLog: Clone + Send + Sync + 'static {
    /// Stores a delivery, once. In one transaction: if the account had an event of this identity, that one stands, and another
    /// body goes to quarantine; else the identity is kept, and the event gets the next position of its feed's log. An
    /// unreadable body goes to quarantine. A body is there once, and leaves it when it comes again and can be read.
    fn append(&self, arrival: Arrival) -> impl Future<Output = Result<Appended, StoreError>> + Send;

    /// The position of the last durable event of a log, 0 while there is none. It is moved in the order of the log, after
    /// each commit, and may pass several events at once.
    fn head(&self, feed: FeedName) -> watch::Receiver<u64>;

    /// Which log, and what it has.
    fn bounds(&self, feed: FeedName) -> impl Future<Output = Result<Bounds, StoreError>> + Send;

    /// Events after a position, in order and without gaps; fewer than asked for when there are no more, or when they take
    /// more than `most_bytes` (but at least one). The first is the one after `after`, unless that is no longer kept: then
    /// the first that is.
    fn read(
        &self,
        feed: FeedName,
        after: u64,
        most: usize,
        most_bytes: usize,
        raw: bool,
    ) -> impl Future<Output = Result<Vec<StoredEvent>, StoreError>> + Send;

    /// The events of these positions that are kept, in rising order.
    fn pick(
        &self,
        feed: FeedName,
        seqs: Vec<u64>,
        raw: bool,
    ) -> impl Future<Output = Result<Vec<StoredEvent>, StoreError>> + Send;

    /// An event by Walmart's id.
    fn find(
        &self,
        feed: FeedName,
        account: &AccountId,
        event_id: &str,
        raw: bool,
    ) -> impl Future<Output = Result<Option<StoredEvent>, StoreError>> + Send;

    /// The position after which every event was received at `time` or later: one less than the first such, or the head.
    fn before(&self, feed: FeedName, time: Timestamp) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Stores what a body in quarantine says now that it was read again, in one transaction: an event goes into its feed's log
    /// and its body leaves quarantine; what is unreadable or a conflict stays, with the reason of now.
    fn reread(&self, id: u64, arrival: Arrival) -> impl Future<Output = Result<Reread, StoreError>> + Send;

    /// What is in quarantine of these accounts after a number, in order, at most `limit`.
    fn quarantined(
        &self,
        accounts: &[AccountId],
        after: u64,
        limit: usize,
        raw: bool,
    ) -> impl Future<Output = Result<Vec<Quarantined>, StoreError>> + Send;

    /// Drops what is past its time, at most about `limit` rows at once; until nothing is told, there may be more. Events of
    /// each log go from the front, so that what is left has no gaps, and the last event always stays. What a subscription of
    /// the feed that holds still needs (anything after its floor, or parked) goes only by `times.held`. Parked rows of events
    /// that go, go.
    fn trim_log(&self, times: TrimTimes, limit: usize) -> impl Future<Output = Result<Trimmed, StoreError>> + Send;
}

/// The log of one feed.
#[derive(Clone, Debug)]
pub struct FeedLog<L> {
    store: L,
    feed: FeedName,
}

impl<L: EventLog> FeedLog<L> {
    /// The log of this feed.
    pub const fn new(store: L, feed: FeedName) -> Self {
        Self { store, feed }
    }

    /// Which feed.
    pub const fn feed(&self) -> FeedName {
        self.feed
    }

    /// See [`EventLog::head`].
    pub fn head(&self) -> watch::Receiver<u64> {
        self.store.head(self.feed)
    }

    /// See [`EventLog::bounds`].
    pub async fn bounds(&self) -> Result<Bounds, StoreError> {
        self.store.bounds(self.feed).await
    }

    /// See [`EventLog::read`].
    pub async fn read(
        &self,
        after: u64,
        most: usize,
        most_bytes: usize,
        raw: bool,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        self.store.read(self.feed, after, most, most_bytes, raw).await
    }

    /// See [`EventLog::pick`].
    pub async fn pick(&self, seqs: Vec<u64>, raw: bool) -> Result<Vec<StoredEvent>, StoreError> {
        self.store.pick(self.feed, seqs, raw).await
    }

    /// See [`EventLog::find`].
    pub async fn find(
        &self,
        account: &AccountId,
        event_id: &str,
        raw: bool,
    ) -> Result<Option<StoredEvent>, StoreError> {
        self.store.find(self.feed, account, event_id, raw).await
    }

    /// See [`EventLog::before`].
    pub async fn before(&self, time: Timestamp) -> Result<u64, StoreError> {
        self.store.before(self.feed, time).await
    }
}

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is stored; an event with its position.
    Stored {
        /// Of an event, in its feed's log.
        seq: Option<u64>,
    },
    /// It was stored before.
    Duplicate,
    /// An event of its identity with another body was stored before. That one stands, and this one is in quarantine.
    Conflict,
}

/// What became of a body in quarantine that was read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reread {
    /// It is not there any more.
    Missing,
    /// Its event is in the log of its feed now, at this position.
    Moved {
        /// The position.
        seq: u64,
    },
    /// Its event was stored before, with the same body. It has left quarantine.
    Duplicate,
    /// It stays, because it cannot be read.
    Unreadable,
    /// It stays, because an event of its identity with another body was stored before.
    Conflict,
}

/// Which log, and what it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Which.
    pub log: LogId,
    /// First position that is kept; the next one of an empty log.
    pub first: u64,
    /// Last position; one less than `first` when nothing is kept.
    pub head: u64,
}

/// An event as the log keeps it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredEvent {
    /// Position.
    pub seq: u64,
    /// When it came.
    pub received: Timestamp,
    /// The feed's message without `seq`, `cursor` and `raw_body`, encoded.
    pub message: Bytes,
    /// The body as it came, if it was asked for; else empty.
    pub raw: Bytes,
}

/// A delivery that is in no feed.
#[derive(Clone, Debug, PartialEq)]
pub struct Quarantined {
    /// Rising.
    pub id: u64,
    /// Whose.
    pub account: AccountId,
    /// When it came.
    pub received: Timestamp,
    /// Why it is here.
    pub reason: String,
    /// Of a conflict: the identity of its event, which another body had before. Its parts are empty where an earlier version did
    /// not keep them. `None`: the body could not be read.
    pub conflict: Option<EventIdentity>,
    /// SHA-256 of the body.
    pub body_hash: [u8; 32],
    /// Its length in bytes.
    pub size: u32,
    /// The body, if it was asked for; else empty.
    pub raw: Bytes,
}

/// What is past its time: all that was received before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrimTimes {
    /// Events that nobody holds.
    pub free: Timestamp,
    /// Events that a subscription holds, and quarantine. Not after `free`.
    pub held: Timestamp,
    /// Event ids. Not after `held`.
    pub ids: Timestamp,
}

/// What went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trimmed {
    /// Events of each log.
    pub events: ByFeed<usize>,
    /// All rows, events among them.
    pub rows: usize,
    /// Names of subscriptions that lost events which they had not settled, in this step.
    pub lost: Vec<String>,
    /// Parked events of subscriptions that went.
    pub parked: usize,
    /// Deliveries in quarantine that went.
    pub quarantined: usize,
}
