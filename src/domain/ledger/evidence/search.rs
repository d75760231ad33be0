//! Evidence in a search by date: it may find an order, and never settles an absence by itself.

use super::answer::{AnswerStatus, LookupEnvelope, ShownCount};
use super::json::JsonPart;
use super::order::{NumberMatch, OrderRow};
use super::{Evidence, ExpectedOrder, LookupAnswer, NoEvidence, absence, create};
use crate::domain::timestamp::Timestamp;

/// One page of a search.
#[derive(Debug)]
pub struct SearchPage {
    answer: LookupEnvelope,
    rows: usize,
    total: Option<u64>,
    is_sound: bool,
}

/// Reads a page of a search. Fails with the reason when it can neither find an order nor be counted.
pub fn read_search_page(answer: &LookupAnswer) -> Result<SearchPage, NoEvidence> {
    let http_status = answer.http_status;
    let Some(answer) = LookupEnvelope::read(&answer.body) else { return Err(absence::unreadable(http_status)) };
    let errors = answer.errors();
    let (rows, all_orders) = match &answer.payload {
        _ if http_status != 200 || answer.status() == AnswerStatus::Failed || errors.not_found.is_some() => {
            // The order service's not-found says that the search found nothing, but not that it was complete.
            return Err(absence::of_answer(http_status, &answer).err().unwrap_or(NoEvidence::Errors));
        }
        None => return Err(NoEvidence::PayloadMissing),
        Some(JsonPart::Null) => return Err(NoEvidence::PayloadNull),
        Some(JsonPart::Scalar(_)) => return Err(NoEvidence::PayloadNotList),
        Some(JsonPart::Object(order)) if !order.has_number() => return Err(NoEvidence::NumberMissing),
        Some(JsonPart::Object(_)) => (1, true),
        Some(JsonPart::List(rows)) => {
            (rows.len(), rows.iter().all(|row| row.as_ref().is_some_and(OrderRow::has_number)))
        }
    };
    let total = match answer.totals().orders {
        ShownCount::Of(total) => Some(total),
        ShownCount::Missing | ShownCount::Unreadable => None,
    };
    let is_sound = all_orders && errors.count == 0 && answer.status() == AnswerStatus::Success;
    Ok(SearchPage { answer, rows, total, is_sound })
}

impl SearchPage {
    /// The rows of the page, orders or not.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How many orders match the search on all pages, as Walmart says.
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    /// The earliest order date on the page. `None` when no row shows one.
    pub fn oldest(&self) -> Option<Timestamp> {
        self.answer.orders().filter_map(OrderRow::ordered_by).min()
    }

    /// What the page shows of an order: [`Evidence::Present`], [`Evidence::Contradicted`], or
    /// [`NoEvidence::NumberAlmostEqual`]. `None` when it does not have the number, which is no absence.
    pub fn judge(&self, expected: &ExpectedOrder) -> Option<Evidence> {
        create::judge_rows(expected, self.answer.orders())
    }

    /// Whether a row has the number, or almost.
    pub fn shows(&self, order_number: &str) -> bool {
        let shown = |row: &OrderRow| row.number_match(order_number);
        self.answer.orders().any(|row| matches!(shown(row), NumberMatch::Equal | NumberMatch::AlmostEqual))
    }
}

/// The pages of one search so far, read in order from offset 0, newest orders first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SearchProgress {
    rows: u64,
    /// The total of the first page. `None` before it, or when it has none.
    total: Option<u64>,
    pages: u32,
    last_page_was_empty: bool,
    is_unsound: bool,
    oldest: Option<Timestamp>,
}

impl SearchProgress {
    /// Takes in the next page.
    pub fn add(&mut self, page: &SearchPage) {
        let is_first = self.pages == 0;
        if is_first {
            self.total = page.total;
        }
        // Orders that came in between have moved the rows of the pages: some may have been passed over.
        self.is_unsound |= !page.is_sound || page.total.is_none() || page.total != self.total;
        self.pages += 1;
        self.rows += u64::try_from(page.rows).unwrap_or(u64::MAX);
        self.last_page_was_empty = page.rows == 0;
        self.oldest = [self.oldest, page.oldest()].into_iter().flatten().min();
    }

    /// The offset of the next page. `None` when there is none.
    pub fn next_offset(&self) -> Option<u64> {
        let is_at_end = self.total.is_some_and(|total| self.rows >= total);
        (!self.last_page_was_empty && !is_at_end).then_some(self.rows)
    }

    /// Whether the search has shown every order that matches it: paged to its end, without errors, each row an order, with
    /// one total on all pages. A complete search may stand for the earlier absences of an order; the last is by number.
    pub fn is_complete(&self) -> bool {
        self.pages > 0 && !self.is_unsound && self.total == Some(self.rows)
    }

    /// Whether the pages have passed every order that was made at `moment` or later.
    pub fn has_passed(&self, moment: Timestamp) -> bool {
        self.oldest.is_some_and(|oldest| oldest < moment)
    }
}
