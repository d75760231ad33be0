//! Metrics of the feeds.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::SubscriptionMetrics;
use crate::domain::feed::{ByFeed, FeedName};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FeedLabel {
    feed: &'static str,
}

/// Metrics of a feed's log.
#[derive(Clone, Debug)]
pub struct LogMetrics {
    /// Position of the last event.
    pub head: Gauge,
    /// Open streams, of watchers and of consumers.
    pub streams: Gauge,
    /// Events sent to watchers.
    pub watched: Counter,
    /// Events lent to consumers.
    pub delivered: Counter,
    /// Events dropped from the log after the retention.
    pub trimmed: Counter,
}

/// Metrics of streams, deliveries and verdicts. Cheap to clone; all clones count together.
#[derive(Clone, Debug)]
pub struct FeedMetrics {
    logs: ByFeed<LogMetrics>,
    /// Streams ended because the client did not read.
    pub slow_consumers: Counter,
    /// Streams ended because a new stream had the same consumer id.
    pub consumers_replaced: Counter,
    /// Number of times a subscription lost unsettled events.
    pub lost: Counter,
    /// Parked events dropped after the retention.
    pub parked_trimmed: Counter,
    /// Events dropped because the subscription no longer covers their accounts.
    pub voided: Counter,
    /// Quarantined deliveries dropped after the retention.
    pub quarantine_expired: Counter,
    /// Lag and parked events of subscriptions.
    pub subscriptions: SubscriptionMetrics,
    settled: Family<OutcomeLabel, Counter>,
}

impl FeedMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let mut gauge = |name: &str, help: &str| {
            let gauge = Family::<FeedLabel, Gauge>::default();
            r.register(format!("order_gateway_feed_{name}"), help, gauge.clone());
            gauge
        };
        let head = gauge("head", "Position of the last event of the feed");
        let streams = gauge("streams", "Streams of the feed that are open");
        let mut by_feed = |name: &str, help: &str| {
            let counter = Family::<FeedLabel, Counter>::default();
            r.register(format!("order_gateway_feed_{name}"), help, counter.clone());
            counter
        };
        let watched = by_feed("watched_events", "Events sent to watchers");
        let delivered = by_feed("deliveries", "Events lent to consumers of subscriptions");
        let trimmed = by_feed("trimmed_events", "Events dropped from the log, past their time");
        let logs = ByFeed::new(|feed: FeedName| {
            let label = FeedLabel { feed: feed.name() };
            LogMetrics {
                head: head.get_or_create_owned(&label),
                streams: streams.get_or_create_owned(&label),
                watched: watched.get_or_create_owned(&label),
                delivered: delivered.get_or_create_owned(&label),
                trimmed: trimmed.get_or_create_owned(&label),
            }
        });
        let mut counter = |name: &str, help: &str| {
            let counter = Counter::default();
            r.register(format!("order_gateway_feed_{name}"), help, counter.clone());
            counter
        };
        let slow_consumers = counter("slow_consumers", "Streams ended because their clients took nothing");
        let help = "Streams ended because another of the same subscription came with the same consumer id";
        let consumers_replaced = counter("consumers_replaced", help);
        let lost = counter("lost", "Times that a subscription lost events that it had not settled");
        let parked_trimmed = counter("trimmed_parked_events", "Parked events dropped, past their time");
        let help = "Leased, waiting and parked events of accounts that their subscription means no more";
        let voided = counter("voided_events", help);
        let quarantine_expired = Counter::default();
        let help = "Webhooks dropped from quarantine, past their time";
        r.register("order_gateway_webhook_quarantine_expired", help, quarantine_expired.clone());
        let subscriptions = SubscriptionMetrics::register(r);
        let settled = Family::default();
        r.register("order_gateway_feed_verdicts", "Verdicts of consumers by what came of them", settled.clone());
        Self {
            logs,
            slow_consumers,
            consumers_replaced,
            lost,
            parked_trimmed,
            voided,
            quarantine_expired,
            subscriptions,
            settled,
        }
    }

    /// The metrics of a feed's log.
    pub fn of(&self, feed: FeedName) -> &LogMetrics {
        self.logs.of(feed)
    }

    /// The counter of verdicts with this outcome.
    pub fn settled(&self, outcome: &'static str) -> Counter {
        self.settled.get_or_create(&OutcomeLabel { outcome }).clone()
    }
}
