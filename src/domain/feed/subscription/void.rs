//! What becomes of a subscription's rows when it means other accounts than before.
//!
//! The rows themselves do not tell accounts: whoever narrows a subscription looks the events up and says which rows are void.

use super::{State, Subscription};
use crate::domain::feed::AccountScope;

/// Rows that went because their events are of accounts that the subscription does not mean any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Voided {
    /// Events that were on loan.
    pub leased: u64,
    /// Events that were parked.
    pub parked: u64,
    /// Events that were to be lent again, or waited for others.
    pub pending: u64,
}

impl Voided {
    /// All of them.
    pub const fn all(self) -> u64 {
        self.leased + self.parked + self.pending
    }
}

impl Subscription {
    /// Sets the accounts that it means from the start.
    #[must_use]
    pub fn with_scope(mut self, scope: AccountScope) -> Self {
        self.head.scope = Some(scope);
        self
    }

    /// Positions of all rows whose events may still be shown: not settled, or parked.
    pub fn open_rows(&self) -> Vec<u64> {
        self.rows.unsettled().iter().chain(self.rows.parked()).copied().collect()
    }

    /// Means these accounts from now on. The rows at the positions of `gone` are void: a lease of one is no lease any more,
    /// and the floor passes it. Events that were passed before, and are of an account that is new, stay passed.
    pub fn set_scope(&mut self, scope: AccountScope, gone: impl IntoIterator<Item = u64>) -> Voided {
        let mut voided = Voided::default();
        for seq in gone {
            let Some(row) = self.rows.get(seq) else { continue };
            match row.state {
                State::Leased { .. } => voided.leased += 1,
                State::Parked { .. } => voided.parked += 1,
                State::Pending { .. } | State::Waiting { .. } => voided.pending += 1,
                State::Acked => continue,
            }
            self.ahead -= usize::from(seq > self.head.floor);
            self.rows.remove(seq);
        }
        self.raise_floor();
        self.head.scope = Some(scope);
        voided
    }
}
