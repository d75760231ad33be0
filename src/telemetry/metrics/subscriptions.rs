//! Metrics of durable subscriptions. Clients choose the names, so only a limited number of names become labels.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// Maximum number of subscriptions with a label; the first by name. Fewer than a store keeps in memory, so that
/// collecting the metrics does not evict subscriptions in use.
pub const MAX_LABELLED: usize = 50;

/// The label for the sum of all further subscriptions.
const OTHER: &str = "_OTHER";

/// The lag of a subscription.
#[derive(Clone, Debug, PartialEq)]
pub struct SubscriptionLag {
    /// Name of the subscription; ignored for the sum.
    pub name: String,
    /// Events not settled, or not yet looked at.
    pub events: u64,
    /// Events parked by the subscription's consumers.
    pub parked: u64,
    /// Age of the oldest unsettled event; zero without such an event.
    pub oldest: Duration,
}

/// The gauges of all subscriptions. Cheap to clone; all clones share the gauges.
#[derive(Clone, Debug)]
pub struct SubscriptionMetrics {
    lag: Family<SubscriptionLabels, Gauge>,
    parked: Family<SubscriptionLabels, Gauge>,
    oldest: Family<SubscriptionLabels, Gauge>,
    shown: Arc<Mutex<BTreeSet<String>>>,
}

impl SubscriptionMetrics {
    pub(super) fn register(r: &mut Registry) -> Self {
        let (lag, parked, oldest) = (Family::default(), Family::default(), Family::default());
        let help = "Events of the feed that a subscription has not settled, or not looked at yet";
        r.register("order_gateway_feed_subscription_lag_events", help, Family::clone(&lag));
        let help = "Events that consumers of a subscription have put aside";
        r.register("order_gateway_feed_subscription_parked_events", help, Family::clone(&parked));
        let (name, help) = (
            "order_gateway_feed_subscription_oldest_pending_age",
            "How long the first event that a subscription has not settled has been in the feed; 0 when there is none",
        );
        r.register_with_unit(name, help, Unit::Seconds, Family::clone(&oldest));
        Self { lag, parked, oldest, shown: Arc::default() }
    }

    /// Replaces all values: `labelled` subscriptions, at most [`MAX_LABELLED`], and the sum of all further
    /// subscriptions, if any. Labels shown before and now absent are removed.
    pub fn show(&self, labelled: Vec<SubscriptionLag>, others: Option<SubscriptionLag>) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let others = others.map(|others| SubscriptionLag { name: OTHER.to_owned(), ..others });
        let all: Vec<_> = labelled.into_iter().take(MAX_LABELLED).chain(others).collect();
        let names: BTreeSet<_> = all.iter().map(|one| one.name.clone()).collect();
        for gone in shown.difference(&names) {
            let labels = SubscriptionLabels { subscription: gone.clone() };
            self.lag.remove(&labels);
            self.parked.remove(&labels);
            self.oldest.remove(&labels);
        }
        *shown = names;
        for SubscriptionLag { name, events, parked, oldest } in all {
            let labels = SubscriptionLabels { subscription: name };
            let set = |family: &Family<SubscriptionLabels, Gauge>, value: u64| {
                family.get_or_create_owned(&labels).set(i64::try_from(value).unwrap_or(i64::MAX));
            };
            set(&self.lag, events);
            set(&self.parked, parked);
            set(&self.oldest, oldest.as_secs());
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SubscriptionLabels {
    subscription: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::{Metrics, TextFormat};

    fn lag(name: &str, events: u64) -> SubscriptionLag {
        SubscriptionLag { name: name.into(), events, parked: 1, oldest: Duration::from_secs(9) }
    }

    #[test]
    fn only_so_many_are_labelled_and_deleted_ones_are_forgotten() {
        let metrics = Metrics::new([]);
        let series = |series: &str| -> Vec<String> {
            let text = metrics.encode(TextFormat::Plain).unwrap();
            text.lines().filter(|line| line.starts_with(series)).map(str::to_owned).collect()
        };
        let all = (0..MAX_LABELLED + 5).map(|n| lag(&format!("s-{n}"), 2)).collect();
        metrics.feed.subscriptions.show(all, Some(lag("", 10)));
        let lags = series("order_gateway_feed_subscription_lag_events{");
        assert_eq!(lags.len(), MAX_LABELLED + 1);
        assert!(lags.contains(&r#"order_gateway_feed_subscription_lag_events{subscription="_OTHER"} 10"#.into()));

        metrics.feed.subscriptions.show(vec![lag("s-7", 3)], None);
        let all = series("order_gateway_feed_subscription_");
        let expected = [
            r#"order_gateway_feed_subscription_lag_events{subscription="s-7"} 3"#,
            r#"order_gateway_feed_subscription_parked_events{subscription="s-7"} 1"#,
            r#"order_gateway_feed_subscription_oldest_pending_age_seconds{subscription="s-7"} 9"#,
        ];
        assert_eq!(all, expected);
    }
}
