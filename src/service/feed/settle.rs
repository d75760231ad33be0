//! Settles the verdicts of consumers.

use std::time::Duration;

use super::request::SettleRequest;
use super::{Feed, FeedStore, invalid, timestamp};
use crate::crash_point::{self, CrashPoint};
use crate::domain::feed::subscription::{SettleOutcome, SettleVerdict, Subscription};
use crate::domain::feed::{self, Lease};
use crate::domain::moment::Moment;
use crate::domain::rules::{FieldFaults, FieldPath};
use crate::pb;
use crate::pb::verdict::Verdict as Said;
use crate::ports::call::CallContext;
use crate::service::ServiceError;
use crate::service::feed_error::{FaultKind, FeedError};

/// Most verdicts of one call.
const MOST: usize = 1000;
/// Longest reason in characters.
const LONGEST_REASON: usize = 500;
/// Longest retry delay of a consumer.
const LONGEST_DELAY: Duration = Duration::from_hours(24);
/// Allowed extensions of a lease.
const EXTENSIONS: std::ops::RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_mins(10);

/// The results of the verdicts of one call.
#[derive(Clone, Debug, PartialEq)]
pub struct SettleReply {
    /// Results in the order of the verdicts.
    pub results: Vec<pb::SettleResult>,
    /// The subscription's floor afterwards, as a cursor.
    pub floor: String,
    /// Unsettled and unscanned events afterwards.
    pub backlog: u64,
}

impl<F: FeedStore> Feed<F> {
    /// Carries out verdicts in one transaction.
    pub async fn settle<'a>(
        &self,
        request: impl Into<SettleRequest<'a>>,
        call: &CallContext,
    ) -> Result<SettleReply, ServiceError> {
        let request: SettleRequest<'_> = request.into();
        let (feed, name) = (request.feed, request.subscription);
        let verdicts = read(request.verdicts)?;
        let now = self.moment();
        let random = self.0.parts.random.clone();
        let settle = move |it: &mut Subscription| {
            let outcomes = it.settle(now, &verdicts, &mut || random.fraction());
            (outcomes, it.head().floor, it.head().scanned, it.unsettled())
        };
        let (outcomes, floor, scanned, unsettled) = self.allowed_of(feed, name, call, settle).await?;
        crash_point::reach(CrashPoint::F3);
        self.0.dispatchers.look(name);
        let log = self.reader(feed).log_id().await?;
        let results = request.verdicts.iter().zip(outcomes).map(|(verdict, outcome)| {
            let (outcome, until) = self.told(outcome);
            let lease_expires_at = until.and_then(|until| timestamp(until.wall));
            pb::SettleResult { lease: verdict.lease.clone(), outcome: outcome.into(), lease_expires_at }
        });
        Ok(SettleReply {
            results: results.collect(),
            floor: log.cursor(floor).to_string(),
            backlog: self.reader(feed).head().saturating_sub(scanned) + unsettled,
        })
    }

    /// Converts an outcome for the answer, and counts it.
    fn told(&self, outcome: SettleOutcome) -> (pb::SettleOutcome, Option<Moment>) {
        let (name, told, until) = match outcome {
            SettleOutcome::Applied(until) => ("applied", pb::SettleOutcome::Applied, until),
            SettleOutcome::AlreadyApplied => ("already_applied", pb::SettleOutcome::AlreadyApplied, None),
            SettleOutcome::LeaseLost => ("lease_lost", pb::SettleOutcome::LeaseLost, None),
            SettleOutcome::StaleGeneration => ("stale_generation", pb::SettleOutcome::StaleGeneration, None),
            SettleOutcome::UnknownLease => ("unknown_lease", pb::SettleOutcome::UnknownLease, None),
        };
        self.0.parts.metrics.settled(name).inc();
        (told, until)
    }
}

fn read(verdicts: &[pb::Verdict]) -> Result<Vec<(Lease, SettleVerdict)>, ServiceError> {
    let top = FieldPath::Top("verdicts");
    if verdicts.is_empty() {
        return Err(invalid(&top, "is required"));
    }
    if verdicts.len() > MOST {
        return Err(super::out_of_bounds(&top, "must be at most 1000"));
    }
    let (mut leases, mut missing, mut bounds) =
        (FieldFaults::default(), FieldFaults::default(), FieldFaults::default());
    let mut read = Vec::with_capacity(verdicts.len());
    for (index, verdict) in verdicts.iter().enumerate() {
        let at = top.index(index);
        let lease = verdict.lease.parse::<Lease>();
        if lease.is_err() {
            leases.add(&at.field("lease"), "is no lease of this gateway");
        }
        let said = match &verdict.verdict {
            None => {
                missing.add(&at, "needs one of ack, retry, park, extend, release");
                None
            }
            Some(said) => one(said, &at, &mut bounds),
        };
        if let (Ok(lease), Some(said)) = (lease, said) {
            read.push((lease, said));
        }
    }
    missing.into_result().map_err(ServiceError::Invalid)?;
    leases.into_result().map_err(|faults| FeedError::Faulty(FaultKind::Lease, faults))?;
    bounds.into_result().map_err(|faults| FeedError::Faulty(FaultKind::Bounds, faults))?;
    Ok(read)
}

fn one(said: &Said, at: &FieldPath<'_>, faults: &mut FieldFaults) -> Option<SettleVerdict> {
    let mut span =
        |asked: Option<prost_types::Duration>, within: &dyn Fn(Duration) -> bool, path: &FieldPath<'_>, text| {
            let span = asked.map(|asked| feed::span(&asked).filter(|span| within(*span)));
            if span == Some(None) {
                faults.add(path, text);
            }
            span.flatten()
        };
    Some(match said {
        Said::Ack(_) => SettleVerdict::Ack,
        Said::Release(_) => SettleVerdict::Release,
        Said::Retry(retry) => {
            let at = at.field("retry");
            let delay = span(retry.delay, &|span| span <= LONGEST_DELAY, &at.field("delay"), "must be 0 s to 24 h");
            SettleVerdict::Retry { delay, reason: reason(&retry.reason, &at.field("reason"), faults) }
        }
        Said::Park(park) => {
            SettleVerdict::Park { reason: reason(&park.reason, &at.field("park").field("reason"), faults) }
        }
        Said::Extend(extend) => {
            let by = at.field("extend");
            let within = |span: Duration| EXTENSIONS.contains(&span);
            SettleVerdict::Extend { by: span(extend.by, &within, &by.field("by"), "must be 5 s to 10 min") }
        }
    })
}

fn reason(text: &str, at: &FieldPath<'_>, faults: &mut FieldFaults) -> String {
    if text.chars().count() > LONGEST_REASON {
        faults.add(at, "must be at most 500 characters");
    }
    text.to_owned()
}

#[cfg(test)]
#[path = "settle_tests.rs"]
mod tests;
