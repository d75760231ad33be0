//! Leases the events of a subscription to its consumers, with one task for every subscription with open streams.
//!
//! The store decides about leases in a transaction; the task reports the consumers' free windows, supplies events not
//! scanned yet, and passes every lease to its consumer's stream once the lease is durable. The task keeps no state that
//! the store would need after a crash.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::ahead::ReadAhead;
use super::lending::{self, ConsumerDemand};
use super::looks::VisitSchedule;
use super::members::{
    AutoExtend, DispatchStatus, DispatcherCommand, LeasedEvent, StreamConsumer, SubscriptionIdentity,
};
use super::reader::LogTip;
use super::{Feed, FeedStore};
use crate::crash_point::{self, CrashPoint};
use crate::domain::feed::EventFilter;
use crate::domain::feed::subscription::{FreshEvent, LeaseGrant, OrderingMode, Subscription, SubscriptionHead};
use crate::domain::moment::SteadyTime;
use crate::ports::event_log::{FeedLog, StoredEvent};
use crate::service::feed_error::FeedError;

/// Leases in the channel of a stream that were not taken yet. The number is small, because leases expire while waiting
/// there.
pub(super) const ON_THE_WAY: usize = 32;
/// Shortest time between two store visits without any change.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// The dispatcher of one subscription.
pub(super) struct Dispatcher<F> {
    feed: Feed<F>,
    /// The log read by the subscription.
    log: FeedLog<F>,
    name: String,
    of: SubscriptionIdentity,
    filter: EventFilter,
    exclusive: bool,
    inbox: mpsc::UnboundedReceiver<DispatcherCommand>,
    look: Arc<Notify>,
    /// Consumers in the order of their arrival.
    consumers: Vec<StreamConsumer>,
    tip: watch::Receiver<LogTip>,
    ahead: ReadAhead,
    looks: VisitSchedule,
    status: watch::Sender<Option<DispatchStatus>>,
}

/// The result of one store transaction.
struct StoreVisit {
    of: SubscriptionIdentity,
    /// Whether the visible accounts have changed since the last use.
    is_stale: bool,
    loans: Vec<LeaseGrant>,
    status: DispatchStatus,
    next: Option<SteadyTime>,
    /// Time of the next lease extension of every consumer.
    dues: Vec<Option<SteadyTime>>,
}

impl<F: FeedStore> Dispatcher<F> {
    pub(super) fn new(
        feed: Feed<F>,
        head: &SubscriptionHead,
        of: SubscriptionIdentity,
        inbox: mpsc::UnboundedReceiver<DispatcherCommand>,
        look: Arc<Notify>,
        status: watch::Sender<Option<DispatchStatus>>,
    ) -> Self {
        Self {
            log: feed.log(head.config.feed).clone(),
            filter: head.filter(),
            exclusive: head.config.mode == OrderingMode::Exclusive,
            of,
            name: head.name.clone(),
            inbox,
            look,
            consumers: Vec::new(),
            tip: feed.reader(head.config.feed).tip(),
            ahead: ReadAhead::from(head.scanned, false),
            looks: VisitSchedule::new(head.scanned),
            status,
            feed,
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            while let Ok(command) = self.inbox.try_recv() {
                if let Some(why) = self.obey(command).await {
                    return self.end(&why).await;
                }
            }
            if self.consumers.is_empty() {
                self.catch_up().await;
                if self.leave() {
                    return;
                }
                continue;
            }
            match self.look().await {
                // Further events may be leased at once.
                Ok(true) => {}
                Ok(false) => {
                    if let Some(why) = self.wait().await {
                        return self.end(&why).await;
                    }
                }
                Err(why) => return self.end(&why).await,
            }
        }
    }

    /// Waits for a command, a wake-up, a new event or a due time.
    async fn wait(&mut self) -> Option<FeedError> {
        // A due action that cannot be done now would otherwise spin without a pause.
        let soonest = Instant::now() + SHORTEST_WAIT;
        let due = self.looks.due().map(|next| self.feed.0.parts.clock.instant(next).max(soonest));
        let late = self.looks.late_at().map(|late| late.max(soonest));
        tokio::select! {
            command = self.inbox.recv() => match command {
                Some(command) => self.obey(command).await,
                None => Some(FeedError::ShuttingDown),
            },
            () = self.look.notified() => {
                self.looks.ask();
                None
            }
            changed = changed(&mut self.tip, self.looks.rest_until()) => changed.is_err().then_some(FeedError::ShuttingDown),
            () = wait_until(due) => {
                self.looks.ask();
                None
            }
            () = wait_until(late) => None,
        }
    }

    async fn obey(&mut self, command: DispatcherCommand) -> Option<FeedError> {
        self.looks.ask();
        match command {
            DispatcherCommand::Join(consumer, seen) => {
                // The subscription was moved or changed after the stream told its client about it.
                if let Some(why) = self.differs(&seen, &self.of) {
                    let _ = consumer.end.send(why);
                    return None;
                }
                let generation = self.of.generation;
                for old in self.consumers.extract_if(.., |old| old.id == consumer.id) {
                    // The receiving stream may already be gone.
                    let _ = old.end.send(FeedError::ConsumerReplaced { generation });
                    self.feed.note_replaced(&self.name, &consumer.id);
                }
                self.consumers.push(consumer);
                self.ahead.set_raw(self.consumers.iter().any(|consumer| consumer.raw));
            }
            DispatcherCommand::Leave(number) => {
                let gone: Vec<_> = self.consumers.extract_if(.., |old| old.number == number).collect();
                self.release(&gone).await;
                self.ahead.set_raw(self.consumers.iter().any(|consumer| consumer.raw));
            }
            DispatcherCommand::End(why) => return Some(why),
        }
        None
    }

    /// Releases the leases of consumers that asked for release on disconnect.
    async fn release(&self, gone: &[StreamConsumer]) {
        for consumer in gone.iter().filter(|consumer| consumer.release) {
            let (id, of) = (consumer.id.clone(), self.of.id);
            let release = move |it: &mut Subscription| {
                if it.head().id == of {
                    it.release(&id);
                }
            };
            // When the store fails, the leases stay until they expire.
            let _ = self.feed.store().change(&self.name, release).await;
        }
    }

    /// Ends all streams, and the dispatcher.
    async fn end(mut self, why: &FeedError) {
        // Released before the dispatcher is unregistered: a consumer that reconnects could otherwise get new leases
        // that are then released.
        self.release(&self.consumers).await;
        let mut tasks = self.feed.0.dispatchers.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.remove(&self.name);
        self.feed.0.dispatchers.count(&tasks);
        drop(tasks);
        // Streams that joined meanwhile end with the same error.
        while let Ok(command) = self.inbox.try_recv() {
            if let DispatcherCommand::Join(consumer, _) = command {
                self.consumers.push(consumer);
            }
        }
        for consumer in self.consumers.drain(..) {
            let _ = consumer.end.send(why.clone());
        }
    }

    /// Unregisters the dispatcher, unless a stream has joined meanwhile.
    fn leave(&self) -> bool {
        let mut tasks = self.feed.0.dispatchers.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.inbox.is_empty() {
            return false;
        }
        tasks.remove(&self.name);
        self.feed.0.dispatchers.count(&tasks);
        true
    }

    /// Stores the scanned position before the last stream is gone, which saves the next stream from scanning the events
    /// again.
    async fn catch_up(&mut self) {
        if !self.looks.is_behind(&self.ahead.fresh) {
            return;
        }
        let (now, expected, fresh) = (self.feed.moment(), self.of.clone(), self.ahead.fresh.clone());
        let pass = move |it: &mut Subscription| {
            if SubscriptionIdentity::of(it.head()) == expected {
                it.lend(now, &[], &fresh);
            }
            it.head().scanned
        };
        // When the store fails, the events are scanned again.
        if let Ok(Some(scanned)) = self.feed.store().change(&self.name, pass).await {
            self.looks.told(scanned, false, None);
            self.ahead.advance(scanned);
        }
    }

    /// Leases as many events as possible. Returns whether further events may be leased at once.
    async fn look(&mut self) -> Result<bool, FeedError> {
        let tip = self.tip.borrow_and_update().clone();
        let free = self.consumers[..self.serving()].iter().any(|consumer| consumer.out.capacity() > 0);
        if free && self.ahead.fresh.upto < tip.head && self.ahead.has_room() {
            self.read_ahead(&tip).await?;
        }
        if !self.looks.need_store(&self.ahead.fresh, &self.feed.0.parts.random) {
            return Ok(self.pass(free, &tip).await);
        }
        let StoreVisit { of, is_stale, loans, status, next, dues } = self.lend().await?;
        if is_stale {
            self.feed.rescope(&self.name).await.map_err(|_| FeedError::Store)?;
            return Ok(true);
        }
        if let Some(why) = self.differs(&self.of, &of) {
            return Err(why);
        }
        for (consumer, due) in self.consumers.iter_mut().zip(dues) {
            consumer.reclaim = false;
            consumer.keeps = consumer.keeps.map(|keeps| AutoExtend { due, ..keeps });
        }
        let more = !loans.is_empty() || self.ahead.fresh.after < status.scanned && status.scanned < tip.head;
        let room = status.full.len() < self.serving();
        let (scanned, paused) = (status.scanned, status.paused);
        self.status.send_replace(Some(status));
        if !loans.is_empty() {
            crash_point::reach(CrashPoint::F1);
            self.deliver(loans).await?;
        }
        self.ahead.advance(scanned);
        let at_once = more && room && !paused;
        self.looks.told(scanned, !at_once && !self.ahead.fresh.events.is_empty(), next);
        Ok(at_once)
    }

    /// Skips the store transaction, because no event matches or no consumer has a free window. Returns whether more
    /// events can be read.
    async fn pass(&mut self, free: bool, tip: &LogTip) -> bool {
        let fresh = &self.ahead.fresh;
        if fresh.events.is_empty() {
            let upto = fresh.upto;
            // The scanned position of the status may be ahead of the store, but never the floor: after a crash the floor would
            // fall.
            self.status.send_if_modified(|status| {
                let Some(status) = status.as_mut().filter(|status| status.scanned < upto) else { return false };
                status.scanned = upto;
                true
            });
        }
        let more = free && fresh.upto < tip.head && self.ahead.has_room();
        if more {
            // Blocks in memory are read without waiting, in any number; yielding gives other tasks a turn.
            tokio::task::yield_now().await;
        } else {
            self.looks.rest(self.feed.0.dispatchers.len());
        }
        more
    }

    /// The error for a stream whose subscription has changed, or `None`.
    fn differs(&self, seen: &SubscriptionIdentity, now: &SubscriptionIdentity) -> Option<FeedError> {
        let generation = now.generation;
        if now.id != seen.id {
            Some(self.gone())
        } else if now.generation != seen.generation {
            Some(FeedError::Seeked { generation })
        } else {
            (now != seen).then_some(FeedError::Updated { generation })
        }
    }

    fn serving(&self) -> usize {
        if self.exclusive { 1 } else { self.consumers.len() }
    }

    async fn read_ahead(&mut self, tip: &LogTip) -> Result<(), FeedError> {
        let ahead = &mut self.ahead;
        let block = self.feed.reader(self.log.feed()).block(ahead.fresh.upto, tip, ahead.raw).await?;
        for (stored, facts) in block.events_after(ahead.fresh.upto).filter(|(_, facts)| self.filter.wants(facts)) {
            ahead.fresh.events.push(FreshEvent {
                seq: stored.seq,
                key: facts.ordering_key.clone(),
                size: u32::try_from(stored.message.len() + stored.raw.len()).unwrap_or(u32::MAX),
                received: stored.received,
            });
            ahead.events.insert(stored.seq, stored.clone());
        }
        ahead.fresh.upto = block.last();
        Ok(())
    }

    async fn lend(&self) -> Result<StoreVisit, FeedError> {
        let now = self.feed.moment();
        let expected = self.of.clone();
        let feed = self.feed.clone();
        let (exclusive, serving) = (self.exclusive, self.serving());
        let fresh = self.ahead.fresh.clone();
        let consumers: Vec<_> = self.consumers.iter().map(ConsumerDemand::of).collect();
        let look = move |it: &mut Subscription| {
            // A deleted and recreated subscription has a different identity; its events must not be leased by this
            // task.
            let mine = SubscriptionIdentity::of(it.head()) == expected;
            // The accounts visible to the client have changed just now.
            let is_stale = feed.is_stale(it.head());
            let loans =
                if mine && !is_stale { lending::lend(it, now, &consumers, serving, &fresh) } else { Vec::new() };
            let has_new = |room| loans.iter().any(|loan| loan.room == room);
            let dues = consumers.iter().enumerate().map(|(room, asking)| asking.next_due(it, now, has_new(room)));
            let dues: Vec<_> = dues.collect();
            let full = consumers[..serving].iter().filter(|asking| asking.is_full(&it.held(&asking.id)));
            let full = full.map(|asking| asking.number);
            StoreVisit {
                of: SubscriptionIdentity::of(it.head()),
                is_stale,
                status: DispatchStatus {
                    floor: it.head().floor,
                    scanned: it.head().scanned,
                    outstanding: it.outstanding(),
                    parked: it.parked(),
                    unsettled: it.unsettled(),
                    oldest: it.oldest_unsettled(),
                    paused: it.head().config.paused,
                    full: full.collect(),
                    only: exclusive.then_some(consumers[0].number),
                },
                next: it.next_time().into_iter().chain(dues.iter().copied().flatten()).min(),
                dues,
                loans,
            }
        };
        let looked = self.feed.store().change(&self.name, look).await.map_err(|_| FeedError::Store)?;
        looked.ok_or_else(|| self.gone())
    }

    /// Passes leases to their streams. A lease whose stream is gone stays until it expires.
    async fn deliver(&self, loans: Vec<LeaseGrant>) -> Result<(), FeedError> {
        let wants_raw = |loan: &LeaseGrant| self.consumers[loan.room].raw;
        let at_hand =
            |loan: &LeaseGrant| self.ahead.events.contains_key(&loan.lease.seq) && (self.ahead.raw || !wants_raw(loan));
        let missing = |raw: bool| {
            let missing = loans.iter().filter(|loan| wants_raw(loan) == raw && !at_hand(loan));
            missing.map(|loan| loan.lease.seq).collect::<Vec<_>>()
        };
        let (without, with) = (self.pick(missing(false), false).await?, self.pick(missing(true), true).await?);
        for loan in &loans {
            let LeaseGrant { lease, until, cause, .. } = *loan;
            let raw = wants_raw(loan);
            let picked = if raw { &with } else { &without };
            let stored = picked.get(&lease.seq).or_else(|| self.ahead.events.get(&lease.seq));
            let Some(mut event) = stored.cloned() else { return Err(self.expired(lease.seq).await) };
            if !raw {
                // The event may have been read with its body for a different consumer.
                event.raw = Bytes::new();
            }
            self.feed.0.parts.metrics.of(self.log.feed()).delivered.inc();
            // The window was checked before; sending fails only when the stream is gone.
            let _ = self.consumers[loan.room].out.try_send(LeasedEvent { event, lease, until, cause });
        }
        Ok(())
    }

    async fn pick(&self, seqs: Vec<u64>, raw: bool) -> Result<BTreeMap<u64, StoredEvent>, FeedError> {
        if seqs.is_empty() {
            return Ok(BTreeMap::new());
        }
        let events = self.log.pick(seqs, raw).await.map_err(|_| FeedError::Store)?;
        Ok(events.into_iter().map(|event| (event.seq, event)).collect())
    }

    fn gone(&self) -> FeedError {
        FeedError::SubscriptionNotFound { name: self.name.clone() }
    }

    async fn expired(&self, seq: u64) -> FeedError {
        match self.log.bounds().await {
            Ok(bounds) => FeedError::EventsExpired { first: bounds.first, lost_from: seq },
            Err(_) => FeedError::Store,
        }
    }
}

/// Waits for the next event, but not before the end of a pause.
async fn changed(
    tip: &mut watch::Receiver<LogTip>,
    rest_until: Option<Instant>,
) -> Result<(), watch::error::RecvError> {
    if let Some(until) = rest_until {
        sleep_until(until).await;
    }
    tip.changed().await
}

/// Waits until `due`, or forever without a time.
async fn wait_until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
#[path = "dispatch_tests/mod.rs"]
mod tests;
