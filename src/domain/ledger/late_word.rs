//! Walmart's answer to an attempt, when another process has taken the entry over meanwhile.
//!
//! A process whose lease ran out may still be waiting for Walmart. What it hears then is evidence about its attempt, and
//! the only evidence where no look-up can tell. The answer counts while the attempt is the last one; against a later
//! attempt it is no reason to do anything, except to tell that the mutation may have been carried out twice.

use super::machine::{self, EntryEvent, ImpossibleEventError, LedgerRules};
use super::{AlertKind, Entry, EntryState, LaterRefusal};
use crate::domain::moment::{BootId, Moment};

/// What becomes of an answer that came late.
#[derive(Clone, Debug, PartialEq)]
pub enum LateWord {
    /// The entry after the answer.
    Counts(Box<Entry>),
    /// The ledger stands, and operators have to know.
    Alert(AlertKind),
    /// The ledger stands.
    Stands,
}

/// Judges `word`, the answer to the attempt that sent the entry as `sent`, for the entry as it is stored now. `boot` is the
/// one in which `now` is measured.
///
/// # Errors
/// `sent` is not being sent.
pub fn judge(
    stored: Entry,
    sent: &Entry,
    word: EntryEvent,
    now: Moment,
    boot: BootId,
    rules: &LedgerRules,
) -> Result<LateWord, ImpossibleEventError> {
    if sent.state != EntryState::Sending {
        return Err(ImpossibleEventError(sent.state));
    }
    let accepted = matches!(word, EntryEvent::Accepted { .. });
    if stored.attempts > sent.attempts {
        // The attempt was given up, and another was made.
        return Ok(if accepted { LateWord::Alert(AlertKind::Duplicate) } else { LateWord::Stands });
    }
    match (stored.state, &word) {
        (_, EntryEvent::Lost { .. }) => Ok(LateWord::Stands),
        // Given up and not yet sent again: the acceptance keeps it from being sent again.
        (EntryState::Recorded, EntryEvent::Accepted { .. })
        | (
            EntryState::Unknown | EntryState::NeedsOperator,
            EntryEvent::Accepted { .. } | EntryEvent::Refused { .. } | EntryEvent::NotSent { .. },
        ) => {
            let stored = machine::in_boot(stored, boot, now);
            let entry = machine::apply(as_sent(stored, sent), word, now, rules)?;
            Ok(LateWord::Counts(Box::new(entry)))
        }
        (EntryState::Rejected | EntryState::NotSent | EntryState::Expired, _) if accepted => {
            Ok(LateWord::Alert(AlertKind::LateEffect))
        }
        _ => Ok(LateWord::Stands),
    }
}

/// Returns the stored entry in the state that it had when the attempt was sent, before another process took it over. Knowledge
/// about earlier attempts is that of the sending. An answer of Walmart that the order number is taken is kept.
fn as_sent(stored: Entry, sent: &Entry) -> Entry {
    let says_present = stored.says_present();
    let mut unknown = sent.unknown;
    if says_present {
        unknown = unknown.or(stored.unknown);
        if let Some(unknown) = unknown.as_mut() {
            unknown.refusal = LaterRefusal::SaysPresent;
        }
    }
    let last_error = sent.last_error.clone();
    Entry { state: EntryState::Sending, attempts: sent.attempts, unknown, next: None, last_error, ..stored }
}
