//! Applies a consumer's verdicts on leased events.
//!
//! The last consumer of an event may acknowledge the event even after the lease has expired, as long as no other
//! consumer got the event since. Every other verdict needs an unexpired lease. The result for every kind of lease:
//!
//! | lease | ack | retry, park, release | extend |
//! |---|---|---|---|
//! | of an earlier generation | stale | stale | stale |
//! | of a later generation, or of generation 0 | unknown | unknown | unknown |
//! | of an attempt not reached, or 0 | unknown | unknown | unknown |
//! | of an earlier attempt | lost | lost | lost |
//! | of the last attempt: leased, unexpired | applied | applied | applied |
//! | … leased, expired | applied | lost | lost |
//! | … pending, waiting or parked | applied | already applied if this verdict ended the lease, else lost | lost |
//! | … acknowledged | already applied | lost | lost |
//! | of an event without a row, below the remembered range | already applied | lost | lost |
//! | of any other event without a row: filtered out, not scanned, parked and trimmed | unknown | unknown | unknown |
//!
//! Only `Applied` changes a row.

use std::time::Duration;

use super::lend::USED_UP;
use super::{EventRow, LastVerdict, Lease, RowState, SettleOutcome, SettleVerdict, Subscription};
use crate::domain::moment::Moment;
use crate::planted_bug::{PlantedBug, is_planted};

impl Subscription {
    /// Applies verdicts in order. `fraction` draws from 0 to 1, for the pause before a retry.
    pub fn settle(
        &mut self,
        now: Moment,
        verdicts: &[(Lease, SettleVerdict)],
        fraction: &mut dyn FnMut() -> f64,
    ) -> Vec<SettleOutcome> {
        let outcomes =
            verdicts.iter().map(|(lease, verdict)| self.settle_one(now, *lease, verdict, fraction)).collect();
        self.raise_floor();
        outcomes
    }

    fn settle_one(
        &mut self,
        now: Moment,
        lease: Lease,
        verdict: &SettleVerdict,
        fraction: &mut dyn FnMut() -> f64,
    ) -> SettleOutcome {
        if lease.generation > self.head.generation || lease.generation == 0 {
            return SettleOutcome::UnknownLease;
        }
        if lease.generation < self.head.generation {
            return SettleOutcome::StaleGeneration;
        }
        let Some(row) = self.rows.get(lease.seq) else { return self.without_row(lease, verdict) };
        if lease.attempt == 0 || lease.attempt > row.attempt {
            return SettleOutcome::UnknownLease;
        }
        if lease.attempt < row.attempt && !is_planted(PlantedBug::LeaseAttemptUnchecked) {
            return SettleOutcome::LeaseLost;
        }
        let in_time = matches!(&row.state, RowState::Leased { until, .. } if now.steady < until.steady);
        match verdict {
            _ if in_time => self.carry_out(now, row.clone(), verdict, fraction),
            SettleVerdict::Ack if row.state == RowState::Acked => SettleOutcome::AlreadyApplied,
            SettleVerdict::Ack => self.acknowledge(row.clone()),
            _ if row.state != RowState::Acked && row.said.is_some() && row.said == verdict.word() => {
                SettleOutcome::AlreadyApplied
            }
            _ => SettleOutcome::LeaseLost,
        }
    }

    /// The outcome for an event without a row: dropped, or never leased.
    fn without_row(&self, lease: Lease, verdict: &SettleVerdict) -> SettleOutcome {
        match verdict {
            _ if lease.seq == 0 || lease.attempt == 0 || !self.is_forgotten(lease.seq) => SettleOutcome::UnknownLease,
            SettleVerdict::Ack => SettleOutcome::AlreadyApplied,
            _ => SettleOutcome::LeaseLost,
        }
    }

    fn acknowledge(&mut self, row: EventRow) -> SettleOutcome {
        if is_planted(PlantedBug::RedrivenMovesFloor) && row.redriven {
            self.head.floor = self.head.floor.max(row.seq);
        }
        if self.is_forgotten(row.seq) {
            self.rows.remove(row.seq);
        } else {
            self.rows.put(EventRow { said: None, state: RowState::Acked, ..row });
        }
        SettleOutcome::Applied(None)
    }

    /// Applies a verdict on an unexpired lease.
    fn carry_out(
        &mut self,
        now: Moment,
        row: EventRow,
        verdict: &SettleVerdict,
        fraction: &mut dyn FnMut() -> f64,
    ) -> SettleOutcome {
        let said = verdict.word();
        let row = match verdict {
            SettleVerdict::Ack => return self.acknowledge(row),
            SettleVerdict::Extend { by } => {
                return self.extend(now.plus(by.unwrap_or(self.head.config.lease_duration)), row);
            }
            SettleVerdict::Retry { delay, reason } => self.again(now, row, *delay, reason, fraction),
            SettleVerdict::Park { reason } => row.parked(now.wall, reason.clone()),
            SettleVerdict::Release => row.given_back(),
        };
        self.rows.put(EventRow { said, ..row });
        SettleOutcome::Applied(None)
    }

    /// Extends a lease. A shorter time has no effect, because the consumer asked for more time.
    fn extend(&mut self, wanted: Moment, row: EventRow) -> SettleOutcome {
        let RowState::Leased { cause, since, until, consumer } = row.state else { return SettleOutcome::LeaseLost };
        let until = if wanted.steady > until.steady { wanted } else { until };
        self.rows.put(EventRow { state: RowState::Leased { cause, since, until, consumer }, ..row });
        SettleOutcome::Applied(Some(until))
    }

    fn again(
        &self,
        now: Moment,
        row: EventRow,
        delay: Option<Duration>,
        reason: &str,
        fraction: &mut dyn FnMut() -> f64,
    ) -> EventRow {
        let row = EventRow { failures: row.failures.saturating_add(1), ..row };
        if self.is_spent(&row) {
            let reason = if reason.is_empty() { USED_UP } else { reason };
            return row.parked(now.wall, reason.to_owned());
        }
        let pause = delay.unwrap_or_else(|| self.longest_pause(row.failures).mul_f64(part(fraction())));
        EventRow { state: RowState::Waiting { until: now.plus(pause) }, ..row }
    }

    /// The longest pause, doubled with every failure.
    fn longest_pause(&self, failures: u32) -> Duration {
        let config = &self.head.config;
        let times = 2u32.saturating_pow(failures.saturating_sub(1));
        config.backoff_min.saturating_mul(times).min(config.backoff_max)
    }
}

/// Limits a fraction to 0 to 1; a value that is no number becomes 1.
fn part(fraction: f64) -> f64 {
    if fraction.is_finite() { fraction.clamp(0.0, 1.0) } else { 1.0 }
}

impl SettleVerdict {
    /// The stored form of the verdict, for verdicts that are remembered.
    fn word(&self) -> Option<LastVerdict> {
        match self {
            Self::Retry { .. } => Some(LastVerdict::Retry),
            Self::Park { .. } => Some(LastVerdict::Park),
            Self::Release => Some(LastVerdict::Release),
            Self::Ack | Self::Extend { .. } => None,
        }
    }
}
