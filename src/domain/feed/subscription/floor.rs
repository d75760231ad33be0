//! The floor of a subscription, and the rows that may be forgotten.

use super::{REMEMBERED, RowState, Subscription};

impl Subscription {
    /// Raises the floor to the position before the first unsettled event that was never redriven. Acknowledged rows far
    /// below the floor are dropped.
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
        let acked = forgotten.filter(|row| row.state == RowState::Acked);
        for seq in acked.map(|row| row.seq).collect::<Vec<_>>() {
            self.rows.remove(seq);
        }
    }

    /// Whether the row of this event may already be dropped.
    pub(super) fn is_forgotten(&self, seq: u64) -> bool {
        seq.saturating_add(REMEMBERED) <= self.head.floor
    }

    /// Drops rows of trimmed events, for a log now beginning at `first`: parked rows, and redriven rows without a
    /// lease, because their events cannot be delivered. Returns the number of dropped rows. Other unsettled rows stay,
    /// and hold the floor.
    pub(crate) fn trimmed(&mut self, first: u64) -> usize {
        let is_gone = |seq: &&u64| {
            self.rows.get(**seq).is_some_and(|row| row.redriven && !matches!(row.state, RowState::Leased { .. }))
        };
        let redriven = self.rows.unsettled().range(..first).filter(is_gone);
        let gone: Vec<u64> = self.rows.parked().range(..first).chain(redriven).copied().collect();
        for seq in &gone {
            self.ahead -= usize::from(*seq > self.head.floor);
            self.rows.remove(*seq);
        }
        gone.len()
    }

    /// The last position not needed by this subscription: the log may be trimmed up to it.
    pub(crate) fn needs_after(&self) -> u64 {
        let first = [self.rows.parked().first(), self.rows.unsettled().first()].into_iter().flatten().min();
        first.map_or(self.head.floor, |seq| self.head.floor.min(seq - 1))
    }
}
