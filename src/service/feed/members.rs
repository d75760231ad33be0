//! The streams of subscriptions, and their ways to the tasks that serve them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::error::FeedError;
use super::join::Identity;
use crate::domain::feed::Lease;
use crate::domain::feed::subscription::Cause;
use crate::domain::moment::{Moment, SteadyTime};
use crate::domain::timestamp::Timestamp;
use crate::pb;
use crate::ports::event_log::StoredEvent;

/// The tasks by the names of their subscriptions.
#[derive(Default)]
pub(super) struct Dispatchers {
    pub(super) tasks: Mutex<HashMap<String, Handle>>,
    /// How many there are.
    count: AtomicUsize,
    /// Streams that others of the same consumer have replaced, by subscription. Stays when a task ends.
    replaced: Mutex<HashMap<String, u64>>,
}

/// The way to one of them.
#[derive(Clone)]
pub(super) struct Handle {
    pub(super) commands: mpsc::UnboundedSender<Command>,
    /// There may be room, or something to lend.
    pub(super) look: Arc<Notify>,
    pub(super) status: watch::Receiver<Option<Status>>,
    /// Streams that have come and not gone.
    pub(super) streams: Arc<AtomicU64>,
}

/// What a dispatcher is told.
pub(super) enum Command {
    /// A stream has come, which saw the subscription like this.
    Join(Consumer, Identity),
    /// It has gone.
    Leave(u64),
    /// No stream may go on.
    End(FeedError),
}

/// One consumer's stream, as the dispatcher knows it.
pub(super) struct Consumer {
    /// Who.
    pub(super) id: Arc<str>,
    /// Loans that it takes at a time.
    pub(super) max_events: usize,
    /// Bytes of them.
    pub(super) max_bytes: u64,
    /// Whether events carry the body as it came.
    pub(super) raw: bool,
    /// Deliver again what it has from an earlier stream, until that is done.
    pub(super) reclaim: bool,
    /// Give back what it has when it leaves.
    pub(super) release: bool,
    /// The leases that its stream keeps, if it does.
    pub(super) keeps: Option<Keeping>,
    /// Loans go here.
    pub(super) out: mpsc::Sender<Lent>,
    /// Why the stream ends.
    pub(super) end: oneshot::Sender<FeedError>,
    /// Which stream.
    pub(super) number: u64,
}

/// How a stream keeps the leases of its consumer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keeping {
    /// So long after an event was lent, and no longer.
    pub(super) most: Duration,
    /// When the next lease must be lengthened, or earlier; `None` while there is none.
    pub(super) due: Option<SteadyTime>,
}

/// An event lent, on its way to the stream, as it is stored: a message takes far more memory.
#[derive(Debug)]
pub(super) struct Lent {
    pub(super) event: StoredEvent,
    pub(super) lease: Lease,
    pub(super) until: Moment,
    pub(super) cause: Cause,
}

/// What streams tell their clients of the subscription.
#[derive(Clone, Debug)]
pub(super) struct Status {
    pub(super) floor: u64,
    pub(super) scanned: u64,
    pub(super) outstanding: u64,
    pub(super) parked: u64,
    pub(super) unsettled: u64,
    pub(super) oldest: Option<Timestamp>,
    pub(super) paused: bool,
    /// Streams that have no room.
    pub(super) full: Vec<u64>,
    /// The only stream that is given anything, where others stand by.
    pub(super) only: Option<u64>,
}

impl Status {
    /// What the stream of this number is doing, at this end of the log.
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

/// A stream's way to its dispatcher. Dropped, the stream has gone.
pub(super) struct Membership {
    pub(super) number: u64,
    pub(super) handle: Handle,
}

impl Membership {
    pub(super) fn new(number: u64, handle: Handle) -> Self {
        handle.streams.fetch_add(1, Ordering::Relaxed);
        Self { number, handle }
    }

    /// There is room again.
    pub(super) fn look(&self) {
        self.handle.look.notify_one();
    }

    /// The subscription as it was last seen.
    pub(super) fn status(&self) -> watch::Ref<'_, Option<Status>> {
        self.handle.status.borrow()
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.handle.streams.fetch_sub(1, Ordering::Relaxed);
        let _ = self.handle.commands.send(Command::Leave(self.number));
    }
}

impl Dispatchers {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Notes how many there are, which each of them asks often. They are locked by the one who changed them.
    pub(super) fn count(&self, tasks: &HashMap<String, Handle>) {
        self.count.store(tasks.len(), Ordering::Relaxed);
    }

    /// The positions up to which the streams of this subscription have looked and settled; ahead of the store, which is told
    /// now and then.
    pub(super) fn passed(&self, name: &str) -> Option<(u64, u64)> {
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let status = tasks.get(name)?.status.borrow();
        status.as_ref().map(|status| (status.scanned, status.floor))
    }

    /// Something about this subscription changed.
    pub(super) fn look(&self, name: &str) {
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = tasks.get(name) {
            handle.look.notify_one();
        }
    }

    /// Streams that serve this subscription.
    pub(super) fn consumers(&self, name: &str) -> u64 {
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.get(name).map_or(0, |handle| handle.streams.load(Ordering::Relaxed))
    }

    /// A stream of this subscription was replaced by another with the same consumer id. Tells how many there were.
    pub(super) fn note_replaced(&self, name: &str) -> u64 {
        let mut replaced = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        let count = replaced.entry(name.to_owned()).or_default();
        *count += 1;
        *count
    }

    /// How many streams of this subscription were replaced since this process started.
    pub(super) fn replaced(&self, name: &str) -> u64 {
        let replaced = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        replaced.get(name).copied().unwrap_or_default()
    }

    /// The subscription is gone; one that is made under its name begins anew.
    pub(super) fn forget(&self, name: &str) {
        self.replaced.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// All streams of this subscription end.
    pub(super) fn end(&self, name: &str, why: FeedError) {
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(handle) = tasks.get(name) {
            let _ = handle.commands.send(Command::End(why));
        }
    }
}
