//! How a stream comes to the dispatcher of its subscription, which is started for the first.

use std::sync::{Arc, PoisonError};

use tokio::sync::{Notify, mpsc, watch};

use super::dispatch::Dispatcher;
use super::members::{Command, Consumer, Handle, Membership};
use super::{Feed, FeedStore};
use crate::domain::feed::AccountScope;
use crate::domain::feed::subscription::Head;

impl<F: FeedStore> Feed<F> {
    /// A stream was replaced by another with the same consumer id. Once is a client that came back; when it goes on, two
    /// consumers have one id and take each other's events.
    pub(super) fn note_replaced(&self, subscription: &str, consumer: &str) {
        self.0.parts.metrics.consumers_replaced.inc();
        let times = self.0.dispatchers.note_replaced(subscription);
        // Told ever more rarely, for it may go on for as long as the clients run.
        if times > 1 && times.is_power_of_two() {
            let hint = "streams replace each other: give each consumer an id of its own";
            tracing::warn!(subscription, consumer, times, "{hint}");
        }
    }

    /// Adds a stream to its subscription, whose dispatcher is started if it is the first.
    pub(super) fn join(&self, head: &Head, consumer: Consumer) -> Membership {
        let (number, of) = (consumer.number, Identity::of(head));
        let mut tasks = self.0.dispatchers.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        // One whose inbox is closed has panicked.
        if let Some(handle) = tasks.get(&head.name).filter(|handle| !handle.commands.is_closed()) {
            let handle = handle.clone();
            // It looks for commands before it ends, under this lock.
            let _ = handle.commands.send(Command::Join(consumer, of.clone()));
            return Membership::new(number, handle);
        }
        #[expect(clippy::disallowed_methods, reason = "a few for each stream, which are bounded; a drop cannot wait")]
        let (commands, inbox) = mpsc::unbounded_channel();
        let look = Arc::new(Notify::new());
        let (status, shown) = watch::channel(None);
        let _ = commands.send(Command::Join(consumer, of.clone()));
        let handle = Handle { commands, look: look.clone(), status: shown, streams: Arc::default() };
        tasks.insert(head.name.clone(), handle.clone());
        self.0.dispatchers.count(&tasks);
        let dispatcher = Dispatcher::new(self.clone(), head, of, inbox, look, status);
        self.0.parts.tasks.spawn(dispatcher.run());
        Membership::new(number, handle)
    }
}

/// What must stay as it was when the streams came.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) id: u64,
    pub(super) generation: u64,
    version: u64,
    scope: AccountScope,
}

impl Identity {
    pub(super) fn of(head: &Head) -> Self {
        // It was used before it came here, so it is known.
        let scope = head.scope.clone().unwrap_or(AccountScope::All);
        Self { id: head.id, generation: head.generation, version: head.version, scope }
    }
}
