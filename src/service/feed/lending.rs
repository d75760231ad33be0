//! What a dispatcher does within the store's transaction: says who has room, and has events lent.

use std::sync::Arc;

use super::members::{Consumer, Keeping};
use crate::domain::feed::subscription::{Fresh, Held, Loan, Room, Subscription};
use crate::domain::moment::{Moment, SteadyTime};

/// A consumer as the transaction sees it.
pub(super) struct Asking {
    pub(super) id: Arc<str>,
    pub(super) number: u64,
    max_events: usize,
    max_bytes: u64,
    /// Places on the way to its stream.
    places: usize,
    /// It has lost its memory: what it has is to come again.
    reclaim: bool,
    /// Its stream keeps its leases.
    keeps: Option<Keeping>,
}

impl Asking {
    pub(super) fn of(consumer: &Consumer) -> Self {
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

    /// With so many on the way to it already.
    fn room(&self, held: &Held, given: usize) -> Room {
        Room {
            consumer: self.id.clone(),
            events: self.max_events.saturating_sub(held.leases.len()).min(self.places.saturating_sub(given)),
            bytes: self.max_bytes.saturating_sub(held.bytes),
            empty: held.leases.is_empty(),
        }
    }

    /// How its leases are kept, if some are to be lengthened now.
    fn due(&self, now: Moment) -> Option<Keeping> {
        self.keeps.filter(|keeps| keeps.due.is_some_and(|due| due <= now.steady))
    }

    /// When its leases are to be lengthened next, after this look. To look at each takes time where there are thousands, so that is
    /// done only where some were due; a new one is due no earlier than those before it.
    pub(super) fn next_due(&self, it: &Subscription, now: Moment, has_new: bool) -> Option<SteadyTime> {
        let Keeping { most, due } = self.keeps?;
        if self.due(now).is_some() || (has_new && due.is_none()) { it.keep_time(&self.id, most) } else { due }
    }

    /// Whether it must settle something before it gets more.
    pub(super) fn is_full(&self, held: &Held) -> bool {
        held.leases.len() >= self.max_events || (held.bytes >= self.max_bytes && !held.leases.is_empty())
    }
}

/// Lends to the first `serving` consumers; those that reclaim get their own before anybody else can.
pub(super) fn lend(
    it: &mut Subscription,
    now: Moment,
    consumers: &[Asking],
    serving: usize,
    fresh: &Fresh,
) -> Vec<Loan> {
    // First, because leases that are over end when something is lent.
    for (keeps, asking) in consumers.iter().filter_map(|asking| Some((asking.due(now)?, asking))) {
        it.keep(&asking.id, now, keeps.most);
    }
    let mut loans = Vec::new();
    for (room, asking) in consumers.iter().enumerate().filter(|(_, asking)| asking.reclaim) {
        it.reclaim(&asking.id);
        if room < serving {
            let alone = [asking.room(&Held::default(), 0)];
            let own = it.lend(now, &alone, &Fresh::default());
            loans.extend(own.into_iter().map(|loan| Loan { room, ..loan }));
        }
    }
    let given = |room: usize| loans.iter().filter(|loan| loan.room == room).count();
    let rooms = consumers[..serving].iter().enumerate();
    let rooms: Vec<_> = rooms.map(|(i, asking)| asking.room(&it.held(&asking.id), given(i))).collect();
    let more = it.lend(now, &rooms, fresh);
    loans.extend(more);
    loans
}
