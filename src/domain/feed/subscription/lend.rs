//! Who gets what next.
//!
//! | mode | an event may be lent when |
//! |---|---|
//! | KEY_ORDERED | no earlier unsettled event has its key, and none of its key is on loan; without a key always |
//! | UNORDERED | always |
//! | EXCLUSIVE | every earlier unsettled event is on loan to the same consumer, and nobody else has any |
//!
//! A redriven event is an earlier one like any other. Rows come before fresh events, all in the order of the log; each goes
//! to the room with most events free among those that it fits in. The first that fits nowhere ends it, or large events
//! would wait for ever behind small ones. One whose attempts are used up when its turn comes is parked.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::{Cause, Fresh, FreshEvent, Loan, MAX_UNSETTLED, Mode, Room, Row, State, Subscription};
use crate::domain::moment::Moment;

/// Why an event was parked that nobody has parked.
pub(super) const USED_UP: &str = "its attempts were used up";

impl Subscription {
    /// Ends loans whose time is over, and lends what may be lent, to those with room, the freest first. `fresh` is looked at
    /// where it goes on from [`super::Head::scanned`]; what there is room for no more stays fresh.
    pub fn lend(&mut self, now: Moment, rooms: &[Room], fresh: &Fresh) -> Vec<Loan> {
        self.end_what_is_over(now);
        let mut desk = Desk::new(now, rooms);
        if !self.head.config.paused {
            self.lend_rows(&mut desk);
            self.lend_fresh(&mut desk, fresh);
        }
        self.raise_floor();
        desk.loans
    }

    /// Loans and pauses that lasted until now or less.
    fn end_what_is_over(&mut self, now: Moment) {
        while let Some((_, seq)) = self.rows.next_time().filter(|(time, _)| *time <= now.steady) {
            let Some(row) = self.rows.get(seq).cloned() else { return };
            self.rows.put(match row.state {
                State::Waiting { .. } => Row { state: State::Pending { cause: Cause::Retry }, ..row },
                _ => {
                    let row = row.failed(Cause::LeaseExpired);
                    if self.is_spent(&row) { row.parked(now.wall, USED_UP.to_owned()) } else { row }
                }
            });
        }
    }

    /// Whether it has failed as often as it may.
    pub(super) fn is_spent(&self, row: &Row) -> bool {
        let most = self.head.config.max_attempts;
        most != 0 && row.failures >= most
    }

    fn lend_rows(&mut self, desk: &mut Desk) {
        let exclusive = self.head.config.mode == Mode::Exclusive;
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

    fn lend_fresh(&mut self, desk: &mut Desk, fresh: &Fresh) {
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

    /// Makes a row of a fresh event, on loan or behind others of its key; not if it has to stay fresh.
    fn take_in(&mut self, desk: &mut Desk, event: &FreshEvent) -> bool {
        let in_line = self.head.config.mode == Mode::Exclusive && self.has_idle();
        if desk.is_full() || in_line || self.ahead >= MAX_UNSETTLED {
            return false;
        }
        let row = Row {
            seq: event.seq,
            key: event.key.clone(),
            size: event.size,
            received: event.received,
            attempt: 0,
            failures: 0,
            redriven: false,
            said: None,
            state: State::Pending { cause: Cause::First },
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

    /// Whether something looked at is neither settled nor on loan.
    fn has_idle(&self) -> bool {
        self.rows.unsettled().len() > self.rows.outstanding()
    }

    /// Lends a pending row, if it fits anywhere.
    fn lend_row(&mut self, desk: &mut Desk, row: Row) -> bool {
        let exclusive = self.head.config.mode == Mode::Exclusive;
        let may_get = |room: &Room| !exclusive || self.rows.all_lent_to(&room.consumer);
        let (State::Pending { cause }, Some(room)) = (&row.state, desk.room_for(row.size, may_get)) else {
            return false;
        };
        let (cause, consumer) = (*cause, desk.rooms[room].consumer.clone());
        let until = desk.now.plus(self.head.config.lease_duration);
        let attempt = row.attempt.saturating_add(1);
        let since = desk.now.steady;
        let row = Row { attempt, said: None, state: State::Leased { cause, since, until, consumer }, ..row };
        desk.loans.push(Loan { room, lease: self.lease(&row), until, cause, size: row.size });
        self.rows.put(row);
        true
    }
}

/// Where loans are handed out.
struct Desk {
    now: Moment,
    rooms: Vec<Room>,
    /// Rooms with events free, by how many; of equal ones the first of the list comes last.
    free: BTreeSet<(usize, Reverse<usize>)>,
    /// Something fitted nowhere.
    stuck: bool,
    loans: Vec<Loan>,
}

impl Desk {
    fn new(now: Moment, rooms: &[Room]) -> Self {
        let free = rooms.iter().enumerate().filter(|(_, room)| room.events > 0);
        let free = free.map(|(i, room)| (room.events, Reverse(i))).collect();
        Self { now, rooms: rooms.to_vec(), free, stuck: false, loans: Vec::new() }
    }

    /// Whether nobody gets anything more.
    fn is_full(&self) -> bool {
        self.stuck || self.free.is_empty()
    }

    /// Takes room for an event of this size: the freest there is.
    fn room_for(&mut self, size: u32, may_get: impl Fn(&Room) -> bool) -> Option<usize> {
        let size = u64::from(size);
        let fits = |room: &Room| (room.empty || size <= room.bytes) && may_get(room);
        let freest = self.free.iter().rev().copied().find(|(_, Reverse(i))| fits(&self.rooms[*i]));
        let Some((events, Reverse(i))) = freest else {
            self.stuck = true;
            return None;
        };
        let room = &mut self.rooms[i];
        *room = Room { events: events - 1, bytes: room.bytes.saturating_sub(size), empty: false, ..room.clone() };
        self.free.remove(&(events, Reverse(i)));
        if events > 1 {
            self.free.insert((events - 1, Reverse(i)));
        }
        Some(i)
    }
}
