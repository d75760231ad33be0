//! The state of the feeds, for operators.

use std::collections::VecDeque;

use super::block::message;
use super::events::PAGE_BYTES;
use super::subscriptions::{SubscriptionState, SubscriptionView};
use super::{Feed, FeedStore};
use crate::domain::feed::{ByFeed, FeedName};
use crate::domain::timestamp::Timestamp;
use crate::pb;
use crate::ports::call::CallContext;
use crate::ports::event_log::LogBounds;
use crate::ports::store_error::StoreError;
use crate::service::ServiceError;

/// State of the feeds.
#[derive(Clone, Debug)]
pub struct FeedState {
    /// Bounds of the logs.
    pub bounds: ByFeed<LogBounds>,
    /// Open streams of this process, by feed.
    pub open_streams: ByFeed<u64>,
    /// The first subscriptions by name.
    pub subscriptions: Vec<SubscriptionState>,
    /// Whether further subscriptions exist.
    pub more: bool,
}

/// The ids of an event, without any content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EventIds {
    /// Position in the log.
    pub(crate) seq: u64,
    /// Walmart's id of the event.
    pub(crate) event_id: String,
    /// Account of the event.
    pub(crate) account: String,
    /// Purchase order of the event.
    pub(crate) purchase_order_id: String,
    /// Event type as received.
    pub(crate) event_type: String,
    /// Sub-event type as received; often empty.
    pub(crate) sub_event_type: String,
    /// Time of receipt by the gateway.
    pub(crate) received: Timestamp,
}

impl<F: FeedStore> Feed<F> {
    /// Reads the feeds with the first subscriptions usable by the caller, at most `most`.
    ///
    /// # Errors
    /// The store fails.
    pub(crate) async fn overview(&self, most: usize, call: &CallContext) -> Result<FeedState, ServiceError> {
        let bounds = self.bounds().await?;
        let (subscriptions, next) = self.subscriptions(bounds, most, "", call).await?;
        let open_streams =
            ByFeed::new(|feed| u64::try_from(self.0.parts.metrics.of(feed).streams.get()).unwrap_or_default());
        Ok(FeedState { bounds, open_streams, subscriptions, more: !next.is_empty() })
    }

    pub(super) fn state_of(
        &self,
        seen: SubscriptionView,
        bounds: ByFeed<LogBounds>,
        call: &CallContext,
    ) -> SubscriptionState {
        let (oldest, scanned) = (seen.oldest, seen.head.scanned);
        let consumers = self.0.dispatchers.consumers(&seen.head.name);
        SubscriptionState {
            feed: seen.head.config.feed,
            shown: self.as_message(seen, bounds, call),
            consumers,
            oldest,
            scanned,
        }
    }

    /// Fills in the oldest time of subscriptions with unscanned events only, with one read of every log for all
    /// subscriptions.
    ///
    /// # Errors
    /// The store fails.
    pub(crate) async fn find_oldest(&self, state: &mut FeedState) -> Result<(), StoreError> {
        for feed in FeedName::ALL {
            let LogBounds { first, head, .. } = *state.bounds.of(feed);
            let next = |it: &SubscriptionState| (it.scanned + 1).max(first);
            let waits = |it: &SubscriptionState| it.feed == feed && it.oldest.is_none() && it.scanned < head;
            let mut seqs: Vec<u64> = state.subscriptions.iter().filter(|it| waits(it)).map(next).collect();
            if seqs.is_empty() {
                continue;
            }
            seqs.sort_unstable();
            seqs.dedup();
            let found = self.log(feed).pick(seqs, false).await?;
            for it in state.subscriptions.iter_mut().filter(|it| waits(it)) {
                let seq = next(it);
                it.oldest = found.iter().find(|event| event.seq == seq).map(|event| event.received);
            }
        }
        Ok(())
    }

    /// Updates `known`, the last intents of the log at the previous call: at most `most`, oldest first. Only newer
    /// events are read.
    ///
    /// # Errors
    /// The store fails; intents read before stay.
    pub(crate) async fn follow_ids(&self, known: &mut VecDeque<EventIds>, most: usize) -> Result<(), StoreError> {
        let log = self.log(FeedName::CancelIntents);
        let bounds = log.bounds().await?;
        known.retain(|event| (bounds.first..=bounds.head).contains(&event.seq));
        let earliest = bounds.head.saturating_sub(most as u64).max(bounds.first.saturating_sub(1));
        let mut position = known.back().map_or(0, |last| last.seq).max(earliest);
        while position < bounds.head {
            let read = log.read(position, most, PAGE_BYTES, false).await?;
            // The next events may have been trimmed just now.
            let Some(last) = read.last() else { break };
            position = last.seq;
            known.extend(read.iter().map(|stored| {
                let event: pb::Event = message(bounds.log, stored);
                EventIds {
                    seq: stored.seq,
                    event_id: event.event_id,
                    account: event.account,
                    purchase_order_id: event.intent.map(|intent| intent.purchase_order_id).unwrap_or_default(),
                    event_type: event.event_type,
                    sub_event_type: event.sub_event_type,
                    received: stored.received,
                }
            }));
        }
        known.drain(..known.len().saturating_sub(most));
        Ok(())
    }
}

#[cfg(test)]
#[path = "overview_tests.rs"]
mod tests;
