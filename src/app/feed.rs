//! Builds the feeds from the settings.

use super::{clients, directory};
use crate::config::Config;
use crate::domain::account::SellerId;
use crate::grpc::feed_streams::encode_event;
use crate::http::webhooks::read::read_body;
use crate::ports::clock::Clock;
use crate::ports::random::Random;
use crate::service::feed::{Feed, FeedParts, FeedSettings, FeedStore};
use crate::service::{ClientAccounts, ClockWatch};
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
        max_subscriptions_per_client: config.feed.max_subscriptions_per_client.get().into(),
    };
    let sellers = config.accounts.iter().map(|it| (it.id.clone(), SellerId::new(&it.partner_id)));
    Feed::start(FeedParts {
        store,
        directory: directory(config),
        clients: ClientAccounts::new(clients::scopes(config)),
        settings,
        encode: encode_event,
        read: read_body,
        sellers: sellers.collect(),
        clock,
        clock_watch: clock_watch.clone(),
        random: random.clone(),
        metrics: metrics.feed.clone(),
        stopping: shutdown.stopping().clone(),
        tasks: shutdown.tasks().clone(),
    })
}
