//! Conversion of durations in requests.

use std::time::Duration;

/// Converts a protobuf duration; `None` when the value is negative or malformed. The conversion of the library panics
/// on the most negative value.
pub fn span(value: &prost_types::Duration) -> Option<Duration> {
    let nanos = u32::try_from(value.nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    Some(Duration::new(u64::try_from(value.seconds).ok()?, nanos))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_span_is_told() {
        let of = |seconds, nanos| span(&prost_types::Duration { seconds, nanos });
        assert_eq!(of(0, 0), Some(Duration::ZERO));
        assert_eq!(of(3, 999_999_999), Some(Duration::new(3, 999_999_999)));
        assert_eq!(of(i64::MAX, 0), Some(Duration::from_secs(i64::MAX as u64)));
        for (seconds, nanos) in
            [(-1, 0), (0, -1), (1, -1), (-1, -1), (0, 1_000_000_000), (i64::MIN, i32::MIN), (i64::MAX, i32::MAX)]
        {
            assert_eq!(of(seconds, nanos), None, "{seconds} {nanos}");
        }
    }
}
