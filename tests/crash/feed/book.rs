//! All that consumers and operators of one subscription saw, put in order: by generation, event and loan.
//!
//! What consumers know of a loan has limits: when it was received, not when it was given; when a verdict was sent and when
//! its answer came, not when it took effect; of an answer that was lost, nothing. The times kept here are those that are
//! certain, so that what the checks find cannot have been otherwise.

use std::collections::{BTreeMap, HashMap};

use order_gateway::pb::{DeliveryCause, SettleOutcome};

use super::history::{Consumer, Frame, Lease, Micros, Operation, Said, Settle, Settled, State, Stream, What};
use super::log::Log;
use super::plan::Shared;

/// One subscription, from its making to its deletion or the end of the run.
pub(crate) struct Subject<'a> {
    /// What was asked for.
    pub shared: &'a Shared,
    /// The log.
    pub log: &'a Log,
    /// Positions that it wants, in order.
    pub wanted: &'a [u64],
    /// Streams of its consumers.
    pub streams: Vec<&'a Stream<Consumer>>,
    /// Their verdicts.
    pub settles: Vec<&'a Settle>,
    /// What operators did, in order.
    pub operations: Vec<&'a Operation>,
    /// How it is in the end, if it was not deleted.
    pub ending: Option<Ending>,
}

/// The end of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ending {
    /// The state, read after the list of parked events.
    pub state: State,
    /// Parked events, with their attempts.
    pub parked: BTreeMap<u64, u32>,
    /// When the list of parked events was asked for.
    pub listed: Micros,
}

/// A subject's generations.
#[derive(Default)]
pub(crate) struct Book {
    /// By number.
    pub generations: BTreeMap<u64, Generation>,
}

/// From one seek to the next.
#[derive(Default)]
pub(crate) struct Generation {
    /// It begins after this position.
    pub start: u64,
    /// All that is known, by event.
    pub events: BTreeMap<u64, Story>,
}

/// What became of an event in a generation.
#[derive(Default)]
pub(crate) struct Story {
    /// Each time that it was received, by attempt.
    pub loans: Vec<Loan>,
    /// What was said of it, by the time at which that was sent.
    pub verdicts: Vec<Verdict>,
    /// The most attempts that anybody was told of.
    pub attempts: u32,
}

/// An event that a consumer received.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Loan {
    /// Names it.
    pub lease: Lease,
    /// Who.
    pub consumer: usize,
    /// When it was given, as the gateway says; in whole milliseconds, not later than it was.
    pub given: Micros,
    /// When it was received.
    pub at: Micros,
    /// Up to here it is certain that nobody else may have the event.
    pub until: Micros,
    /// Its end as it was told with the delivery.
    pub expires: Micros,
    /// When its consumer may have given back all that it had.
    pub given_back: Option<Micros>,
    /// Why it came.
    pub cause: DeliveryCause,
}

/// What was said of a loan, and answered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verdict {
    /// Which loan.
    pub lease: Lease,
    /// What.
    pub said: Said,
    /// Before it was sent.
    pub begun: Micros,
    /// After the answer.
    pub ended: Micros,
    /// None: no answer.
    pub outcome: Option<SettleOutcome>,
    /// Of an extension that was applied.
    pub extended: Micros,
    /// The floor that came with the answer.
    pub floor: u64,
}

impl Verdict {
    /// Whether the gateway says that it took effect, now or before.
    pub(crate) fn holds(&self) -> bool {
        matches!(self.outcome, Some(SettleOutcome::Applied | SettleOutcome::AlreadyApplied))
    }

    /// Whether it may have taken effect.
    pub(crate) fn may_hold(&self) -> bool {
        self.outcome.is_none() || self.holds()
    }

    /// Whether it would settle the event.
    pub(crate) fn settles(&self) -> bool {
        matches!(self.said, Said::Ack | Said::Park)
    }
}

impl Story {
    /// When the event can have been settled at the earliest.
    pub(crate) fn settled_from(&self, subject: &Subject<'_>, seq: u64) -> Option<Micros> {
        if self.may_be_used_up(subject, seq) {
            return Some(Micros::MIN);
        }
        let said = self.verdicts.iter().filter(|verdict| verdict.settles() && verdict.may_hold());
        said.map(|verdict| verdict.begun).min()
    }

    /// Whether it may have been parked because its attempts were used up.
    pub(crate) fn may_be_used_up(&self, subject: &Subject<'_>, seq: u64) -> bool {
        let most = subject.shared.max_attempts;
        let listed = subject.ending.as_ref().and_then(|ending| ending.parked.get(&seq)).copied().unwrap_or_default();
        most != 0 && self.attempts.max(listed) >= most
    }
}

impl Book {
    /// Puts everything in order. What does not fit anywhere is told.
    pub(crate) fn new(subject: &Subject<'_>) -> (Self, Vec<String>) {
        let mut book = Self::default();
        let mut found = Vec::new();
        for (generation, start) in starts(&subject.operations) {
            book.generations.insert(generation, Generation { start, events: BTreeMap::new() });
        }
        for stream in &subject.streams {
            let Some(opened) = &stream.opened else { continue };
            for lease in &opened.held {
                let story = book.story(*lease);
                story.attempts = story.attempts.max(lease.attempt);
            }
            for (at, frame) in &stream.frames {
                let Frame::Delivery { lease, expires, cause, content } = frame else { continue };
                if lease.generation != opened.generation || content.seq != lease.seq {
                    found.push(format!(
                        "I11: {lease} came in generation {} with event {}",
                        opened.generation, content.seq
                    ));
                }
                let (consumer, given) = (stream.asked.consumer, expires - opened.lease);
                let (lease, cause, expires, at) = (*lease, *cause, *expires, *at);
                let loan = Loan { lease, consumer, given, at, until: expires, expires, given_back: None, cause };
                book.story(lease).loans.push(loan);
            }
        }
        for settle in &subject.settles {
            for (n, (lease, said)) in settle.said.iter().enumerate() {
                let told = settle.told.as_ref();
                let result = told.and_then(|told: &Settled| told.results.get(n)).copied();
                book.story(*lease).verdicts.push(Verdict {
                    lease: *lease,
                    said: *said,
                    begun: settle.begun,
                    ended: settle.ended,
                    outcome: result.map(|(outcome, _)| outcome),
                    extended: result.map_or(0, |(_, until)| until),
                    floor: told.map_or(0, |told| told.floor),
                });
            }
        }
        let endings = endings(&subject.streams);
        for story in book.generations.values_mut().flat_map(|generation| generation.events.values_mut()) {
            story.sort(&endings);
        }
        (book, found)
    }

    fn story(&mut self, lease: Lease) -> &mut Story {
        self.generations.entry(lease.generation).or_default().events.entry(lease.seq).or_default()
    }
}

impl Story {
    fn sort(&mut self, endings: &HashMap<usize, Vec<Micros>>) {
        self.loans.sort_by_key(|loan| loan.lease.attempt);
        self.verdicts.sort_by_key(|verdict| verdict.begun);
        let seen = self.loans.last().map_or(0, |loan| loan.lease.attempt);
        self.attempts = self.attempts.max(seen);
        for loan in &mut self.loans {
            let said = self.verdicts.iter().filter(|verdict| verdict.lease == loan.lease);
            let extended = said.clone().filter(|verdict| verdict.holds()).map(|verdict| verdict.extended).max();
            let settled = said.filter(|verdict| verdict.said.ends()).map(|verdict| verdict.begun).min();
            loan.given_back = endings.get(&loan.consumer).into_iter().flatten().find(|end| **end >= loan.at).copied();
            let until = loan.expires.max(extended.unwrap_or_default());
            loan.until = until.min(settled.unwrap_or(Micros::MAX)).min(loan.given_back.unwrap_or(Micros::MAX));
        }
    }
}

/// For each consumer, when it may have given back all that it had, in order: streams that release end, streams that reclaim
/// begin.
fn endings(streams: &[&Stream<Consumer>]) -> HashMap<usize, Vec<Micros>> {
    let mut endings: HashMap<usize, Vec<Micros>> = HashMap::new();
    for stream in streams {
        let mine = endings.entry(stream.asked.consumer).or_default();
        if stream.asked.releases {
            mine.push(stream.last_seen());
        }
        if stream.asked.reclaims {
            mine.push(stream.requested);
        }
    }
    endings.values_mut().for_each(|times| times.sort_unstable());
    endings
}

/// After which position each generation begins. One operator moves a subscription, and repeats a seek until it is answered:
/// all generations that come up by then begin at the same place.
fn starts(operations: &[&Operation]) -> BTreeMap<u64, u64> {
    let mut starts = BTreeMap::new();
    let mut last = 0;
    for operation in operations {
        let (What::Make(start) | What::Seek(start)) = operation.what else { continue };
        let Some(told) = &operation.told else { continue };
        for generation in last + 1..=told.generation {
            starts.insert(generation, start);
        }
        last = last.max(told.generation);
    }
    starts
}
