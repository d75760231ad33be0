//! Detects steps of the wall clock, and pauses all trimming by age until the clock can be believed again.
//!
//! The two clocks are compared every second, at the start with the record of the previous process, and before every
//! trimming, which detects a step made just before.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use crate::domain::clock_check::{ClockRecord, SinceRecord, StepDetector, WallStep};
use crate::domain::moment::Moment;
use crate::domain::timestamp::Timestamp;
use crate::ports::clock::Clock;
use crate::ports::clock_record::ClockRecords;
use crate::telemetry::metrics::ClockMetrics;

/// Interval between comparisons of the clocks.
const EVERY: Duration = Duration::from_secs(1);
/// Interval between stored records. The age of a record only limits how precisely the downtime of a machine is known.
const KEEP_EVERY: Duration = Duration::from_mins(10);
/// Time before the first stored record. A process that ends earlier leaves the record of its predecessor, which covers
/// more time.
const KEEP_FIRST: Duration = Duration::from_mins(1);
/// Wait between attempts to read the store.
const STORE_RETRY: Duration = Duration::from_secs(1);

/// Decides whether the wall clock is believed. Cheap to clone; all clones share one state.
#[derive(Clone, Debug)]
pub struct ClockWatch(Arc<SharedWatch>);

#[derive(Debug)]
struct SharedWatch {
    clock: Clock,
    /// Length of the trimming pause after a step, by the steady clock.
    pause: Duration,
    metrics: ClockMetrics,
    state: Mutex<WatchState>,
    /// Signals a change that should be stored.
    changed: Notify,
}

#[derive(Debug)]
struct WatchState {
    detector: StepDetector,
    steps: u64,
    last_step: Option<(Timestamp, WallStep)>,
    trimming: TrimmingState,
}

#[derive(Clone, Copy, Debug)]
enum TrimmingState {
    /// The record of the previous process was not read yet.
    Unknown,
    Allowed,
    PausedUntil(Instant),
}

/// The state of the clocks, for operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockView {
    /// The time of day.
    pub now: Timestamp,
    /// Number of steps since the start of the process.
    pub steps: u64,
    /// Time of the last step, by the clock at that time, and its size.
    pub last_step: Option<(Timestamp, WallStep)>,
    /// Remaining pause of trimming, unless an operator confirms the clock.
    pub trimming_paused_for: Option<Duration>,
}

impl ClockWatch {
    /// Watches `clock`. Trimming pauses for `pause` after a step, and until [`Self::begin`].
    pub fn new(clock: Clock, pause: Duration, metrics: ClockMetrics) -> Self {
        let state = WatchState {
            detector: StepDetector::new(clock.moment()),
            steps: 0,
            last_step: None,
            trimming: TrimmingState::Unknown,
        };
        Self(Arc::new(SharedWatch { clock, pause, metrics, state: Mutex::new(state), changed: Notify::new() }))
    }

    /// Compares the clocks every second until `stopping`, and stores records for the next process.
    pub async fn run<R: ClockRecords>(self, records: R, stopping: CancellationToken) {
        let read = async {
            loop {
                match records.clock_record().await {
                    Ok(record) => return record,
                    // The store has counted and logged the error.
                    Err(_) => sleep(STORE_RETRY).await,
                }
            }
        };
        let Some(record) = stopping.run_until_cancelled(read).await else { return };
        self.begin(record);
        let mut keep = Instant::now() + KEEP_FIRST;
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stopping.cancelled() => return,
                () = self.0.changed.notified() => keep = Instant::now(),
                _ = ticks.tick() => drop(self.look()),
            }
            if Instant::now() >= keep {
                let kept = records.keep_clock_record(self.record()).await;
                keep = Instant::now() + if kept.is_ok() { KEEP_EVERY } else { KEEP_FIRST };
            }
        }
    }

    /// Continues from the record of the previous process. In a store without a record the clock is believed.
    pub fn begin(&self, record: Option<ClockRecord>) {
        let mut state = self.lock();
        // A step may already have been detected before the record was read.
        if matches!(state.trimming, TrimmingState::Unknown) {
            state.trimming = TrimmingState::Allowed;
        }
        let now = self.0.clock.moment();
        match record.map(|record| record.compare(self.0.clock.boot_id(), now)) {
            Some(SinceRecord::Believed { pause_left }) if !pause_left.is_zero() => {
                tracing::warn!(
                    seconds = pause_left.as_secs(),
                    "the wall clock was set before this start: trimming by age is paused"
                );
                self.pause(&mut state, pause_left);
            }
            None | Some(SinceRecord::Believed { .. }) => {}
            Some(SinceRecord::Stepped(step)) => self.step(&mut state, now, step),
            Some(SinceRecord::Doubtful { gap }) => {
                tracing::warn!(
                    gap_seconds = gap.as_secs(),
                    pause_seconds = self.0.pause.as_secs(),
                    "the machine was rebooted, and its wall clock is far ahead of the last use of the store: \
                     trimming by age is paused until an operator confirms the clock"
                );
                self.pause(&mut state, self.0.pause);
            }
        }
    }

    /// The time for trimming; `None` while trimming is paused.
    pub(crate) fn trim_time(&self) -> Option<Moment> {
        let (now, state) = self.look();
        matches!(state.trimming, TrimmingState::Allowed).then_some(now)
    }

    /// Resumes trimming after an operator has confirmed the time of day.
    pub(crate) fn confirm(&self, operator: &str) {
        let (_, mut state) = self.look();
        if matches!(state.trimming, TrimmingState::PausedUntil(_)) {
            tracing::warn!(operator, "an operator confirmed the wall clock: trimming by age continues");
            state.trimming = TrimmingState::Allowed;
            self.0.metrics.trimming_paused.set(0);
            self.0.changed.notify_one();
        }
    }

    /// The state of the clocks, for operators.
    pub(crate) fn view(&self) -> ClockView {
        let (now, state) = self.look();
        ClockView {
            now: now.wall,
            steps: state.steps,
            last_step: state.last_step,
            trimming_paused_for: pause_left(state.trimming),
        }
    }

    /// Compares the clocks now.
    fn look(&self) -> (Moment, MutexGuard<'_, WatchState>) {
        let mut state = self.lock();
        // The clock is read under the lock, because the detector must see the moments in order.
        let now = self.0.clock.moment();
        if let Some(step) = state.detector.look(now) {
            self.step(&mut state, now, step);
        }
        if let TrimmingState::PausedUntil(end) = state.trimming
            && Instant::now() >= end
        {
            state.trimming = TrimmingState::Allowed;
            self.0.metrics.trimming_paused.set(0);
            self.0.changed.notify_one();
            tracing::info!("trimming by age continues: the wall clock was not set again during the pause");
        }
        (now, state)
    }

    fn step(&self, state: &mut WatchState, now: Moment, step: WallStep) {
        state.steps += 1;
        state.last_step = Some((now.wall, step));
        self.0.metrics.steps.inc();
        tracing::warn!(
            seconds = step.seconds(),
            pause_seconds = self.0.pause.as_secs(),
            "the wall clock was set: trimming by age is paused until an operator confirms the clock"
        );
        self.pause(state, self.0.pause);
    }

    fn pause(&self, state: &mut WatchState, span: Duration) {
        state.trimming = TrimmingState::PausedUntil(Instant::now() + span);
        self.0.metrics.trimming_paused.set(1);
        self.0.changed.notify_one();
    }

    fn record(&self) -> ClockRecord {
        let (moment, state) = self.look();
        let pause_left = pause_left(state.trimming).unwrap_or_default();
        ClockRecord { moment, boot: self.0.clock.boot_id(), pause_left }
    }

    fn lock(&self) -> MutexGuard<'_, WatchState> {
        // A panic cannot leave a half-written state: every change assigns whole values.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pause_left(trimming: TrimmingState) -> Option<Duration> {
    match trimming {
        TrimmingState::Unknown | TrimmingState::Allowed => None,
        TrimmingState::PausedUntil(end) => Some(end.saturating_duration_since(Instant::now())),
    }
}

#[cfg(test)]
#[path = "clock_watch_tests.rs"]
mod tests;
