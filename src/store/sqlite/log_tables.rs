//! The tables of the feeds' logs.

use crate::domain::feed::FeedName;

/// The SQL names that differ between the two logs.
pub(super) struct LogTables {
    /// Table with one row: the id of the log.
    pub(super) log: &'static str,
    /// Table of the events.
    pub(super) events: &'static str,
    /// Table of the events' bodies.
    pub(super) bodies: &'static str,
    /// Table with the earliest time of every span of positions.
    pub(super) spans: &'static str,
    /// Column of `deliveries` with the position.
    pub(super) position: &'static str,
    /// Column of `accounts` with the last position stored under an earlier name.
    pub(super) renamed_at: &'static str,
}

/// The tables of this feed's log.
pub(super) const fn of(feed: FeedName) -> LogTables {
    match feed {
        FeedName::CancelIntents => LogTables {
            log: "log",
            events: "events",
            bodies: "event_bodies",
            spans: "spans",
            position: "seq",
            renamed_at: "renamed_at",
        },
        FeedName::OrderUpdates => LogTables {
            log: "update_log",
            events: "updates",
            bodies: "update_bodies",
            spans: "update_spans",
            position: "update_seq",
            renamed_at: "updates_renamed_at",
        },
    }
}
