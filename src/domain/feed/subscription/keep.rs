//! Leases that a stream keeps for its consumer, so that the consumer needs no timer.
//!
//! A lease is lengthened step by step, each time to one `lease_duration` from now: when the stream or the whole process ends, it
//! runs out as soon as any other. The steps end so long after the event was lent, whatever the stream does, so that a consumer
//! that hangs does not hold its event for good.

use std::time::Duration;

use super::{Row, State, Subscription};
use crate::domain::moment::{Moment, SteadyTime};

impl Subscription {
    /// Lengthens the leases of a consumer that have used a quarter of their time or more, up to `most` after each was given.
    /// One whose time is over stays as it is.
    pub fn keep(&mut self, consumer: &str, now: Moment, most: Duration) {
        let lease = self.head.config.lease_duration;
        for row in self.lent_to(consumer) {
            let State::Leased { cause, since, until, consumer } = row.state else { continue };
            let left = until.steady.since(now.steady);
            if left.is_zero() || left > lease.mul_f64(0.75) {
                continue;
            }
            let wanted = now.plus(lease.min(since.plus(most).since(now.steady)));
            if wanted.steady > until.steady {
                self.rows.put(Row { state: State::Leased { cause, since, until: wanted, consumer }, ..row });
            }
        }
    }

    /// When [`Self::keep`] has something to do next for a consumer: before half of a lease is left.
    pub fn keep_time(&self, consumer: &str, most: Duration) -> Option<SteadyTime> {
        let half = self.head.config.lease_duration / 2;
        let borrower = self.rows.borrower(consumer)?;
        let time = |seq: &u64| match self.rows.get(*seq)?.state {
            State::Leased { since, until, .. } if since.plus(most) > until.steady => Some(until.steady.minus(half)),
            _ => None,
        };
        borrower.seqs.iter().filter_map(time).min()
    }
}
