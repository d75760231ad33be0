//! The processes that share one store, and what each of them has in hand.
//!
//! A process on a shared store lives under a lease, which the store renews. What it has in hand is its own while the
//! lease runs: nobody else sends, looks up or lends it. When a lease has run out, another process ends that life, and
//! what was in hand becomes an orphan ([`Ledger::orphans`](super::ledger::Ledger::orphans)).

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use tokio::time::Instant;

use super::store_error::StoreError;
use crate::domain::account::AccountId;

/// A store as one of its processes sees it.
pub trait Replicas: Clone + Send + Sync + 'static {
    /// Whether other processes may write the store at the same time.
    fn is_shared(&self) -> bool;

    /// The end of the time in which this process may begin what needs ownership: a mutation, its first byte, a loan of
    /// events, a round of the resolver. Moves on with each renewal of the lease. `None`: for ever.
    fn trusted_until(&self) -> Option<Instant>;

    /// Claims duties without a holder, and duties whose holder's lease has run out. A process holds at most its fair share
    /// of each kind of duty, and gives back any surplus. Returns the duties that this process holds now.
    fn claim(&self, duties: Vec<Duty>) -> impl Future<Output = Result<Vec<Duty>, StoreError>> + Send;

    /// Ends the lives whose leases have run out for long enough; what they had in hand becomes orphans. Returns their
    /// number.
    fn end_dead(&self) -> impl Future<Output = Result<usize, StoreError>> + Send;

    /// Ends the own life at a stop: what is in hand becomes an orphan that is due at once, and the duties and streams are
    /// free. Nothing may be written afterwards.
    fn resign(&self) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// Work that one process at a time does for all.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Duty {
    /// The look-ups and resends of an account.
    Resolver(AccountId),
    /// Dropping old entries of the ledger.
    Trim,
    /// Dropping old events.
    FeedTrim,
    /// The audits of final entries.
    Audits,
    /// Folding the counts of entries of ended lives.
    Counts,
    /// The scan of an account's orders for intents to cancel.
    Backfill(AccountId),
    /// The check of an account's webhook subscriptions.
    SubscriptionCheck(AccountId),
}

/// The time in which a process may begin what needs ownership, as [`Replicas::trusted_until`] tells at each look. Cheap
/// to clone.
#[derive(Clone, Default)]
pub struct TrustWindow(Option<Arc<dyn Fn() -> Option<Instant> + Send + Sync>>);

impl TrustWindow {
    /// The window of the store's process; open for ever for a store of one process.
    pub fn of(store: &impl Replicas) -> Self {
        if !store.is_shared() {
            return Self::default();
        }
        let store = store.clone();
        Self(Some(Arc::new(move || store.trusted_until())))
    }

    /// Whether the window is open now.
    pub fn is_open(&self) -> bool {
        let until = self.0.as_ref().and_then(|until| until());
        until.is_none_or(|until| Instant::now() < until)
    }
}

impl fmt::Debug for TrustWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TrustWindow").field(&self.0.as_ref().map(|until| until())).finish()
    }
}
