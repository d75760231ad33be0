//! The configuration of a subscription.

use std::ops::RangeInclusive;
use std::time::Duration;

use prost::Message as _;

use crate::domain::feed::{EventFilter, FeedName, span};
use crate::domain::rules::{FieldFaults, FieldPath};
use crate::pb;

const LEASE: RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_secs(10 * 60);
const DEFAULT_LEASE: Duration = Duration::from_secs(30);
const MAX_ATTEMPTS: u32 = 1_000;
const DEFAULT_ATTEMPTS: u32 = 20;
const BACKOFF_MIN: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(60 * 60);
const DEFAULT_BACKOFF_MIN: Duration = Duration::from_secs(1);
const LONGEST_BACKOFF: Duration = Duration::from_secs(24 * 60 * 60);
const DEFAULT_BACKOFF_MAX: Duration = Duration::from_secs(5 * 60);
/// Longest name in bytes.
const MAX_NAME: usize = 128;

const UNSPECIFIED: i32 = pb::SubscriptionMode::Unspecified as i32;
const FEED_UNSPECIFIED: i32 = pb::Feed::Unspecified as i32;

type Field = (&'static str, fn(&pb::Subscription) -> bool, fn(&mut pb::Subscription, &pb::Subscription));

/// The fields that an update may change.
const FIELDS: [Field; 6] = [
    ("filter", |m| m.filter.is_some(), |to, from| to.filter.clone_from(&from.filter)),
    ("lease_duration", |m| m.lease_duration.is_some(), |to, from| to.lease_duration = from.lease_duration),
    ("max_attempts", |m| m.max_attempts.is_some(), |to, from| to.max_attempts = from.max_attempts),
    ("backoff", |m| m.backoff.is_some(), |to, from| to.backoff = from.backoff),
    ("hold_retention", |m| m.hold_retention.is_some(), |to, from| to.hold_retention = from.hold_retention),
    ("paused", |m| m.paused.is_some(), |to, from| to.paused = from.paused),
];

/// The order in which events wait for earlier events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OrderingMode {
    /// Behind earlier unsettled events of the same key.
    #[default]
    KeyOrdered,
    /// In no particular order.
    Unordered,
    /// One consumer at a time, in the order of the log.
    Exclusive,
}

/// The configuration of a subscription, with all defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct SubscriptionConfig {
    /// The feed read by the subscription. Never changes.
    pub feed: FeedName,
    /// The filter as requested.
    pub filter: pb::Filter,
    /// The ordering of events. Never changes.
    pub mode: OrderingMode,
    /// Duration of a lease.
    pub lease_duration: Duration,
    /// Failures after which an event is parked; 0 for never.
    pub max_attempts: u32,
    /// Longest pause before the second attempt; doubled for every further attempt.
    pub backoff_min: Duration,
    /// Upper limit of the pause before any attempt.
    pub backoff_max: Duration,
    /// Whether the log keeps unsettled and parked events beyond the retention.
    pub hold_retention: bool,
    /// Whether no event is leased.
    pub paused: bool,
    /// Name of the client that created the subscription; empty for a gateway without clients. Never changes.
    pub client: String,
}

impl Default for SubscriptionConfig {
    /// The configuration of a subscription requested by its name only.
    fn default() -> Self {
        Self::read(&pb::Subscription::default())
    }
}

impl SubscriptionConfig {
    /// Checks a request and fills in the defaults; `at` is the path of the subscription in the request. Name, start and
    /// output fields are not checked.
    ///
    /// # Errors
    /// All faults of the request.
    pub(crate) fn from_message(message: &pb::Subscription, at: &FieldPath<'_>) -> Result<Self, FieldFaults> {
        let mut faults = FieldFaults::default();
        check(message, at, &mut faults);
        faults.into_result().map(|()| Self::read(message))
    }

    /// Converts to a message with the configuration fields; further fields stay empty.
    pub(crate) fn to_message(&self) -> pb::Subscription {
        let backoff = pb::Backoff { min: written(self.backoff_min), max: written(self.backoff_max) };
        pb::Subscription {
            feed: number_of_feed(self.feed),
            filter: Some(self.filter.clone()),
            mode: self.mode.number(),
            lease_duration: written(self.lease_duration),
            max_attempts: Some(self.max_attempts),
            backoff: Some(backoff),
            hold_retention: Some(self.hold_retention),
            paused: Some(self.paused),
            client: self.client.clone(),
            ..Default::default()
        }
    }

    /// Encodes the configuration for a store.
    pub fn encode(&self) -> Vec<u8> {
        self.to_message().encode_to_vec()
    }

    /// Decodes stored bytes without a further check, because the rules may have become stricter.
    ///
    /// # Errors
    /// The bytes are no subscription.
    pub fn decode(bytes: &[u8]) -> Result<Self, prost::DecodeError> {
        pb::Subscription::decode(bytes).map(|message| Self::read(&message))
    }

    /// The filter, ready for use.
    pub fn wanted(&self) -> EventFilter {
        EventFilter::of_checked(&self.filter)
    }

    /// The filter without its accounts.
    pub(crate) fn wanted_anywhere(&self) -> EventFilter {
        self.wanted().anywhere()
    }

    /// Whether the configuration matches a request: only fields set in the request are compared. Filters are compared
    /// by their meaning, and accounts only if the request names accounts.
    pub(crate) fn agrees_with(&self, asked: &pb::Subscription) -> bool {
        let read = Self::read(asked);
        let backoff = asked.backoff.unwrap_or_default();
        let same = |is_set: bool, is_same: bool| !is_set || is_same;
        same(asked.feed != FEED_UNSPECIFIED, read.feed == self.feed)
            && same(asked.filter.is_some(), self.wants_the_same(&read.filter))
            && same(asked.mode != UNSPECIFIED, asked.mode == self.mode.number())
            && same(asked.lease_duration.is_some(), read.lease_duration == self.lease_duration)
            && same(asked.max_attempts.is_some(), read.max_attempts == self.max_attempts)
            && same(backoff.min.is_some(), read.backoff_min == self.backoff_min)
            && same(backoff.max.is_some(), read.backoff_max == self.backoff_max)
            && same(asked.hold_retention.is_some(), read.hold_retention == self.hold_retention)
            && same(asked.paused.is_some(), read.paused == self.paused)
    }

    fn wants_the_same(&self, asked: &pb::Filter) -> bool {
        let [ours, theirs] = [self.wanted(), EventFilter::of_checked(asked)];
        if asked.accounts.is_empty() { ours.anywhere() == theirs } else { ours == theirs }
    }

    /// Takes the fields of `mask` from `message`, whose path is `at`; an empty mask takes the fields that are set. A
    /// masked field missing from the message gets its default.
    ///
    /// # Errors
    /// All faults of the mask (at `mask_at`) and of the taken fields; also a changed mode or feed, or a start.
    pub fn updated(
        &self,
        message: &pb::Subscription,
        at: &FieldPath<'_>,
        mask: &[String],
        mask_at: &FieldPath<'_>,
    ) -> Result<Self, FieldFaults> {
        let mut faults = FieldFaults::default();
        let mut merged = self.to_message();
        if message.mode != UNSPECIFIED && message.mode != merged.mode {
            faults.add(&at.field("mode"), "cannot be changed");
        }
        if message.feed != FEED_UNSPECIFIED && message.feed != merged.feed {
            faults.add(&at.field("feed"), "cannot be changed");
        }
        if message.start.is_some() {
            faults.add(&at.field("start"), "cannot be changed, see SeekSubscription");
        }
        for (name, is_set, take) in FIELDS {
            let named = mask.iter().any(|path| path == name);
            if named || (mask.is_empty() && is_set(message)) {
                take(&mut merged, message);
            }
        }
        for (i, path) in mask.iter().enumerate() {
            if !FIELDS.iter().any(|(name, ..)| path == name) {
                faults.add(
                    &mask_at.index(i),
                    "must be filter, lease_duration, max_attempts, backoff, hold_retention or paused",
                );
            }
        }
        match Self::from_message(&merged, at) {
            Ok(config) => faults.into_result().map(|()| config),
            Err(later) => {
                faults.extend(later);
                Err(faults)
            }
        }
    }

    /// Reads a message with defaults; unreadable values count as unset.
    fn read(message: &pb::Subscription) -> Self {
        let read = |value: Option<prost_types::Duration>| value.as_ref().and_then(span);
        let backoff = message.backoff.unwrap_or_default();
        let backoff_min = read(backoff.min).unwrap_or(DEFAULT_BACKOFF_MIN);
        Self {
            feed: feed_of(message.feed).unwrap_or_default(),
            filter: message.filter.clone().unwrap_or_default(),
            mode: OrderingMode::of(message.mode).unwrap_or_default(),
            lease_duration: read(message.lease_duration).unwrap_or(DEFAULT_LEASE),
            max_attempts: message.max_attempts.unwrap_or(DEFAULT_ATTEMPTS),
            backoff_min,
            backoff_max: read(backoff.max).unwrap_or(DEFAULT_BACKOFF_MAX.max(backoff_min)),
            hold_retention: message.hold_retention.unwrap_or(true),
            paused: message.paused.unwrap_or(false),
            client: message.client.clone(),
        }
    }
}

/// Converts the number of a feed; unset means cancel intents.
fn feed_of(number: i32) -> Option<FeedName> {
    Some(match pb::Feed::try_from(number).ok()? {
        pb::Feed::Unspecified | pb::Feed::CancelIntents => FeedName::CancelIntents,
        pb::Feed::OrderUpdates => FeedName::OrderUpdates,
    })
}

/// The number of a feed in messages.
pub(crate) fn number_of_feed(feed: FeedName) -> i32 {
    let feed = match feed {
        FeedName::CancelIntents => pb::Feed::CancelIntents,
        FeedName::OrderUpdates => pb::Feed::OrderUpdates,
    };
    feed as i32
}

impl OrderingMode {
    fn of(number: i32) -> Option<Self> {
        Some(match pb::SubscriptionMode::try_from(number).ok()? {
            pb::SubscriptionMode::Unspecified | pb::SubscriptionMode::KeyOrdered => Self::KeyOrdered,
            pb::SubscriptionMode::Unordered => Self::Unordered,
            pb::SubscriptionMode::Exclusive => Self::Exclusive,
        })
    }

    fn number(self) -> i32 {
        let mode = match self {
            Self::KeyOrdered => pb::SubscriptionMode::KeyOrdered,
            Self::Unordered => pb::SubscriptionMode::Unordered,
            Self::Exclusive => pb::SubscriptionMode::Exclusive,
        };
        mode as i32
    }
}

/// Checks the name of a subscription: 1 to 128 ASCII letters, digits, `-`, `_` and `.`.
pub(crate) fn check_name(name: &str, at: &FieldPath<'_>, faults: &mut FieldFaults) {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if !(1..=MAX_NAME).contains(&name.len()) || !name.bytes().all(plain) {
        faults.add(at, "must be 1 to 128 ASCII letters, digits, '-', '_' or '.'");
    }
}

fn check(message: &pb::Subscription, at: &FieldPath<'_>, faults: &mut FieldFaults) {
    if let Some(filter) = &message.filter {
        faults.extend(EventFilter::new(filter, &at.field("filter")).err().unwrap_or_default());
    }
    if feed_of(message.feed).is_none() {
        faults.add(&at.field("feed"), "is no feed");
    }
    if OrderingMode::of(message.mode).is_none() {
        faults.add(&at.field("mode"), "is no mode");
    }
    check_span(message.lease_duration, LEASE, &at.field("lease_duration"), "must be 5 s to 10 min", faults);
    if message.max_attempts.is_some_and(|attempts| attempts > MAX_ATTEMPTS) {
        faults.add(&at.field("max_attempts"), "must be 0 to 1000");
    }
    let (backoff, at) = (message.backoff.unwrap_or_default(), at.field("backoff"));
    let min_is_right = check_span(backoff.min, BACKOFF_MIN, &at.field("min"), "must be 0 s to 1 h", faults);
    let lowest = if min_is_right { SubscriptionConfig::read(message).backoff_min } else { Duration::ZERO };
    check_span(backoff.max, lowest..=LONGEST_BACKOFF, &at.field("max"), "must be min to 24 h", faults);
}

fn check_span(
    value: Option<prost_types::Duration>,
    bounds: RangeInclusive<Duration>,
    at: &FieldPath<'_>,
    description: &'static str,
    faults: &mut FieldFaults,
) -> bool {
    let is_right = value.is_none_or(|value| span(&value).is_some_and(|value| bounds.contains(&value)));
    if !is_right {
        faults.add(at, description);
    }
    is_right
}

/// Converts a duration. Durations in a configuration are at most a day, and the conversion cannot fail.
fn written(span: Duration) -> Option<prost_types::Duration> {
    prost_types::Duration::try_from(span).ok()
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
