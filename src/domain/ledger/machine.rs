//! How an entry changes: entry, event and moment in; entry out. Nothing else decides about states.
//!
//! Two rules carry the promise that a mutation happens once. An attempt that may have had an effect puts the entry in
//! doubt ([`EntryState::Unknown`]), and only evidence ends a doubt: an order that shows, three absences with the settle window
//! behind them, or a person's word. And a window has passed only when both clocks say so (see [`Moment`]), so that a step
//! of the wall clock never makes the gateway send twice.

use std::time::Duration;

use bytes::Bytes;

use super::{Entry, EntryState, LaterRefusal, UnknownSince};
use crate::domain::effect::Effect;
use crate::domain::moment::{BootId, Moment};
use crate::domain::timestamp::Timestamp;
use crate::planted_bug::{PlantedBug, is_planted};

/// Absences that settle a doubt; the last of them answers a look-up by number.
const ABSENCES: u32 = 3;
/// Longest time between two look-ups.
const LONGEST_REPEAT: Duration = Duration::from_secs(5 * 60);
/// When an entry that was in doubt is audited after its end.
const AUDITS: [Duration; 3] =
    [Duration::from_secs(5 * 60), Duration::from_secs(60 * 60), Duration::from_secs(24 * 60 * 60)];
/// When an entry that was refused or not sent, without any doubt, is audited.
const SINGLE_AUDIT: [Duration; 1] = [Duration::from_secs(60 * 60)];

/// The settings of `[ledger]` that decide about entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerRules {
    /// How long Walmart may take to show what it was sent.
    pub settle_window: Duration,
    /// When Walmart is asked, counted from the moment the outcome became unknown. Rising, at least one.
    pub lookup_delays: Vec<Duration>,
    /// Age of a call after which nothing of it is sent.
    pub not_after: Duration,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum EntryEvent {
    /// The entry is handed to the upstream stack next.
    Send,
    /// Walmart accepted the attempt.
    Accepted {
        /// What the caller is answered.
        answer: Vec<u8>,
    },
    /// Walmart refused the attempt in words that can be read.
    Refused {
        /// What the caller is answered.
        answer: Vec<u8>,
        /// Short text for operators.
        error: String,
        /// Whether Walmart says that the order number is taken.
        says_present: bool,
    },
    /// The attempt certainly was not carried out, for a reason that may pass.
    NotSent {
        /// What the caller is answered, if the operation ends here.
        answer: Vec<u8>,
        /// Short text for operators.
        error: String,
        /// `Some`: no caller was told that the operation ended, so it is tried again after this time. `None`: the caller is
        /// told no, and the operation ends.
        again_in: Option<Duration>,
    },
    /// The attempt may have been carried out.
    Lost {
        /// Short text for operators.
        error: String,
    },
    /// Another process, on the machine's boot `boot`, takes over the entry from one that is gone.
    TakenOver {
        /// The boot in which steady time is told from now on.
        boot: BootId,
    },
    /// Walmart shows that the mutation was carried out.
    Present {
        /// What the caller is answered.
        answer: Vec<u8>,
    },
    /// Walmart shows that the mutation was not carried out so far.
    Absent {
        /// How Walmart was asked.
        by: LookedUpBy,
        /// Whether the mutation may be sent again once the doubt is settled.
        resend: ResendPolicy,
    },
    /// Walmart shows something else under the number.
    Contradicted {
        /// What differs, for operators.
        error: String,
    },
    /// Walmart was asked, and its answer is no evidence.
    NoEvidence {
        /// Short text for operators.
        error: String,
    },
    /// Walmart could not be asked.
    NotAsked {
        /// Short text for operators.
        error: String,
        /// When a look-up may be possible.
        again_in: Duration,
    },
    /// An operator decided.
    Resolved {
        /// The decision.
        verdict: OperatorVerdict,
        /// The operator's reason.
        reason: String,
        /// What the caller is answered, when the decision ends the operation.
        answer: Vec<u8>,
    },
    /// The entry waited to be sent until it was too late for that.
    TimeUp,
}

/// How Walmart was asked about an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookedUpBy {
    /// By its number.
    Number,
    /// By a search by date that was read to its end. A search index may lag, so a search never settles a doubt; it stands
    /// for the earlier absences.
    Search,
}

/// Whether a mutation that is known to be absent may be sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResendPolicy {
    /// Absence settles the doubt.
    AfterAbsence,
    /// Only a person may have it sent again: money.
    Never,
}

/// What an operator can decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperatorVerdict {
    /// The mutation was carried out.
    Succeeded,
    /// The mutation was not carried out, and shall not be.
    Rejected,
    /// The mutation was not carried out, and shall be sent again.
    ResendPolicy,
}

/// The event cannot happen in this state; nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not possible in state {0:?}")]
pub struct ImpossibleEventError(pub EntryState);

/// The entry after the event. An answer, an effect and a state that were final stay as they are: every event is
/// [`ImpossibleEventError`] then. The fence is left to the store.
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
        // Looked up before it was sent for the first time (`ledger.look_first_until`).
        (Recorded, EntryEvent::Present { answer }) => closed(entry, EntryState::Succeeded, Effect::Applied, answer),
        (Recorded, EntryEvent::Refused { answer, error, .. }) if entry.unknown.is_none() => {
            Entry { last_error: error, ..closed(entry, EntryState::Rejected, Effect::None, answer) }
        }
        (Recorded, EntryEvent::NotSent { answer, error, again_in }) => {
            entry.last_error = error;
            not_sent(entry, answer, again_in, now, rules)
        }

        (Sending, EntryEvent::Accepted { answer }) => closed(entry, EntryState::Succeeded, Effect::Applied, answer),
        // An earlier attempt may have had an effect that shows late: a look-up has to agree before the refusal counts.
        (Sending, EntryEvent::Refused { answer, error, says_present })
            if entry.unknown.is_some() && !is_planted(PlantedBug::RefusalAfterDoubtIsFinal) =>
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
            // One that waits for a person has no next look-up, and gets none.
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

/// When a final entry is audited: everything that did not end on a direct acceptance, because an attempt that was given up,
/// or taken for refused, may still show.
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
    /// Time between look-ups after the last planned one.
    pub fn repeat(&self) -> Duration {
        self.last_delay().max(self.settle_window.mul_f64(2.5)).min(LONGEST_REPEAT)
    }

    /// A doubt about which nothing was learned for so long is a case for a person.
    pub fn patience(&self) -> Duration {
        self.last_delay().max(self.settle_window)
    }

    /// Whether a look-up by number that shows nothing settles the doubt of an entry now.
    pub fn is_ripe(&self, entry: &Entry, now: Moment) -> bool {
        entry.unknown.is_some_and(|unknown| {
            unknown.absences + 1 >= ABSENCES
                && unknown.last_absence.is_none_or(|last| Moment::window_has_passed(last, self.settle_window / 8, now))
                && Moment::window_has_passed(unknown.last_byte, self.settle_window, now)
        })
    }

    fn last_delay(&self) -> Duration {
        self.lookup_delays.last().copied().unwrap_or_default()
    }

    /// The look-up after `now`. Counted from `now` on, because the wall clock may have been set since the doubt began.
    fn next_lookup(&self, since: Moment, now: Moment) -> Moment {
        let elapsed = now.steady.since(since.steady);
        let planned = self.lookup_delays.iter().find(|delay| **delay > elapsed);
        now.plus(planned.map_or(self.repeat(), |delay| *delay - elapsed))
    }
}

fn closed(entry: Entry, state: EntryState, effect: Effect, answer: impl Into<Bytes>) -> Entry {
    Entry { state, effect, answer: answer.into(), next: None, body: Bytes::new(), snapshot: Vec::new(), ..entry }
}

/// Nothing is sent any more. That it had no effect is proven where there never was a doubt, or where the last one was settled
/// by absence or by a person; Walmart's word that the order is there keeps the proof away.
fn given_up(entry: Entry, now: Moment, rules: &LedgerRules) -> Entry {
    if entry.says_present() {
        return for_operator(entry, now, rules);
    }
    // The caller's answer follows from the state, so none is kept.
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
    // Walmart's word that the order is there outlives the attempt that heard it.
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

/// The refusal is kept as the answer until look-ups agree with it.
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

/// The resolve rule: absent often enough, at times far enough apart, the last by number and long enough after the last byte.
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
    // The last absence is left to a look-up by number, and a search must not push that one further away.
    let counts = far_enough && (by == LookedUpBy::Number || unknown.absences + 1 < ABSENCES);
    if counts {
        unknown.absences += 1;
        unknown.last_absence = Some(now);
    }
    let settled = counts
        && by == LookedUpBy::Number
        && unknown.absences >= ABSENCES
        && Moment::window_has_passed(unknown.last_byte, rules.settle_window, now);
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
    match (refusal, resend) {
        // Look-ups and Walmart's own words disagree: nothing is sent, and nothing is said to have had no effect.
        (LaterRefusal::SaysPresent, _) | (LaterRefusal::None, ResendPolicy::Never) => for_operator(entry, now, rules),
        (LaterRefusal::Plain, _) => {
            let answer = entry.answer.clone();
            closed(entry, EntryState::Rejected, Effect::None, answer)
        }
        (LaterRefusal::None, ResendPolicy::AfterAbsence) if entry.not_after.is_over(now) => given_up(entry, now, rules),
        (LaterRefusal::None, ResendPolicy::AfterAbsence) => {
            Entry { state: EntryState::Recorded, effect: Effect::None, next: Some(now), ..entry }
        }
    }
}

/// A person decides; nothing is looked up any more, because no later answer could take the contradiction back.
fn contradicted(entry: Entry) -> Result<Entry, ImpossibleEventError> {
    let Some(mut unknown) = entry.unknown else { return Err(ImpossibleEventError(entry.state)) };
    unknown.lookups += 1;
    Ok(Entry { state: EntryState::NeedsOperator, unknown: Some(unknown), next: None, ..entry })
}

/// Not being able to ask, and not being told, are answers by time.
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

/// A doubt of which no time of day is ahead of the clock. One that is was noted by a wall clock that has been set back since:
/// by that clock no window would pass for as long as it was ahead, so what began then begins again now.
fn not_ahead_of(unknown: UnknownSince, now: Moment) -> UnknownSince {
    let begun = |moment: Moment| if moment.wall > now.wall { now } else { moment };
    UnknownSince {
        last_byte: begun(unknown.last_byte),
        last_absence: unknown.last_absence.map(begun),
        learned: begun(unknown.learned),
        ..unknown
    }
}

/// The entry in the steady time of another boot. How long the machine was down is not known, so every window begins again.
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
            // A person's word is not bound by the age of the call, and takes back what a refusal said.
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
#[path = "machine_tests.rs"]
mod tests;
