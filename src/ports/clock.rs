//! The wall clock, which people and programs set, and the time since the machine's boot, which never steps. Both are
//! passed in, to give tests control over time. Processes that share a store take the time of day from the store's server
//! ([`Clock::of_store`]), so that they agree on it.
//!
//! Durations inside the process are measured with `tokio::time::Instant`, which tests pause. A [`Moment`] reads the two
//! clocks together, for times that are stored or compared with stored times.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;
use uuid::Uuid;

use crate::crash_point::wall_clock;
use crate::domain::moment::{BootId, Moment, SteadyTime};
use crate::domain::timestamp::Timestamp;
use crate::ports::random::Random;

/// Far enough ahead to stand for never, and near enough for timers.
const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 3_600);

/// A source of time. A pointer to a value made once and never freed, which makes passing the clock free of cost.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    source: &'static ClockSource,
    /// Whether the time of day is the store's.
    is_of_store: bool,
}

/// Stands for the machine's time, before the store has told its own.
const UNTOLD: i64 = i64::MIN;

#[derive(Debug)]
struct ClockSource {
    wall: WallClock,
    boot: BootId,
    /// The steady time at `since`, read once. Later readings add tokio's elapsed time.
    steady: SteadyTime,
    since: Instant,
    /// The store's time of day at `since`, in milliseconds; [`UNTOLD`] for the machine's.
    store: AtomicI64,
}

#[derive(Debug)]
enum WallClock {
    System,
    /// The time of day at `since`, and the milliseconds by which the clock was set since then.
    Simulated {
        start: SystemTime,
        steps: AtomicI64,
    },
}

impl Clock {
    /// The clocks of the machine.
    pub fn system() -> Self {
        Self::new(WallClock::System, machine::boot_id(), machine::steady_time())
    }

    /// A clock that starts at `start` and follows tokio's clock, also while a test pauses and advances tokio's clock.
    /// The simulated machine has been up since 1970; a later `start` is therefore a restart of the process on the same
    /// boot.
    pub fn following(start: SystemTime) -> Self {
        Self::stepping(start, BootId([0; 16]), SteadyTime(Timestamp::from(start).0)).0
    }

    /// As [`Clock::following`], with a handle that sets the wall clock while the steady clock continues, and with a
    /// given boot: the same `boot` with a later `steady` is a restart of the process, a different `boot` a reboot of
    /// the machine.
    pub fn stepping(start: SystemTime, boot: BootId, steady: SteadyTime) -> (Self, WallSteps) {
        let clock = Self::new(WallClock::Simulated { start, steps: AtomicI64::new(0) }, boot, steady);
        (clock, WallSteps(clock))
    }

    fn new(wall: WallClock, boot: BootId, steady: SteadyTime) -> Self {
        let source = ClockSource { wall, boot, steady, since: Instant::now(), store: AtomicI64::new(UNTOLD) };
        Self { source: Box::leak(Box::new(source)), is_of_store: false }
    }

    /// The same clock with the store's time of day: that of its server, once the store has told it, and the machine's until
    /// then and for a store without a server. For all times that are stored or compared with stored times; tokens and
    /// timestamps of webhooks stay with the machine's.
    pub fn of_store(self) -> Self {
        Self { is_of_store: true, ..self }
    }

    /// Notes the time of day of the store's server, in milliseconds since 1970, asked and answered at these instants.
    pub(crate) fn follow_store(&self, millis: u64, asked: Instant, answered: Instant) {
        // The server read its clock in between; half of the time is the best guess.
        let read = asked + answered.saturating_duration_since(asked) / 2;
        let passed = self::millis(read.saturating_duration_since(self.source.since));
        let start = i64::try_from(millis).unwrap_or(i64::MAX).saturating_sub(passed);
        self.source.store.store(start, Ordering::Relaxed);
    }

    /// The time of day of the store's server, if it was told.
    fn store_time(&self) -> Option<SystemTime> {
        let start = self.source.store.load(Ordering::Relaxed);
        if !self.is_of_store || start == UNTOLD {
            return None;
        }
        let start = Duration::from_millis(u64::try_from(start).unwrap_or_default());
        Some(UNIX_EPOCH + start + self.source.since.elapsed())
    }

    /// The time of day.
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    pub fn now(&self) -> SystemTime {
        if let Some(time) = self.store_time() {
            return time;
        }
        match &self.source.wall {
            WallClock::System => wall_clock(SystemTime::now()),
            WallClock::Simulated { start, steps } => {
                let steps = steps.load(Ordering::Relaxed);
                let span = Duration::from_millis(steps.unsigned_abs());
                let time = *start + self.source.since.elapsed();
                if steps < 0 { time - span } else { time + span }
            }
        }
    }

    /// The current instant on the two clocks.
    pub fn moment(&self) -> Moment {
        Moment { wall: self.now().into(), steady: self.steady_time(Instant::now()) }
    }

    /// The boot from which the steady time counts. Where the machine does not report a boot, every process gets a new
    /// id.
    pub(crate) fn boot_id(&self) -> BootId {
        self.source.boot
    }

    /// The instant at which the steady clock reads `time`. A time before this process maps to its start; a time too far
    /// away for timers maps to an instant decades ahead.
    pub fn instant(&self, time: SteadyTime) -> Instant {
        self.source.since + time.since(self.source.steady).min(NEVER)
    }

    /// The reading of the steady clock at `instant`.
    pub(crate) fn steady_time(&self, instant: Instant) -> SteadyTime {
        let ClockSource { steady, since, .. } = self.source;
        steady.plus(instant.saturating_duration_since(*since)).minus(since.saturating_duration_since(instant))
    }

    /// Milliseconds since 1970; 0 for earlier times.
    pub(crate) fn epoch_millis(&self) -> u64 {
        u64::try_from(self.now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis()).unwrap_or(u64::MAX)
    }

    /// The time of day at `instant`, as expected now.
    pub fn at(&self, instant: Instant) -> SystemTime {
        let now = Instant::now();
        self.now() + instant.saturating_duration_since(now) - now.saturating_duration_since(instant)
    }
}

/// Sets the wall clock of a [`Clock::stepping`].
#[derive(Clone, Copy, Debug)]
pub struct WallSteps(Clock);

impl WallSteps {
    /// Sets the wall clock ahead by `span`.
    pub fn ahead(&self, span: Duration) {
        self.add(millis(span));
    }

    /// Sets the wall clock back by `span`.
    pub fn back(&self, span: Duration) {
        self.add(-millis(span));
    }

    fn add(&self, step: i64) {
        if let WallClock::Simulated { steps, .. } = &self.0.source.wall {
            steps.fetch_add(step, Ordering::Relaxed);
        }
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

mod machine {
    use super::*;

    /// Time since the machine's start, including time asleep. Systems besides Linux have no such clock shared by
    /// processes; their clock also starts with the boot, and excludes time asleep.
    pub(super) fn steady_time() -> SteadyTime {
        #[cfg(target_os = "linux")]
        let clock = rustix::time::ClockId::Boottime;
        #[cfg(not(target_os = "linux"))]
        let clock = rustix::time::ClockId::Monotonic;
        let time = rustix::time::clock_gettime(clock);
        let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
        SteadyTime(seconds * 1_000 + u64::try_from(time.tv_nsec).unwrap_or_default() / 1_000_000)
    }

    pub(super) fn boot_id() -> BootId {
        read_boot_id("/proc/sys/kernel/random/boot_id")
    }

    pub(super) fn read_boot_id(path: &str) -> BootId {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let id = Uuid::parse_str(text.trim()).unwrap_or_else(|_| Random::from_system().uuid());
        BootId(id.into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const HOUR: Duration = Duration::from_secs(3_600);
    const BOOT: BootId = BootId([7; 16]);

    fn start() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    #[tokio::test(start_paused = true)]
    async fn steady_time_runs_on_while_the_wall_clock_is_set() {
        let (clock, steps) = Clock::stepping(start(), BOOT, SteadyTime(5_000));
        let first = clock.moment();
        assert_eq!(first, Moment { wall: start().into(), steady: SteadyTime(5_000) });
        assert_eq!(clock.boot_id(), BOOT);

        steps.ahead(90 * SECOND);
        assert_eq!(clock.moment(), Moment { wall: first.wall.plus(90 * SECOND), ..first });
        advance(SECOND).await;
        steps.back(HOUR);
        let wall = first.wall.plus(91 * SECOND).minus(HOUR);
        assert_eq!(clock.moment(), Moment { wall, steady: SteadyTime(6_000) });
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_of_a_store_is_followed_once_it_is_told() {
        let (clock, steps) = Clock::stepping(start(), BOOT, SteadyTime(5_000));
        let of_store = clock.of_store();
        steps.ahead(SECOND);
        assert_eq!(of_store.now(), start() + SECOND);
        advance(SECOND).await;
        let asked = Instant::now();
        advance(2 * SECOND).await;
        clock.follow_store(1_000_000, asked, Instant::now());
        steps.ahead(HOUR);
        assert_eq!(of_store.moment(), Moment { wall: Timestamp(1_001_000), steady: SteadyTime(8_000) });
        advance(SECOND).await;
        assert_eq!(of_store.moment(), Moment { wall: Timestamp(1_002_000), steady: SteadyTime(9_000) });
        assert_eq!(clock.now(), start() + 5 * SECOND + HOUR);
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_follows_is_on_one_boot_whenever_it_starts() {
        let first = Clock::following(start());
        advance(HOUR).await;
        let second = Clock::following(first.now());
        assert_eq!(second.moment(), first.moment());
        assert_eq!(second.boot_id(), first.boot_id());
    }

    #[tokio::test(start_paused = true)]
    async fn steady_times_and_instants_are_two_names_of_one_thing() {
        let (clock, _) = Clock::stepping(start(), BOOT, SteadyTime(5_000));
        let began = Instant::now();
        advance(SECOND).await;
        assert_eq!(clock.instant(SteadyTime(65_000)), began + 60 * SECOND);
        assert_eq!(clock.steady_time(began + 60 * SECOND), SteadyTime(65_000));
        assert_eq!(clock.steady_time(began - SECOND), SteadyTime(4_000));
        assert_eq!(clock.instant(SteadyTime(4_000)), began);
        assert_eq!(clock.instant(SteadyTime(u64::MAX)), began + NEVER);
    }

    #[test]
    fn the_machines_steady_clock_is_one_for_all_processes() {
        let [first, second] = [Clock::system(), Clock::system()];
        assert!(first.moment().steady > SteadyTime(0));
        assert!(second.moment().at_most_since(first.moment()) < 60 * SECOND);
        // Elsewhere each start is a boot of its own.
        if cfg!(target_os = "linux") {
            assert_eq!(first.boot_id(), second.boot_id());
        }
    }

    #[test]
    fn a_boot_that_is_not_told_is_another_one_each_time() {
        let [first, second] = ["/nonexistent", "/nonexistent"].map(machine::read_boot_id);
        assert_ne!(first, second);
    }
}
