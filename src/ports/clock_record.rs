//! The record of the clocks that one process leaves for the next.

use std::future::Future;

use super::store_error::StoreError;
use crate::domain::clock_check::ClockRecord;

/// Stores one [`ClockRecord`], beside the data whose age depends on the clocks.
pub trait ClockRecords: Clone + Send + Sync + 'static {
    /// Reads the stored record; `None` in a new store, or in a store written by a version without records.
    fn clock_record(&self) -> impl Future<Output = Result<Option<ClockRecord>, StoreError>> + Send;

    /// Replaces the stored record. The write is durable when the method returns `Ok`.
    fn keep_clock_record(&self, record: ClockRecord) -> impl Future<Output = Result<(), StoreError>> + Send;
}
