//! The streams of subscriptions, and their connections to dispatchers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::domain::feed::subscription::{DeliveryCause, SubscriptionHead};
use crate::domain::feed::{AccountScope, Lease};
use crate::domain::moment::{Moment, SteadyTime};
use crate::domain::timestamp::Timestamp;
use crate::pb;
use crate::ports::event_log::StoredEvent;
use crate::service::feed_error::FeedError;

/// The dispatchers by the names of their subscriptions.
#[derive(Default)]
pub(super) struct DispatcherRegistry {
    pub(super) tasks: Mutex<HashMap<String, DispatcherHandle>>,
    /// The size of `tasks`, readable without the lock.
    count: AtomicUsize,
    /// Number of replaced streams by subscription. The count survives the end of a dispatcher.
    replaced: Mutex<HashMap<String, u64>>,
}

/// The properties of a subscription that must not change while its streams are open.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct SubscriptionIdentity {
    pub(super) id: u64,
    pub(super) generation: u64,
    version: u64,
    scope: AccountScope,
}

impl SubscriptionIdentity {
    pub(super) fn of(head: &SubscriptionHead) -> Self {
        // The scope is known, because the subscription was used before.
        let scope = head.scope.clone().unwrap_or(AccountScope::All);
        Self { id: head.id, generation: head.generation, version: head.version, scope }
    }
}

/// The connection to one dispatcher.
#[derive(Clone)]
pub(super) struct DispatcherHandle {
    pub(super) commands: mpsc::UnboundedSender<DispatcherCommand>,
    /// Wakes the dispatcher after a window was freed or an event can be leased.
    pub(super) look: Arc<Notify>,
    pub(super) status: watch::Receiver<Option<DispatchStatus>>,
    /// Number of joined streams.
    pub(super) streams: Arc<AtomicU64>,
}

/// A command for a dispatcher.
pub(super) enum DispatcherCommand {
    /// A stream has joined, with the subscription's identity at that time.
    Join(StreamConsumer, SubscriptionIdentity),
    /// A stream has left.
    Leave(u64),
    /// All streams must end.
    End(FeedError),
}

/// One consumer's stream, as known to the dispatcher.
pub(super) struct StreamConsumer {
    /// Id of the consumer.
    pub(super) id: Arc<str>,
    /// Most unsettled events at a time.
    pub(super) max_events: usize,
    /// Most bytes of unsettled events.
    pub(super) max_bytes: u64,
    /// Whether events carry their raw body.
    pub(super) raw: bool,
    /// Whether leases of an earlier stream are to be redelivered; cleared when done.
    pub(super) reclaim: bool,
    /// Whether leases are released when the stream ends.
    pub(super) release: bool,
    /// Automatic extension of the consumer's leases, if requested.
    pub(super) keeps: Option<AutoExtend>,
    /// Channel for leases to the stream.
    pub(super) out: mpsc::Sender<LeasedEvent>,
    /// Channel for the reason of the stream's end.
    pub(super) end: oneshot::Sender<FeedError>,
    /// Number of the stream.
    pub(super) number: u64,
}

/// Automatic extension of the leases of a consumer.
#[derive(Clone, Copy, Debug)]
pub(super) struct AutoExtend {
    /// Longest time for which a lease is extended after it was granted.
    pub(super) most: Duration,
    /// Time of the next extension, or earlier; `None` without any lease.
    pub(super) due: Option<SteadyTime>,
}

/// A leased event on its way to the stream, in its stored form, because a decoded message takes far more memory.
#[derive(Debug)]
pub(super) struct LeasedEvent {
    pub(super) event: StoredEvent,
    pub(super) lease: Lease,
    pub(super) until: Moment,
    pub(super) cause: DeliveryCause,
}

/// The status of a subscription for its clients.
#[derive(Clone, Debug)]
pub(super) struct DispatchStatus {
    pub(super) floor: u64,
    pub(super) scanned: u64,
    pub(super) outstanding: u64,
    pub(super) parked: u64,
    pub(super) unsettled: u64,
    pub(super) oldest: Option<Timestamp>,
    pub(super) paused: bool,
    /// Numbers of the streams without a free window.
    pub(super) full: Vec<u64>,
    /// Number of the only serving stream, where all other streams stand by.
    pub(super) only: Option<u64>,
}

impl DispatchStatus {
    /// The state of the stream with this number, for a log ending at `head`.
    pub(super) fn state(&self, number: u64, head: u64) -> pb::FeedState {
        if self.paused || self.only.is_some_and(|only| only != number) {
            pb::FeedState::Paused
        } else if self.full.contains(&number) {
            pb::FeedState::WindowFull
        } else if self.scanned < head {
            pb::FeedState::CatchingUp
        } else if self.unsettled > self.outstanding {
            pb::FeedState::AllKeysBlocked
        } else {
            pb::FeedState::Live
        }
    }
}

/// A stream's membership in its dispatcher. Dropping the membership makes the stream leave.
pub(super) struct StreamMembership {
    pub(super) number: u64,
    pub(super) handle: DispatcherHandle,
}

impl StreamMembership {
    pub(super) fn new(number: u64, handle: DispatcherHandle) -> Self {
        handle.streams.fetch_add(1, Ordering::Relaxed);
        Self { number, handle }
    }

    /// Wakes the dispatcher after a window was freed.
    pub(super) fn look(&self) {
        self.handle.look.notify_one();
    }

    /// The last status of the subscription.
    pub(super) fn status(&self) -> watch::Ref<'_, Option<DispatchStatus>> {
        self.handle.status.borrow()
    }
}

impl Drop for StreamMembership {
    fn drop(&mut self) {
        self.handle.streams.fetch_sub(1, Ordering::Relaxed);
        let _ = self.handle.commands.send(DispatcherCommand::Leave(self.number));
    }
}

impl DispatcherRegistry {
    /// The number of dispatchers.
    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Updates the number of dispatchers, which every dispatcher reads often. The caller holds the lock on the map.
    pub(super) fn count(&self, tasks: &HashMap<String, DispatcherHandle>) {
        self.count.store(tasks.len(), Ordering::Relaxed);
    }

    /// The scanned position of the subscription's streams, which may be ahead of the store.
    pub(super) fn passed(&self, name: &str) -> Option<u64> {
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let status = tasks.get(name)?.status.borrow();
        status.as_ref().map(|status| status.scanned)
    }

    /// Wakes the dispatcher of a subscription after a change.
    pub(super) fn look(&self, name: &str) {
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = tasks.get(name) {
            handle.look.notify_one();
        }
    }

    /// Number of open streams of the subscription.
    pub(super) fn consumers(&self, name: &str) -> u64 {
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.get(name).map_or(0, |handle| handle.streams.load(Ordering::Relaxed))
    }

    /// Counts a replaced stream of the subscription and returns the count.
    pub(super) fn note_replaced(&self, name: &str) -> u64 {
        let mut replaced = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        let count = replaced.entry(name.to_owned()).or_default();
        *count += 1;
        *count
    }

    /// Number of replaced streams of the subscription since the start of the process.
    pub(super) fn replaced(&self, name: &str) -> u64 {
        let replaced = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        replaced.get(name).copied().unwrap_or_default()
    }

    /// Resets the count of a deleted subscription, because a new subscription may get the same name.
    pub(super) fn forget(&self, name: &str) {
        self.replaced.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Ends all streams of the subscription.
    pub(super) fn end(&self, name: &str, why: FeedError) {
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = tasks.get(name) {
            let _ = handle.commands.send(DispatcherCommand::End(why));
        }
    }
}
