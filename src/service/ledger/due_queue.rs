//! The queue of entries by due time. In memory: filled from the store at the start.
//!
//! An entry is due when either clock has reached its time. A wall clock set back therefore delays nothing, and a wall
//! clock that jumps ahead makes look-ups early, which is harmless.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use foldhash::fast::RandomState;
use tokio::sync::Notify;

use crate::domain::ledger::OperationId;
use crate::domain::moment::{Moment, SteadyTime};
use crate::domain::timestamp::Timestamp;

/// The due times of open entries. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct DueQueue(Arc<SharedQueue>);

#[derive(Debug, Default)]
struct SharedQueue {
    plan: Mutex<DueTimes>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct DueTimes {
    by_steady: BTreeSet<(SteadyTime, OperationId)>,
    by_wall: BTreeSet<(Timestamp, OperationId)>,
    by_id: HashMap<OperationId, Moment, RandomState>,
}

impl DueQueue {
    /// Plans an entry for a time, replacing an earlier plan.
    pub(super) fn put(&self, id: OperationId, time: Moment) {
        let mut plan = self.lock();
        plan.remove(id);
        plan.by_steady.insert((time.steady, id));
        plan.by_wall.insert((time.wall, id));
        plan.by_id.insert(id, time);
        drop(plan);
        self.0.changed.notify_one();
    }

    /// Removes an entry from the queue.
    pub(super) fn remove(&self, id: OperationId) {
        self.lock().remove(id);
    }

    /// Removes and returns the entries due at `now`, longest overdue first, at most `limit`.
    pub(super) fn take_due(&self, now: Moment, limit: usize) -> Vec<OperationId> {
        let mut plan = self.lock();
        let mut due = Vec::new();
        while due.len() < limit
            && let Some(id) = plan.first_due(now)
        {
            plan.remove(id);
            due.push(id);
        }
        due
    }

    /// Time from `now` until the next entry is due, by whichever clock is first. `None` for an empty queue.
    pub(super) fn time_left(&self, now: Moment) -> Option<Duration> {
        let plan = self.lock();
        let (steady, _) = plan.by_steady.first()?;
        let (wall, _) = plan.by_wall.first()?;
        Some(steady.since(now.steady).min(wall.since(now.wall)))
    }

    /// Waits for a new plan since the previous return of this method.
    pub(super) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, DueTimes> {
        self.0.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DueTimes {
    fn first_due(&self, now: Moment) -> Option<OperationId> {
        let by_steady = self.by_steady.first().filter(|(time, _)| *time <= now.steady).map(|(_, id)| *id);
        by_steady.or_else(|| self.by_wall.first().filter(|(time, _)| *time <= now.wall).map(|(_, id)| *id))
    }

    fn remove(&mut self, id: OperationId) {
        if let Some(time) = self.by_id.remove(&id) {
            self.by_steady.remove(&(time.steady, id));
            self.by_wall.remove(&(time.wall, id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(steady: u64, wall: u64) -> Moment {
        Moment { wall: Timestamp(wall), steady: SteadyTime(steady) }
    }

    #[test]
    fn what_is_due_is_taken_once_in_the_order_of_time() {
        let due_queue = DueQueue::default();
        for (id, time) in [(1, 30), (2, 10), (3, 20), (4, 31)] {
            due_queue.put(OperationId(id), at(time, 1_000 + time));
        }
        due_queue.put(OperationId(3), at(5, 1_005));
        due_queue.remove(OperationId(2));
        assert_eq!(due_queue.time_left(at(2, 1_002)), Some(Duration::from_millis(3)));
        assert_eq!(due_queue.take_due(at(4, 1_004), 9), []);
        assert_eq!(due_queue.take_due(at(30, 1_030), 1), [OperationId(3)]);
        assert_eq!(due_queue.take_due(at(30, 1_030), 9), [OperationId(1)]);
        assert_eq!(due_queue.take_due(at(30, 1_030), 9), []);
        assert_eq!(due_queue.time_left(at(30, 1_030)), Some(Duration::from_millis(1)));
    }

    #[test]
    fn either_clock_makes_a_look_due() {
        let due_queue = DueQueue::default();
        due_queue.put(OperationId(1), at(10, 1_010));
        due_queue.put(OperationId(2), at(20, 1_020));
        // The wall clock was set back: the steady one tells.
        assert_eq!(due_queue.time_left(at(4, 500)), Some(Duration::from_millis(6)));
        assert_eq!(due_queue.take_due(at(10, 506), 9), [OperationId(1)]);
        // And ahead.
        assert_eq!(due_queue.time_left(at(10, 9_000)), Some(Duration::ZERO));
        assert_eq!(due_queue.take_due(at(10, 9_000), 9), [OperationId(2)]);
        assert_eq!(due_queue.time_left(at(10, 9_000)), None);
    }
}
