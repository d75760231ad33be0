//! Connects a stream with the dispatcher of its subscription, and starts the dispatcher for the first stream.

use std::sync::{Arc, PoisonError};

use tokio::sync::{Notify, mpsc, watch};

use super::dispatch::Dispatcher;
use super::members::{DispatcherCommand, DispatcherHandle, StreamConsumer, StreamMembership, SubscriptionIdentity};
use super::{Feed, FeedStore};
use crate::domain::feed::subscription::SubscriptionHead;

impl<F: FeedStore> Feed<F> {
    /// Notes that a stream was replaced by a stream with the same consumer id. One replacement is a reconnecting
    /// client; repeated replacements are two consumers that share an id and take each other's events.
    pub(super) fn note_replaced(&self, subscription: &str, consumer: &str) {
        self.0.parts.metrics.consumers_replaced.inc();
        let times = self.0.dispatchers.note_replaced(subscription);
        // Logged at powers of two only, because the replacements may continue for as long as the clients run.
        if times > 1 && times.is_power_of_two() {
            let hint = "streams replace each other: give each consumer an id of its own";
            tracing::warn!(subscription, consumer, times, "{hint}");
        }
    }

    /// Adds a stream to the dispatcher of its subscription, starting the dispatcher if necessary.
    pub(super) fn join(&self, head: &SubscriptionHead, consumer: StreamConsumer) -> StreamMembership {
        let (number, of) = (consumer.number, SubscriptionIdentity::of(head));
        let mut tasks = self.0.dispatchers.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        // A closed channel means that the dispatcher has panicked.
        if let Some(handle) = tasks.get(&head.name).filter(|handle| !handle.commands.is_closed()) {
            let handle = handle.clone();
            // The dispatcher checks its channel under this lock before it ends; the command cannot be lost.
            let _ = handle.commands.send(DispatcherCommand::Join(consumer, of.clone()));
            return StreamMembership::new(number, handle);
        }
        #[expect(clippy::disallowed_methods, reason = "a few for each stream, which are bounded; a drop cannot wait")]
        let (commands, inbox) = mpsc::unbounded_channel();
        let look = Arc::new(Notify::new());
        let (status, shown) = watch::channel(None);
        let _ = commands.send(DispatcherCommand::Join(consumer, of.clone()));
        let handle = DispatcherHandle { commands, look: look.clone(), status: shown, streams: Arc::default() };
        tasks.insert(head.name.clone(), handle.clone());
        self.0.dispatchers.count(&tasks);
        let dispatcher = Dispatcher::new(self.clone(), head, of, inbox, look, status);
        self.0.parts.tasks.spawn(dispatcher.run());
        StreamMembership::new(number, handle)
    }
}
