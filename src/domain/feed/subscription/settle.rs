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
use super::{Lease, Outcome, Row, Said, State, Subscription, Verdict};
use crate::domain::moment::Moment;

impl Subscription {
    /// Applies verdicts in order. `fraction` draws from 0 to 1, for the pause before a retry.
    pub fn settle(
        &mut self,
        now: Moment,
        verdicts: &[(Lease, Verdict)],
        fraction: &mut dyn FnMut() -> f64,
    ) -> Vec<Outcome> {
        let outcomes =
            verdicts.iter().map(|(lease, verdict)| self.settle_one(now, *lease, verdict, fraction)).collect();
        self.raise_floor();
        outcomes
    }

    fn settle_one(
        &mut self,
        now: Moment,
        lease: Lease,
        verdict: &Verdict,
        fraction: &mut dyn FnMut() -> f64,
    ) -> Outcome {
        if lease.generation > self.head.generation || lease.generation == 0 {
            return Outcome::UnknownLease;
        }
        if lease.generation < self.head.generation {
            return Outcome::StaleGeneration;
        }
        let Some(row) = self.rows.get(lease.seq) else { return self.without_row(lease, verdict) };
        if lease.attempt == 0 || lease.attempt > row.attempt {
            return Outcome::UnknownLease;
        }
        if lease.attempt < row.attempt {
            return Outcome::LeaseLost;
        }
        let in_time = matches!(&row.state, State::Leased { until, .. } if now.steady < until.steady);
        match verdict {
            _ if in_time => self.carry_out(now, row.clone(), verdict, fraction),
            Verdict::Ack if row.state == State::Acked => Outcome::AlreadyApplied,
            Verdict::Ack => self.acknowledge(row.clone()),
            _ if row.state != State::Acked && row.said.is_some() && row.said == verdict.word() => {
                Outcome::AlreadyApplied
            }
            _ => Outcome::LeaseLost,
        }
    }

    /// The outcome for an event without a row: dropped, or never leased.
    fn without_row(&self, lease: Lease, verdict: &Verdict) -> Outcome {
        match verdict {
            _ if lease.seq == 0 || lease.attempt == 0 || !self.is_forgotten(lease.seq) => Outcome::UnknownLease,
            Verdict::Ack => Outcome::AlreadyApplied,
            _ => Outcome::LeaseLost,
        }
    }

    fn acknowledge(&mut self, row: Row) -> Outcome {
        if self.is_forgotten(row.seq) {
            self.rows.remove(row.seq);
        } else {
            self.rows.put(Row { said: None, state: State::Acked, ..row });
        }
        Outcome::Applied(None)
    }

    /// Applies a verdict on an unexpired lease.
    fn carry_out(&mut self, now: Moment, row: Row, verdict: &Verdict, fraction: &mut dyn FnMut() -> f64) -> Outcome {
        let said = verdict.word();
        let row = match verdict {
            Verdict::Ack => return self.acknowledge(row),
            Verdict::Extend { by } => return self.extend(now.plus(by.unwrap_or(self.head.config.lease_duration)), row),
            Verdict::Retry { delay, reason } => self.again(now, row, *delay, reason, fraction),
            Verdict::Park { reason } => row.parked(now.wall, reason.clone()),
            Verdict::Release => row.given_back(),
        };
        self.rows.put(Row { said, ..row });
        Outcome::Applied(None)
    }

    /// Extends a lease. A shorter time has no effect, because the consumer asked for more time.
    fn extend(&mut self, wanted: Moment, row: Row) -> Outcome {
        let State::Leased { cause, since, until, consumer } = row.state else { return Outcome::LeaseLost };
        let until = if wanted.steady > until.steady { wanted } else { until };
        self.rows.put(Row { state: State::Leased { cause, since, until, consumer }, ..row });
        Outcome::Applied(Some(until))
    }

    fn again(
        &self,
        now: Moment,
        row: Row,
        delay: Option<Duration>,
        reason: &str,
        fraction: &mut dyn FnMut() -> f64,
    ) -> Row {
        let row = Row { failures: row.failures.saturating_add(1), ..row };
        if self.is_spent(&row) {
            let reason = if reason.is_empty() { USED_UP } else { reason };
            return row.parked(now.wall, reason.to_owned());
        }
        let pause = delay.unwrap_or_else(|| self.longest_pause(row.failures).mul_f64(part(fraction())));
        Row { state: State::Waiting { until: now.plus(pause) }, ..row }
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

impl Verdict {
    /// The stored form of the verdict, for verdicts that are remembered.
    fn word(&self) -> Option<Said> {
        match self {
            Self::Retry { .. } => Some(Said::Retry),
            Self::Park { .. } => Some(Said::Park),
            Self::Release => Some(Said::Release),
            Self::Ack | Self::Extend { .. } => None,
        }
    }
}
