//! One search by date for many entries with unknown outcomes.
//!
//! A search may find existing orders: 600 orders of a one-minute outage take 12 pages. A search never settles absence,
//! because the index behind it lags. A complete search counts as the earlier absences of an entry, which leaves one
//! look-up by number at the end of the window instead of three. A search takes at most as many calls as it may save.

use std::time::Duration;

use tokio::time::Instant;

use super::day::day;
use super::look_up::{LookupOutcome, LookupResult};
use super::resolver::Resolver;
use super::{DeskId, OutcomeHearer, SaveOutcome, WorkGuard};
use crate::domain::ledger::Entry;
use crate::domain::ledger::evidence::{AbsenceProof, Evidence, SearchProgress, read_search_page};
use crate::domain::ledger::machine::LookedUpBy;
use crate::domain::moment::Moment;
use crate::domain::mutations::{LookupProbe, settlement_of};
use crate::domain::timestamp::Timestamp;
use crate::pb::GetOrderStatusRequest;
use crate::planted_bug::{PlantedBug, is_planted};
use crate::ports::call::CallPurpose;
use crate::ports::ledger::Ledger;
use crate::ports::upstream::WalmartApi;

/// Most orders on one of Walmart's pages.
const PAGE: i32 = 50;
/// Most pages of one search, and never more than entries searched for. Every page takes a permit of the account's
/// bucket.
const MOST_PAGES: usize = 30;
/// Largest difference between Walmart's clock or time zone and the gateway's.
const DATES_DIFFER_BY: Duration = Duration::from_secs(24 * 60 * 60);
/// A search ends at an order older than the oldest unknown outcome by this time, because all later pages are older.
const PASSED_BY: Duration = Duration::from_secs(60 * 60);

const ASKED: &str = "orders by date";

impl<U: WalmartApi, L: Ledger> Resolver<U, L> {
    /// Settles the entries shown by the search, and counts an absence for the entries missing from a complete search.
    /// Returns the entries that need a look-up by number: the search could not tell, or the absence can be settled now.
    pub(super) async fn search(&self, desk: DeskId, entries: Vec<Entry>, held: &mut WorkGuard) -> Vec<Entry> {
        let dated = |entry: &Entry| settlement_of(entry.kind).searchable_from(entry);
        let (mut wanted, mut left): (Vec<_>, Vec<_>) = entries.into_iter().partition(|entry| dated(entry).is_some());
        let Some(first) = wanted.iter().filter_map(dated).min() else { return left };
        let (at, began) = (self.mutations.moment(), Instant::now());
        let mut progress = SearchProgress::default();
        let (entries, mut pages) = (wanted.len(), 0);
        for _ in 0..MOST_PAGES.min(entries) {
            let Some(request) = next_page(first, &progress) else { break };
            let call = self.mutations.background_call("ledger search", None, CallPurpose::Lookup);
            let LookupOutcome::Answer(answer) =
                call.scope(self.ask_in(desk, &LookupProbe::OrdersByDate(Box::new(request)), &call.context)).await
            else {
                break;
            };
            drop(call);
            let Ok(page) = read_search_page(&answer) else { break };
            let mut missing = Vec::with_capacity(wanted.len());
            for entry in wanted {
                let settlement = settlement_of(entry.kind);
                match settlement.judge_page(&entry, &page) {
                    Some(evidence) => {
                        let id = entry.id;
                        let told = LookupResult { evidence, by: LookedUpBy::Search, asked: ASKED, at };
                        self.act_on(entry, settlement, told).await;
                        held.release(id);
                    }
                    None => missing.push(entry),
                }
            }
            wanted = missing;
            progress.add(&page);
            pages += 1;
            if wanted.is_empty() || progress.has_passed(first.minus(PASSED_BY)) {
                break;
            }
        }
        // A search without any page says nothing about the value of the next search.
        if pages > 0 {
            self.mutations.desk(desk).searched(began, wanted.len() == entries && !progress.is_complete());
        }
        if progress.is_complete() {
            wanted = self.absent(wanted, at, held).await;
        }
        left.extend(wanted);
        left.sort_by_key(|entry| (entry.next.map(|next| next.steady), entry.id));
        left
    }

    /// Counts an absence for entries missing from a complete search. Returns the ripe entries, whose absence needs a
    /// look-up by number.
    async fn absent(&self, entries: Vec<Entry>, at: Moment, held: &mut WorkGuard) -> Vec<Entry> {
        let rules = self.mutations.rules();
        let by = if is_planted(PlantedBug::SearchSettlesAbsence) { LookedUpBy::Number } else { LookedUpBy::Search };
        let is_ripe = |entry: &Entry| by == LookedUpBy::Search && rules.is_ripe(entry, self.mutations.moment());
        let (ripe, unripe): (Vec<_>, Vec<_>) = entries.into_iter().partition(is_ripe);
        let mut changed = Vec::with_capacity(unripe.len());
        for mut entry in unripe {
            let settlement = settlement_of(entry.kind);
            let evidence = Evidence::Absent(AbsenceProof::EmptyList);
            let told = LookupResult { evidence, by, asked: ASKED, at };
            let (event, time, _) = self.judged(&mut entry, settlement, &told);
            // An event that the machine refuses is a bug; the guard returns the entry to the queue.
            changed.extend(self.mutations.after_at(entry, event, time));
        }
        if let Ok(written) = self.mutations.write_all(changed, OutcomeHearer::Waiters).await {
            written.into_iter().map(SaveOutcome::into_entry).for_each(|entry| held.release(entry.id));
        }
        ripe
    }
}

/// The request for the next page. Newest orders come first, which is Walmart's default.
fn next_page(first: Timestamp, progress: &SearchProgress) -> Option<GetOrderStatusRequest> {
    Some(GetOrderStatusRequest {
        from_order_date: day(first.minus(DATES_DIFFER_BY)),
        limit: PAGE,
        offset: i32::try_from(progress.next_offset()?).ok()?,
        ..Default::default()
    })
}
