//! The durable store of subscriptions.

use std::future::Future;

use super::store_error::StoreError;
use crate::domain::feed::AccountScope;
use crate::domain::feed::subscription::{Subscription, SubscriptionConfig, SubscriptionCounts, SubscriptionHead};
use crate::domain::timestamp::Timestamp;

/// Durable subscriptions by name, beside the log they read.
///
/// A method's writes are durable (synced) when the method returns `Ok`; after an error nothing was written. A write
/// handed to the store happens even when the future is dropped.
pub trait SubscriptionStore: Clone + Send + Sync + 'static {
    /// Creates a subscription, unless its name is taken or its client has its full share. Both are checked in the
    /// creating transaction, so that concurrent creations are checked one after the other.
    fn make(&self, new: NewSubscription) -> impl Future<Output = Result<CreateOutcome, StoreError>> + Send;

    /// Applies `change` to a subscription and writes the changes, in one transaction. `change` may be called more than
    /// once, each time on the stored subscription, and must not depend on its own earlier effects. Returns `None` for
    /// an unknown name. A `change` without effect writes nothing.
    fn change<T, F>(&self, name: &str, change: F) -> impl Future<Output = Result<Option<T>, StoreError>> + Send
    where
        T: Send + 'static,
        F: FnMut(&mut Subscription) -> T + Send + 'static;

    /// Reads the last committed counts of a subscription, without waiting for the writer and without reading every row.
    /// Returns `None` for an unknown name.
    fn outline(&self, name: &str) -> impl Future<Output = Result<Option<SubscriptionCounts>, StoreError>> + Send;

    /// Reads heads by name, after `after`, at most `limit`.
    fn names(
        &self,
        after: &str,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<SubscriptionHead>, StoreError>> + Send;

    /// Deletes a subscription with all of its rows; with `only`, only the subscription with this id and version.
    fn remove(
        &self,
        name: &str,
        only: Option<(u64, u64)>,
    ) -> impl Future<Output = Result<RemoveOutcome, StoreError>> + Send;
}

/// The parameters of a new subscription.
#[derive(Clone, Debug, PartialEq)]
pub struct NewSubscription {
    /// The unique name of the subscription.
    pub name: String,
    /// The requested configuration, checked.
    pub config: SubscriptionConfig,
    /// The accounts covered by the subscription.
    pub scope: AccountScope,
    /// Largest number of subscriptions of the client. Subscriptions without a client are not counted.
    pub most_of_client: u64,
    /// Position after which the subscription starts.
    pub at: u64,
    /// Time of the creation.
    pub now: Timestamp,
}

/// The result of [`SubscriptionStore::make`].
#[derive(Clone, Debug, PartialEq)]
pub enum CreateOutcome {
    /// The subscription was created.
    New(SubscriptionHead),
    /// The name is taken by this subscription.
    Existing(SubscriptionHead),
    /// The client has its full share of subscriptions.
    TooMany,
}

/// The result of [`SubscriptionStore::remove`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RemoveOutcome {
    /// The subscription was deleted.
    Gone,
    /// No subscription has this name.
    Missing,
    /// The subscription has a different id or version.
    Differs,
}
