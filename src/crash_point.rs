//! Named places at which a test ends the process, as kill -9 would, and a wall clock that a test sets.
//!
//! Without the feature `crash-points`, as the program is shipped, nothing of this is in it. With it, the environment
//! variable `ORDER_GATEWAY_CRASH_AT` says where: `L3:7` ends the process the seventh time that it comes by L3; and
//! `ORDER_GATEWAY_CLOCK_STEPS` how the wall clock is set: `0:90000,1500:-3600000` is 90 s ahead from the start and, 1.5 s
//! later, an hour behind.

use std::time::SystemTime;

/// A place. What each means stands in the design of the ledger and where [`reach`] is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashPoint {
    /// Before an entry is made.
    L1,
    /// An entry is there, and waits to be sent.
    L2,
    /// It is durable that it is being sent, and no byte has left.
    L3,
    /// Part of the request has left.
    L4,
    /// Walmart has answered, and the answer is not read.
    L5,
    /// The outcome is known, and not written.
    L6,
    /// The outcome is durable, and the caller does not know it.
    L7,
    /// A look-up was answered, and what follows is not written.
    L8,
    /// In the middle of fetching an access token.
    L9,
    /// In the middle of taking over what another process left.
    L10,
    /// In the middle of a checkpoint of the store.
    L11,
    /// In the middle of dropping old entries.
    L12,
    /// A delivery is authenticated, and not stored.
    W1,
    /// It is durable, and Walmart does not know it.
    W2,
    /// In the middle of writing a group of them.
    W3,
    /// Walmart was answered.
    W4,
    /// A loan is durable, and its frame not written.
    F1,
    /// Its frame is written, and nobody has read it.
    F2,
    /// Verdicts are durable, and the consumer does not know it.
    F3,
    /// In the middle of moving a subscription.
    F4,
    /// In the middle of giving parked events out again.
    F5,
    /// In the middle of dropping old events.
    F6,
    /// In the middle of deleting a subscription.
    F7,
}

/// Ends the process here, if a test wants that.
#[cfg(not(feature = "crash-points"))]
#[inline(always)]
pub fn reach(_: CrashPoint) {}

/// Ends the process here, if a test wants that.
#[cfg(feature = "crash-points")]
pub fn reach(point: CrashPoint) {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicI64, Ordering};

    static PLAN: LazyLock<Option<(String, AtomicI64)>> = LazyLock::new(|| {
        let plan = std::env::var("ORDER_GATEWAY_CRASH_AT").ok()?;
        let (name, count) = plan.split_once(':')?;
        Some((name.to_owned(), AtomicI64::new(count.parse().ok()?)))
    });
    if let Some((name, left)) = &*PLAN
        && *name == format!("{point:?}")
        && left.fetch_sub(1, Ordering::SeqCst) == 1
    {
        std::process::abort();
    }
}

/// The time of day, given what the machine says: the same, unless a test sets the clock.
#[cfg(not(feature = "crash-points"))]
#[inline(always)]
pub fn wall_clock(machine: SystemTime) -> SystemTime {
    machine
}

/// The time of day, given what the machine says: the same, unless a test sets the clock.
#[cfg(feature = "crash-points")]
pub fn wall_clock(machine: SystemTime) -> SystemTime {
    use std::sync::LazyLock;

    use tokio::time::Instant;

    static PLAN: LazyLock<Option<(Instant, clock_steps::ClockSteps)>> = LazyLock::new(|| {
        let plan = std::env::var("ORDER_GATEWAY_CLOCK_STEPS").ok()?;
        Some((Instant::now(), clock_steps::ClockSteps::parse(&plan)?))
    });
    PLAN.as_ref().map_or(machine, |(start, steps)| steps.apply(machine, start.elapsed()))
}

#[cfg(any(test, feature = "crash-points"))]
mod clock_steps {
    use std::time::{Duration, SystemTime};

    /// From when on the wall clock is off by how many milliseconds, in the order of time.
    #[derive(Debug, PartialEq)]
    pub(super) struct ClockSteps(Vec<(Duration, i64)>);

    impl ClockSteps {
        pub(super) fn parse(text: &str) -> Option<Self> {
            let step = |step: &str| {
                let (after, off) = step.split_once(':')?;
                Some((Duration::from_millis(after.parse().ok()?), off.parse().ok()?))
            };
            text.split(',').map(step).collect::<Option<_>>().map(Self)
        }

        pub(super) fn apply(&self, machine: SystemTime, elapsed: Duration) -> SystemTime {
            let last = self.0.iter().take_while(|(after, _)| *after <= elapsed).last();
            let off = last.map_or(0, |(_, off)| *off);
            let span = Duration::from_millis(off.unsigned_abs());
            if off < 0 { machine - span } else { machine + span }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_last_step_that_is_due_counts() {
            let steps = ClockSteps::parse("0:90000,1500:-3600000").unwrap();
            let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(12 * 3_600);
            let millis = Duration::from_millis;
            assert_eq!(steps.apply(noon, millis(0)), noon + millis(90_000));
            assert_eq!(steps.apply(noon, millis(1_499)), noon + millis(90_000));
            assert_eq!(steps.apply(noon, millis(1_500)), noon - millis(3_600_000));
            assert_eq!(ClockSteps::parse("10:5").unwrap().apply(noon, millis(9)), noon);
            assert_eq!(ClockSteps::parse("soon:5"), None);
        }
    }
}
