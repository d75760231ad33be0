//! The feeds of cancel intents and of order updates: intake, storage, streaming, leasing and settling. Every use case
//! serves the two feeds; the request or the subscription selects the log.
//!
//! [`WebhookIntake`] stores Walmart's deliveries. [`reader`] reads a log once for all of its streams. [`WatchStream`]
//! streams the log to readers that keep their own position. For subscriptions, [`dispatch`] leases events to consumers,
//! [`ConsumerStream`] is one consumer's stream, and verdicts are settled in the store, with or without an open stream.

mod ahead;
mod block;
mod consumer;
mod dispatch;
mod events;
mod intake;
mod janitor;
mod join;
mod lag;
mod lending;
mod looks;
mod members;
mod overview;
mod parked;
mod places;
mod quarantine;
mod reader;
mod request;
mod scope;
mod settle;
mod subscriptions;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use self::block::Encode;
pub use self::consumer::{ConsumerFrame, ConsumerStream, LeasedDelivery};
pub use self::events::EventPage;
pub use self::intake::{DeliveryRecipient, UnreadableBody, WebhookIntake};
use self::members::DispatcherRegistry;
pub(crate) use self::overview::EventIds;
pub use self::overview::FeedState;
pub use self::quarantine::ReadBody;
use self::reader::LogReader;
pub use self::request::{AnsweredWith, GetRequest, ListRequest, SettleRequest, SubscribeRequest, WatchRequest};
pub use self::settle::SettleReply;
pub use self::subscriptions::SubscriptionState;
pub use self::watch::{WatchFrame, WatchStream};
pub use super::feed_error::{FaultKind, FeedError, StreamEnd};
use super::{AccountDirectory, ClientAccounts, ClockWatch, ServiceError};
use crate::domain::account::AccountId;
use crate::domain::feed::{ByFeed, EventFilter, FeedName, span};
use crate::domain::moment::Moment;
use crate::domain::rules::{FieldFaults, FieldPath};
use crate::domain::timestamp::Timestamp;
use crate::limits::FEED_STREAMS;
use crate::pb;
use crate::ports::call::CallContext;
use crate::ports::clock::Clock;
use crate::ports::event_log::{EventLog, FeedLog, LogBounds};
use crate::ports::random::Random;
use crate::ports::store_error::StoreError;
use crate::ports::subscriptions::SubscriptionStore;
use crate::quota::{Quota, QuotaPermit};
use crate::telemetry::metrics::{FeedMetrics, GaugeGuard};

/// Allowed heartbeat intervals of a client.
const HEARTBEATS: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(60);
/// A stream ends when its client takes no frame for this time.
const BLOCKED: Duration = Duration::from_secs(60);

/// The store of the feeds.
pub trait FeedStore: EventLog + SubscriptionStore {}

impl<T: EventLog + SubscriptionStore> FeedStore for T {}

/// The settings of the feeds.
#[derive(Clone, Copy, Debug)]
pub struct FeedSettings {
    /// Default heartbeat interval of a stream.
    pub heartbeat_interval: Duration,
    /// Retention of events that no subscription holds.
    pub retention: Duration,
    /// Retention of events that a subscription holds. Not less than `retention`.
    pub max_retention: Duration,
    /// Most subscriptions of one client.
    pub max_subscriptions_per_client: u64,
}

/// The parts of which the feeds are built.
pub struct FeedParts<F> {
    /// Store of logs and subscriptions.
    pub store: F,
    /// The accounts by name.
    pub directory: AccountDirectory,
    /// The accounts visible to the clients that own subscriptions.
    pub clients: ClientAccounts,
    /// The settings of the feeds.
    pub settings: FeedSettings,
    /// Encodes events for watchers.
    pub encode: Encode,
    /// Reads the bodies in quarantine.
    pub read: ReadBody,
    /// Source of the time.
    pub clock: Clock,
    /// Decides whether data may be trimmed by age.
    pub clock_watch: ClockWatch,
    /// Source of random pauses.
    pub random: Random,
    /// Metrics of the feeds.
    pub metrics: FeedMetrics,
    /// Signals the end of the process.
    pub stopping: CancellationToken,
    /// Tracker for background tasks.
    pub tasks: TaskTracker,
}

/// The use cases of the feeds. Cheap to clone; all clones share one state.
pub struct Feed<F>(Arc<FeedShared<F>>);

impl<F> Clone for Feed<F> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

struct FeedShared<F> {
    parts: FeedParts<F>,
    readers: ByFeed<LogReader<F>>,
    dispatchers: DispatcherRegistry,
    streams: Quota,
}

impl<F: FeedStore> Feed<F> {
    /// Starts the background tasks in `tasks`, which run until the process ends: following the logs and the clients'
    /// accounts, measuring the lag of subscriptions, and trimming.
    pub fn start(parts: FeedParts<F>) -> Self {
        let readers = ByFeed::new(|feed| LogReader::new(FeedLog::new(parts.store.clone(), feed), parts.encode));
        let (tasks, stopping) = (parts.tasks.clone(), parts.stopping.clone());
        for (feed, reader) in readers.iter() {
            tasks.spawn(reader.clone().follow(stopping.clone(), parts.metrics.of(feed).head.clone()));
        }
        let feed = Self(Arc::new(FeedShared {
            parts,
            readers,
            dispatchers: DispatcherRegistry::default(),
            streams: Quota::new(FEED_STREAMS),
        }));
        tasks.spawn(feed.clone().tell_lag_until(stopping.clone()));
        tasks.spawn(feed.clone().follow_clients_until(stopping.clone()));
        tasks.spawn(feed.clone().trim_until(stopping));
        feed
    }

    fn store(&self) -> &F {
        &self.0.parts.store
    }

    fn reader(&self, feed: FeedName) -> &LogReader<F> {
        self.0.readers.of(feed)
    }

    fn log(&self, feed: FeedName) -> &FeedLog<F> {
        self.reader(feed).source()
    }

    /// Reads the bounds of the two logs.
    async fn bounds(&self) -> Result<ByFeed<LogBounds>, StoreError> {
        let intents = self.log(FeedName::CancelIntents).bounds().await?;
        let updates = self.log(FeedName::OrderUpdates).bounds().await?;
        Ok(ByFeed::new(|feed| match feed {
            FeedName::CancelIntents => intents,
            FeedName::OrderUpdates => updates,
        }))
    }

    fn now(&self) -> Timestamp {
        self.0.parts.clock.now().into()
    }

    fn moment(&self) -> Moment {
        self.0.parts.clock.moment()
    }

    /// Takes a permit for one more stream.
    fn place(&self, feed: FeedName) -> Result<StreamPermit, FeedError> {
        let place = self.0.streams.try_acquire(1).ok_or(FeedError::TooManyStreams)?;
        Ok(StreamPermit { _place: place, _open: GaugeGuard::new(&self.0.parts.metrics.of(feed).streams) })
    }

    /// Checks the filter of a request and narrows it to the accounts visible to the caller.
    fn scope(
        &self,
        account: &str,
        filter: Option<&pb::Filter>,
        call: &CallContext,
    ) -> Result<EventFilter, ServiceError> {
        let none = pb::Filter::default();
        let filter = filter.unwrap_or(&none);
        let scope = EventFilter::new(filter, &FieldPath::Top("filter"))
            .map_err(|faults| FeedError::Faulty(FaultKind::Filter, faults))?;
        for name in &filter.accounts {
            self.0.parts.directory.named(name, call)?;
        }
        Ok(match self.visible(account, call)? {
            Some(accounts) => scope.within(accounts),
            None => scope,
        })
    }

    /// The accounts meant by an account name, which may be empty; `None` for all accounts, including removed ones.
    fn visible(&self, account: &str, call: &CallContext) -> Result<Option<Vec<AccountId>>, ServiceError> {
        let directory = &self.0.parts.directory;
        if account.is_empty() && call.caller().sees_all() {
            return Ok(None);
        }
        let accounts = directory.many(account, call)?;
        Ok(Some(accounts.into_iter().map(|account| directory.id(account)).collect()))
    }

    /// Checks the requested heartbeat interval.
    fn heartbeat(&self, asked: Option<&prost_types::Duration>) -> Result<Duration, ServiceError> {
        let Some(asked) = asked else { return Ok(self.0.parts.settings.heartbeat_interval) };
        let interval = span(asked).filter(|interval| HEARTBEATS.contains(interval));
        interval.ok_or_else(|| out_of_bounds(&FieldPath::Top("heartbeat_interval"), "must be 1 s to 60 s"))
    }
}

fn out_of_bounds(at: &FieldPath<'_>, description: &'static str) -> ServiceError {
    let mut faults = FieldFaults::default();
    faults.add(at, description);
    FeedError::Faulty(FaultKind::Bounds, faults).into()
}

fn invalid(at: &FieldPath<'_>, description: &'static str) -> ServiceError {
    let mut faults = FieldFaults::default();
    faults.add(at, description);
    ServiceError::Invalid(faults)
}

/// Converts a duration to protobuf.
fn duration(span: Duration) -> Option<prost_types::Duration> {
    span.try_into().ok()
}

/// Converts a time to protobuf.
fn timestamp(time: Timestamp) -> Option<prost_types::Timestamp> {
    Some(std::time::SystemTime::from(time).into())
}

/// A permit for one open stream, returned when dropped.
struct StreamPermit {
    _place: QuotaPermit,
    _open: GaugeGuard,
}

#[cfg(test)]
mod tests;
