//! Look-ups of mutations with an unknown outcome.
//!
//! Every account has a desk at which one task works. When many entries wait, a search by date comes first (`search`),
//! which finds existing orders for a fraction of the calls. Only a look-up by number settles absence.

use std::time::Duration;

use super::desk::LookupWork;
use super::resolver::Resolver;
use super::sending::in_short;
use super::{DeskId, OWN_CALL_TIME, POSTPONED, WorkGuard, answer};
use crate::crash_point::{CrashPoint, reach};
use crate::domain::account::AccountIndex;
use crate::domain::ledger::evidence::{Evidence, LookupAnswer};
use crate::domain::ledger::machine::{EntryEvent, LookedUpBy};
use crate::domain::ledger::{AlertKind, AuditAlert, Entry, EvidenceKind, LookupRecord};
use crate::domain::moment::Moment;
use crate::domain::mutations::{LookupProbe, SettlementPolicy, settlement_of};
use crate::planted_bug::{PlantedBug, is_planted};
use crate::ports::call::{CallContext, CallPurpose};
use crate::ports::ledger::{Ledger, PlannedAudit};
use crate::ports::upstream::{ErrorKind, UpstreamError, WalmartApi};

/// Head start of a look-up postponed for lack of a permit: the look-up joins the bucket's queue this long before the
/// expected permit. A look-up that returned only with the permit would lose the permit, again and again, to look-ups
/// that became due just before.
const IN_LINE: Duration = OWN_CALL_TIME.saturating_sub(POSTPONED);
/// Number of look-ups from which one search for all of them comes first.
const WORTH_A_SEARCH: usize = 3;
/// Look-ups by number in one batch. The rest returns to the desk together with entries that became due meanwhile, and a
/// search may serve them: 600 look-ups by number in a row would take half an hour without any search.
const BATCH: usize = 16;

/// The result of asking Walmart.
pub(super) enum LookupOutcome {
    /// Walmart's answer to the look-up.
    Answer(LookupAnswer),
    /// The account's bucket had no permit in time; the next permit comes after this time.
    NoPermit(Duration),
    /// Walmart's rate limit applies; the same call may pass after this time.
    Limited(Duration, String),
    /// The call failed for any other reason.
    Failed(String),
    /// The process is stopping; nothing was learned.
    Stopping,
}

/// The result of one look-up for one entry.
pub(super) struct LookupResult {
    pub(super) evidence: Evidence,
    /// The kind of look-up.
    pub(super) by: LookedUpBy,
    /// The question in words, for operators.
    pub(super) asked: &'static str,
    /// Time of the question. The answer may be as old as the question.
    pub(super) at: Moment,
}

impl<U: WalmartApi, L: Ledger> Resolver<U, L> {
    /// Adds entries to their desk, and spawns a task that works at the desk.
    pub(super) fn look_up(&self, desk: DeskId, entries: Vec<Entry>) {
        let held = self.hold(&entries);
        self.mutations.desk(desk).add(LookupWork { entries, held });
        let this = self.clone();
        self.tasks.spawn(async move { this.work_at_desk(desk).await });
    }

    async fn work_at_desk(&self, desk: DeskId) {
        let Some(mut at_work) = self.mutations.desk(desk).take() else { return };
        while let Some(work) = at_work.next() {
            let mut entries = Vec::new();
            let mut held = self.hold(&[]);
            for LookupWork { entries: more, held: guard } in work {
                entries.extend(more);
                held.absorb(guard);
            }
            self.look_up_all(desk, entries, &mut held).await;
        }
    }

    /// Whether a search by date may save calls. A search soon after a search in vain saves none, nor does a search for
    /// entries outside its range. Ripe entries need look-ups by number unless the search shows their orders, and a
    /// search that ended just before would have shown them.
    fn is_worth_a_search(&self, desk: DeskId, entries: &[Entry]) -> bool {
        let (rules, now) = (self.mutations.rules(), self.mutations.moment());
        let dated = entries.iter().filter(|entry| settlement_of(entry.kind).searchable_from(entry).is_some());
        let ripe: Vec<_> = dated.map(|entry| rules.is_ripe(entry, now)).collect();
        let unripe = ripe.iter().filter(|ripe| !**ripe).count();
        let desk = self.mutations.desk(desk);
        (unripe >= WORTH_A_SEARCH && !desk.was_searched_in_vain_lately())
            || (ripe.len() >= WORTH_A_SEARCH && !desk.was_searched_lately())
    }

    async fn look_up_all(&self, desk: DeskId, mut entries: Vec<Entry>, held: &mut WorkGuard) {
        entries.sort_by_key(|entry| (entry.next.map(|next| next.steady), entry.id));
        if self.is_worth_a_search(desk, &entries) {
            entries = self.search(desk, entries, held).await;
        }
        let left = entries.split_off(entries.len().min(BATCH));
        let mut entries = entries.into_iter();
        while let Some(entry) = entries.next() {
            let settlement = settlement_of(entry.kind);
            let (probe, at) = (settlement.probe(&entry), self.mutations.moment());
            let (wait, error, waits_in_line) = match self.ask(desk.account(), &probe, &entry, CallPurpose::Lookup).await
            {
                LookupOutcome::Answer(answer) => {
                    let Ok(others) = self.other_changes(&entry, settlement).await else {
                        let id = entry.id;
                        self.put_back(id, POSTPONED);
                        held.release(id);
                        continue;
                    };
                    let evidence = settlement.judge(&entry, &others, &answer);
                    let mut entry = entry;
                    if matches!(evidence, Evidence::Absent(_)) {
                        // Walmart may repeat texts of the order in a later answer, perhaps to a different process; the
                        // personal texts are stored for redaction.
                        entry.snapshot = settlement.personal_of_look_up(&answer).beside(entry.snapshot);
                    }
                    let told = LookupResult { evidence, by: LookedUpBy::Number, asked: probe.name(), at };
                    let id = entry.id;
                    self.act_on(entry, settlement, told).await;
                    held.release(id);
                    continue;
                }
                LookupOutcome::Failed(error) => {
                    let id = entry.id;
                    let event = if is_planted(PlantedBug::FailedLookUpIsAbsence) {
                        EntryEvent::Absent { by: LookedUpBy::Number, resend: settlement.resend() }
                    } else {
                        EntryEvent::NoEvidence { error }
                    };
                    self.change(entry, event, self.mutations.moment()).await;
                    held.release(id);
                    continue;
                }
                LookupOutcome::NoPermit(wait) => (wait, "no permit for a look-up".to_owned(), true),
                LookupOutcome::Limited(wait, error) => (wait, error, false),
                LookupOutcome::Stopping => {
                    // The next process takes over the remaining entries unchanged.
                    std::iter::once(entry).chain(entries).chain(left).for_each(|entry| held.release(entry.id));
                    return;
                }
            };
            // The remaining entries wait for the same bucket, and return together so that one search may serve them.
            let all: Vec<Entry> = std::iter::once(entry).chain(entries).chain(left).collect();
            self.postpone(desk, all, wait, &error, waits_in_line, held).await;
            return;
        }
        if !left.is_empty() {
            let stay = self.hold(&left);
            left.iter().for_each(|entry| held.release(entry.id));
            self.mutations.desk(desk).add(LookupWork { entries: left, held: stay });
        }
    }

    /// Postpones look-ups for `wait`. Waiting for a permit while other look-ups of the account are answered is no sign
    /// of an unreachable Walmart; any other wait counts as time passing.
    async fn postpone(
        &self,
        desk: DeskId,
        entries: Vec<Entry>,
        wait: Duration,
        error: &str,
        waits_in_line: bool,
        held: &mut WorkGuard,
    ) {
        let patience = self.mutations.rules().patience();
        let is_served = waits_in_line && self.mutations.desk(desk).was_answered_within(patience);
        let now = self.mutations.moment();
        for entry in entries {
            let id = entry.id;
            let patient_for = entry
                .unknown
                .map_or(Duration::ZERO, |unknown| patience.saturating_sub(now.at_most_since(unknown.learned)));
            if is_served {
                self.put_back(id, wait.saturating_sub(IN_LINE).max(POSTPONED));
            } else if !patient_for.is_zero() {
                // Limited to the time at which an operator has to be told that no look-up was possible.
                self.put_back(id, wait.min(patient_for));
            } else {
                self.change(entry, EntryEvent::NotAsked { error: error.to_owned(), again_in: wait }, now).await;
            }
            held.release(id);
        }
    }

    /// Makes a look-up about an entry.
    pub(super) async fn ask(
        &self,
        account: AccountIndex,
        probe: &LookupProbe,
        entry: &Entry,
        purpose: CallPurpose,
    ) -> LookupOutcome {
        let call = self.mutations.background_call("ledger look-up", Some(entry), purpose);
        call.scope(self.ask_in(DeskId::new(account, probe.operation()), probe, &call.context)).await
    }

    /// Makes a look-up in the given call context.
    pub(super) async fn ask_in(&self, desk: DeskId, probe: &LookupProbe, call: &CallContext) -> LookupOutcome {
        self.mutations.0.metrics.ledger.look_ups.inc();
        let answer = tokio::select! {
            answer = self.mutations.read(desk.account(), probe, call) => answer,
            () = self.stopping.cancelled() => return LookupOutcome::Stopping,
        };
        match answer {
            Ok(reply) => {
                self.mutations.desk(desk).answered();
                LookupOutcome::Answer(reply.answer)
            }
            Err(error) => failed(&error),
        }
    }

    /// Applies the result of a look-up to the entry.
    pub(super) async fn act_on(&self, mut entry: Entry, settlement: &dyn SettlementPolicy, told: LookupResult) {
        let id = entry.id;
        let (event, time, copies) = self.judged(&mut entry, settlement, &told);
        reach(CrashPoint::L8);
        self.change(entry, event, time).await;
        if copies > 1 {
            let time = self.mutations.now();
            let alert = AuditAlert { operation: id, kind: AlertKind::Duplicate, time };
            self.raise(PlannedAudit { operation: id, time }, Some(alert)).await;
        }
    }

    /// Derives the event from the evidence, with its time and the number of orders shown. The evidence is stored in the
    /// entry.
    pub(super) fn judged(
        &self,
        entry: &mut Entry,
        settlement: &dyn SettlementPolicy,
        told: &LookupResult,
    ) -> (EntryEvent, Moment, usize) {
        let now = self.mutations.moment();
        let (worth, detail) = worth(&told.evidence);
        entry.evidence =
            Some(LookupRecord { time: told.at.wall, asked: told.asked.to_owned(), worth, detail: detail.clone() });
        match &told.evidence {
            Evidence::Present(presence) => {
                (EntryEvent::Present { answer: answer::seen(entry.correlation_id) }, now, presence.copies)
            }
            // Walmart may have read its data as early as the question was sent; absence counts from that moment.
            Evidence::Absent(_) => (EntryEvent::Absent { by: told.by, resend: settlement.resend() }, told.at, 0),
            Evidence::Contradicted(_) => (EntryEvent::Contradicted { error: detail }, now, 0),
            Evidence::Nothing(_) => (EntryEvent::NoEvidence { error: detail }, now, 0),
        }
    }

    /// Applies the event and writes the entry; the entry is planned again when either fails.
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

/// The value of the evidence, and its proof or reason in words.
pub(super) fn worth(evidence: &Evidence) -> (EvidenceKind, String) {
    match evidence {
        Evidence::Present(presence) => (EvidenceKind::Present, format!("orders of this number: {}", presence.copies)),
        Evidence::Absent(proof) => (EvidenceKind::Absent, proof.to_string()),
        Evidence::Contradicted(contradiction) => (EvidenceKind::Contradicted, contradiction.to_string()),
        Evidence::Nothing(reason) => (EvidenceKind::Nothing, reason.to_string()),
    }
}

/// Classifies a failed look-up.
pub(super) fn failed(error: &UpstreamError) -> LookupOutcome {
    let wait = || error.retry_after.unwrap_or(POSTPONED).max(POSTPONED);
    match error.kind {
        // Refused by the account's bucket or by the gateway's concurrency limit; Walmart was not asked.
        ErrorKind::RateLimited | ErrorKind::Overloaded | ErrorKind::DeadlineExceeded if error.http_status == 0 => {
            LookupOutcome::NoPermit(wait())
        }
        ErrorKind::RateLimited => LookupOutcome::Limited(wait(), in_short(error)),
        _ => LookupOutcome::Failed(in_short(error)),
    }
}
