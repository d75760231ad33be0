//! Where durable subscriptions are kept.

use std::future::Future;

use super::ledger::StoreError;
use crate::domain::feed::AccountScope;
use crate::domain::feed::subscription::{Config, Head, Outline, Subscription};
use crate::domain::timestamp::Timestamp;

/// Durable subscriptions by name, beside the log that they read.
///
/// What a method has written is durable (synced) when it returns `Ok`; after an error nothing of it was written. A write
/// that was handed over happens, also when the future is dropped.
pub trait Subscriptions: Clone + Send + Sync + 'static {
    /// Makes one, unless there is one of its name, or its client has as many as it may. Both are judged in the transaction that makes
    /// it, so that two that are made at the same moment are judged one after the other.
    fn make(&self, new: NewSubscription) -> impl Future<Output = Result<Made, StoreError>> + Send;

    /// Lets `change` work on one, in one transaction with the writing of what it changed. It may be called more than once,
    /// each time on the subscription as it is in the store: it must depend on nothing that it changed itself. `None`: there
    /// is none of this name. One that changes nothing writes nothing.
    fn change<T, F>(&self, name: &str, change: F) -> impl Future<Output = Result<Option<T>, StoreError>> + Send
    where
        T: Send + 'static,
        F: FnMut(&mut Subscription) -> T + Send + 'static;

    /// What is counted of one, as it was committed last: without waiting for the writer, and without reading its rows one by
    /// one. `None`: there is none of this name.
    fn outline(&self, name: &str) -> impl Future<Output = Result<Option<Outline>, StoreError>> + Send;

    /// Heads by name, after `after`, at most `limit`.
    fn names(&self, after: &str, limit: usize) -> impl Future<Output = Result<Vec<Head>, StoreError>> + Send;

    /// Deletes one with all its rows; if `only` names id and version, only that one. Tells whether there was one.
    fn remove(&self, name: &str, only: Option<(u64, u64)>) -> impl Future<Output = Result<Removed, StoreError>> + Send;
}

/// A subscription that is to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct NewSubscription {
    /// Its name.
    pub name: String,
    /// What is asked for.
    pub config: Config,
    /// The accounts that it means.
    pub scope: AccountScope,
    /// Subscriptions that its client may have. Those without a client are not counted.
    pub most_of_client: u64,
    /// It starts after this position.
    pub at: u64,
    /// The time.
    pub now: Timestamp,
}

/// What became of [`Subscriptions::make`].
#[derive(Clone, Debug, PartialEq)]
pub enum Made {
    /// It was made.
    New(Head),
    /// There is one of this name.
    Existing(Head),
    /// Its client has as many as it may.
    TooMany,
}

/// What became of [`Subscriptions::remove`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// It is gone.
    Gone,
    /// There is none of this name.
    Missing,
    /// It is another, or of another version.
    Differs,
}
