//! The event logs, one for every feed, and the quarantine of unreadable deliveries.

use std::future::Future;

use bytes::Bytes;
use tokio::sync::watch;

use super::store_error::StoreError;
use crate::domain::account::AccountId;
use crate::domain::feed::notification::{EventIdentity, WebhookDelivery};
use crate::domain::feed::{ByFeed, FeedName, FoundIntent, LogId};
use crate::domain::timestamp::Timestamp;

/// The durable logs of the two feeds. Positions (`seq`) count from 1, without gaps, in the order in which the events
/// became durable.
///
/// A method's writes are durable (synced) when the method returns `Ok`; after an error nothing was written. A write
/// handed to the store happens even when the future is dropped.
pub trait EventLog: Clone + Send + Sync + 'static {
    /// Stores a delivery once, in one transaction. If the account already had an event of this identity, the stored
    /// event is kept, and a different body goes to quarantine. Otherwise the identity is stored, and the event gets the
    /// next position in the log of its feed. An unreadable body goes to quarantine. The quarantine keeps one copy of a
    /// body, and drops the copy when the same body arrives again and can be read.
    fn append(&self, arrival: WebhookDelivery) -> impl Future<Output = Result<AppendOutcome, StoreError>> + Send;

    /// The position of the last durable event of a log; 0 for an empty log. The value rises in log order after every
    /// commit, and may pass several events at once.
    fn head(&self, feed: FeedName) -> watch::Receiver<u64>;

    /// The id and the bounds of a log.
    fn bounds(&self, feed: FeedName) -> impl Future<Output = Result<LogBounds, StoreError>> + Send;

    /// Reads events after a position, in order and without gaps. Returns fewer than `most` events at the end of the
    /// log, or when the next event would exceed `most_bytes` (but at least one event). The first event is the successor
    /// of `after`, or the first stored event if the successor was trimmed.
    fn read(
        &self,
        feed: FeedName,
        after: u64,
        most: usize,
        most_bytes: usize,
        raw: bool,
    ) -> impl Future<Output = Result<Vec<StoredEvent>, StoreError>> + Send;

    /// Reads the stored events at these positions, in rising order.
    fn pick(
        &self,
        feed: FeedName,
        seqs: Vec<u64>,
        raw: bool,
    ) -> impl Future<Output = Result<Vec<StoredEvent>, StoreError>> + Send;

    /// Reads an event by Walmart's id.
    fn find(
        &self,
        feed: FeedName,
        account: &AccountId,
        event_id: &str,
        raw: bool,
    ) -> impl Future<Output = Result<Option<StoredEvent>, StoreError>> + Send;

    /// The position before the first event that was received at `time` or later, or the head without such an event. Later
    /// events may have been received before `time`: times do not rise with positions.
    fn before(&self, feed: FeedName, time: Timestamp) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Stores the result of reading a quarantined body again, in one transaction. An event goes into the log of its
    /// feed and leaves quarantine. An unreadable or conflicting body stays, with its new reason.
    fn reread(
        &self,
        id: u64,
        arrival: WebhookDelivery,
    ) -> impl Future<Output = Result<RereadOutcome, StoreError>> + Send;

    /// Reads the quarantine of these accounts after a number, in order, at most `limit` deliveries.
    fn quarantined(
        &self,
        accounts: &[AccountId],
        after: u64,
        limit: usize,
        raw: bool,
    ) -> impl Future<Output = Result<Vec<QuarantinedDelivery>, StoreError>> + Send;

    /// Stores an intent that was found in an order, in one transaction: an event about those of its lines of which the
    /// account had no intent yet, from a webhook or found. Returns the position of the event; `None` when there is no such
    /// line. Such lines are known as long as event ids, also after their events were trimmed.
    fn append_found(&self, found: FoundIntent) -> impl Future<Output = Result<Option<u64>, StoreError>> + Send;

    /// Notes the lines of the intents among the next `limit` stored deliveries, in one transaction. Returns whether more
    /// deliveries follow. To be repeated until none follow before [`Self::append_found`], whose transaction would otherwise
    /// take long, and before [`Self::trim_log`], which drops events whether their lines are noted or not.
    fn note_intent_lines(&self, limit: usize) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Drops expired rows, at most about `limit` at once. The caller repeats the call until nothing is dropped. Events
    /// are trimmed from the front of a log, which leaves no gaps, and the last event always stays. Events that a
    /// holding subscription of the feed still needs (after its floor, or parked) are dropped only by `times.held`.
    /// Parked rows of dropped events are dropped, too.
    fn trim_log(&self, times: TrimTimes, limit: usize) -> impl Future<Output = Result<TrimOutcome, StoreError>> + Send;
}

/// The log of one feed.
#[derive(Clone, Debug)]
pub(crate) struct FeedLog<L> {
    store: L,
    feed: FeedName,
}

impl<L: EventLog> FeedLog<L> {
    /// The log of this feed.
    pub(crate) const fn new(store: L, feed: FeedName) -> Self {
        Self { store, feed }
    }

    /// The feed of this log.
    pub(crate) const fn feed(&self) -> FeedName {
        self.feed
    }

    /// Calls [`EventLog::head`] for the feed.
    pub(crate) fn head(&self) -> watch::Receiver<u64> {
        self.store.head(self.feed)
    }

    /// Calls [`EventLog::bounds`] for the feed.
    pub(crate) async fn bounds(&self) -> Result<LogBounds, StoreError> {
        self.store.bounds(self.feed).await
    }

    /// Calls [`EventLog::read`] for the feed.
    pub(crate) async fn read(
        &self,
        after: u64,
        most: usize,
        most_bytes: usize,
        raw: bool,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        self.store.read(self.feed, after, most, most_bytes, raw).await
    }

    /// Calls [`EventLog::pick`] for the feed.
    pub(crate) async fn pick(&self, seqs: Vec<u64>, raw: bool) -> Result<Vec<StoredEvent>, StoreError> {
        self.store.pick(self.feed, seqs, raw).await
    }

    /// Calls [`EventLog::find`] for the feed.
    pub(crate) async fn find(
        &self,
        account: &AccountId,
        event_id: &str,
        raw: bool,
    ) -> Result<Option<StoredEvent>, StoreError> {
        self.store.find(self.feed, account, event_id, raw).await
    }

    /// Calls [`EventLog::before`] for the feed.
    pub(crate) async fn before(&self, time: Timestamp) -> Result<u64, StoreError> {
        self.store.before(self.feed, time).await
    }
}

/// The result of storing a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendOutcome {
    /// The delivery was stored.
    Stored {
        /// Position of an event in the log of its feed; `None` for a quarantined delivery.
        seq: Option<u64>,
    },
    /// The same delivery was stored before.
    Duplicate,
    /// An event of the same identity with a different body was stored before. The stored event is kept, and the new
    /// body is in quarantine.
    Conflict,
}

/// The result of reading a quarantined body again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RereadOutcome {
    /// The quarantine does not have the body any more.
    Missing,
    /// The event is now in the log of its feed.
    Moved {
        /// Position in the log of the feed.
        seq: u64,
    },
    /// The event was stored before with the same body. The body has left quarantine.
    Duplicate,
    /// The body stays in quarantine, because it cannot be read.
    Unreadable,
    /// The body stays in quarantine, because an event of the same identity with a different body was stored before.
    Conflict,
}

/// The id and the bounds of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogBounds {
    /// Id of the log.
    pub log: LogId,
    /// First stored position; the next position for an empty log.
    pub first: u64,
    /// Last position; one less than `first` when the log is empty.
    pub head: u64,
}

/// An event as stored in the log.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredEvent {
    /// Position in the log.
    pub seq: u64,
    /// Time of receipt by the gateway.
    pub received: Timestamp,
    /// The feed's message without `seq`, `cursor` and `raw_body`, encoded.
    pub message: Bytes,
    /// The raw body if requested; else empty.
    pub raw: Bytes,
}

/// A delivery in quarantine.
#[derive(Clone, Debug, PartialEq)]
pub struct QuarantinedDelivery {
    /// Number of the delivery, rising.
    pub id: u64,
    /// Account that received the delivery.
    pub account: AccountId,
    /// Time of receipt by the gateway.
    pub received: Timestamp,
    /// Reason for the quarantine.
    pub reason: String,
    /// For a conflict: the identity of the event, stored before with a different body. Parts are empty where an earlier
    /// version did not store the identity. `None` for an unreadable body.
    pub conflict: Option<EventIdentity>,
    /// SHA-256 of the body.
    pub body_hash: [u8; 32],
    /// Length of the body in bytes.
    pub size: u32,
    /// The raw body if requested; else empty.
    pub raw: Bytes,
}

/// The limits for trimming: rows received before a limit are expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrimTimes {
    /// Limit for events that no subscription holds.
    pub free: Timestamp,
    /// Limit for held events and for the quarantine. Not after `free`.
    pub held: Timestamp,
    /// Limit for event ids. Not after `held`.
    pub ids: Timestamp,
}

/// The rows dropped by one trimming step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrimOutcome {
    /// Number of dropped events of every log.
    pub events: ByFeed<usize>,
    /// Number of all dropped rows, including events.
    pub rows: usize,
    /// Names of subscriptions that lost unsettled events in this step.
    pub lost: Vec<String>,
    /// Number of dropped parked events.
    pub parked: usize,
    /// Number of dropped deliveries in quarantine.
    pub quarantined: usize,
}
