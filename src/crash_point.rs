//! Named points at which a test ends the process like kill -9, and a wall clock set by a test.
//!
//! Without the feature `crash-points`, as in releases, the functions do nothing. With the feature,
//! `ORDER_GATEWAY_CRASH_AT=L3:7` ends the process at the seventh pass of L3, and
//! `ORDER_GATEWAY_CLOCK_STEPS=0:90000,1500:-3600000` sets the wall clock 90 s ahead from the start and, 1.5 s later,
//! an hour behind.

use std::time::SystemTime;

/// A crash point. The design of the ledger and the calls of [`reach`] explain each point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashPoint {
    /// Before an entry is created.
    L1,
    /// An entry exists and waits to be sent.
    L2,
    /// The sending is durable, and no byte has left.
    L3,
    /// Part of the request has left.
    L4,
    /// Walmart has answered, and the answer has not been read.
    L5,
    /// The outcome is known, and not yet written.
    L6,
    /// The outcome is durable, and the caller does not know yet.
    L7,
    /// A look-up was answered, and the consequence is not yet written.
    L8,
    /// In the middle of fetching an access token.
    L9,
    /// In the middle of taking over operations of another process.
    L10,
    /// In the middle of a checkpoint of the store.
    L11,
    /// In the middle of dropping old entries.
    L12,
    /// A delivery is authenticated, and not yet stored.
    W1,
    /// A delivery is durable, and Walmart does not know yet.
    W2,
    /// In the middle of writing a group of deliveries.
    W3,
    /// A delivery was answered.
    W4,
    /// A loan is durable, and the frame not yet written.
    F1,
    /// The frame of a loan is written, and not yet read.
    F2,
    /// Verdicts are durable, and the consumer does not know yet.
    F3,
    /// In the middle of moving a subscription.
    F4,
    /// In the middle of releasing parked events.
    F5,
    /// In the middle of dropping old events.
    F6,
    /// In the middle of deleting a subscription.
    F7,
    /// Postgres: a group was sent, its COMMIT was not.
    P1,
    /// A COMMIT was sent, its answer is unread.
    P2,
    /// A group is committed, and its callers do not know yet.
    P3,
    /// A connection was replaced, and the epoch of its lane is not raised yet.
    P4,
    /// A lease has run out with entries in hand.
    P5,
    /// Before the first byte to Walmart, after the last look at the lease.
    P6,
    /// A life is being ended, and that is not committed.
    P7,
    /// Between two chunks of what a dead replica left.
    P8,
    /// A late outcome is known, and not yet written.
    P9,
    /// A duty is claimed, and nothing of it done.
    P10,
    /// Deliveries are written, and the head of the log is not taken yet.
    P11,
    /// The head of the log is taken, and not committed.
    P12,
    /// A subscription is locked, and nothing written.
    P13,
    /// A stream is registered, and its consumer does not know yet.
    P14,
    /// Calls are drawn from the budget, and nothing is sent.
    P15,
    /// A delivery promise is claimed, and not fetched yet.
    P16,
    /// A delivery promise was fetched, and is kept nowhere.
    P17,
    /// A step of a migration is done, and the version not written.
    P18,
    /// A replica stops, and its duties are not given back yet.
    P19,
    /// Lost commits were found, and the log has its old id still.
    P20,
    /// Half of a group was sent.
    P21,
}

/// Ends the process here, if a test has chosen this point.
#[cfg(not(feature = "crash-points"))]
#[inline(always)]
pub fn reach(_: CrashPoint) {}

/// Ends the process here, if a test has chosen this point.
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

/// Returns the time of day for the machine's time. Differs only if a test sets the clock.
#[cfg(not(feature = "crash-points"))]
#[inline(always)]
pub fn wall_clock(machine: SystemTime) -> SystemTime {
    machine
}

/// Returns the time of day for the machine's time. Differs only if a test sets the clock.
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

    /// Clock offsets in milliseconds, with the time from which each applies, in order of time.
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
