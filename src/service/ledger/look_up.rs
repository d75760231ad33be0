//! Looking up what became of mutations whose answer was lost.
//!
//! Each account has a desk at which one task works. Where many entries wait, a search by date comes first (`search`): it
//! finds what Walmart made for a fraction of the calls. What settles an absence is a look-up by number.

use std::time::Duration;

use super::desk::LookupWork;
use super::resolver::Resolver;
use super::sending::in_short;
use super::{InHand, OWN_CALL_TIME, answer};
use crate::crash_point::{CrashPoint, reach};
use crate::domain::account::AccountIndex;
use crate::domain::ledger::evidence::{Evidence, LookupAnswer};
use crate::domain::ledger::machine::{EntryEvent, LookedUpBy};
use crate::domain::ledger::{AlertKind, AuditAlert, Entry, EvidenceKind, LookupRecord};
use crate::domain::moment::Moment;
use crate::domain::mutations::{LookupProbe, SettlementPolicy, settlement_of};
use crate::domain::personal::PersonalTexts;
use crate::pb::GetOrderStatusRequest;
use crate::planted_bug::{PlantedBug, is_planted};
use crate::ports::call::{CallContext, Purpose};
use crate::ports::ledger::{Audit, Ledger};
use crate::ports::upstream::{ErrorKind, UpstreamError, WalmartApi};

/// When a look-up is tried again that could not be made at all.
pub(super) const POSTPONED: Duration = Duration::from_secs(1);
/// A look-up that was postponed for want of a permit is asked so long before there is one, and waits for it then. One that came
/// back only with the permit would find that what became due just before has it, each time anew.
const IN_LINE: Duration = OWN_CALL_TIME.saturating_sub(POSTPONED);
/// From so many look-ups on, one search for all of them comes first.
const WORTH_A_SEARCH: usize = 3;
/// Look-ups by number of one batch. Those that are left wait at the desk with what has become due meanwhile, and a search may
/// serve them: 600 look-ups by number one after the other would take half an hour in which nothing else was tried.
const BATCH: usize = 16;

/// How asking Walmart ended.
pub(super) enum Asked {
    /// Walmart answered.
    Answer(LookupAnswer),
    /// There was no permit in the account's bucket in time; the next one comes after this time.
    NoPermit(Duration),
    /// Walmart limits the account's calls; the same call may pass after this time.
    Limited(Duration, String),
    /// The call failed.
    Failed(String),
    /// The process is to end; nothing was learned.
    Stopping,
}

/// What one look-up told about one entry.
pub(super) struct Told {
    pub(super) evidence: Evidence,
    /// How Walmart was asked.
    pub(super) by: LookedUpBy,
    /// What was asked, for operators.
    pub(super) asked: &'static str,
    /// When. What Walmart tells may be as old as the question.
    pub(super) at: Moment,
}

impl<U: WalmartApi, L: Ledger> Resolver<U, L> {
    /// Hands entries of an account to its desk, and has a task work there.
    pub(super) fn look_up(&self, account: AccountIndex, entries: Vec<Entry>) {
        let held = self.hold(&entries);
        self.desk(account).add(LookupWork { entries, held });
        let this = self.clone();
        self.tasks.spawn(async move { this.work_at_desk(account).await });
    }

    async fn work_at_desk(&self, account: AccountIndex) {
        let Some(mut at_work) = self.desk(account).take() else { return };
        while let Some(work) = at_work.next() {
            let mut entries = Vec::new();
            let mut held = self.hold(&[]);
            for LookupWork { entries: more, held: guard } in work {
                entries.extend(more);
                held.absorb(guard);
            }
            self.look_up_all(account, entries, &mut held).await;
        }
    }

    /// Whether a search by date may spare calls: not soon after one that did not, and not those of entries that no search can
    /// show. Entries that are ripe need a look-up by number each unless the search shows them: one that came to its end a
    /// moment ago would have.
    fn is_worth_a_search(&self, account: AccountIndex, entries: &[Entry]) -> bool {
        let (rules, now) = (self.mutations.rules(), self.mutations.moment());
        let dated = entries.iter().filter(|entry| settlement_of(entry.kind).searchable_from(entry).is_some());
        let ripe: Vec<_> = dated.map(|entry| rules.is_ripe(entry, now)).collect();
        let unripe = ripe.iter().filter(|ripe| !**ripe).count();
        let desk = self.desk(account);
        (unripe >= WORTH_A_SEARCH && !desk.was_searched_in_vain_lately())
            || (ripe.len() >= WORTH_A_SEARCH && !desk.was_searched_lately())
    }

    async fn look_up_all(&self, account: AccountIndex, mut entries: Vec<Entry>, held: &mut InHand) {
        entries.sort_by_key(|entry| (entry.next.map(|next| next.steady), entry.id));
        if self.is_worth_a_search(account, &entries) {
            entries = self.search(account, entries, held).await;
        }
        let left = entries.split_off(entries.len().min(BATCH));
        let mut entries = entries.into_iter();
        while let Some(entry) = entries.next() {
            let settlement = settlement_of(entry.kind);
            let (probe, at) = (settlement.probe(&entry), self.mutations.moment());
            let (wait, error, waits_in_line) = match self.ask(account, &probe, &entry, Purpose::Lookup).await {
                Asked::Answer(answer) => {
                    let evidence = settlement.judge(&entry, &answer);
                    let mut entry = entry;
                    if matches!(evidence, Evidence::Absent(_)) {
                        // Walmart may repeat what the order says when the mutation is sent again, perhaps by another process.
                        entry.snapshot = PersonalTexts::of_answer(&answer.body).beside(entry.snapshot);
                    }
                    let told = Told { evidence, by: LookedUpBy::Number, asked: probe.name(), at };
                    let id = entry.id;
                    self.act_on(entry, settlement, told).await;
                    held.lay_down(id);
                    continue;
                }
                Asked::Failed(error) => {
                    let id = entry.id;
                    let event = if is_planted(PlantedBug::FailedLookUpIsAbsence) {
                        EntryEvent::Absent { by: LookedUpBy::Number, resend: settlement.resend() }
                    } else {
                        EntryEvent::NoEvidence { error }
                    };
                    self.change(entry, event, self.mutations.moment()).await;
                    held.lay_down(id);
                    continue;
                }
                Asked::NoPermit(wait) => (wait, "no permit for a look-up".to_owned(), true),
                Asked::Limited(wait, error) => (wait, error, false),
                Asked::Stopping => {
                    // The next process takes over what is left as it is.
                    std::iter::once(entry).chain(entries).chain(left).for_each(|entry| held.lay_down(entry.id));
                    return;
                }
            };
            // All that are left wait for the same bucket. They come back together, so that a search may serve them.
            let all: Vec<Entry> = std::iter::once(entry).chain(entries).chain(left).collect();
            self.postpone(account, all, wait, &error, waits_in_line, held).await;
            return;
        }
        if !left.is_empty() {
            let stay = self.hold(&left);
            left.iter().for_each(|entry| held.lay_down(entry.id));
            self.desk(account).add(LookupWork { entries: left, held: stay });
        }
    }

    /// No look-up can be made for `wait`. Waiting in line while others of the account are answered is no sign that Walmart
    /// cannot be asked; anything else counts as time passing.
    async fn postpone(
        &self,
        account: AccountIndex,
        entries: Vec<Entry>,
        wait: Duration,
        error: &str,
        waits_in_line: bool,
        held: &mut InHand,
    ) {
        let patience = self.mutations.rules().patience();
        let is_served = waits_in_line && self.desk(account).was_answered_within(patience);
        let now = self.mutations.moment();
        for entry in entries {
            let id = entry.id;
            let patient_for = entry
                .unknown
                .map_or(Duration::ZERO, |unknown| patience.saturating_sub(now.at_most_since(unknown.learned)));
            if is_served {
                self.put_back(id, wait.saturating_sub(IN_LINE).max(POSTPONED));
            } else if !patient_for.is_zero() {
                // No longer than until it has to be said that Walmart cannot be asked.
                self.put_back(id, wait.min(patient_for));
            } else {
                self.change(entry, EntryEvent::NotAsked { error: error.to_owned(), again_in: wait }, now).await;
            }
            held.lay_down(id);
        }
    }

    /// Asks Walmart about an entry.
    pub(super) async fn ask(
        &self,
        account: AccountIndex,
        probe: &LookupProbe,
        entry: &Entry,
        purpose: Purpose,
    ) -> Asked {
        let call = self.mutations.own_call("ledger look-up", Some(entry), purpose);
        self.ask_in(account, &probe.request(), &call.context).await
    }

    /// The same, in a call that is given.
    pub(super) async fn ask_in(
        &self,
        account: AccountIndex,
        request: &GetOrderStatusRequest,
        call: &CallContext,
    ) -> Asked {
        self.mutations.0.metrics.ledger.look_ups.inc();
        let answer = tokio::select! {
            answer = self.mutations.read(account, request, call) => answer,
            () = self.stopping.cancelled() => return Asked::Stopping,
        };
        match answer {
            Ok(reply) => {
                self.desk(account).answered();
                Asked::Answer(reply.answer)
            }
            Err(error) => failed(&error),
        }
    }

    /// What follows from what a look-up told.
    pub(super) async fn act_on(&self, mut entry: Entry, settlement: &dyn SettlementPolicy, told: Told) {
        let id = entry.id;
        let (event, time, copies) = self.judged(&mut entry, settlement, &told);
        reach(CrashPoint::L8);
        self.change(entry, event, time).await;
        if copies > 1 {
            let time = self.mutations.now();
            let alert = AuditAlert { operation: id, kind: AlertKind::Duplicate, time };
            self.raise(Audit { operation: id, time }, Some(alert)).await;
        }
    }

    /// The event that the evidence is, when it happened, and how many orders of the number there are. The entry remembers
    /// the evidence.
    pub(super) fn judged(
        &self,
        entry: &mut Entry,
        settlement: &dyn SettlementPolicy,
        told: &Told,
    ) -> (EntryEvent, Moment, usize) {
        let now = self.mutations.moment();
        let (worth, detail) = worth(&told.evidence);
        entry.evidence =
            Some(LookupRecord { time: told.at.wall, asked: told.asked.to_owned(), worth, detail: detail.clone() });
        match &told.evidence {
            Evidence::Present(presence) => {
                (EntryEvent::Present { answer: answer::seen(entry.correlation_id) }, now, presence.copies)
            }
            // Walmart may have looked as early as the question was asked.
            Evidence::Absent(_) => (EntryEvent::Absent { by: told.by, resend: settlement.resend() }, told.at, 0),
            Evidence::Contradicted(_) => (EntryEvent::Contradicted { error: detail }, now, 0),
            Evidence::Nothing(_) => (EntryEvent::NoEvidence { error: detail }, now, 0),
        }
    }

    /// Applies the event and writes what it made of the entry; where that fails the entry is looked at again.
    async fn change(&self, entry: Entry, event: EntryEvent, time: Moment) {
        let id = entry.id;
        let changed = match self.mutations.after_at(entry, event, time) {
            Ok(entry) => self.mutations.write(&entry).await,
            Err(error) => Err(error),
        };
        if changed.is_err() {
            self.put_back(id, POSTPONED);
        }
    }
}

/// The value of evidence, and its proof or reason in words.
pub(super) fn worth(evidence: &Evidence) -> (EvidenceKind, String) {
    match evidence {
        Evidence::Present(presence) => (EvidenceKind::Present, format!("orders of this number: {}", presence.copies)),
        Evidence::Absent(proof) => (EvidenceKind::Absent, proof.to_string()),
        Evidence::Contradicted(contradiction) => (EvidenceKind::Contradicted, contradiction.to_string()),
        Evidence::Nothing(reason) => (EvidenceKind::Nothing, reason.to_string()),
    }
}

/// What a failed look-up says.
pub(super) fn failed(error: &UpstreamError) -> Asked {
    let wait = || error.retry_after.unwrap_or(POSTPONED).max(POSTPONED);
    match error.kind {
        // Refused by the account's own bucket, or by the gateway's limit of calls: Walmart was not asked.
        ErrorKind::RateLimited | ErrorKind::Overloaded | ErrorKind::DeadlineExceeded if error.http_status == 0 => {
            Asked::NoPermit(wait())
        }
        ErrorKind::RateLimited => Asked::Limited(wait(), in_short(error)),
        _ => Asked::Failed(in_short(error)),
    }
}
