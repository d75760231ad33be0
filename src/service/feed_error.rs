//! The errors of the feed and the ends of its streams.

use crate::domain::feed::{Cursor, FeedName};
use crate::domain::rules::{FieldFault, FieldFaults};

/// The failure of a call on the feed, or the end of a stream.
#[derive(Clone, Debug, PartialEq)]
pub enum FeedError {
    /// The request has faults of one kind.
    Faulty(FaultKind, FieldFaults),
    /// The cursor belongs to a different log.
    LogChanged {
        /// Id of this gateway's log.
        ours: String,
        /// The log id in the cursor.
        theirs: String,
        /// First stored position of the log.
        first: u64,
        /// Last stored position of the log.
        head: u64,
    },
    /// The requested events were trimmed.
    EventsExpired {
        /// First stored position of the log.
        first: u64,
        /// First requested position that was trimmed.
        lost_from: u64,
    },
    /// The cursor is behind the end of the log: it comes from a different store, or this store has lost events.
    CursorInFuture {
        /// Last stored position of the log.
        head: u64,
    },
    /// The event does not exist, or is invisible to the caller.
    EventNotFound,
    /// No subscription has this name.
    SubscriptionNotFound {
        /// The name in the request.
        name: String,
    },
    /// The subscription reads the other feed.
    WrongFeed {
        /// Name of the subscription.
        name: String,
        /// The feed read by the subscription.
        feed: FeedName,
    },
    /// A subscription of this name exists with different content, or has changed.
    SubscriptionDiffers {
        /// Etag of the subscription.
        etag: String,
    },
    /// The subscription was moved by a seek.
    Seeked {
        /// New generation of the subscription.
        generation: u64,
    },
    /// The subscription was changed by an update.
    Updated {
        /// Generation of the subscription.
        generation: u64,
    },
    /// A further stream was opened with the same consumer id.
    ConsumerReplaced {
        /// Generation of the subscription.
        generation: u64,
    },
    /// The client took no frame for too long.
    SlowConsumer,
    /// The maximum number of open streams is reached.
    TooManyStreams,
    /// The client has its maximum number of subscriptions.
    TooManySubscriptions,
    /// The process is stopping.
    ShuttingDown,
    /// A failure of the store.
    Store,
}

/// The kind of faults in a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// A cursor or page token.
    Cursor,
    /// A filter of events.
    Filter,
    /// The text of a lease.
    Lease,
    /// A value out of its bounds.
    Bounds,
}

/// The end of a stream with an error.
#[derive(Clone, Debug)]
pub struct StreamEnd {
    /// Reason of the end.
    pub error: FeedError,
    /// Cursor after which the client should resume.
    pub last: Option<Cursor>,
}

impl FeedError {
    /// Classifies the faults of a subscription: faults of its filter, or of any other field.
    pub(super) fn of_choices(faults: FieldFaults) -> Self {
        let filter = |fault: &FieldFault| fault.field.contains("filter");
        let kind = if faults.kept.iter().any(filter) { FaultKind::Filter } else { FaultKind::Bounds };
        Self::Faulty(kind, faults)
    }
}
