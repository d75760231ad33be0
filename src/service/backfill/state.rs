//! What operators see of the scans.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::account::AccountIndex;
use crate::domain::timestamp::Timestamp;

/// The scans of the accounts. Cheap to clone; all clones share one state. Empty while orders are not scanned.
#[derive(Clone, Debug, Default)]
pub struct BackfillState(Arc<Mutex<BTreeMap<AccountIndex, BackfillView>>>);

/// The scans of one account, since the start of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackfillView {
    /// End of the last complete scan.
    pub last_backfill_time: Option<Timestamp>,
    /// Number of intents found and stored.
    pub backfilled: u64,
    /// Why the last scan failed; empty after a complete one. Without personal data.
    pub error: String,
}

impl BackfillState {
    /// The scans of an account; `None` when its orders are not scanned.
    pub(crate) fn of(&self, account: AccountIndex) -> Option<BackfillView> {
        self.lock().get(&account).cloned()
    }

    pub(super) fn change(&self, account: AccountIndex, change: impl FnOnce(&mut BackfillView)) {
        change(self.lock().entry(account).or_default());
    }

    pub(super) fn end(&self, account: AccountIndex) {
        self.lock().remove(&account);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<AccountIndex, BackfillView>> {
        // A poisoned lock is safe to use: every change is a single assignment of its own.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
