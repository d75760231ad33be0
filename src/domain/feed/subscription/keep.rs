//! Automatic extension of leases by a stream, which saves the consumer a timer.
//!
//! A lease is extended in steps, every time to one `lease_duration` from now: after the end of the stream or the
//! process, the lease expires as soon as any other. The steps end a fixed time after the lease was granted, which keeps
//! a hanging consumer from holding its event forever.

use std::time::Duration;

use super::{EventRow, RowState, Subscription};
use crate::domain::moment::{Moment, SteadyTime};

impl Subscription {
    /// Extends the consumer's leases that have used a quarter of their time or more, up to `most` after they were
    /// granted. An expired lease stays unchanged.
    pub fn keep(&mut self, consumer: &str, now: Moment, most: Duration) {
        let lease = self.head.config.lease_duration;
        for row in self.lent_to(consumer) {
            let RowState::Leased { cause, since, until, consumer } = row.state else { continue };
            let left = until.steady.since(now.steady);
            if left.is_zero() || left > lease.mul_f64(0.75) {
                continue;
            }
            let wanted = now.plus(lease.min(since.plus(most).since(now.steady)));
            if wanted.steady > until.steady {
                self.rows.put(EventRow { state: RowState::Leased { cause, since, until: wanted, consumer }, ..row });
            }
        }
    }

    /// Time of the next extension by [`Self::keep`]: before half of a lease is left.
    pub(crate) fn keep_time(&self, consumer: &str, most: Duration) -> Option<SteadyTime> {
        let half = self.head.config.lease_duration / 2;
        let borrower = self.rows.borrower(consumer)?;
        let time = |seq: &u64| match self.rows.get(*seq)?.state {
            RowState::Leased { since, until, .. } if since.plus(most) > until.steady => Some(until.steady.minus(half)),
            _ => None,
        };
        borrower.seqs.iter().filter_map(time).min()
    }
}
