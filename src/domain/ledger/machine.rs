//! The state machine of an entry: entry, event and moment in; changed entry out. No other code decides about states.
//!
//! Two rules make sure that a mutation happens once. First, an attempt that may have had an effect makes the outcome
//! unknown ([`EntryState::Unknown`]), and only evidence settles an unknown outcome: a look-up that shows the order,
//! three absences after the settle window, or the decision of an operator. Second, a window has passed only by the wall
//! clock and the steady clock together (see [`Moment`]), which means that a step of the wall clock never causes a
//! second attempt.

use std::time::Duration;

use bytes::Bytes;

use super::{Entry, EntryState, LaterRefusal, MutationKind, UnknownSince};
use crate::domain::effect::Effect;
use crate::domain::moment::{BootId, Moment};
use crate::domain::timestamp::Timestamp;
use crate::planted_bug::{PlantedBug, is_planted};

/// Number of absences that settle an unknown outcome. The last must come from a look-up by number.
const ABSENCES: u32 = 3;
/// Longest time between two look-ups.
const LONGEST_REPEAT: Duration = Duration::from_secs(5 * 60);
/// Audit times after the end of an entry whose outcome was once unknown.
const AUDITS: [Duration; 3] =
    [Duration::from_secs(5 * 60), Duration::from_secs(60 * 60), Duration::from_secs(24 * 60 * 60)];
/// Audit time of an entry that was refused or not sent, and whose outcome was never unknown.
const SINGLE_AUDIT: [Duration; 1] = [Duration::from_secs(60 * 60)];

/// The settings of `[ledger]` that decide about entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerRules {
    /// Time that Walmart may take to show a received mutation.
    pub settle_window: Duration,
    /// Times of the look-ups, counted from the moment the outcome became unknown. Rising, at least one.
    pub lookup_delays: Vec<Duration>,
    /// Age of a call after which no attempt starts.
    pub not_after: Duration,
}

/// An event of an entry.
#[derive(Clone, Debug, PartialEq)]
pub enum EntryEvent {
    /// The entry is handed to the upstream stack next.
    Send,
    /// Walmart accepted the attempt.
    Accepted {
        /// The encoded answer for the caller.
        answer: Vec<u8>,
    },
    /// Walmart refused the attempt with a readable answer.
    Refused {
        /// The encoded answer for the caller.
        answer: Vec<u8>,
        /// Short text for operators.
        error: String,
        /// Whether Walmart says that the order number is taken.
        says_present: bool,
    },
    /// The attempt was certainly not carried out, for a temporary reason.
    NotSent {
        /// The encoded answer for the caller, used if the operation ends with this event.
        answer: Vec<u8>,
        /// Short text for operators.
        error: String,
        /// `Some`: the operation continues, and the next attempt starts after this time. `None`: the caller gets the
        /// error, and the operation ends.
        again_in: Option<Duration>,
    },
    /// The attempt may have been carried out.
    Lost {
        /// Short text for operators.
        error: String,
    },
    /// A process on the boot `boot` takes over the entry from a process that has ended.
    TakenOver {
        /// The boot in which steady times are measured from now on.
        boot: BootId,
    },
    /// Walmart shows that the mutation was carried out.
    Present {
        /// The encoded answer for the caller.
        answer: Vec<u8>,
    },
    /// Walmart shows that the mutation was not carried out so far.
    Absent {
        /// The kind of look-up.
        by: LookedUpBy,
        /// Whether the mutation may be sent again once absence is settled.
        resend: ResendPolicy,
    },
    /// Walmart shows a different order under the number.
    Contradicted {
        /// The differences, for operators.
        error: String,
    },
    /// The look-up was answered, and the answer is no evidence.
    NoEvidence {
        /// Short text for operators.
        error: String,
    },
    /// The look-up could not be made.
    NotAsked {
        /// Short text for operators.
        error: String,
        /// Time until a look-up may be possible.
        again_in: Duration,
    },
    /// An operator decided about the entry.
    Resolved {
        /// Decision of the operator.
        verdict: OperatorVerdict,
        /// Reason given by the operator.
        reason: String,
        /// The encoded answer for the caller, if the decision ends the operation.
        answer: Vec<u8>,
    },
    /// The entry waited to be sent until its `not_after` had passed.
    TimeUp,
}

impl EntryEvent {
    /// Whether the event ends the entry because the mutation was carried out.
    pub const fn says_done(&self) -> bool {
        matches!(
            self,
            Self::Accepted { .. } | Self::Present { .. } | Self::Resolved { verdict: OperatorVerdict::Succeeded, .. }
        )
    }
}

/// The kind of a look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookedUpBy {
    /// A look-up by order number.
    Number,
    /// A search by date, read to its end. A search index may lag; therefore a search counts only toward the earlier
    /// absences and never settles the outcome.
    Search,
}

/// Whether a mutation with proven absence may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResendPolicy {
    /// Proven absence allows the next attempt.
    AfterAbsence,
    /// Only an operator may allow the next attempt, because money would move twice.
    Never,
    /// Nobody can allow the next attempt, because the ledger does not keep the request. Proven absence ends the entry.
    Impossible,
}

/// The decisions of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperatorVerdict {
    /// The mutation was carried out.
    Succeeded,
    /// The mutation was not carried out, and shall not be.
    Rejected,
    /// The mutation was not carried out, and shall be sent again.
    Resend,
}

/// The error for an event that cannot happen in the entry's state. The entry is unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the event is not possible in state {0:?}")]
pub struct ImpossibleEventError(pub EntryState);

/// Applies an event to an entry. Fails with [`ImpossibleEventError`] for every event on a final entry, whose state,
/// effect and answer never change. The store increments the fence.
pub fn apply(
    mut entry: Entry,
    event: EntryEvent,
    now: Moment,
    rules: &LedgerRules,
) -> Result<Entry, ImpossibleEventError> {
    use EntryState::{NeedsOperator, Recorded, Sending, Unknown};
    entry.updated = now.wall;
    entry.unknown = entry.unknown.map(|unknown| not_ahead_of(unknown, now));
    let entry = match (entry.state, event) {
        (Recorded, EntryEvent::Send) if !entry.not_after.is_over(now) => {
            entry.attempts += 1;
            Entry { state: Sending, effect: Effect::Unknown, next: None, ..entry }
        }
        (Recorded, EntryEvent::TimeUp) if entry.not_after.is_over(now) => given_up(entry, now, rules),
        (Recorded, EntryEvent::TakenOver { boot }) => Entry { next: Some(now), ..rebased(entry, boot, now) },
        // The look-up before the first attempt (`ledger.look_first_until`).
        (Recorded, EntryEvent::Present { answer }) => closed(entry, EntryState::Succeeded, Effect::Applied, answer),
        (Recorded, EntryEvent::Refused { answer, error, .. }) if entry.unknown.is_none() => {
            Entry { last_error: error, ..closed(entry, EntryState::Rejected, Effect::None, answer) }
        }
        (Recorded, EntryEvent::NotSent { answer, error, again_in }) => {
            entry.last_error = error;
            not_sent(entry, answer, again_in, now, rules)
        }

        (Sending, EntryEvent::Accepted { answer }) => closed(entry, EntryState::Succeeded, Effect::Applied, answer),
        // The effect of an earlier attempt may show late; the refusal counts only after look-ups agree.
        (Sending, EntryEvent::Refused { answer, error, says_present })
            if entry.unknown.is_some() && !is_trusted_after_doubt(&entry) =>
        {
            let refusal = if says_present { LaterRefusal::SaysPresent } else { LaterRefusal::Plain };
            refused_in_doubt(entry, answer, error, refusal, now, rules)
        }
        (Sending, EntryEvent::Refused { answer, error, .. }) => {
            Entry { last_error: error, ..closed(entry, EntryState::Rejected, Effect::None, answer) }
        }
        (Sending, EntryEvent::NotSent { answer, error, again_in }) => {
            entry.last_error = error;
            not_sent(entry, answer, again_in, now, rules)
        }
        (Sending, EntryEvent::Lost { error }) => in_doubt(entry, error, now, rules),
        (Sending, EntryEvent::TakenOver { boot }) if is_planted(PlantedBug::SendingRecoveredAsRecorded) => {
            Entry { state: Recorded, next: Some(now), ..rebased(entry, boot, now) }
        }
        (Sending, EntryEvent::TakenOver { boot }) => {
            in_doubt(rebased(entry, boot, now), "the process ended".into(), now, rules)
        }

        (Unknown | NeedsOperator, EntryEvent::Present { answer }) => {
            closed(entry, EntryState::Succeeded, Effect::Applied, answer)
        }
        (Unknown | NeedsOperator, EntryEvent::Absent { by, resend }) => absent(entry, by, resend, now, rules)?,
        (Unknown | NeedsOperator, EntryEvent::Contradicted { error }) => {
            entry.last_error = error;
            contradicted(entry)?
        }
        (Unknown | NeedsOperator, EntryEvent::NoEvidence { error }) => {
            entry.last_error = error;
            let next = |unknown: &UnknownSince| rules.next_lookup(unknown.since, now);
            nothing_learned(entry, next, now, rules)?
        }
        (Unknown | NeedsOperator, EntryEvent::NotAsked { error, again_in }) => {
            entry.last_error = error;
            nothing_learned(entry, |_| now.plus(again_in), now, rules)?
        }
        (Unknown | NeedsOperator, EntryEvent::TakenOver { boot }) => {
            let entry = rebased(entry, boot, now);
            // An entry that waits for an operator has no next look-up, and gets none.
            let next = entry.next.map(|next| if next.is_due(now) { now } else { next });
            Entry { next, ..entry }
        }

        (Recorded | Unknown | NeedsOperator, EntryEvent::Resolved { verdict, reason, answer }) => {
            entry.resolution = reason;
            resolved(entry, verdict, answer, now, rules)
        }
        (state, _) => return Err(ImpossibleEventError(state)),
    };
    Ok(entry)
}

/// Audit times of a final entry. Every end except a direct acceptance is audited, because an attempt that was given up
/// or refused may still show.
pub fn audits(entry: &Entry) -> Vec<Timestamp> {
    let times: &[Duration] = match entry.state {
        EntryState::Recorded | EntryState::Sending | EntryState::Unknown | EntryState::NeedsOperator => &[],
        EntryState::Succeeded if entry.unknown.is_none() && entry.resolution.is_empty() => &[],
        EntryState::Rejected | EntryState::NotSent if entry.unknown.is_none() && entry.resolution.is_empty() => {
            &SINGLE_AUDIT
        }
        EntryState::Succeeded | EntryState::Rejected | EntryState::NotSent | EntryState::Expired => &AUDITS,
    };
    times.iter().map(|after| entry.updated.plus(*after)).collect()
}

impl LedgerRules {
    /// Time between look-ups after the last planned look-up.
    pub fn repeat(&self) -> Duration {
        self.last_delay().max(self.settle_window.mul_f64(2.5)).min(LONGEST_REPEAT)
    }

    /// Time without any result of a look-up after which an operator has to decide.
    pub fn patience(&self) -> Duration {
        self.last_delay().max(self.settle_window)
    }

    /// Whether a look-up by number showing no order would settle the outcome of the entry at `now`.
    pub(crate) fn is_ripe(&self, entry: &Entry, now: Moment) -> bool {
        entry.unknown.is_some_and(|unknown| {
            unknown.absences + 1 >= ABSENCES
                && unknown.last_absence.is_none_or(|last| Moment::window_has_passed(last, self.settle_window / 8, now))
                && Moment::window_has_passed(unknown.last_byte, self.settle_window, now)
        })
    }

    fn last_delay(&self) -> Duration {
        self.lookup_delays.last().copied().unwrap_or_default()
    }

    /// The look-up after `now`. Elapsed time is measured by the steady clock, because the wall clock may have been set
    /// since the outcome became unknown.
    fn next_lookup(&self, since: Moment, now: Moment) -> Moment {
        let elapsed = now.steady.since(since.steady);
        let planned = self.lookup_delays.iter().find(|delay| **delay > elapsed);
        now.plus(planned.map_or(self.repeat(), |delay| *delay - elapsed))
    }
}

fn closed(entry: Entry, state: EntryState, effect: Effect, answer: impl Into<Bytes>) -> Entry {
    Entry { state, effect, answer: answer.into(), next: None, body: Bytes::new(), snapshot: Vec::new(), ..entry }
}

/// Ends an entry that may not be sent any more. Absence of an effect is proven where no outcome was ever unknown, or
/// where absence or an operator settled the last unknown outcome. A refusal saying that the number is taken contradicts
/// the proof, and an operator has to decide.
fn given_up(entry: Entry, now: Moment, rules: &LedgerRules) -> Entry {
    if entry.says_present() {
        return for_operator(entry, now, rules);
    }
    // The caller's answer follows from the state; none is stored.
    closed(entry, EntryState::Expired, Effect::None, Bytes::new())
}

fn for_operator(entry: Entry, now: Moment, rules: &LedgerRules) -> Entry {
    let next = Some(now.plus(rules.repeat()));
    Entry { state: EntryState::NeedsOperator, effect: Effect::Unknown, next, ..entry }
}

fn not_sent(entry: Entry, answer: Vec<u8>, again_in: Option<Duration>, now: Moment, rules: &LedgerRules) -> Entry {
    match again_in {
        Some(wait) if !entry.not_after.is_over(now.plus(wait)) => {
            Entry { state: EntryState::Recorded, effect: Effect::None, next: Some(now.plus(wait)), ..entry }
        }
        None if entry.unknown.is_none() => closed(entry, EntryState::NotSent, Effect::None, answer),
        Some(_) | None => given_up(entry, now, rules),
    }
}

fn in_doubt(entry: Entry, error: String, now: Moment, rules: &LedgerRules) -> Entry {
    // The hint that the order number is taken must survive a further attempt: dropping the hint would allow a resend of
    // an order that exists.
    let refusal = entry.unknown.map_or(LaterRefusal::None, |unknown| unknown.refusal);
    let refusal = if refusal == LaterRefusal::SaysPresent { refusal } else { LaterRefusal::None };
    Entry {
        state: EntryState::Unknown,
        effect: Effect::Unknown,
        unknown: Some(UnknownSince { refusal, ..UnknownSince::since(now) }),
        next: Some(rules.next_lookup(now, now)),
        last_error: error,
        ..entry
    }
}

/// Stores the refusal as the answer until look-ups agree.
fn refused_in_doubt(
    entry: Entry,
    answer: Vec<u8>,
    error: String,
    refusal: LaterRefusal,
    now: Moment,
    rules: &LedgerRules,
) -> Entry {
    let mut entry = in_doubt(entry, error, now, rules);
    if let Some(unknown) = entry.unknown.as_mut()
        && unknown.refusal != LaterRefusal::SaysPresent
    {
        unknown.refusal = refusal;
    }
    Entry { answer: answer.into(), ..entry }
}

/// Whether a planted bug makes a refusal final that follows on a doubt.
fn is_trusted_after_doubt(entry: &Entry) -> bool {
    let is_change = !matches!(entry.kind, MutationKind::Create | MutationKind::Cancel);
    is_planted(PlantedBug::RefusalAfterDoubtIsFinal) || (is_change && is_planted(PlantedBug::ChangeRefusalIsFinal))
}

/// The settle window. Planted bugs cut it short.
fn settle_window(rules: &LedgerRules) -> Duration {
    if is_planted(PlantedBug::UnknownResentAtOnce) {
        Duration::ZERO
    } else if is_planted(PlantedBug::SettleWindowCutShort) {
        rules.settle_window / 4
    } else {
        rules.settle_window
    }
}

/// Settles absence: enough absences, far enough apart, the last one by number and a settle window after the last byte.
fn absent(
    entry: Entry,
    by: LookedUpBy,
    resend: ResendPolicy,
    now: Moment,
    rules: &LedgerRules,
) -> Result<Entry, ImpossibleEventError> {
    let Some(mut unknown) = entry.unknown else { return Err(ImpossibleEventError(entry.state)) };
    unknown.lookups += 1;
    unknown.learned = now;
    let far_enough =
        unknown.last_absence.is_none_or(|last| Moment::window_has_passed(last, rules.settle_window / 8, now));
    // The last absence has to come from a look-up by number. Counting a search here would move `last_absence`, and push
    // the look-up by number further away.
    let counts = far_enough && (by == LookedUpBy::Number || unknown.absences + 1 < ABSENCES);
    if counts {
        unknown.absences += 1;
        unknown.last_absence = Some(now);
    }
    let settled = counts
        && by == LookedUpBy::Number
        && unknown.absences >= if is_planted(PlantedBug::UnknownResentAtOnce) { 1 } else { ABSENCES }
        && Moment::window_has_passed(unknown.last_byte, settle_window(rules), now);
    let entry = Entry { unknown: Some(unknown), ..entry };
    Ok(if !settled {
        Entry { state: EntryState::Unknown, next: Some(rules.next_lookup(unknown.since, now)), ..entry }
    } else {
        settled_absent(entry, unknown.refusal, resend, now, rules)
    })
}

fn settled_absent(
    entry: Entry,
    refusal: LaterRefusal,
    resend: ResendPolicy,
    now: Moment,
    rules: &LedgerRules,
) -> Entry {
    let resend = if is_planted(PlantedBug::RefundResentAfterAbsence) { ResendPolicy::AfterAbsence } else { resend };
    match (refusal, resend) {
        // Look-ups and Walmart's refusal disagree. The entry is neither sent again nor closed as without effect.
        (LaterRefusal::SaysPresent, _) | (LaterRefusal::None, ResendPolicy::Never) => for_operator(entry, now, rules),
        (LaterRefusal::Plain, _) => {
            let answer = entry.answer.clone();
            closed(entry, EntryState::Rejected, Effect::None, answer)
        }
        (LaterRefusal::None, ResendPolicy::Impossible) => given_up(entry, now, rules),
        (LaterRefusal::None, ResendPolicy::AfterAbsence) if entry.not_after.is_over(now) => given_up(entry, now, rules),
        (LaterRefusal::None, ResendPolicy::AfterAbsence) => {
            Entry { state: EntryState::Recorded, effect: Effect::None, next: Some(now), ..entry }
        }
    }
}

/// Hands the entry to an operator. No further look-up is planned, because no later answer could withdraw the
/// contradiction.
fn contradicted(entry: Entry) -> Result<Entry, ImpossibleEventError> {
    let Some(mut unknown) = entry.unknown else { return Err(ImpossibleEventError(entry.state)) };
    unknown.lookups += 1;
    Ok(Entry { state: EntryState::NeedsOperator, unknown: Some(unknown), next: None, ..entry })
}

/// Plans the next look-up after a look-up without result. After too long a time without any result an operator has to
/// decide.
fn nothing_learned(
    entry: Entry,
    next: impl FnOnce(&UnknownSince) -> Moment,
    now: Moment,
    rules: &LedgerRules,
) -> Result<Entry, ImpossibleEventError> {
    let Some(mut unknown) = entry.unknown else { return Err(ImpossibleEventError(entry.state)) };
    if is_planted(PlantedBug::ExpiredWithoutProof) && entry.not_after.is_over(now) {
        return Ok(closed(entry, EntryState::Expired, Effect::None, Bytes::new()));
    }
    unknown.lookups += 1;
    let state =
        if unknown.learned.plus(rules.patience()).is_due(now) { EntryState::NeedsOperator } else { entry.state };
    Ok(Entry { state, unknown: Some(unknown), next: Some(next(&unknown)), ..entry })
}

/// Limits the times of day to the present. A time in the future was read from a wall clock that has since been set
/// back; measured from that time, no window would pass until the clock catches up. The window starts again at `now`
/// instead.
fn not_ahead_of(unknown: UnknownSince, now: Moment) -> UnknownSince {
    let begun = |moment: Moment| if moment.wall > now.wall { now } else { moment };
    UnknownSince {
        last_byte: begun(unknown.last_byte),
        last_absence: unknown.last_absence.map(begun),
        learned: begun(unknown.learned),
        ..unknown
    }
}

/// The entry as seen by a process on the boot `boot`: an open entry that was written on another boot is moved to the
/// steady time of this one, and every window starts again.
pub fn in_boot(entry: Entry, boot: BootId, now: Moment) -> Entry {
    if entry.state.is_open() { rebased(entry, boot, now) } else { entry }
}

/// Moves the entry to the steady time of a new boot. The time for which the machine was down is unknown, and every
/// window starts again.
fn rebased(mut entry: Entry, boot: BootId, now: Moment) -> Entry {
    if entry.boot == Some(boot) {
        return entry;
    }
    entry.boot = Some(boot);
    entry.not_after = Moment { steady: now.steady.plus(entry.not_after.wall.since(now.wall)), ..entry.not_after };
    entry.next = entry.next.map(|_| now);
    if let Some(unknown) = entry.unknown.as_mut() {
        *unknown = UnknownSince { lookups: unknown.lookups, refusal: unknown.refusal, ..UnknownSince::since(now) };
    }
    entry
}

fn resolved(entry: Entry, verdict: OperatorVerdict, answer: Vec<u8>, now: Moment, rules: &LedgerRules) -> Entry {
    match verdict {
        OperatorVerdict::Succeeded => closed(entry, EntryState::Succeeded, Effect::Applied, answer),
        OperatorVerdict::Rejected => closed(entry, EntryState::Rejected, Effect::None, answer),
        OperatorVerdict::Resend => {
            // An operator's decision is not bound by the age of the call, and overrides an earlier refusal.
            let not_after = now.plus(rules.not_after);
            let unknown = entry.unknown.map(|unknown| UnknownSince { refusal: LaterRefusal::None, ..unknown });
            let answer = Bytes::new();
            Entry {
                state: EntryState::Recorded,
                effect: Effect::None,
                next: Some(now),
                not_after,
                unknown,
                answer,
                ..entry
            }
        }
    }
}

#[cfg(test)]
#[path = "machine_tests/mod.rs"]
mod tests;
