//! A store of the feed that fails when a test wants it to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::watch;

use crate::domain::account::AccountId;
use crate::domain::feed::notification::WebhookDelivery;
use crate::domain::feed::subscription::{Subscription, SubscriptionCounts, SubscriptionHead};
use crate::domain::feed::{FeedName, FoundIntent};
use crate::domain::timestamp::Timestamp;
use crate::ports::event_log::{
    AppendOutcome, EventLog, LogBounds, QuarantinedDelivery, RereadOutcome, StoredEvent, TrimOutcome, TrimTimes,
};
use crate::ports::store_error::{StoreError, StoreErrorKind};
use crate::ports::subscriptions::{CreateOutcome, NewSubscription, RemoveOutcome, SubscriptionStore};
use crate::store::memory_feed::MemoryFeed;

/// A store that fails, waits or panics when a test wants it to. Cheap to clone.
#[derive(Clone)]
pub(crate) struct FaultyFeed(Arc<Switches>);

struct Switches {
    feed: MemoryFeed,
    no_log: AtomicBool,
    no_changes: AtomicBool,
    panics: AtomicBool,
    reads: AtomicUsize,
    changes: AtomicUsize,
    /// Reads wait until it is open.
    gate: watch::Sender<bool>,
}

impl FaultyFeed {
    pub(crate) fn over(feed: MemoryFeed) -> Self {
        Self(Arc::new(Switches {
            feed,
            no_log: AtomicBool::new(false),
            no_changes: AtomicBool::new(false),
            panics: AtomicBool::new(false),
            reads: AtomicUsize::new(0),
            changes: AtomicUsize::new(0),
            gate: watch::Sender::new(true),
        }))
    }

    /// Whether everything about the log, and about subscriptions, fails from now on.
    pub(crate) fn fail(&self, log: bool, changes: bool) {
        self.0.no_log.store(log, Ordering::SeqCst);
        self.0.no_changes.store(changes, Ordering::SeqCst);
    }

    /// Whether the next change of a subscription panics.
    pub(crate) fn panic_once(&self) {
        self.0.panics.store(true, Ordering::SeqCst);
    }

    /// Whether reads of the log go through; else they wait.
    pub(crate) fn open(&self, open: bool) {
        self.0.gate.send_replace(open);
    }

    /// Reads of the log so far.
    pub(crate) fn reads(&self) -> usize {
        self.0.reads.load(Ordering::SeqCst)
    }

    /// Changes of subscriptions so far, those among them that changed nothing.
    pub(crate) fn changed(&self) -> usize {
        self.0.changes.load(Ordering::SeqCst)
    }

    fn log(&self) -> Result<&MemoryFeed, StoreError> {
        self.unless(&self.0.no_log)
    }

    fn changes(&self) -> Result<&MemoryFeed, StoreError> {
        self.unless(&self.0.no_changes)
    }

    fn unless(&self, fails: &AtomicBool) -> Result<&MemoryFeed, StoreError> {
        let error = StoreError { kind: StoreErrorKind::Failed, text: "on purpose".into() };
        if fails.load(Ordering::SeqCst) { Err(error) } else { Ok(&self.0.feed) }
    }
}

impl EventLog for FaultyFeed {
    async fn append(&self, arrival: WebhookDelivery) -> Result<AppendOutcome, StoreError> {
        self.0.feed.append(arrival).await
    }

    fn head(&self, feed: FeedName) -> watch::Receiver<u64> {
        self.0.feed.head(feed)
    }

    async fn bounds(&self, feed: FeedName) -> Result<LogBounds, StoreError> {
        self.log()?.bounds(feed).await
    }

    async fn read(
        &self,
        feed: FeedName,
        after: u64,
        most: usize,
        most_bytes: usize,
        raw: bool,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        self.0.reads.fetch_add(1, Ordering::SeqCst);
        self.0.gate.subscribe().wait_for(|open| *open).await.unwrap();
        self.log()?.read(feed, after, most, most_bytes, raw).await
    }

    async fn pick(&self, feed: FeedName, seqs: Vec<u64>, raw: bool) -> Result<Vec<StoredEvent>, StoreError> {
        self.log()?.pick(feed, seqs, raw).await
    }

    async fn find(
        &self,
        feed: FeedName,
        account: &AccountId,
        event_id: &str,
        raw: bool,
    ) -> Result<Option<StoredEvent>, StoreError> {
        self.log()?.find(feed, account, event_id, raw).await
    }

    async fn before(&self, feed: FeedName, time: Timestamp) -> Result<u64, StoreError> {
        self.log()?.before(feed, time).await
    }

    async fn reread(&self, id: u64, arrival: WebhookDelivery) -> Result<RereadOutcome, StoreError> {
        self.log()?.reread(id, arrival).await
    }

    async fn quarantined(
        &self,
        accounts: &[AccountId],
        after: u64,
        limit: usize,
        raw: bool,
    ) -> Result<Vec<QuarantinedDelivery>, StoreError> {
        self.log()?.quarantined(accounts, after, limit, raw).await
    }

    async fn append_found(&self, found: FoundIntent) -> Result<Option<u64>, StoreError> {
        self.log()?.append_found(found).await
    }

    async fn note_intent_lines(&self, limit: usize) -> Result<bool, StoreError> {
        self.log()?.note_intent_lines(limit).await
    }

    async fn trim_log(&self, times: TrimTimes, limit: usize) -> Result<TrimOutcome, StoreError> {
        self.log()?.trim_log(times, limit).await
    }
}

impl SubscriptionStore for FaultyFeed {
    async fn make(&self, new: NewSubscription) -> Result<CreateOutcome, StoreError> {
        self.changes()?.make(new).await
    }

    async fn change<T, F>(&self, name: &str, change: F) -> Result<Option<T>, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&mut Subscription) -> T + Send + 'static,
    {
        assert!(!self.0.panics.swap(false, Ordering::SeqCst), "on purpose");
        self.0.changes.fetch_add(1, Ordering::SeqCst);
        self.changes()?.change(name, change).await
    }

    async fn outline(&self, name: &str) -> Result<Option<SubscriptionCounts>, StoreError> {
        self.changes()?.outline(name).await
    }

    async fn names(&self, after: &str, limit: usize) -> Result<Vec<SubscriptionHead>, StoreError> {
        self.changes()?.names(after, limit).await
    }

    async fn remove(&self, name: &str, only: Option<(u64, u64)>) -> Result<RemoveOutcome, StoreError> {
        self.changes()?.remove(name, only).await
    }
}
