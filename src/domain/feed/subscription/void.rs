//! Voids rows of a subscription when its covered accounts change.
//!
//! Rows do not store accounts: the caller looks up the events and selects the rows.

use super::{RowState, Subscription};
use crate::domain::feed::AccountScope;

/// Numbers of rows voided because their accounts are not covered any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct VoidedRows {
    /// Number of leased events.
    pub(crate) leased: u64,
    /// Number of parked events.
    pub(crate) parked: u64,
    /// Number of pending and waiting events.
    pub(crate) pending: u64,
}

impl VoidedRows {
    /// Number of all voided rows.
    pub(crate) const fn all(self) -> u64 {
        self.leased + self.parked + self.pending
    }
}

impl Subscription {
    /// Sets the covered accounts of a new subscription.
    #[must_use]
    pub(crate) fn with_scope(mut self, scope: AccountScope) -> Self {
        self.head.scope = Some(scope);
        self
    }

    /// Positions of all rows whose events may still be shown: unsettled or parked.
    pub(crate) fn open_rows(&self) -> Vec<u64> {
        self.rows.unsettled().iter().chain(self.rows.parked()).copied().collect()
    }

    /// Replaces the covered accounts, and voids the rows at the positions of `gone`: their leases become unknown, and
    /// the floor passes them. Events of a new account before the scanned position stay skipped.
    pub(crate) fn set_scope(&mut self, scope: AccountScope, gone: impl IntoIterator<Item = u64>) -> VoidedRows {
        let mut voided = VoidedRows::default();
        for seq in gone {
            let Some(row) = self.rows.get(seq) else { continue };
            match row.state {
                RowState::Leased { .. } => voided.leased += 1,
                RowState::Parked { .. } => voided.parked += 1,
                RowState::Pending { .. } | RowState::Waiting { .. } => voided.pending += 1,
                RowState::Acked => continue,
            }
            self.ahead -= usize::from(seq > self.head.floor);
            self.rows.remove(seq);
        }
        self.raise_floor();
        self.head.scope = Some(scope);
        voided
    }
}
