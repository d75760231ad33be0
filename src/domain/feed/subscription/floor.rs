//! Up to where all is settled, and what need not be known any more.

use super::{REMEMBERED, State, Subscription};

impl Subscription {
    /// Moves the floor to where the rows say: before the first unsettled event that was never redriven. What was
    /// acknowledged far below it is forgotten.
    pub(super) fn raise_floor(&mut self) {
        let before = self.head.floor;
        let floor = self.rows.first_holding().map_or(self.head.scanned, |seq| seq - 1);
        if floor <= before {
            return;
        }
        self.head.floor = floor;
        self.ahead -= self.rows.between(before + 1..=floor).count();
        let known = before.saturating_sub(REMEMBERED) + 1;
        let forgotten = self.rows.between(known..floor.saturating_sub(REMEMBERED) + 1);
        let acked = forgotten.filter(|row| row.state == State::Acked);
        for seq in acked.map(|row| row.seq).collect::<Vec<_>>() {
            self.rows.remove(seq);
        }
    }

    /// Whether it is no longer told how this event was settled.
    pub(super) fn is_forgotten(&self, seq: u64) -> bool {
        seq.saturating_add(REMEMBERED) <= self.head.floor
    }

    /// The log begins with `first` now: forgets what was parked before it, also what was given out again since and is not
    /// on loan, for there is nothing to deliver; tells how many. What was not settled otherwise stays, and with it the
    /// floor.
    pub fn trimmed(&mut self, first: u64) -> usize {
        let is_gone = |seq: &&u64| {
            self.rows.get(**seq).is_some_and(|row| row.redriven && !matches!(row.state, State::Leased { .. }))
        };
        let redriven = self.rows.unsettled().range(..first).filter(is_gone);
        let gone: Vec<u64> = self.rows.parked().range(..first).chain(redriven).copied().collect();
        for seq in &gone {
            self.ahead -= usize::from(*seq > self.head.floor);
            self.rows.remove(*seq);
        }
        gone.len()
    }

    /// The last position that nothing here needs any more: all up to it may go from the log.
    pub fn needs_after(&self) -> u64 {
        let first = [self.rows.parked().first(), self.rows.unsettled().first()].into_iter().flatten().min();
        first.map_or(self.head.floor, |seq| self.head.floor.min(seq - 1))
    }
}
