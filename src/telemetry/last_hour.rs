//! The calls of the last hour, minute by minute, for the plots of the status page. The memory is bounded: each minute has
//! a fixed number of durations and at most [`REASONS`] reasons.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::operation::Operation;

/// Minutes that are kept, with the current one.
pub const MINUTES: usize = 60;
/// Reasons that a minute counts by name. Further reasons of the same minute count as [`OTHER`].
pub const REASONS: usize = 16;
/// The name for further reasons, and for failures without a reason.
pub const OTHER: &str = "OTHER";
/// Durations are counted in steps of a quarter of a power of two, from [`SHORTEST`] on: an error of at most 19 %.
const STEPS: usize = 4 * 20;
/// Durations up to 64 microseconds share the first step.
const SHORTEST: u64 = 64;

/// A minute of calls.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MinuteOfCalls {
    /// Calls that ended in the minute. Streams count at their end.
    pub calls: u64,
    /// Failed calls by reason.
    pub failures: BTreeMap<Cow<'static, str>, u64>,
    /// The fullest part of Walmart's bucket that the emptiest account had, from 0 to 1, by operation; `None` until the
    /// level was sampled.
    pub levels: BTreeMap<&'static str, f64>,
    /// Unary calls by duration.
    durations: BTreeMap<u8, u64>,
}

impl MinuteOfCalls {
    /// The duration that `share` of the minute's unary calls did not exceed; `None` without calls.
    pub fn percentile(&self, share: f64) -> Option<Duration> {
        let all: u64 = self.durations.values().sum();
        let wanted = (all as f64 * share).ceil() as u64;
        let mut so_far = 0;
        let step = self.durations.iter().find(|(_, calls)| {
            so_far += **calls;
            so_far >= wanted
        });
        step.map(|(step, _)| upper_end(*step))
    }
}

/// The last hour. A call takes a short lock at its end.
#[derive(Debug)]
pub struct LastHour {
    started: Instant,
    minutes: Mutex<RecentMinutes>,
}

#[derive(Debug, Default)]
struct RecentMinutes {
    /// The minute of the last entry, counted from the start.
    last: u64,
    /// The minutes up to `last`, oldest first.
    minutes: VecDeque<MinuteOfCalls>,
}

impl Default for LastHour {
    /// Begins with an empty minute now.
    fn default() -> Self {
        let minutes = RecentMinutes { last: 0, minutes: VecDeque::from([MinuteOfCalls::default()]) };
        Self { started: Instant::now(), minutes: Mutex::new(minutes) }
    }
}

impl LastHour {
    /// Records a call that ends now. `failure` is the reason of a failed call, empty if it has none; `took` is `None` for
    /// streams, which last as long as their readers want.
    pub fn note(&self, failure: Option<Cow<'static, str>>, took: Option<Duration>) {
        self.with_current(|minute| {
            minute.calls += 1;
            if let Some(took) = took {
                *minute.durations.entry(step_of(took)).or_default() += 1;
            }
            if let Some(reason) = failure {
                let named =
                    !reason.is_empty() && (minute.failures.len() < REASONS || minute.failures.contains_key(&reason));
                let reason = if named { reason } else { Cow::Borrowed(OTHER) };
                *minute.failures.entry(reason).or_default() += 1;
            }
        });
    }

    /// Records the level of an account's bucket. A minute shows the lowest level of all accounts.
    pub fn note_level(&self, operation: Operation, level: f64) {
        self.with_current(|minute| {
            let lowest = minute.levels.entry(operation.name()).or_insert(level);
            *lowest = lowest.min(level);
        });
    }

    /// The minutes since the start, at most [`MINUTES`], oldest first; the last one is not over yet.
    pub fn minutes(&self) -> Vec<MinuteOfCalls> {
        self.with_current(|_| {});
        self.minutes.lock().unwrap_or_else(PoisonError::into_inner).minutes.iter().cloned().collect()
    }

    fn with_current(&self, change: impl FnOnce(&mut MinuteOfCalls)) {
        let now = self.started.elapsed().as_secs() / 60;
        let mut recent = self.minutes.lock().unwrap_or_else(PoisonError::into_inner);
        // After hours without a call, only the minutes that are shown are added.
        let passed = now.saturating_sub(recent.last).min(MINUTES as u64);
        for _ in 0..passed {
            recent.minutes.push_back(MinuteOfCalls::default());
        }
        recent.last = recent.last.max(now);
        let surplus = recent.minutes.len().saturating_sub(MINUTES);
        recent.minutes.drain(..surplus);
        if let Some(minute) = recent.minutes.back_mut() {
            change(minute);
        }
    }
}

fn step_of(took: Duration) -> u8 {
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    if micros <= SHORTEST {
        return 0;
    }
    let steps = (micros as f64 / SHORTEST as f64).log2() * 4.0;
    (steps.ceil() as usize).min(STEPS) as u8
}

fn upper_end(step: u8) -> Duration {
    Duration::from_micros((SHORTEST as f64 * (f64::from(step) / 4.0).exp2()).round() as u64)
}

#[cfg(test)]
#[path = "last_hour_tests.rs"]
mod tests;
