//! Measures at intervals how far subscriptions are behind. A scrape gets the last values, which keeps a slow or failing
//! store from delaying scrapes.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::subscriptions::SubscriptionView;
use super::{Feed, FeedStore};
use crate::domain::feed::subscription::SubscriptionHead;
use crate::domain::feed::{ByFeed, FeedName};
use crate::domain::timestamp::Timestamp;
use crate::ports::store_error::StoreError;
use crate::telemetry::metrics::{MAX_LABELLED, SubscriptionLag};

const EVERY: Duration = Duration::from_secs(10);
/// Subscriptions read at once.
const PAGE: usize = 200;

impl<F: FeedStore> Feed<F> {
    /// Measures at intervals until `stopping`. The values stay unchanged while the store fails.
    pub(super) async fn tell_lag_until(self, stopping: CancellationToken) {
        let mut ticks = interval_at(Instant::now() + EVERY, EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stopping.run_until_cancelled(ticks.tick()).await.is_some() {
            let _ = self.tell_lag().await;
        }
    }

    async fn tell_lag(&self) -> Result<(), StoreError> {
        let heads = ByFeed::new(|feed| *self.log(feed).head().borrow());
        let (mut labelled, mut others) = (Vec::new(), None);
        let mut after = String::new();
        loop {
            let page = self.store().names(&after, PAGE).await?;
            let is_last = page.len() < PAGE;
            for one in page {
                after.clone_from(&one.name);
                if labelled.len() < MAX_LABELLED {
                    labelled.extend(self.lag_of(&one, *heads.of(one.config.feed)).await?);
                } else {
                    add(&mut others, &one, *heads.of(one.config.feed));
                }
            }
            if is_last {
                self.0.parts.metrics.subscriptions.show(labelled, others);
                return Ok(());
            }
        }
    }

    /// Measures one subscription; `None` if it was deleted meanwhile.
    async fn lag_of(&self, of: &SubscriptionHead, head: u64) -> Result<Option<SubscriptionLag>, StoreError> {
        let Some(seen) = self.store().outline(&of.name).await? else { return Ok(None) };
        let SubscriptionView { head: SubscriptionHead { scanned, .. }, unsettled, parked, oldest: looked_at, .. } =
            self.as_passed(seen.into());
        let oldest = match looked_at {
            None if scanned < head => self.first_after(of.config.feed, scanned).await?,
            other => other,
        };
        let oldest = oldest.map(|received| self.now().since(received)).unwrap_or_default();
        let events = head.saturating_sub(scanned) + unsettled;
        Ok(Some(SubscriptionLag { name: of.name.clone(), events, parked, oldest }))
    }

    async fn first_after(&self, feed: FeedName, seq: u64) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.log(feed).read(seq, 1, usize::MAX, false).await?.first().map(|event| event.received))
    }
}

/// Adds the unscanned events of a subscription beyond the labelled ones to the common value; its scanned events are not
/// counted.
fn add(others: &mut Option<SubscriptionLag>, one: &SubscriptionHead, head: u64) {
    let none = || SubscriptionLag { name: String::new(), events: 0, parked: 0, oldest: Duration::ZERO };
    others.get_or_insert_with(none).events += head.saturating_sub(one.scanned);
}
