//! The part of a dispatcher that runs within the store's transaction: reports free windows, and leases events.

use std::sync::Arc;

use super::members::{AutoExtend, StreamConsumer};
use crate::domain::feed::subscription::{ConsumerWindow, FreshEvents, HeldLeases, LeaseGrant, Subscription};
use crate::domain::moment::{Moment, SteadyTime};

/// A consumer as seen by the transaction.
pub(super) struct ConsumerDemand {
    pub(super) id: Arc<str>,
    pub(super) number: u64,
    max_events: usize,
    max_bytes: u64,
    /// Free places in the channel to the stream.
    places: usize,
    /// Whether the consumer asked for redelivery of its leases.
    reclaim: bool,
    /// Automatic extension of the consumer's leases.
    keeps: Option<AutoExtend>,
}

impl ConsumerDemand {
    pub(super) fn of(consumer: &StreamConsumer) -> Self {
        Self {
            id: consumer.id.clone(),
            number: consumer.number,
            max_events: consumer.max_events,
            max_bytes: consumer.max_bytes,
            places: if consumer.out.is_closed() { 0 } else { consumer.out.capacity() },
            reclaim: consumer.reclaim,
            keeps: consumer.keeps,
        }
    }

    /// The free window, with `given` leases already in the channel.
    fn room(&self, held: &HeldLeases, given: usize) -> ConsumerWindow {
        ConsumerWindow {
            consumer: self.id.clone(),
            events: self.max_events.saturating_sub(held.leases.len()).min(self.places.saturating_sub(given)),
            bytes: self.max_bytes.saturating_sub(held.bytes),
            empty: held.leases.is_empty(),
        }
    }

    /// The automatic extension, if any lease is due for it.
    fn due(&self, now: Moment) -> Option<AutoExtend> {
        self.keeps.filter(|keeps| keeps.due.is_some_and(|due| due <= now.steady))
    }

    /// Time of the next lease extension after this transaction. Checking every lease takes time with thousands of
    /// leases and happens only when some were due; a new lease is due no earlier than the existing ones.
    pub(super) fn next_due(&self, it: &Subscription, now: Moment, has_new: bool) -> Option<SteadyTime> {
        let AutoExtend { most, due } = self.keeps?;
        if self.due(now).is_some() || (has_new && due.is_none()) { it.keep_time(&self.id, most) } else { due }
    }

    /// Whether the consumer must settle an event before it gets more.
    pub(super) fn is_full(&self, held: &HeldLeases) -> bool {
        held.leases.len() >= self.max_events || (held.bytes >= self.max_bytes && !held.leases.is_empty())
    }
}

/// Leases events to the first `serving` consumers. Reclaiming consumers get their own events first, before any other
/// consumer can.
pub(super) fn lend(
    it: &mut Subscription,
    now: Moment,
    consumers: &[ConsumerDemand],
    serving: usize,
    fresh: &FreshEvents,
) -> Vec<LeaseGrant> {
    // Extended first, because leasing ends expired leases.
    for (keeps, asking) in consumers.iter().filter_map(|asking| Some((asking.due(now)?, asking))) {
        it.keep(&asking.id, now, keeps.most);
    }
    let mut loans = Vec::new();
    for (room, asking) in consumers.iter().enumerate().filter(|(_, asking)| asking.reclaim) {
        it.reclaim(&asking.id);
        if room < serving {
            let alone = [asking.room(&HeldLeases::default(), 0)];
            let own = it.lend(now, &alone, &FreshEvents::default());
            loans.extend(own.into_iter().map(|loan| LeaseGrant { room, ..loan }));
        }
    }
    let given = |room: usize| loans.iter().filter(|loan| loan.room == room).count();
    let rooms = consumers[..serving].iter().enumerate();
    let rooms: Vec<_> = rooms.map(|(i, asking)| asking.room(&it.held(&asking.id), given(i))).collect();
    let more = it.lend(now, &rooms, fresh);
    loans.extend(more);
    loans
}
