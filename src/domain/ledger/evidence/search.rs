//! Evidence in a search by date. A search may find an order, and never settles absence by itself.

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

/// Reads a page of a search. Fails with the reason when the page can neither show an order nor count as complete.
pub fn read_search_page(answer: &LookupAnswer) -> Result<SearchPage, NoEvidence> {
    let http_status = answer.http_status;
    let Some(answer) = LookupEnvelope::read(&answer.body) else { return Err(absence::unreadable(http_status)) };
    let errors = answer.errors();
    let (rows, all_orders) = match &answer.payload {
        _ if http_status != 200 || answer.status() == AnswerStatus::Failed || errors.not_found.is_some() => {
            // The not-found of the order service says that the search found nothing, but not that the search was
            // complete.
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
    /// Number of rows on the page, orders or not.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Walmart's count of matching orders on all pages.
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    /// The earliest order date on the page; `None` when no row shows a date.
    pub fn oldest(&self) -> Option<Timestamp> {
        self.answer.orders().filter_map(OrderRow::ordered_by).min()
    }

    /// Judges the page for an order: [`Evidence::Present`], [`Evidence::Contradicted`], or
    /// [`NoEvidence::NumberAlmostEqual`]. Returns `None` when no row has the number, which is no absence.
    pub fn judge(&self, expected: &ExpectedOrder) -> Option<Evidence> {
        create::judge_rows(expected, self.answer.orders())
    }

    /// Whether a row has the number, exactly or almost.
    pub fn shows(&self, order_number: &str) -> bool {
        let shown = |row: &OrderRow| row.number_match(order_number);
        self.answer.orders().any(|row| matches!(shown(row), NumberMatch::Equal | NumberMatch::AlmostEqual))
    }
}

/// The pages of one search so far, read in order from offset 0, newest orders first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SearchProgress {
    rows: u64,
    /// The total of the first page; `None` before the first page or without a total.
    total: Option<u64>,
    pages: u32,
    last_page_was_empty: bool,
    is_unsound: bool,
    oldest: Option<Timestamp>,
}

impl SearchProgress {
    /// Adds the next page.
    pub fn add(&mut self, page: &SearchPage) {
        let is_first = self.pages == 0;
        if is_first {
            self.total = page.total;
        }
        // A changed total means that orders arrived between two pages: the rows have moved, and the pages may have
        // skipped some.
        self.is_unsound |= !page.is_sound || page.total.is_none() || page.total != self.total;
        self.pages += 1;
        self.rows += u64::try_from(page.rows).unwrap_or(u64::MAX);
        self.last_page_was_empty = page.rows == 0;
        self.oldest = [self.oldest, page.oldest()].into_iter().flatten().min();
    }

    /// The offset of the next page; `None` at the end.
    pub fn next_offset(&self) -> Option<u64> {
        let is_at_end = self.total.is_some_and(|total| self.rows >= total);
        (!self.last_page_was_empty && !is_at_end).then_some(self.rows)
    }

    /// Whether the search has shown every matching order: read to its end, without errors, with an order in every row
    /// and the same total on all pages. A complete search may count as an earlier absence of an order; the last absence
    /// needs a look-up by number.
    pub fn is_complete(&self) -> bool {
        self.pages > 0 && !self.is_unsound && self.total == Some(self.rows)
    }

    /// Whether the pages have passed every order made at `moment` or later.
    pub fn has_passed(&self, moment: Timestamp) -> bool {
        self.oldest.is_some_and(|oldest| oldest < moment)
    }
}
