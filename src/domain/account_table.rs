//! A table with a row for each account, which grows while the process runs.

use std::fmt;
use std::sync::OnceLock;

use super::account::AccountIndex;

/// Blocks of a table. Block `n` has room for 2^n rows.
const BLOCKS: usize = usize::BITS as usize;

/// A row for each account, made at the first use and never removed, so that rows can be borrowed while the settings
/// change. Reading takes no lock.
pub struct AccountTable<T> {
    blocks: [OnceLock<Box<[OnceLock<T>]>>; BLOCKS],
}

impl<T> Default for AccountTable<T> {
    fn default() -> Self {
        Self { blocks: [const { OnceLock::new() }; BLOCKS] }
    }
}

impl<T> AccountTable<T> {
    /// The row of an account, made by `make` at the first use.
    pub fn row(&self, account: AccountIndex, make: impl FnOnce() -> T) -> &T {
        let place = account.0.saturating_add(1);
        let block = place.ilog2() as usize;
        let rows = self.blocks[block].get_or_init(|| (0..1_usize << block).map(|_| OnceLock::new()).collect());
        rows[place - (1 << block)].get_or_init(make)
    }
}

impl<T> fmt::Debug for AccountTable<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccountTable").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_row_is_made_once_and_stays() {
        let (table, made) = (AccountTable::default(), Cell::new(0));
        let row = |account: usize| {
            table.row(AccountIndex(account), || {
                made.set(made.get() + 1);
                account
            })
        };
        let first = row(0);
        for account in [0, 1, 2, 3, 7, 1000, 1022, 1023, 1024, 3] {
            assert_eq!(*row(account), account);
        }
        assert_eq!(made.get(), 9);
        assert!(std::ptr::eq(first, row(0)));
    }
}
