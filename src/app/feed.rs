//! The feeds from the settings.

use super::directory;
use crate::config::Config;
use crate::grpc::feed_streams::encode_event;
use crate::ports::clock::Clock;
use crate::ports::random::Random;
use crate::service::ClockWatch;
use crate::service::feed::{Feed, FeedParts, FeedSettings, FeedStore};
use crate::shutdown::Shutdown;
use crate::telemetry::metrics::Metrics;

pub(super) fn start<F: FeedStore>(
    config: &Config,
    store: F,
    shutdown: &Shutdown,
    clock: Clock,
    clock_watch: &ClockWatch,
    random: &Random,
    metrics: &Metrics,
) -> Feed<F> {
    let settings = FeedSettings {
        heartbeat_interval: config.feed.heartbeat_interval,
        retention: config.feed.retention,
        max_retention: config.feed.max_retention,
    };
    Feed::start(FeedParts {
        store,
        directory: directory(config),
        settings,
        encode: encode_event,
        clock,
        clock_watch: clock_watch.clone(),
        random: random.clone(),
        metrics: metrics.feed.clone(),
        stopping: shutdown.stopping().clone(),
        tasks: shutdown.tasks().clone(),
    })
}
