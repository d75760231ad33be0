//! The feed from the settings.

use super::directory;
use crate::config::Config;
use crate::grpc::cancel_intents::encode_event;
use crate::ports::clock::Clock;
use crate::ports::random::Random;
use crate::service::feed::{Feed, FeedParts, FeedSettings, FeedStore};
use crate::shutdown::Shutdown;
use crate::telemetry::metrics::Metrics;

pub(super) fn start<F: FeedStore>(
    config: &Config,
    store: F,
    shutdown: &Shutdown,
    clock: Clock,
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
        random: random.clone(),
        metrics: metrics.feed.clone(),
        stopping: shutdown.stopping().clone(),
        tasks: shutdown.tasks().clone(),
    })
}
