//! The feed as operators see it.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use super::block::message;
use super::events::PAGE_BYTES;
use super::subscriptions::Seen;
use super::{Feed, FeedStore};
use crate::domain::feed::{ByFeed, FeedName};
use crate::domain::timestamp::Timestamp;
use crate::pb;
use crate::ports::call::CallContext;
use crate::ports::event_log::Bounds;
use crate::ports::ledger::StoreError;
use crate::service::ServiceError;

/// State of the feeds.
#[derive(Clone, Debug)]
pub struct FeedState {
    /// The logs.
    pub bounds: ByFeed<Bounds>,
    /// Streams of this process that are open, by feed.
    pub open_streams: ByFeed<u64>,
    /// The first subscriptions by name.
    pub subscriptions: Vec<SubscriptionState>,
    /// Whether there are more.
    pub more: bool,
}

/// State of a subscription.
#[derive(Clone, Debug)]
pub struct SubscriptionState {
    /// The feed that it reads.
    pub feed: FeedName,
    /// As its owners see it.
    pub shown: pb::Subscription,
    /// Streams of this process that serve it.
    pub consumers: u64,
    /// When the first event came that it has not settled; of those it has not looked at, whether or not it matches. `None`
    /// when nothing is left, or when that event is gone.
    pub oldest: Option<Timestamp>,
    /// Every event up to here was looked at.
    pub(super) scanned: u64,
}

/// What tells one event from all others; nothing of what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventIds {
    /// Position.
    pub seq: u64,
    /// Walmart's id.
    pub event_id: String,
    /// Whose.
    pub account: String,
    /// The purchase order.
    pub purchase_order_id: String,
    /// As received.
    pub event_type: String,
    /// As received; often empty.
    pub sub_event_type: String,
    /// When it came.
    pub received: Timestamp,
}

impl<F: FeedStore> Feed<F> {
    /// The feeds with their first subscriptions, at most `most`, of those that the caller may use.
    ///
    /// # Errors
    /// The store fails.
    pub async fn overview(&self, most: usize, call: &CallContext) -> Result<FeedState, ServiceError> {
        let bounds = self.bounds().await?;
        let (subscriptions, next) = self.subscriptions(bounds, most, "", call).await?;
        let open_streams = ByFeed::new(|feed| self.0.streams.of.of(feed).load(Ordering::Acquire) as u64);
        Ok(FeedState { bounds, open_streams, subscriptions, more: !next.is_empty() })
    }

    pub(super) fn state_of(&self, seen: Seen, bounds: ByFeed<Bounds>, call: &CallContext) -> SubscriptionState {
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

    /// Finds out since when subscriptions wait that have not looked at their next event yet: one read of each log for all of
    /// them.
    ///
    /// # Errors
    /// The store fails.
    pub async fn find_oldest(&self, state: &mut FeedState) -> Result<(), StoreError> {
        for feed in FeedName::ALL {
            let Bounds { first, head, .. } = *state.bounds.of(feed);
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

    /// Brings `known`, the last intents of the log as they were when this was last asked, up to date: at most `most`, oldest
    /// first. Only what has come since is read.
    ///
    /// # Errors
    /// The store fails; what was read before stays.
    pub async fn follow_ids(&self, known: &mut VecDeque<EventIds>, most: usize) -> Result<(), StoreError> {
        let log = self.log(FeedName::CancelIntents);
        let bounds = log.bounds().await?;
        known.retain(|event| (bounds.first..=bounds.head).contains(&event.seq));
        let earliest = bounds.head.saturating_sub(most as u64).max(bounds.first.saturating_sub(1));
        let mut position = known.back().map_or(0, |last| last.seq).max(earliest);
        while position < bounds.head {
            let read = log.read(position, most, PAGE_BYTES, false).await?;
            // What stood here may have been trimmed just now.
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
