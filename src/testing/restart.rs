//! Restarts of the process in front of a ledger.

use crate::ports::ledger::Ledger;
use crate::store::memory::MemoryLedger;

/// A ledger that outlives its processes.
pub(crate) trait Restart: Ledger {
    /// Begins the next process: all open entries were left by an earlier one.
    fn restart(&self);
}

impl Restart for MemoryLedger {
    fn restart(&self) {
        MemoryLedger::restart(self);
    }
}
