//! Builds the feeds from the settings.

use crate::config::Config;
use crate::grpc::feed_streams::encode_event;
use crate::http::webhooks::read::read_body;
use crate::ports::clock::Clock;
use crate::ports::random::Random;
use crate::service::feed::{Feed, FeedParts, FeedSettings, FeedStore};
use crate::service::{AccountDirectory, ClientAccounts, ClockWatch};
use crate::shutdown::Shutdown;
use crate::telemetry::metrics::Metrics;

pub(super) fn start<F: FeedStore>(
    config: &Config,
    store: F,
    (directory, clients): (AccountDirectory, ClientAccounts),
    shutdown: &Shutdown,
    (clock, clock_watch): (Clock, &ClockWatch),
    random: &Random,
    metrics: &Metrics,
) -> Feed<F> {
    let settings = FeedSettings {
        heartbeat_interval: config.feed.heartbeat_interval,
        retention: config.feed.retention,
        max_retention: config.feed.max_retention,
        max_subscriptions_per_client: config.feed.max_subscriptions_per_client.get().into(),
    };
    Feed::start(FeedParts {
        store,
        directory,
        clients,
        settings,
        encode: encode_event,
        read: read_body,
        clock,
        clock_watch: clock_watch.clone(),
        random: random.clone(),
        metrics: metrics.feed.clone(),
        stopping: shutdown.stopping().clone(),
        tasks: shutdown.tasks().clone(),
    })
}
