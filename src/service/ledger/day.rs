//! Dates in Walmart's format.

use crate::domain::timestamp::Timestamp;

/// The UTC day of a moment.
pub(super) fn day(time: Timestamp) -> String {
    let millis = i64::try_from(time.0).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
    time.to_zoned(jiff::tz::TimeZone::UTC).date().to_string()
}
