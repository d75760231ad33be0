//! Resolves the starting position of a reader.

use crate::domain::feed::Cursor;
use crate::domain::rules::{FieldFaults, FieldPath};
use crate::domain::timestamp::Timestamp;
use crate::pb;
use crate::pb::position::At;
use crate::ports::event_log::{EventLog, FeedLog, LogBounds};
use crate::service::ServiceError;
use crate::service::feed_error::{FaultKind, FeedError};

/// Resolves a requested start to the position after which the reader begins. `at` is the path of the start in the
/// request.
pub(super) async fn resolve<L: EventLog>(
    log: &FeedLog<L>,
    bounds: LogBounds,
    place: Option<&pb::Position>,
    at: &FieldPath<'_>,
) -> Result<u64, ServiceError> {
    let fault = |description| {
        let mut faults = FieldFaults::default();
        faults.add(at, description);
        Err(ServiceError::Invalid(faults))
    };
    match place.and_then(|place| place.at.as_ref()) {
        None => fault("is required: earliest, latest, after_cursor or received_at"),
        Some(At::Earliest(false) | At::Latest(false)) => fault("must be true, or left out"),
        Some(At::Earliest(true)) => Ok(bounds.first.saturating_sub(1)),
        Some(At::Latest(true)) => Ok(bounds.head),
        Some(At::AfterCursor(text)) => Ok(after(bounds, text, &at.field("after_cursor"))?),
        Some(At::ReceivedAt(time)) => {
            let Some(time) = timestamp(time) else { return fault("must be a time from 1970 on") };
            let before = log.before(time).await?;
            Ok(before.max(bounds.first.saturating_sub(1)))
        }
    }
}

/// The position of a cursor for resuming. Fails when events after the cursor were trimmed.
pub(super) fn after(bounds: LogBounds, text: &str, at: &FieldPath<'_>) -> Result<u64, FeedError> {
    let seq = position(bounds, text, at)?;
    if seq + 1 < bounds.first {
        return Err(FeedError::EventsExpired { first: bounds.first, lost_from: seq + 1 });
    }
    Ok(seq)
}

/// The position of a cursor of this log. Fails for a position behind the end.
pub(super) fn position(bounds: LogBounds, text: &str, at: &FieldPath<'_>) -> Result<u64, FeedError> {
    let LogBounds { log, first, head } = bounds;
    let cursor: Cursor = text.parse().map_err(|_| {
        let mut faults = FieldFaults::default();
        faults.add(at, "is no cursor of this gateway");
        FeedError::Faulty(FaultKind::Cursor, faults)
    })?;
    if !log.owns(cursor) {
        return Err(FeedError::LogChanged { ours: log.to_string(), theirs: cursor.log(), first, head });
    }
    if cursor.seq > head {
        return Err(FeedError::CursorInFuture { head });
    }
    Ok(cursor.seq)
}

fn timestamp(time: &prost_types::Timestamp) -> Option<Timestamp> {
    // Checked first, because the library's conversion cannot negate the smallest number.
    let time = Some(*time).filter(|time| time.seconds >= 0)?;
    std::time::SystemTime::try_from(time).ok().map(Timestamp::from)
}
