//! The feeds in the file: the logs of cancel intents and of order updates ([`tables`]), and the subscriptions.
//!
//! Writes go through the ledger's writer, and share its fsyncs. Reads have a thread of their own, which keeps a read of
//! the whole log from delaying the ledger. The events of one read share one allocation, which lives as long as any of
//! the events.
//!
//! The single writer thread assigns positions within the transaction of the event: positions have no gaps and follow
//! the order of the commits. The writer publishes the heads after the commit. The writer's cache ([`memory`]) is
//! dropped when a transaction is rolled back, which hides uncommitted positions and changes.

mod append;
mod boot;
mod enter;
mod intent_lines;
mod known;
mod quarantine;
mod reads;
mod renamed;
mod rows;
mod subscriptions;
mod trim;

use tokio::sync::watch;

pub(super) use self::renamed::rename_filters;
use super::WriteLane;
use super::tx::WriteTx;
use super::{SqliteLedger, TRIM};
use crate::domain::account::AccountId;
use crate::domain::feed::notification::WebhookDelivery;
use crate::domain::feed::subscription::{Subscription, SubscriptionCounts, SubscriptionHead};
use crate::domain::feed::{FeedName, FoundIntent};
use crate::domain::timestamp::Timestamp;
#[cfg(feature = "crash-points")]
use crate::planted_bug::{PlantedBug, is_planted};
use crate::ports::event_log::{
    AppendOutcome, EventLog, LogBounds, QuarantinedDelivery, RereadOutcome, StoredEvent, TrimOutcome, TrimTimes,
};
use crate::ports::store_error::StoreError;
use crate::ports::subscriptions::{CreateOutcome, NewSubscription, RemoveOutcome, SubscriptionStore};

impl EventLog for SqliteLedger {
    async fn append(&self, arrival: WebhookDelivery) -> Result<AppendOutcome, StoreError> {
        #[cfg(feature = "crash-points")]
        if is_planted(PlantedBug::DuplicateCheckedBeforeInsert) {
            let looked = arrival.clone();
            let known = self.write(move |tx| {
                let account = tx.account(&looked.account)?;
                known::body_of(tx, account, &crate::store::keys::delivery(&looked))
            });
            if known.await?.is_some() {
                return Ok(AppendOutcome::Duplicate);
            }
        }
        self.write(move |tx| append::append(tx, &arrival)).await
    }

    fn head(&self, feed: FeedName) -> watch::Receiver<u64> {
        self.0.heads.of(feed).subscribe()
    }

    async fn bounds(&self, feed: FeedName) -> Result<LogBounds, StoreError> {
        self.read_feed(move |db| reads::bounds(db, feed)).await
    }

    async fn read(
        &self,
        feed: FeedName,
        after: u64,
        most: usize,
        most_bytes: usize,
        raw: bool,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        self.read_feed(move |db| reads::read(db, feed, after, most, most_bytes, raw)).await
    }

    async fn pick(&self, feed: FeedName, seqs: Vec<u64>, raw: bool) -> Result<Vec<StoredEvent>, StoreError> {
        self.read_feed(move |db| reads::pick(db, feed, seqs, raw)).await
    }

    async fn find(
        &self,
        feed: FeedName,
        account: &AccountId,
        event_id: &str,
        raw: bool,
    ) -> Result<Option<StoredEvent>, StoreError> {
        let (account, event_id) = (account.clone(), event_id.to_owned());
        let find = move |tx: &mut WriteTx<'_>| known::position_of(tx, feed, &account, &event_id);
        let Some(seq) = self.write_in(WriteLane::Second, find).await? else { return Ok(None) };
        self.read_feed(move |db| Ok(reads::pick(db, feed, vec![seq], raw)?.pop())).await
    }

    async fn before(&self, feed: FeedName, time: Timestamp) -> Result<u64, StoreError> {
        self.read_feed(move |db| reads::before(db, feed, time)).await
    }

    async fn reread(&self, id: u64, arrival: WebhookDelivery) -> Result<RereadOutcome, StoreError> {
        self.write(move |tx| quarantine::reread(tx, id, &arrival)).await
    }

    async fn quarantined(
        &self,
        accounts: &[AccountId],
        after: u64,
        limit: usize,
        raw: bool,
    ) -> Result<Vec<QuarantinedDelivery>, StoreError> {
        let accounts = accounts.to_vec();
        self.read_feed(move |db| quarantine::list(db, &accounts, after, limit, raw)).await
    }

    async fn append_found(&self, found: FoundIntent) -> Result<Option<u64>, StoreError> {
        self.write(move |tx| intent_lines::append(tx, found.clone())).await
    }

    async fn note_intent_lines(&self, limit: usize) -> Result<bool, StoreError> {
        let limit = i64::try_from(limit.max(1)).unwrap_or(i64::MAX);
        self.write_in(WriteLane::Second, move |tx| intent_lines::note(tx, limit)).await
    }

    async fn trim_log(&self, times: TrimTimes, limit: usize) -> Result<TrimOutcome, StoreError> {
        let mut all = TrimOutcome::default();
        while all.rows < limit {
            let part = TRIM.min(limit - all.rows);
            let mut now = self.write_in(WriteLane::Second, move |tx| trim::trim(tx, times, part)).await?;
            for feed in FeedName::ALL {
                *all.events.of_mut(feed) += now.events.of(feed);
            }
            all.rows += now.rows;
            all.parked += now.parked;
            all.quarantined += now.quarantined;
            all.lost.append(&mut now.lost);
            if now.rows == 0 {
                break;
            }
        }
        Ok(all)
    }
}

impl SubscriptionStore for SqliteLedger {
    async fn make(&self, new: NewSubscription) -> Result<CreateOutcome, StoreError> {
        self.write(move |tx| subscriptions::make(tx, &new)).await
    }

    async fn change<T, F>(&self, name: &str, mut change: F) -> Result<Option<T>, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&mut Subscription) -> T + Send + 'static,
    {
        let name = name.to_owned();
        self.write_in(WriteLane::Second, move |tx| subscriptions::change(tx, &name, &mut change)).await
    }

    async fn outline(&self, name: &str) -> Result<Option<SubscriptionCounts>, StoreError> {
        let name = name.to_owned();
        self.read_feed(move |db| subscriptions::outline(db, &name)).await
    }

    async fn names(&self, after: &str, limit: usize) -> Result<Vec<SubscriptionHead>, StoreError> {
        let after = after.to_owned();
        self.read_feed(move |db| subscriptions::names(db, &after, limit)).await
    }

    async fn remove(&self, name: &str, only: Option<(u64, u64)>) -> Result<RemoveOutcome, StoreError> {
        let name = name.to_owned();
        self.write(move |tx| subscriptions::remove(tx, &name, only)).await
    }
}

#[cfg(test)]
mod tests;
