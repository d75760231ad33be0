//! The time of one simulation. It runs on through the ends of processes, each of which has a runtime, and with it a paused
//! clock, of its own.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use order_gateway::emulator;
use tokio::time::Instant;

use crate::plan::EPOCH;

/// Simulated time. Clones tell the same.
#[derive(Clone)]
pub(crate) struct Time(Arc<Mutex<Source>>);

#[derive(Clone, Copy)]
enum Source {
    /// No process lives; time stands still.
    Stands(Duration),
    /// It goes on from here with a runtime's clock.
    Runs { from: Duration, since: Instant },
}

impl Time {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Source::Stands(Duration::ZERO))))
    }

    /// Since the beginning of the simulation.
    pub(crate) fn now(&self) -> Duration {
        match self.get() {
            Source::Stands(time) => time,
            Source::Runs { from, since } => from + since.elapsed(),
        }
    }

    /// When a runtime's clock will say `time`.
    pub(crate) fn instant(&self, time: Duration) -> Instant {
        match self.get() {
            Source::Stands(_) => Instant::now(),
            Source::Runs { from, since } => since + time.saturating_sub(from),
        }
    }

    /// A process starts at `time`, in the runtime of the caller.
    pub(crate) fn run_from(&self, time: Duration) {
        self.set(Source::Runs { from: time, since: Instant::now() });
    }

    /// The process has ended; its runtime may go.
    pub(crate) fn stand(&self) {
        self.set(Source::Stands(self.now()));
    }

    /// Whether no process lives.
    pub(crate) fn stands(&self) -> bool {
        matches!(self.get(), Source::Stands(_))
    }

    /// Does something at a time that has passed.
    pub(crate) fn at<T>(&self, time: Duration, what: impl FnOnce() -> T) -> T {
        let source = self.get();
        self.set(Source::Stands(time));
        let done = what();
        self.set(source);
        done
    }

    /// The clock of Walmart, which is right.
    pub(crate) fn of_walmart(&self) -> emulator::EmulatorClock {
        let time = self.clone();
        emulator::EmulatorClock::new(move || timestamp(time.now()))
    }

    fn get(&self) -> Source {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, source: Source) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = source;
    }
}

/// A simulated time as the right time of day.
pub(crate) fn timestamp(time: Duration) -> Timestamp {
    let millis = EPOCH + time.as_millis() as u64;
    Timestamp::from_millisecond(millis as i64).unwrap_or(Timestamp::MAX)
}
