//! What the task of a stream and its call know of each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Waker;

use futures_util::task::AtomicWaker;

tokio::task_local! {
    /// The stream whose task is being polled.
    static CURRENT: Arc<StreamState>;
}

/// The state of one stream, shared by its task and its call.
#[derive(Debug, Default)]
pub(super) struct StreamState {
    /// The check at which the part of the answer that is waiting must have been taken; 0 while none is.
    due_check: AtomicU64,
    /// Whether the connection's list has the stream.
    is_listed: AtomicBool,
    is_ended: AtomicBool,
    waker: AtomicWaker,
}

impl StreamState {
    /// The stream whose task is being polled; `None` outside such a task.
    pub(super) fn current() -> Option<Arc<Self>> {
        CURRENT.try_with(Arc::clone).ok()
    }

    /// Notes that a part of the answer waits for the peer, until the given check; 0 for none.
    pub(super) fn set_due_check(&self, check: u64) {
        self.due_check.store(check, Ordering::Relaxed);
    }

    /// Whether a part of the answer waits for the peer, and since too long if so.
    pub(super) fn waits(&self, check: u64) -> StreamWait {
        match self.due_check.load(Ordering::Relaxed) {
            0 => StreamWait::No,
            due if due <= check => StreamWait::TooLong,
            _ => StreamWait::Yes,
        }
    }

    /// Runs the stream's task.
    pub(super) fn enter<T>(self: &Arc<Self>, task: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self.clone(), task)
    }

    /// Whether a part of the answer waits for the peer.
    pub(super) fn is_waiting(&self) -> bool {
        self.due_check.load(Ordering::Relaxed) != 0
    }

    /// Notes that the connection's list has the stream. Returns whether it had not before.
    pub(super) fn enlist(&self) -> bool {
        !self.is_listed.swap(true, Ordering::Relaxed)
    }

    /// Notes that the connection's list has the stream no longer.
    pub(super) fn unlist(&self) {
        self.is_listed.store(false, Ordering::Relaxed);
    }

    /// Whether the task is to end; wakes it when it is.
    pub(super) fn is_ended(&self, waker: &Waker) -> bool {
        self.waker.register(waker);
        self.is_ended.load(Ordering::Acquire)
    }

    /// Resets the stream: its task ends at the next poll.
    pub(super) fn end(&self) {
        self.is_ended.store(true, Ordering::Release);
        self.waker.wake();
    }
}

/// Whether a stream waits for its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamWait {
    No,
    Yes,
    TooLong,
}
