//! Parses the rate limit headers of Walmart's responses. Pure; all waits are bounded.
//!
//! Walmart sends the replenishment time as a time of day by Walmart's clock. If the local wall clock disagrees with
//! the `Date` of the same response, the time is compared with `Date` instead.

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, HeaderName};

use crate::ports::clock::Clock;

/// Longer waits are cut to this: a misread clock must not stop an account for days.
pub const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// Shorter waits asked for by Walmart are extended to this.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);

/// The largest difference between a correct wall clock and the `Date` of a response. `Date` has whole seconds and is
/// older than the response by the network delay.
const CLOCKS_AGREE: Duration = Duration::from_secs(3);

const TOKENS: HeaderName = HeaderName::from_static("x-current-token-count");
/// Walmart's documentation uses two names for the same header.
const REPLENISHMENT: [HeaderName; 2] =
    [HeaderName::from_static("x-next-replenishment-time"), HeaderName::from_static("x-next-replenish-time")];

/// The rate limit headers of a response.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RateLimitHeaders {
    /// Calls left in the account's bucket for the operation.
    pub tokens_left: Option<u32>,
    /// Time until the bucket gains tokens.
    pub replenished_in: Option<Duration>,
    /// The wait asked for by `Retry-After`.
    pub retry_after: Option<Duration>,
}

impl RateLimitHeaders {
    /// Parses the headers. Malformed values count as absent; waits are at most [`LONGEST_WAIT`].
    pub fn read(headers: &HeaderMap, clock: &Clock) -> Self {
        let text = |name: &HeaderName| headers.get(name).and_then(|v| v.to_str().ok()).map(str::trim);
        let now = || time_of_day(text(&http::header::DATE), clock);
        Self {
            tokens_left: text(&TOKENS).and_then(tokens),
            replenished_in: REPLENISHMENT.iter().find_map(&text).and_then(|v| until(v, now)),
            retry_after: text(&http::header::RETRY_AFTER).and_then(|v| wait(v, now)),
        }
    }

    /// The wait after a throttled call: `Retry-After`, else the replenishment time. At least [`SHORTEST_WAIT`],
    /// because a time already past by the local clock may still be ahead by Walmart's.
    pub fn wait(&self) -> Option<Duration> {
        self.retry_after.or(self.replenished_in).map(|wait| wait.max(SHORTEST_WAIT))
    }

    /// The wait after a 503. A replenishment time counts only if no tokens are left.
    pub fn outage_wait(&self) -> Option<Duration> {
        let tokens_left = self.tokens_left.is_some_and(|left| left > 0);
        Self { replenished_in: self.replenished_in.filter(|_| !tokens_left), ..*self }.wait()
    }
}

/// Parses a token count. Negative counts become 0, fractions are cut off.
fn tokens(text: &str) -> Option<u32> {
    let count: f64 = text.parse().ok()?;
    count.is_finite().then_some(count.clamp(0.0, f64::from(u32::MAX)) as u32)
}

/// The time of the response in seconds since 1970: the wall clock, or `date` if the clocks disagree.
fn time_of_day(date: Option<&str>, clock: &Clock) -> f64 {
    let wall_clock = clock.now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let date = date.and_then(http_date).unwrap_or(wall_clock);
    if (wall_clock - date).abs() <= CLOCKS_AGREE.as_secs_f64() { wall_clock } else { date }
}

/// Parses an HTTP date into seconds since 1970.
fn http_date(text: &str) -> Option<f64> {
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(date.timestamp().as_second() as f64)
}

/// Parses `Retry-After`: seconds, or an HTTP date.
fn wait(text: &str, now: impl Fn() -> f64) -> Option<Duration> {
    match text.parse::<f64>() {
        Ok(seconds) => bounded(seconds),
        Err(_) => bounded(http_date(text)? - now()),
    }
}

/// Parses a point in time: milliseconds or seconds since 1970, or ISO 8601.
fn until(text: &str, now: impl Fn() -> f64) -> Option<Duration> {
    match text.parse::<f64>() {
        Ok(number) if number > 1e12 => bounded(number / 1000.0 - now()),
        Ok(number) if number > 1e9 => bounded(number - now()),
        // Too small for a time of day: some clients report seconds to wait.
        Ok(number) => bounded(number),
        Err(_) => {
            let moment: jiff::Timestamp = text.parse().ok()?;
            bounded(moment.as_millisecond() as f64 / 1000.0 - now())
        }
    }
}

fn bounded(seconds: f64) -> Option<Duration> {
    seconds.is_finite().then(|| Duration::from_secs_f64(seconds.clamp(0.0, LONGEST_WAIT.as_secs_f64())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-10-30T14:05:00Z
    const NOW: u64 = 1_793_369_100;

    fn read(pairs: &[(&'static str, &str)]) -> RateLimitHeaders {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(HeaderName::from_static(name), value.parse().unwrap());
        }
        let rt = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        rt.block_on(async {
            let clock = Clock::following(UNIX_EPOCH + Duration::from_secs(NOW));
            RateLimitHeaders::read(&headers, &clock)
        })
    }

    #[test]
    fn every_way_to_measure_the_replenishment_time() {
        for value in ["1793369103000", "1793369103", "2026-10-30T14:05:03Z", "2026-10-30T14:05:03.000+00:00", "3"] {
            for name in ["x-next-replenishment-time", "x-next-replenish-time"] {
                assert_eq!(read(&[(name, value)]).replenished_in, Some(Duration::from_secs(3)), "{name}: {value}");
            }
        }
    }

    #[test]
    fn every_way_to_say_retry_after() {
        for value in ["7", "7.0", "Fri, 30 Oct 2026 14:05:07 GMT"] {
            assert_eq!(read(&[("retry-after", value)]).retry_after, Some(Duration::from_secs(7)), "{value}");
        }
    }

    #[test]
    fn waits_are_bounded_and_never_negative() {
        assert_eq!(read(&[("retry-after", "1793369103000")]).retry_after, Some(LONGEST_WAIT));
        assert_eq!(read(&[("retry-after", "-5")]).retry_after, Some(Duration::ZERO));
        assert_eq!(read(&[("x-next-replenishment-time", "1793369000000")]).replenished_in, Some(Duration::ZERO));
        assert_eq!(read(&[("x-next-replenishment-time", "9999999999999999")]).replenished_in, Some(LONGEST_WAIT));
    }

    /// The wall clock of this machine was set; Walmart's moment is three seconds after its own `Date`.
    #[test]
    fn a_moment_is_compared_with_the_clock_of_the_response() {
        for (date, moment) in
            [("Fri, 30 Oct 2026 13:05:00 GMT", 1_793_365_503), ("Sat, 31 Oct 2026 14:05:00 GMT", 1_793_455_503)]
        {
            let (millis, seconds) = (format!("{moment}000"), moment.to_string());
            for value in [&millis, &seconds] {
                let hint = read(&[("date", date), ("x-next-replenishment-time", value)]);
                assert_eq!(hint.replenished_in, Some(Duration::from_secs(3)), "{date} {value}");
            }
        }
        let hint = read(&[("date", "Fri, 30 Oct 2026 13:05:00 GMT"), ("retry-after", "Fri, 30 Oct 2026 13:05:07 GMT")]);
        assert_eq!(hint.retry_after, Some(Duration::from_secs(7)));
        // The same time, as far as `Date` can tell; or none that can be read: the wall clock knows it better.
        for date in ["Fri, 30 Oct 2026 14:04:58 GMT", "Fri, 30 Oct 2026 14:05:02 GMT", "today", ""] {
            let hint = read(&[("date", date), ("x-next-replenishment-time", "1793369103000")]);
            assert_eq!(hint.replenished_in, Some(Duration::from_secs(3)), "{date}");
        }
    }

    #[test]
    fn rubbish_is_absent() {
        for value in ["", "soon", "NaN", "inf", "0x10", "2026-13-45T99:99:99Z"] {
            let hint =
                read(&[("x-current-token-count", value), ("x-next-replenishment-time", value), ("retry-after", value)]);
            assert_eq!(hint, RateLimitHeaders::default(), "{value:?}");
        }
    }

    #[test]
    fn counts_may_be_odd_numbers() {
        for (value, want) in [("12", 12), ("0", 0), ("-1", 0), ("3.9", 3), ("99999999999", u32::MAX)] {
            assert_eq!(read(&[("x-current-token-count", value)]).tokens_left, Some(want));
        }
    }

    #[test]
    fn retry_after_goes_before_the_replenishment_time() {
        let hint = read(&[("retry-after", "2"), ("x-next-replenishment-time", "1793369190")]);
        assert_eq!(hint.wait(), Some(Duration::from_secs(2)));
    }
}
