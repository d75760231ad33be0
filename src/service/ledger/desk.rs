//! The look-ups of one account: who waits for one, whether one is under way, and when Walmart last answered.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::InHand;
use super::share::Share;
use crate::domain::ledger::Entry;

/// A search by date that repeats one comes so long after it, or later.
const SEARCH_AGAIN_AFTER: Duration = Duration::from_secs(60);
/// A search by date that repeats one may take this part of the desk's time: one in so many.
const SEARCH_SHARE: u32 = 5;

/// One for each account. Only one task works at a desk, so that what is due meanwhile is served by the same searches.
pub(super) struct LookupDesk {
    state: Mutex<State>,
    /// Status calls for what may be left out: snapshots before a cancellation, and audits.
    pub(super) spare: Share,
}

struct State {
    waiting: Vec<LookupWork>,
    at_work: bool,
    answered: Option<Instant>,
    searched: Option<Searched>,
}

/// The last search by date.
struct Searched {
    ended: Instant,
    took: Duration,
    in_vain: bool,
}

/// Entries that wait for a look-up, with the guard that hands them back however the work ends.
pub(super) struct LookupWork {
    pub(super) entries: Vec<Entry>,
    pub(super) held: InHand,
}

/// The task that works at a desk. Dropped before its end, by a panic, it frees the desk and hands back what waits there.
pub(super) struct AtWork<'a> {
    desk: &'a LookupDesk,
    left: bool,
}

impl LookupDesk {
    /// Of an account that may make so many status calls a minute.
    pub(super) fn new(status_limit: u32) -> Self {
        let state = State { waiting: Vec::new(), at_work: false, answered: None, searched: None };
        Self { state: Mutex::new(state), spare: Share::of(status_limit) }
    }

    /// Adds work.
    pub(super) fn add(&self, work: LookupWork) {
        self.lock().waiting.push(work);
    }

    /// Takes the desk, unless a task works at it.
    pub(super) fn take(&self) -> Option<AtWork<'_>> {
        let mut state = self.lock();
        if state.at_work {
            return None;
        }
        state.at_work = true;
        Some(AtWork { desk: self, left: false })
    }

    /// Whether look-ups of this account are under way or wait for their turn.
    pub(super) fn is_busy(&self) -> bool {
        let state = self.lock();
        state.at_work || !state.waiting.is_empty()
    }

    /// Walmart has answered a look-up of this account.
    pub(super) fn answered(&self) {
        self.lock().answered = Some(Instant::now());
    }

    /// Whether Walmart has answered a look-up of this account within `span`.
    pub(super) fn was_answered_within(&self, span: Duration) -> bool {
        self.lock().answered.is_some_and(|at| at.elapsed() < span)
    }

    /// A search by date that began then has come to its end. `in_vain`: it spared no look-up by number.
    pub(super) fn searched(&self, began: Instant, in_vain: bool) {
        self.lock().searched = Some(Searched { ended: Instant::now(), took: began.elapsed(), in_vain });
    }

    /// Whether another search by date would come so soon after the last one that it takes the permits of look-ups by number
    /// and finds little.
    pub(super) fn was_searched_lately(&self) -> bool {
        self.lock().searched.as_ref().is_some_and(Searched::was_lately)
    }

    /// The same of a search in vain: another would be, too.
    pub(super) fn was_searched_in_vain_lately(&self) -> bool {
        self.lock().searched.as_ref().is_some_and(|searched| searched.in_vain && searched.was_lately())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Searched {
    fn was_lately(&self) -> bool {
        self.ended.elapsed() < SEARCH_AGAIN_AFTER.max(self.took * SEARCH_SHARE)
    }
}

impl AtWork<'_> {
    /// What waits now. `None` when nothing does: the desk is left in the same moment, so that whoever adds work next finds
    /// it free.
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

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        if self.left {
            return;
        }
        let mut state = self.desk.lock();
        state.at_work = false;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        // Their guards hand them back.
        drop(waiting);
    }
}
