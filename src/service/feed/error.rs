//! How the feed can fail, and how its streams end.

use crate::domain::feed::{Cursor, FeedName};
use crate::domain::rules::{Fault, Faults};

/// Why a call on the feed failed, or a stream ended.
#[derive(Clone, Debug, PartialEq)]
pub enum FeedError {
    /// The request has faults of one sort.
    Faulty(FaultKind, Faults),
    /// The cursor is of another log.
    LogChanged {
        /// The id of ours.
        ours: String,
        /// What the cursor has of the other's.
        theirs: String,
        /// First position that is kept.
        first: u64,
        /// Last position.
        head: u64,
    },
    /// What is asked for is no longer kept.
    EventsExpired {
        /// First position that is.
        first: u64,
        /// First position that was asked for and is not.
        lost_from: u64,
    },
    /// The place is behind the end of the log: this store is not the one that gave it, or has lost events.
    CursorInFuture {
        /// Last position.
        head: u64,
    },
    /// No such event, or none that the caller may see.
    EventNotFound,
    /// No such subscription.
    SubscriptionNotFound {
        /// What was asked for.
        name: String,
    },
    /// The subscription reads the other feed.
    WrongFeed {
        /// Its name.
        name: String,
        /// The feed that it reads.
        feed: FeedName,
    },
    /// There is one of that name, and it is another, or has changed.
    SubscriptionDiffers {
        /// Its etag.
        etag: String,
    },
    /// The subscription was moved.
    Seeked {
        /// Its new generation.
        generation: u64,
    },
    /// The subscription was changed.
    Updated {
        /// Its generation.
        generation: u64,
    },
    /// Another stream came for the same consumer.
    ConsumerReplaced {
        /// Of the subscription.
        generation: u64,
    },
    /// The client took nothing for too long.
    SlowConsumer,
    /// As many streams are open as may be.
    TooManyStreams,
    /// The client has as many subscriptions as it may.
    TooManySubscriptions,
    /// The process ends.
    ShuttingDown,
    /// The store fails.
    Store,
}

/// What sort of faults a request has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// A cursor, or page token.
    Cursor,
    /// A filter.
    Filter,
    /// A lease.
    Lease,
    /// A value out of its bounds.
    Bounds,
}

/// How a stream ended, other than well.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Why.
    pub error: FeedError,
    /// After which the client goes on.
    pub last: Option<Cursor>,
}

impl FeedError {
    /// Faults of a subscription: those of its filter are one sort, those of its other choices another.
    pub(super) fn of_choices(faults: Faults) -> Self {
        let filter = |fault: &Fault| fault.field.contains("filter");
        let kind = if faults.kept.iter().any(filter) { FaultKind::Filter } else { FaultKind::Bounds };
        Self::Faulty(kind, faults)
    }
}
