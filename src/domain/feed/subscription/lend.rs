//! Leases events to consumers.
//!
//! | mode | an event may be leased when |
//! |---|---|
//! | KEY_ORDERED | no earlier unsettled event has its key, and no event of its key is leased; always without a key |
//! | UNORDERED | always |
//! | EXCLUSIVE | every earlier unsettled event is leased to the same consumer, and no other consumer has a lease |
//!
//! A redriven event counts as an earlier event like any other. Rows come before fresh events, in the order of the log;
//! an event goes to the consumer with the largest free window that the event fits in. The first event that fits nowhere
//! ends the round, because large events would otherwise wait forever behind small ones. An event without attempts left
//! is parked at its turn.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::{
    ConsumerWindow, DeliveryCause, EventRow, FreshEvent, FreshEvents, LeaseGrant, MAX_UNSETTLED, OrderingMode,
    RowState, Subscription,
};
use crate::domain::moment::Moment;

/// The reason of events parked by the gateway.
pub(super) const USED_UP: &str = "its attempts were used up";

impl Subscription {
    /// Ends expired leases, and leases events to consumers with a free window, the largest first. `fresh` is used where
    /// it continues from [`super::SubscriptionHead::scanned`]; events without a free window stay fresh.
    pub fn lend(&mut self, now: Moment, rooms: &[ConsumerWindow], fresh: &FreshEvents) -> Vec<LeaseGrant> {
        self.end_what_is_over(now);
        let mut desk = LeaseRound::new(now, rooms);
        if !self.head.config.paused {
            self.lend_rows(&mut desk);
            self.lend_fresh(&mut desk, fresh);
        }
        self.raise_floor();
        desk.loans
    }

    /// Ends leases and pauses that have expired by `now`.
    fn end_what_is_over(&mut self, now: Moment) {
        while let Some((_, seq)) = self.rows.next_time().filter(|(time, _)| *time <= now.steady) {
            let Some(row) = self.rows.get(seq).cloned() else { return };
            self.rows.put(match row.state {
                RowState::Waiting { .. } => {
                    EventRow { state: RowState::Pending { cause: DeliveryCause::Retry }, ..row }
                }
                _ => {
                    let row = row.failed(DeliveryCause::LeaseExpired);
                    if self.is_spent(&row) { row.parked(now.wall, USED_UP.to_owned()) } else { row }
                }
            });
        }
    }

    /// Whether the event has used up its attempts.
    pub(super) fn is_spent(&self, row: &EventRow) -> bool {
        let most = self.head.config.max_attempts;
        most != 0 && row.failures >= most
    }

    fn lend_rows(&mut self, desk: &mut LeaseRound) {
        let exclusive = self.head.config.mode == OrderingMode::Exclusive;
        while let Some(row) = self.rows.first_ready() {
            if exclusive && self.rows.first_waiting().is_some_and(|seq| seq < row.seq) {
                return;
            }
            let row = row.clone();
            if self.is_spent(&row) {
                self.rows.put(row.parked(desk.now.wall, USED_UP.to_owned()));
            } else if !self.lend_row(desk, row) {
                return;
            }
        }
    }

    fn lend_fresh(&mut self, desk: &mut LeaseRound, fresh: &FreshEvents) {
        let scanned = self.head.scanned;
        if fresh.after > scanned || fresh.upto <= scanned {
            return;
        }
        for event in fresh.events.iter().filter(|event| event.seq > scanned) {
            if !self.take_in(desk, event) {
                self.head.scanned = event.seq - 1;
                return;
            }
        }
        self.head.scanned = fresh.upto;
    }

    /// Makes a row of a fresh event, leased or queued behind its key. Returns false if the event has to stay fresh.
    fn take_in(&mut self, desk: &mut LeaseRound, event: &FreshEvent) -> bool {
        let in_line = self.head.config.mode == OrderingMode::Exclusive && self.has_idle();
        if desk.is_full() || in_line || self.ahead >= MAX_UNSETTLED {
            return false;
        }
        let row = EventRow {
            seq: event.seq,
            key: event.key.clone(),
            size: event.size,
            received: event.received,
            attempt: 0,
            failures: 0,
            redriven: false,
            said: None,
            state: RowState::Pending { cause: DeliveryCause::First },
        };
        let taken = if self.rows.holds_up(&row.key) {
            self.rows.put(row);
            true
        } else {
            self.lend_row(desk, row)
        };
        self.ahead += usize::from(taken);
        taken
    }

    /// Whether any scanned event is neither settled nor leased.
    fn has_idle(&self) -> bool {
        self.rows.unsettled().len() > self.rows.outstanding()
    }

    /// Leases a pending row, if it fits anywhere.
    fn lend_row(&mut self, desk: &mut LeaseRound, row: EventRow) -> bool {
        let exclusive = self.head.config.mode == OrderingMode::Exclusive;
        let may_get = |room: &ConsumerWindow| !exclusive || self.rows.all_lent_to(&room.consumer);
        let (RowState::Pending { cause }, Some(room)) = (&row.state, desk.room_for(row.size, may_get)) else {
            return false;
        };
        let (cause, consumer) = (*cause, desk.rooms[room].consumer.clone());
        let until = desk.now.plus(self.head.config.lease_duration);
        let attempt = row.attempt.saturating_add(1);
        let since = desk.now.steady;
        let row = EventRow { attempt, said: None, state: RowState::Leased { cause, since, until, consumer }, ..row };
        desk.loans.push(LeaseGrant { room, lease: self.lease(&row), until, cause, size: row.size });
        self.rows.put(row);
        true
    }
}

/// The free windows and the leases granted in one round.
struct LeaseRound {
    now: Moment,
    rooms: Vec<ConsumerWindow>,
    /// Consumers with a free window, by its size; among equal sizes the first of the list is last.
    free: BTreeSet<(usize, Reverse<usize>)>,
    /// Whether an event fitted nowhere.
    stuck: bool,
    loans: Vec<LeaseGrant>,
}

impl LeaseRound {
    fn new(now: Moment, rooms: &[ConsumerWindow]) -> Self {
        let free = rooms.iter().enumerate().filter(|(_, room)| room.events > 0);
        let free = free.map(|(i, room)| (room.events, Reverse(i))).collect();
        Self { now, rooms: rooms.to_vec(), free, stuck: false, loans: Vec::new() }
    }

    /// Whether no further event can be leased.
    fn is_full(&self) -> bool {
        self.stuck || self.free.is_empty()
    }

    /// Takes a window for an event of this size: the largest free one.
    fn room_for(&mut self, size: u32, may_get: impl Fn(&ConsumerWindow) -> bool) -> Option<usize> {
        let size = u64::from(size);
        let fits = |room: &ConsumerWindow| (room.empty || size <= room.bytes) && may_get(room);
        let freest = self.free.iter().rev().copied().find(|(_, Reverse(i))| fits(&self.rooms[*i]));
        let Some((events, Reverse(i))) = freest else {
            self.stuck = true;
            return None;
        };
        let room = &mut self.rooms[i];
        *room =
            ConsumerWindow { events: events - 1, bytes: room.bytes.saturating_sub(size), empty: false, ..room.clone() };
        self.free.remove(&(events, Reverse(i)));
        if events > 1 {
            self.free.insert((events - 1, Reverse(i)));
        }
        Some(i)
    }
}
