//! The clock by which hyper keeps a connection alive.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use hyper_util::rt::TokioTimer;

/// Tells the time at which the connection was last polled. hyper asks for it six times a call, to note when it last heard
/// from the peer, and to compare that with half minutes.
#[derive(Clone, Debug)]
pub(super) struct PollClock(Arc<Seen>);

#[derive(Debug)]
struct Seen {
    start: Instant,
    /// Nanoseconds from `start` to the last poll.
    polled: AtomicU64,
}

impl PollClock {
    pub(super) fn new() -> Self {
        Self(Arc::new(Seen { start: TokioTimer::new().now(), polled: AtomicU64::new(0) }))
    }

    /// The connection is about to be polled.
    pub(super) fn set(&self) {
        let since = TokioTimer::new().now().saturating_duration_since(self.0.start);
        self.0.polled.store(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

impl Timer for PollClock {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        TokioTimer::new().sleep(duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        TokioTimer::new().sleep_until(deadline)
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, new_deadline: Instant) {
        TokioTimer::new().reset(sleep, new_deadline);
    }

    fn now(&self) -> Instant {
        self.0.start + Duration::from_nanos(self.0.polled.load(Ordering::Relaxed))
    }
}
