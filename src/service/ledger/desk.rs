//! The look-ups of one account: waiting work, the running task, and the time of Walmart's last answer.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::WorkGuard;
use super::lookup_reserve::LookupReserve;
use crate::domain::ledger::Entry;

/// Shortest time between two searches by date for the same purpose.
const SEARCH_AGAIN_AFTER: Duration = Duration::from_secs(60);
/// A repeated search by date may take one part in this many of the account's look-up time.
const SEARCH_SHARE: u32 = 5;

/// The look-up desk of one account. A single task works at a desk, which lets one search serve all entries that became
/// due meanwhile.
pub(super) struct LookupDesk {
    state: Mutex<DeskState>,
    /// Status calls for optional reads: snapshots before cancellations, and audits.
    pub(super) spare: LookupReserve,
}

struct DeskState {
    waiting: Vec<LookupWork>,
    at_work: bool,
    answered: Option<Instant>,
    searched: Option<LastSearch>,
}

/// The last search by date.
struct LastSearch {
    ended: Instant,
    took: Duration,
    in_vain: bool,
}

/// Entries waiting for a look-up, with the guard that returns them to the queue when the work ends in any way.
pub(super) struct LookupWork {
    pub(super) entries: Vec<Entry>,
    pub(super) held: WorkGuard,
}

/// The task that works at a desk. Dropping it early, by a panic, frees the desk and returns the waiting entries to the
/// queue.
pub(super) struct DeskGuard<'a> {
    desk: &'a LookupDesk,
    left: bool,
}

impl LookupDesk {
    /// A desk of an account with this many status calls a minute.
    pub(super) fn new(status_limit: u32) -> Self {
        let state = DeskState { waiting: Vec::new(), at_work: false, answered: None, searched: None };
        Self { state: Mutex::new(state), spare: LookupReserve::of(status_limit) }
    }

    /// Adds work to the desk.
    pub(super) fn add(&self, work: LookupWork) {
        self.lock().waiting.push(work);
    }

    /// Starts work at the desk, unless a task is already working.
    pub(super) fn take(&self) -> Option<DeskGuard<'_>> {
        let mut state = self.lock();
        if state.at_work {
            return None;
        }
        state.at_work = true;
        Some(DeskGuard { desk: self, left: false })
    }

    /// Whether look-ups of this account are running or waiting.
    pub(super) fn is_busy(&self) -> bool {
        let state = self.lock();
        state.at_work || !state.waiting.is_empty()
    }

    /// Notes that Walmart has answered a look-up of this account.
    pub(super) fn answered(&self) {
        self.lock().answered = Some(Instant::now());
    }

    /// Whether Walmart has answered a look-up of this account within `span`.
    pub(super) fn was_answered_within(&self, span: Duration) -> bool {
        self.lock().answered.is_some_and(|at| at.elapsed() < span)
    }

    /// Notes the end of a search by date that began at `began`. `in_vain`: the search saved no look-up by number.
    pub(super) fn searched(&self, began: Instant, in_vain: bool) {
        self.lock().searched = Some(LastSearch { ended: Instant::now(), took: began.elapsed(), in_vain });
    }

    /// Whether a further search by date would follow too soon, taking permits of look-ups by number for few results.
    pub(super) fn was_searched_lately(&self) -> bool {
        self.lock().searched.as_ref().is_some_and(LastSearch::was_lately)
    }

    /// Whether the last search was in vain and recent; a further search would also be in vain.
    pub(super) fn was_searched_in_vain_lately(&self) -> bool {
        self.lock().searched.as_ref().is_some_and(|searched| searched.in_vain && searched.was_lately())
    }

    fn lock(&self) -> MutexGuard<'_, DeskState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LastSearch {
    fn was_lately(&self) -> bool {
        self.ended.elapsed() < SEARCH_AGAIN_AFTER.max(self.took * SEARCH_SHARE)
    }
}

impl DeskGuard<'_> {
    /// Takes the waiting work. Returns `None` when no work is waiting, and releases the desk under the same lock: a
    /// task that adds work afterwards must find the desk free, or the work would wait forever.
    pub(super) fn next(&mut self) -> Option<Vec<LookupWork>> {
        let mut state = self.desk.lock();
        if state.waiting.is_empty() {
            state.at_work = false;
            self.left = true;
            return None;
        }
        Some(std::mem::take(&mut state.waiting))
    }
}

impl Drop for DeskGuard<'_> {
    fn drop(&mut self) {
        if self.left {
            return;
        }
        let mut state = self.desk.lock();
        state.at_work = false;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        // The guards return the entries to the queue.
        drop(waiting);
    }
}
