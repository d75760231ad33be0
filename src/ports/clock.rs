//! The wall clock, which people and programs set, and the time since the machine's boot, which nobody can set. Both are passed
//! in, so that tests control them.
//!
//! How long something takes inside the process is measured with `tokio::time::Instant`, which tests pause. A [`Moment`] has a
//! reading of both clocks: it is for times that are stored, or compared with stored ones.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;
use uuid::Uuid;

use crate::crash_point::wall_clock;
use crate::domain::moment::{BootId, Moment, SteadyTime};
use crate::domain::timestamp::Timestamp;
use crate::ports::random::Random;

/// Far enough ahead that nothing waits for it, near enough that timers can be set for it.
const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 3_600);

/// Tells the time. A pointer, so that it costs nothing to pass: what stands behind it is made once and never freed.
#[derive(Clone, Copy, Debug)]
pub struct Clock(&'static Source);

#[derive(Debug)]
struct Source {
    wall: Wall,
    boot: BootId,
    /// The steady time at `since`. Read once: from then on tokio's clock is the steady one.
    steady: SteadyTime,
    since: Instant,
}

#[derive(Debug)]
enum Wall {
    System,
    /// The time of day at `since`, and by how many milliseconds it has been set since then.
    Simulated {
        start: SystemTime,
        steps: AtomicI64,
    },
}

impl Clock {
    /// The machine's clocks.
    pub fn system() -> Self {
        Self::new(Wall::System, machine::boot_id(), machine::steady_time())
    }

    /// Starts at `start` and moves with tokio's clock, also while that one is paused and advanced by a test. The machine is
    /// one that has been up since 1970, so a later `start` is a restart on the same boot.
    pub fn following(start: SystemTime) -> Self {
        Self::stepping(start, BootId([0; 16]), SteadyTime(Timestamp::from(start).0)).0
    }

    /// As [`Clock::following`], with a handle that sets the wall clock while the steady one runs on, and on a boot that is
    /// given: the same `boot` with a later `steady` is a restart of the process, another `boot` one of the machine.
    pub fn stepping(start: SystemTime, boot: BootId, steady: SteadyTime) -> (Self, WallSteps) {
        let clock = Self::new(Wall::Simulated { start, steps: AtomicI64::new(0) }, boot, steady);
        (clock, WallSteps(clock))
    }

    fn new(wall: Wall, boot: BootId, steady: SteadyTime) -> Self {
        Self(Box::leak(Box::new(Source { wall, boot, steady, since: Instant::now() })))
    }

    /// The time of day.
    #[allow(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    pub fn now(&self) -> SystemTime {
        match &self.0.wall {
            Wall::System => wall_clock(SystemTime::now()),
            Wall::Simulated { start, steps } => {
                let steps = steps.load(Ordering::Relaxed);
                let span = Duration::from_millis(steps.unsigned_abs());
                let time = *start + self.0.since.elapsed();
                if steps < 0 { time - span } else { time + span }
            }
        }
    }

    /// This instant by both clocks.
    pub fn moment(&self) -> Moment {
        Moment { wall: self.now().into(), steady: self.steady_time(Instant::now()) }
    }

    /// Which start of the machine the steady time counts from. Where the machine does not tell, another one for each process.
    pub fn boot_id(&self) -> BootId {
        self.0.boot
    }

    /// When the steady clock says `time`. A time before this process is its start; one too far away for a timer is decades
    /// ahead.
    pub fn instant(&self, time: SteadyTime) -> Instant {
        self.0.since + time.since(self.0.steady).min(NEVER)
    }

    /// What the steady clock says at `instant`.
    pub fn steady_time(&self, instant: Instant) -> SteadyTime {
        let Source { steady, since, .. } = self.0;
        steady.plus(instant.saturating_duration_since(*since)).minus(since.saturating_duration_since(instant))
    }

    /// Milliseconds since 1970; 0 before.
    pub fn epoch_millis(&self) -> u64 {
        u64::try_from(self.now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis()).unwrap_or(u64::MAX)
    }

    /// What the time of day will be at `instant`.
    pub fn at(&self, instant: Instant) -> SystemTime {
        let now = Instant::now();
        self.now() + instant.saturating_duration_since(now) - now.saturating_duration_since(instant)
    }
}

/// Sets the wall clock of a [`Clock::stepping`].
#[derive(Clone, Copy, Debug)]
pub struct WallSteps(Clock);

impl WallSteps {
    /// Sets it ahead.
    pub fn ahead(&self, span: Duration) {
        self.add(millis(span));
    }

    /// Sets it back.
    pub fn back(&self, span: Duration) {
        self.add(-millis(span));
    }

    fn add(&self, step: i64) {
        if let Wall::Simulated { steps, .. } = &self.0.0.wall {
            steps.fetch_add(step, Ordering::Relaxed);
        }
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}

mod machine {
    use super::*;

    /// Time since the machine's start, asleep or not. Other systems than Linux have no such clock that is shared by
    /// processes; there it starts with the boot too, and sleep is not counted.
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
