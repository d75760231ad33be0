//! How an entry changes: entry, event and time in; entry out. Nothing else decides about states.

use std::time::Duration;

use bytes::Bytes;

use super::{Doubt, Entry, State};
use crate::domain::effect::Effect;
use crate::domain::timestamp::Timestamp;

/// Absences that settle a doubt. Source: the resolve rule of the design.
const ABSENCES: u32 = 3;
/// Longest time between two look-ups.
const LONGEST_REPEAT: Duration = Duration::from_secs(5 * 60);
/// When what was sent again, or given up, is looked at once more.
const AUDITS: [Duration; 3] =
    [Duration::from_secs(5 * 60), Duration::from_secs(60 * 60), Duration::from_secs(24 * 60 * 60)];

/// The settings of `[ledger]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How long Walmart may take to show what it was sent.
    pub settle_window: Duration,
    /// When Walmart is asked, counted from the moment the outcome became unknown. Rising, at least one.
    pub lookup_delays: Vec<Duration>,
    /// Age of a call after which nothing of it is sent.
    pub not_after: Duration,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// It is handed to the upstream stack next.
    Send,
    /// Walmart accepted it.
    Accepted {
        /// What the caller is answered.
        answer: Vec<u8>,
    },
    /// Walmart refused it, for good.
    Refused {
        /// What the caller is answered.
        answer: Vec<u8>,
        /// In short, for operators.
        error: String,
        /// Whether the reason is that Walmart has such an order already.
        duplicate: bool,
    },
    /// It certainly was not carried out, for a reason that may pass.
    NotSent {
        /// What the caller is answered, if it ends here.
        answer: Vec<u8>,
        /// In short, for operators.
        error: String,
        /// `Some`: nobody was told that it ended, so it is tried again after this time. `None`: the caller is told no.
        again_in: Option<Duration>,
    },
    /// It may have been carried out.
    Lost {
        /// In short, for operators.
        error: String,
    },
    /// The process that worked on it is gone.
    TakenOver,
    /// Walmart shows that it was carried out.
    Found {
        /// What the caller is answered.
        answer: Vec<u8>,
    },
    /// Walmart shows nothing of it.
    Absent,
    /// A look-up told nothing.
    NoAnswer {
        /// In short, for operators.
        error: String,
    },
    /// An operator decided.
    Resolved {
        /// What.
        verdict: Verdict,
        /// Why, in the operator's words.
        reason: String,
        /// What the caller is answered, when that ends it.
        answer: Vec<u8>,
    },
    /// It waited to be sent until it was too late for that.
    TimeUp,
}

/// What an operator can decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was carried out.
    Succeeded,
    /// It was not, and shall not be.
    Rejected,
    /// It was not, and shall be sent again.
    Resend,
}

/// The event cannot happen in this state; nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not possible in state {0:?}")]
pub struct Impossible(pub State);

/// The entry after the event. An answer, an effect and a state that were final stay as they are: every event is
/// [`Impossible`] then. The fence is left to the store.
pub fn apply(mut entry: Entry, event: Event, now: Timestamp, rules: &Rules) -> Result<Entry, Impossible> {
    use State::{NeedsOperator, Recorded, Sending, Unknown};
    entry.updated = now;
    let entry = match (entry.state, event) {
        (Recorded, Event::Send) if now <= entry.not_after => {
            entry.attempts += 1;
            Entry { state: Sending, effect: Effect::Unknown, next: None, ..entry }
        }
        (Recorded, Event::TimeUp) if now > entry.not_after => expired(entry),
        (Recorded, Event::TakenOver) => Entry { next: Some(now), ..entry },

        (Sending, Event::Accepted { answer }) => closed(entry, State::Succeeded, Effect::Applied, answer),
        // It may well be ours: an earlier attempt's effect, showing late.
        (Sending, Event::Refused { error, duplicate: true, .. }) if entry.doubt.is_some() => {
            in_doubt(entry, error, now, rules)
        }
        (Sending, Event::Refused { answer, error, .. }) => {
            Entry { last_error: error, ..closed(entry, State::Rejected, Effect::None, answer) }
        }
        (Sending, Event::NotSent { answer, error, again_in }) => {
            entry.last_error = error;
            not_sent(entry, answer, again_in, now)
        }
        (Sending, Event::Lost { error }) => in_doubt(entry, error, now, rules),
        (Sending, Event::TakenOver) => in_doubt(entry, "the process ended".into(), now, rules),

        (Unknown | NeedsOperator, Event::Found { answer }) => closed(entry, State::Succeeded, Effect::Applied, answer),
        (Unknown | NeedsOperator, Event::Absent) => absent(entry, now, rules)?,
        (Unknown | NeedsOperator, Event::NoAnswer { error }) => {
            entry.last_error = error;
            unanswered(entry, now, rules)?
        }
        (Unknown | NeedsOperator, Event::TakenOver) => {
            let due = entry.next.map_or(now, |next| next.max(now));
            Entry { next: Some(due), ..entry }
        }

        (Recorded | Unknown | NeedsOperator, Event::Resolved { verdict, reason, answer }) => {
            entry.resolution = reason;
            resolved(entry, verdict, answer, now, rules)
        }
        (state, _) => return Err(Impossible(state)),
    };
    Ok(entry)
}

/// When a final entry is looked at once more, because an attempt that was given up may still show.
pub fn audits(entry: &Entry) -> Vec<Timestamp> {
    let may_show = match entry.state {
        State::Expired => true,
        // Refused when it was sent again, or by an operator.
        State::Rejected => entry.doubt.is_some(),
        State::Succeeded => entry.doubt.is_some() && entry.attempts > 1,
        _ => false,
    };
    if may_show { AUDITS.iter().map(|after| entry.updated.plus(*after)).collect() } else { Vec::new() }
}

impl Rules {
    /// Time between look-ups after the last planned one.
    fn repeat(&self) -> Duration {
        self.last_delay().max(self.settle_window.mul_f64(2.5)).min(LONGEST_REPEAT)
    }

    fn last_delay(&self) -> Duration {
        self.lookup_delays.last().copied().unwrap_or_default()
    }

    /// The look-up after `now`.
    fn next_lookup(&self, since: Timestamp, now: Timestamp) -> Timestamp {
        let planned = self.lookup_delays.iter().map(|delay| since.plus(*delay)).find(|time| *time > now);
        planned.unwrap_or_else(|| now.plus(self.repeat()))
    }
}

fn closed(entry: Entry, state: State, effect: Effect, answer: Vec<u8>) -> Entry {
    Entry { state, effect, answer: answer.into(), next: None, body: Bytes::new(), snapshot: Vec::new(), ..entry }
}

/// The caller's answer follows from the state, so none is kept.
fn expired(entry: Entry) -> Entry {
    closed(entry, State::Expired, Effect::None, Vec::new())
}

fn not_sent(entry: Entry, answer: Vec<u8>, again_in: Option<Duration>, now: Timestamp) -> Entry {
    match again_in {
        Some(wait) if now.plus(wait) <= entry.not_after => {
            Entry { state: State::Recorded, effect: Effect::None, next: Some(now.plus(wait)), ..entry }
        }
        None if entry.doubt.is_none() => closed(entry, State::NotSent, Effect::None, answer),
        Some(_) | None => expired(entry),
    }
}

fn in_doubt(entry: Entry, error: String, now: Timestamp, rules: &Rules) -> Entry {
    let doubt = Doubt { since: now, last_byte: now, lookups: 0, absences: 0, last_absence: None };
    Entry {
        state: State::Unknown,
        effect: Effect::Unknown,
        doubt: Some(doubt),
        next: Some(rules.next_lookup(now, now)),
        last_error: error,
        ..entry
    }
}

/// The resolve rule: absent often enough, at times far enough apart, and long enough after the last byte.
fn absent(entry: Entry, now: Timestamp, rules: &Rules) -> Result<Entry, Impossible> {
    let Some(mut doubt) = entry.doubt else { return Err(Impossible(entry.state)) };
    doubt.lookups += 1;
    if doubt.last_absence.is_none_or(|last| now.since(last) >= rules.settle_window / 8) {
        doubt.absences += 1;
        doubt.last_absence = Some(now);
    }
    let settled = doubt.absences >= ABSENCES
        && doubt.last_absence == Some(now)
        && now.since(doubt.last_byte) >= rules.settle_window;
    let entry = Entry { doubt: Some(doubt), ..entry };
    Ok(if !settled {
        Entry { state: State::Unknown, next: Some(rules.next_lookup(doubt.since, now)), ..entry }
    } else if now <= entry.not_after {
        Entry { state: State::Recorded, effect: Effect::None, next: Some(now), ..entry }
    } else {
        expired(entry)
    })
}

fn unanswered(entry: Entry, now: Timestamp, rules: &Rules) -> Result<Entry, Impossible> {
    let Some(mut doubt) = entry.doubt else { return Err(Impossible(entry.state)) };
    doubt.lookups += 1;
    let given_up = now.since(doubt.since) >= rules.last_delay().max(rules.settle_window);
    let state = if given_up { State::NeedsOperator } else { entry.state };
    Ok(Entry { state, doubt: Some(doubt), next: Some(rules.next_lookup(doubt.since, now)), ..entry })
}

fn resolved(entry: Entry, verdict: Verdict, answer: Vec<u8>, now: Timestamp, rules: &Rules) -> Entry {
    match verdict {
        Verdict::Succeeded => closed(entry, State::Succeeded, Effect::Applied, answer),
        Verdict::Rejected => closed(entry, State::Rejected, Effect::None, answer),
        Verdict::Resend => {
            let not_after = now.plus(rules.not_after);
            Entry { state: State::Recorded, effect: Effect::None, next: Some(now), not_after, ..entry }
        }
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
