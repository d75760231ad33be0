//! Trims expired events and deliveries.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use super::{Feed, FeedStore};
use crate::ports::event_log::TrimTimes;
use crate::service::feed_error::FeedError;

/// Longest interval between trimmings; a tenth of the retention where shorter.
const EVERY: Duration = Duration::from_mins(1);
/// Shortest interval between trimmings.
const PAUSE: Duration = Duration::from_millis(100);
/// Rows dropped in one transaction, limited to keep other writes from waiting.
const AT_ONCE: usize = 500;
/// Deliveries looked at in one transaction.
const NOTED_AT_ONCE: usize = 1000;
/// Shortest time for which event ids are stored. A delivery repeated later counts as a new event.
const IDS: Duration = Duration::from_hours(400 * 24);

impl<F: FeedStore> Feed<F> {
    /// Trims at intervals until `stopping`.
    pub(super) async fn trim_until(self, stopping: CancellationToken) {
        let every = (self.0.parts.settings.retention / 10).clamp(PAUSE, EVERY);
        let mut ticks = interval_at(Instant::now() + every, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stopping.run_until_cancelled(ticks.tick()).await.is_some() {
            // The store logs its failures. What the backfill must know of events is noted before they go.
            while matches!(self.store().note_intent_lines(NOTED_AT_ONCE).await, Ok(true)) && !stopping.is_cancelled() {}
            while self.trim().await && !stopping.is_cancelled() {}
        }
    }

    /// Makes one trimming step. Returns whether further rows may be expired.
    async fn trim(&self) -> bool {
        let settings = &self.0.parts.settings;
        // Nothing is trimmed while the wall clock may be wrong.
        let Some(now) = self.0.parts.clock_watch.trim_time() else { return false };
        let now = now.wall;
        let free = now.minus(settings.retention);
        let held = now.minus(settings.max_retention.max(settings.retention));
        let ids = now.minus(IDS.max(settings.max_retention));
        let Ok(trimmed) = self.store().trim_log(TrimTimes { free, held, ids }, AT_ONCE).await else { return false };
        let metrics = &self.0.parts.metrics;
        for (feed, events) in trimmed.events.iter() {
            metrics.of(feed).trimmed.inc_by(*events as u64);
        }
        metrics.lost.inc_by(trimmed.lost.len() as u64);
        metrics.parked_trimmed.inc_by(trimmed.parked as u64);
        metrics.quarantine_expired.inc_by(trimmed.quarantined as u64);
        for subscription in trimmed.lost {
            tracing::error!(
                subscription,
                "events that this subscription has not settled are past their time, and lost"
            );
            self.end_lost(&subscription).await;
        }
        if trimmed.parked > 0 {
            tracing::warn!(events = trimmed.parked, "parked events are past their time, and lost");
        }
        trimmed.rows > 0
    }

    async fn end_lost(&self, subscription: &str) {
        let seen = self.store().change(subscription, |it| (it.head().floor, it.head().config.feed)).await;
        let Ok(Some((floor, feed))) = seen else { return };
        if let Ok(bounds) = self.log(feed).bounds().await {
            let why = FeedError::EventsExpired { first: bounds.first, lost_from: floor + 1 };
            self.0.dispatchers.end(subscription, why);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::feed::FeedName;
    use crate::domain::feed::notification::{DeliveryContent, WebhookDelivery};
    use crate::ports::event_log::EventLog as _;
    use crate::testing::feed::{arrival, feed};

    const DAY: Duration = Duration::from_hours(24);

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_wrong_for_a_minute_drops_nothing() {
        let feed = feed();
        feed.post_many(3).await;
        let kept = async || feed.store.bounds(FeedName::CancelIntents).await.unwrap().first;
        feed.steps.ahead(40 * DAY);
        tokio::time::sleep(EVERY + Duration::from_secs(1)).await;
        feed.steps.back(40 * DAY);
        tokio::time::sleep(EVERY).await;
        assert_eq!(kept().await, 1);
        // Their time is over a minute before the pause is, which began with the second step.
        tokio::time::advance(30 * DAY - EVERY).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(kept().await, 1);
        tokio::time::sleep(3 * EVERY).await;
        assert_eq!(kept().await, 3, "the last event always stays");
    }

    #[tokio::test(start_paused = true)]
    async fn what_goes_from_quarantine_is_counted() {
        let feed = feed();
        for number in [1, 2] {
            let content = DeliveryContent::Unreadable { reason: "not JSON".into() };
            feed.store.append(WebhookDelivery { content, ..arrival("acme", "", number) }).await.unwrap();
        }
        let expired = || feed.feed.0.parts.metrics.quarantine_expired.get();
        tokio::time::sleep(89 * DAY).await;
        assert_eq!(expired(), 0);
        tokio::time::sleep(DAY + 2 * EVERY).await;
        assert_eq!(expired(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_operators_word_ends_the_pause() {
        let feed = feed();
        feed.post_many(3).await;
        feed.steps.ahead(40 * DAY);
        tokio::time::sleep(2 * EVERY).await;
        assert_eq!(feed.store.bounds(FeedName::CancelIntents).await.unwrap().first, 1);
        feed.clock_watch.confirm("ops");
        tokio::time::sleep(2 * EVERY).await;
        assert_eq!(feed.store.bounds(FeedName::CancelIntents).await.unwrap().first, 3);
    }
}
