//! I11 and I12: an event is with one consumer at a time, and so is a key; what is settled stays settled, and a lease that
//! was lost settles nothing.
//!
//! Pure: everything known of a subscription goes in; what must not be comes out, in words.

use std::collections::{BTreeMap, BTreeSet};

use order_gateway::pb::{DeliveryCause, SettleOutcome, SubscriptionMode};

use super::book::{Book, Generation, Loan, Story, Subject, Verdict};
use super::history::{Micros, Said, What};

/// How far below the floor the gateway may have forgotten how an event was settled.
const FORGOTTEN: u64 = 10_000;
/// Attempts that consumers make up: nothing is ever tried so often.
pub(crate) const MADE_UP: u32 = 1_000_000;

/// Everything that must not be.
pub(crate) fn violations(subject: &Subject<'_>, book: &Book) -> Vec<String> {
    let mut found = Vec::new();
    let last = book.generations.last_key_value().map_or(0, |(number, _)| *number);
    for (number, generation) in &book.generations {
        let (number, start) = (*number, generation.start);
        let is_past = subject.ending.is_none() || number < last;
        for (seq, story) in &generation.events {
            let event = OneEvent { subject, generation: number, start, seq: *seq, story, is_past };
            let checks = [event.is_wanted(), event.is_lent_once(), event.stays_settled(), event.answers_are_true()];
            found.extend(checks.into_iter().flatten());
        }
        found.extend(match subject.shared.mode {
            SubscriptionMode::KeyOrdered => keys_in_order(subject, generation),
            SubscriptionMode::Exclusive => all_in_order(generation),
            _ => Vec::new(),
        });
    }
    found.extend(lent_while_paused(subject, book));
    found
}

/// An event in a generation.
struct OneEvent<'a> {
    subject: &'a Subject<'a>,
    generation: u64,
    start: u64,
    seq: u64,
    story: &'a Story,
    /// The generation is over.
    is_past: bool,
}

impl OneEvent<'_> {
    fn is_wanted(&self) -> Vec<String> {
        let wanted = self.seq > self.start && self.subject.wanted.binary_search(&self.seq).is_ok();
        if wanted || self.story.loans.is_empty() {
            return Vec::new();
        }
        vec![format!("I10: event {} came, and is not wanted after {}", self.seq, self.start)]
    }

    /// I11: one live lease at a time.
    fn is_lent_once(&self) -> Vec<String> {
        let loans = &self.story.loans;
        let mut found = Vec::new();
        for (n, loan) in loans.iter().enumerate() {
            let lease = loan.lease;
            if (lease.attempt == 1) != (loan.cause == DeliveryCause::First) {
                found.push(format!("I11: {lease} came for {}", loan.cause.as_str_name()));
            }
            let Some(next) = loans.get(n + 1) else { continue };
            if next.lease == lease {
                found.push(format!("I11: {lease} came twice"));
            } else if let Some(early) = loans[n + 1..].iter().find(|later| later.at < loan.until) {
                let by = (loan.until - early.at) / 1000;
                found.push(format!("I11: {} came {by} ms before {lease} can have ended", early.lease));
            }
        }
        found
    }

    /// I12: what was acknowledged never comes again, what was parked only after an operator wanted it.
    fn stays_settled(&self) -> Vec<String> {
        let mut found = Vec::new();
        for verdict in self.story.verdicts.iter().filter(|verdict| verdict.holds()) {
            let again = self.story.loans.iter().find(|loan| loan.lease.attempt > verdict.lease.attempt);
            match (verdict.said, again) {
                (Said::Ack, Some(again)) => {
                    found.push(format!("I12: {} was acknowledged, and {} came", verdict.lease, again.lease));
                }
                (Said::Park, Some(again)) if !self.may_be_redriven(verdict, again.at) => {
                    found.push(format!("I12: {} was parked, and {} came", verdict.lease, again.lease));
                }
                _ => {}
            }
        }
        found
    }

    fn may_be_redriven(&self, parked: &Verdict, before: Micros) -> bool {
        self.subject.operations.iter().any(|operation| {
            let here = match &operation.what {
                What::Redrive(None) => true,
                What::Redrive(Some(seqs)) => seqs.contains(&self.seq),
                _ => false,
            };
            // Without an answer it may take effect later.
            here && operation.begun < before && (operation.told.is_none() || operation.ended > parked.begun)
        })
    }

    /// I12: each result is what happened to the lease.
    fn answers_are_true(&self) -> Vec<String> {
        let verdicts = &self.story.verdicts;
        let mut found = Vec::new();
        for (n, verdict) in verdicts.iter().enumerate() {
            let (lease, said) = (verdict.lease, verdict.said);
            let untrue = match verdict.outcome {
                Some(SettleOutcome::Applied) => self.not_applicable(verdict, &verdicts[..n]),
                Some(SettleOutcome::AlreadyApplied) => self.never_applied(n),
                Some(SettleOutcome::LeaseLost) => (!self.may_be_lost(n)).then(|| "the lease cannot be lost".to_owned()),
                Some(SettleOutcome::StaleGeneration) => {
                    (!self.may_be_stale(verdict)).then(|| "nobody moved the subscription".to_owned())
                }
                Some(SettleOutcome::UnknownLease) => {
                    let given = self.story.loans.iter().any(|loan| loan.lease == lease && loan.at < verdict.begun);
                    given.then(|| "the lease was given".to_owned())
                }
                Some(SettleOutcome::Unspecified) => Some("that says nothing".to_owned()),
                None => None,
            };
            if let (Some(why), Some(outcome)) = (untrue, verdict.outcome) {
                found.push(format!("I12: {said:?} of {lease} was answered {}: {why}", outcome.as_str_name()));
            }
        }
        found
    }

    fn not_applicable(&self, verdict: &Verdict, earlier: &[Verdict]) -> Option<String> {
        let lease = verdict.lease;
        if lease.attempt >= MADE_UP {
            return Some("no such lease was ever given".to_owned());
        }
        let since = self.story.loans.iter().find(|loan| loan.lease.attempt > lease.attempt && loan.at < verdict.begun);
        if let Some(since) = since {
            return Some(format!("{} had come before", since.lease));
        }
        if self.moved(|_, ended| ended < verdict.begun) {
            return Some("the subscription had been moved before".to_owned());
        }
        let other = earlier.iter().find(|other| {
            let both_end = verdict.said.ends() && other.said.ends() && other.outcome == Some(SettleOutcome::Applied);
            // An acknowledgement may follow anything but another one. Of calls at the same time the one that was sent
            // first may be the one that was carried out last.
            let acks = (verdict.said == Said::Ack, other.said == Said::Ack);
            let excused = acks == (true, false) || acks == (false, true) && other.ended >= verdict.begun;
            other.lease == lease && both_end && !excused
        });
        other.map(|other| format!("{:?} of the same lease was applied as well", other.said))
    }

    fn never_applied(&self, n: usize) -> Option<String> {
        let verdict = &self.story.verdicts[n];
        let said_before = self.story.verdicts.iter().enumerate().any(|(other, earlier)| {
            other != n
                && earlier.lease == verdict.lease
                && std::mem::discriminant(&earlier.said) == std::mem::discriminant(&verdict.said)
                && earlier.begun <= verdict.ended
                && earlier.may_hold()
        });
        let forgotten = verdict.said == Said::Ack && self.seq + FORGOTTEN < verdict.floor;
        // The end of a stream may have given it back.
        let given_back = verdict.said == Said::Release && self.may_be_given_back(verdict);
        (!said_before && !forgotten && !given_back).then(|| "nobody had said so before".to_owned())
    }

    /// Whether somebody else may have got the event, or the loan may have been ended by another verdict.
    fn may_be_lost(&self, n: usize) -> bool {
        let verdict = &self.story.verdicts[n];
        let lease = verdict.lease;
        let ended_otherwise = self.story.verdicts.iter().enumerate().any(|(other, earlier)| {
            other != n
                && earlier.lease == lease
                && earlier.said.ends()
                && earlier.may_hold()
                && earlier.begun <= verdict.ended
        });
        // An acknowledgement is good as long as nobody else got the event, everything else as long as the lease.
        let needs_life = verdict.said != Said::Ack;
        let loan = self.story.loans.iter().find(|loan| loan.lease == lease);
        let over = needs_life && loan.is_none_or(|loan| loan.expires <= verdict.ended);
        // Somebody may have been given it whom nobody has heard of since.
        ended_otherwise
            || self.is_past
            || over
            || self.may_be_given_back(verdict)
            || self.story.attempts > lease.attempt
            || self.story.may_be_used_up(self.subject, self.seq)
    }

    /// Whether its consumer may have given it back otherwise.
    fn may_be_given_back(&self, verdict: &Verdict) -> bool {
        let loan = self.story.loans.iter().find(|loan| loan.lease == verdict.lease);
        loan.is_none_or(|loan| loan.given_back.is_some_and(|at| at < verdict.ended))
    }

    fn may_be_stale(&self, verdict: &Verdict) -> bool {
        self.moved(|begun, _| begun < verdict.ended)
    }

    /// Whether there was a seek, to a later generation than this, at such a time.
    fn moved(&self, when: impl Fn(Micros, Micros) -> bool) -> bool {
        let mut begun = None;
        self.subject.operations.iter().any(|operation| {
            let What::Seek(_) = operation.what else { return false };
            // A seek that was not answered is repeated, and may be the one that took effect.
            let from = *begun.get_or_insert(operation.begun);
            let Some(told) = &operation.told else { return false };
            begun = None;
            told.generation > self.generation && when(from, operation.ended)
        })
    }
}

/// I11 in KEY_ORDERED: one live lease per key, and none before all earlier events of the key are settled.
fn keys_in_order(subject: &Subject<'_>, generation: &Generation) -> Vec<String> {
    let mut keys: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    let after = subject.wanted.partition_point(|seq| *seq <= generation.start);
    for seq in &subject.wanted[after..] {
        if let Some(entry) = subject.log.get(*seq).filter(|entry| !entry.facts.key.is_empty()) {
            keys.entry(&entry.facts.key).or_default().push(*seq);
        }
    }
    let mut found = Vec::new();
    for seqs in keys.values() {
        let stories = || seqs.iter().filter_map(|seq| Some((*seq, generation.events.get(seq)?)));
        let mut loans: Vec<&Loan> = stories().flat_map(|(_, story)| &story.loans).collect();
        loans.sort_by_key(|loan| loan.at);
        found.extend(overlapping(&loans, |one, other| one.lease.seq != other.lease.seq));
        // The latest moment at which all events so far can have been settled at the earliest, and by which one.
        let mut settled = (Micros::MIN, 0);
        for seq in seqs {
            let story = generation.events.get(seq);
            let early = story.and_then(|story| story.loans.iter().find(|loan| loan.at < settled.0));
            if let Some(early) = early {
                found.push(format!(
                    "I11: {} came before event {} of its key can have been settled",
                    early.lease, settled.1
                ));
            }
            let mine = story.and_then(|story| story.settled_from(subject, *seq)).unwrap_or(Micros::MAX);
            settled = settled.max((mine, *seq));
        }
    }
    found
}

/// I11 in EXCLUSIVE: one consumer at a time; what is tried again holds up all that is later.
fn all_in_order(generation: &Generation) -> Vec<String> {
    let mut loans: Vec<&Loan> = generation.events.values().flat_map(|story| &story.loans).collect();
    loans.sort_by_key(|loan| loan.at);
    let mut found = overlapping(&loans, |one, other| one.consumer != other.consumer);
    let mut first: BTreeMap<usize, u64> = BTreeMap::new();
    for loan in loans.iter().filter(|loan| loan.cause == DeliveryCause::First) {
        let last = first.entry(0).or_default();
        if loan.lease.seq < *last {
            found.push(format!("I11: {} came after event {last}", loan.lease));
        }
        *last = loan.lease.seq.max(*last);
    }
    for story in generation.events.values() {
        for verdict in story.verdicts.iter().filter(|verdict| verdict.outcome == Some(SettleOutcome::Applied)) {
            let lease = verdict.lease;
            let next = story.loans.iter().find(|loan| loan.lease.attempt == lease.attempt + 1);
            let (Said::Retry(_) | Said::Release, Some(next)) = (verdict.said, next) else { continue };
            let later =
                |loan: &&&Loan| loan.lease.seq > lease.seq && loan.given > verdict.ended && loan.at < next.given;
            if let Some(later) = loans.iter().find(later) {
                found.push(format!("I11: {} came while event {} waited", later.lease, lease.seq));
            }
        }
    }
    found
}

/// Loans, by the time at which they came, that began while another was surely alive.
fn overlapping(loans: &[&Loan], apart: impl Fn(&Loan, &Loan) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    let mut alive: Vec<&Loan> = Vec::new();
    for loan in loans {
        alive.retain(|other| other.until > loan.at);
        if let Some(other) = alive.iter().find(|other| apart(other, loan)) {
            let by = (other.until - loan.at) / 1000;
            found.push(format!("I11: {} came {by} ms before {} can have ended", loan.lease, other.lease));
        }
        alive.push(loan);
    }
    found
}

/// Nothing is given out between a pause and its end.
fn lent_while_paused(subject: &Subject<'_>, book: &Book) -> Vec<String> {
    let mut pauses = Vec::new();
    let mut since = None;
    for operation in &subject.operations {
        match operation.what {
            What::Pause if operation.told.is_some() => since = Some(operation.ended),
            What::Resume => pauses.extend(since.take().map(|since| (since, operation.begun))),
            _ => {}
        }
    }
    let loans =
        book.generations.values().flat_map(|generation| generation.events.values()).flat_map(|story| &story.loans);
    let paused = |loan: &&Loan| pauses.iter().any(|(since, until)| loan.given > *since && loan.at < *until);
    let leases: BTreeSet<_> = loans.filter(paused).map(|loan| loan.lease).collect();
    leases.into_iter().map(|lease| format!("I11: {lease} came while the subscription was paused")).collect()
}

#[cfg(test)]
#[path = "leases_check_tests.rs"]
mod tests;
