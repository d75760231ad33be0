//! The tables of each feed's log.

use crate::domain::feed::FeedName;

/// What stands in SQL where the two logs differ.
pub(super) struct LogTables {
    /// One row: the log's id.
    pub(super) log: &'static str,
    /// The events.
    pub(super) events: &'static str,
    /// Their bodies.
    pub(super) bodies: &'static str,
    /// When the earliest came of each span of positions.
    pub(super) spans: &'static str,
    /// The column of `deliveries` with the position.
    pub(super) position: &'static str,
    /// The column of `accounts` with the last position that was stored under another name.
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
