//! When which entry is to be looked at next. In memory: at the start it is filled from the store.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use foldhash::fast::RandomState;
use tokio::sync::Notify;

use crate::domain::ledger::OperationId;
use crate::domain::timestamp::Timestamp;

/// The plan. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Agenda(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    plan: Mutex<Plan>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Plan {
    by_time: BTreeSet<(Timestamp, OperationId)>,
    by_id: HashMap<OperationId, Timestamp, RandomState>,
}

impl Agenda {
    /// Plans a look, in the place of one that was planned before.
    pub(super) fn put(&self, id: OperationId, time: Timestamp) {
        let mut plan = self.lock();
        plan.remove(id);
        plan.by_time.insert((time, id));
        plan.by_id.insert(id, time);
        drop(plan);
        self.0.changed.notify_one();
    }

    /// Plans no look.
    pub(super) fn remove(&self, id: OperationId) {
        self.lock().remove(id);
    }

    /// Takes what is due at `now` off the plan, the longest due first, at most `limit`.
    pub(super) fn take_due(&self, now: Timestamp, limit: usize) -> Vec<OperationId> {
        let mut plan = self.lock();
        let due = plan.by_time.iter().take_while(|(time, _)| *time <= now).take(limit);
        let due: Vec<_> = due.map(|(_, id)| *id).collect();
        due.iter().for_each(|id| plan.remove(*id));
        due
    }

    /// When the next look is planned.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.lock().by_time.first().map(|(time, _)| *time)
    }

    /// Ends when something was planned since the last time that this ended.
    pub(super) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Plan> {
        self.0.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Plan {
    fn remove(&mut self, id: OperationId) {
        if let Some(time) = self.by_id.remove(&id) {
            self.by_time.remove(&(time, id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_due_is_taken_once_in_the_order_of_time() {
        let agenda = Agenda::default();
        for (id, time) in [(1, 30), (2, 10), (3, 20), (4, 31)] {
            agenda.put(OperationId(id), Timestamp(time));
        }
        agenda.put(OperationId(3), Timestamp(5));
        agenda.remove(OperationId(2));
        assert_eq!(agenda.next(), Some(Timestamp(5)));
        assert_eq!(agenda.take_due(Timestamp(4), 9), []);
        assert_eq!(agenda.take_due(Timestamp(30), 1), [OperationId(3)]);
        assert_eq!(agenda.take_due(Timestamp(30), 9), [OperationId(1)]);
        assert_eq!(agenda.take_due(Timestamp(30), 9), []);
        assert_eq!(agenda.next(), Some(Timestamp(31)));
    }
}
