//! What one process tells the next of its clocks.

use std::future::Future;

use super::ledger::StoreError;
use crate::domain::clock_check::ClockRecord;

/// Keeps one [`ClockRecord`] beside what it is about.
pub trait ClockRecords: Clone + Send + Sync + 'static {
    /// What was kept last; `None` in a store that is new, or written by a version that kept none.
    fn clock_record(&self) -> impl Future<Output = Result<Option<ClockRecord>, StoreError>> + Send;

    /// Keeps another in its place; durable when it returns `Ok`.
    fn keep_clock_record(&self, record: ClockRecord) -> impl Future<Output = Result<(), StoreError>> + Send;
}
