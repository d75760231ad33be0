use std::sync::Arc;
use std::time::UNIX_EPOCH;

use tokio::time::advance;

use super::*;
use crate::domain::moment::{BootId, SteadyTime};
use crate::ports::clock::WallSteps;
use crate::ports::store_error::{StoreError, StoreErrorKind};
use crate::telemetry::metrics::Metrics;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_hours(1);
const DAY: Duration = Duration::from_hours(24);
const RETENTION: Duration = Duration::from_hours(30 * 24);
const BOOT: BootId = BootId([1; 16]);
const START: u64 = 1_800_000_000;

struct World {
    watch: ClockWatch,
    clock: Clock,
    steps: WallSteps,
    metrics: Metrics,
}

/// A watch on this boot, whose steady clock says so many seconds, at `START` by the wall clock.
fn world(boot: BootId, steady: u64) -> World {
    let (clock, steps) = Clock::stepping(UNIX_EPOCH + Duration::from_secs(START), boot, SteadyTime(steady * 1000));
    let metrics = Metrics::new([]);
    World { watch: ClockWatch::new(clock, RETENTION, metrics.clock.clone()), clock, steps, metrics }
}

fn begun() -> World {
    let world = world(BOOT, 3_600);
    world.watch.begin(None);
    world
}

impl World {
    fn is_paused(&self) -> bool {
        let paused = self.watch.trim_time().is_none();
        assert_eq!(self.metrics.clock.trimming_paused.get(), i64::from(paused));
        paused
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_trimmed_after_a_step_for_as_long_as_events_are_kept() {
    let World { watch, steps, metrics, .. } = &begun();
    assert!(watch.trim_time().is_some());
    advance(SECOND).await;
    // For a minute, by whoever trims at that moment.
    steps.ahead(40 * DAY);
    assert_eq!(watch.trim_time(), None);
    advance(60 * SECOND).await;
    steps.back(40 * DAY);
    assert_eq!(watch.trim_time(), None);
    let view = watch.view();
    assert_eq!((view.steps, view.trimming_paused_for), (2, Some(RETENTION)));
    assert_eq!(view.last_step, Some((Timestamp((START + 61) * 1000), WallStep(-40 * 86_400_000))));
    assert_eq!(metrics.clock.steps.get(), 2);
    advance(RETENTION - SECOND).await;
    assert_eq!((watch.trim_time(), watch.view().trimming_paused_for), (None, Some(SECOND)));
    advance(SECOND).await;
    assert_eq!(watch.trim_time().map(|now| now.wall), Some(Timestamp((START + 61) * 1000).plus(RETENTION)));
    assert_eq!(watch.view().trimming_paused_for, None);
}

#[tokio::test(start_paused = true)]
async fn an_operators_word_ends_the_pause_and_the_next_step_begins_another() {
    let world = begun();
    world.steps.back(HOUR);
    assert!(world.is_paused());
    world.watch.confirm("ops");
    assert!(!world.is_paused());
    world.steps.ahead(HOUR);
    assert!(world.is_paused());
}

#[tokio::test(start_paused = true)]
async fn a_word_before_the_record_was_read_allows_nothing() {
    let world = world(BOOT, 3_600);
    assert_eq!(world.watch.trim_time(), None);
    world.watch.confirm("ops");
    assert_eq!(world.watch.trim_time(), None);
    // Nor does the beginning end a pause.
    world.steps.ahead(HOUR);
    assert!(world.is_paused());
    world.watch.begin(None);
    assert!(world.is_paused());
}

#[tokio::test(start_paused = true)]
async fn a_new_process_compares_its_clocks_with_the_last_ones() {
    let now = world(BOOT, 3_600).clock.moment();
    let record = |boot, moment: Moment| ClockRecord { moment, boot, pause_left: Duration::ZERO };
    let minute_ago = Moment { wall: now.wall.minus(60 * SECOND), steady: now.steady.minus(60 * SECOND) };
    let set = |wall| Moment { wall, ..minute_ago };
    let other = BootId([2; 16]);
    for (record, paused, steps) in [
        (record(BOOT, minute_ago), false, 0),
        (record(BOOT, set(minute_ago.wall.minus(90 * SECOND))), true, 1),
        (record(BOOT, set(minute_ago.wall.plus(HOUR))), true, 1),
        (record(other, minute_ago), false, 0),
        (record(other, set(now.wall.plus(60 * SECOND))), true, 1),
        (record(other, set(now.wall.minus(2 * HOUR))), true, 0),
        (ClockRecord { pause_left: HOUR, ..record(BOOT, minute_ago) }, true, 0),
        (ClockRecord { pause_left: HOUR, ..record(other, minute_ago) }, true, 0),
        (ClockRecord { pause_left: SECOND, ..record(BOOT, minute_ago) }, false, 0),
    ] {
        let world = world(BOOT, 3_600);
        world.watch.begin(Some(record));
        assert_eq!((world.is_paused(), world.watch.view().steps), (paused, steps), "{record:?}");
    }
}

/// Keeps a record in memory; fails on the first call.
#[derive(Clone, Default)]
struct Records(Arc<Mutex<(usize, Option<ClockRecord>)>>);

impl Records {
    fn kept(&self) -> Option<ClockRecord> {
        self.0.lock().unwrap().1
    }
}

impl ClockRecords for Records {
    async fn clock_record(&self) -> Result<Option<ClockRecord>, StoreError> {
        let mut inner = self.0.lock().unwrap();
        inner.0 += 1;
        if inner.0 == 1 {
            return Err(StoreError { kind: StoreErrorKind::Failed, text: String::new() });
        }
        Ok(inner.1)
    }

    async fn keep_clock_record(&self, record: ClockRecord) -> Result<(), StoreError> {
        self.0.lock().unwrap().1 = Some(record);
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_does_not_end_a_pause() {
    let (records, stopping) = (Records::default(), CancellationToken::new());
    let first = world(BOOT, 3_600);
    let run = tokio::spawn(first.watch.clone().run(records.clone(), stopping.clone()));
    tokio::time::sleep(2 * SECOND).await;
    assert!(!first.is_paused());
    assert_eq!(records.kept(), None);
    tokio::time::sleep(KEEP_FIRST).await;
    assert_eq!(records.kept().map(|kept| (kept.boot, kept.pause_left)), Some((BOOT, Duration::ZERO)));

    first.steps.ahead(HOUR);
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(first.metrics.clock.steps.get(), 1, "noticed by the watch itself");
    let kept = records.kept().unwrap();
    assert!(kept.pause_left > RETENTION - 3 * SECOND, "{kept:?}");
    stopping.cancel();
    run.await.unwrap();

    // The same machine goes on.
    let second = ClockWatch::new(first.clock, RETENTION, first.metrics.clock.clone());
    second.begin(records.kept());
    assert_eq!((second.trim_time(), second.view().steps), (None, 0));
    second.confirm("ops");
    assert!(second.trim_time().is_some());
}
