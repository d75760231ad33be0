//! Evidence about the creation of an order.

use std::collections::HashMap;
use std::time::Duration;

use super::answer::{AnswerStatus, LookupEnvelope};
use super::json::JsonScalar;
use super::order::{NumberMatch, OrderRow, count_orders, earliest_meaning};
use super::{Contradiction, Evidence, LookupAnswer, NoEvidence, PresenceProof, absence};
use crate::domain::order_number;
use crate::domain::timestamp::Timestamp;
use crate::pb::CreateOrderRequest;
use crate::planted_bug::{PlantedBug, is_planted};

/// Margin by which Walmart's date of an order may precede the creation, for differences of clocks and time zones.
const A_DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The fields by which a shown order is compared with the order that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedOrder {
    number: String,
    channel: Option<String>,
    /// The earliest date that Walmart can show for the order; `None` when unknown.
    pub(super) earliest: Option<Timestamp>,
    /// SKUs by seller line id; `None` when the lines are unknown.
    lines: Option<HashMap<String, String>>,
}

impl ExpectedOrder {
    /// Takes the order of a request with its first attempt at `first_attempt`. Returns `None` for a request without
    /// order.
    pub fn of_request(request: &CreateOrderRequest, first_attempt: Timestamp) -> Option<Self> {
        let order = request.payload.as_ref()?;
        let placed = order.order_placed_time.as_deref().and_then(earliest_meaning);
        let line = |item: &crate::pb::OrderItem| {
            let sku = item.item_detail.as_ref().and_then(|detail| detail.sku.clone());
            Some((item.seller_line_id.as_ref()?.trim().to_owned(), sku.unwrap_or_default()))
        };
        Some(Self {
            number: order_number::of_order(order).to_owned(),
            channel: order.order_channel_id.clone().filter(|channel| !channel.is_empty()),
            earliest: Some(placed.map_or(first_attempt, |placed| placed.min(first_attempt)).minus(A_DAY)),
            lines: Some(order.order_items.iter().filter_map(line).collect()),
        })
    }

    /// Makes an expectation from the number alone, for an entry with an erased body. No row contradicts such an
    /// expectation.
    pub fn of_number(order_number: &str) -> Self {
        Self { number: order_number.to_owned(), channel: None, earliest: None, lines: None }
    }

    fn compare(&self, row: &OrderRow) -> OrderComparison {
        let mut comparison = OrderComparison::default();
        if let (Some(expected), Some(shown)) = (&self.channel, row.channel().and_then(JsonScalar::shown)) {
            comparison.note(same(expected, &shown), |differs| &mut differs.channel);
        }
        if let (Some(earliest), Some(shown)) = (self.earliest, row.ordered_by()) {
            comparison.note(shown >= earliest, |differs| &mut differs.order_date);
        }
        let Some(lines) = &self.lines else { return comparison };
        for line in row.lines() {
            let expected = line.id().map(|id| lines.get(&*id));
            if let Some(expected) = expected {
                comparison.note(expected.is_some(), |differs| &mut differs.lines);
            }
            for sku in line.skus.iter().filter_map(JsonScalar::shown) {
                let agrees = match expected.flatten() {
                    Some(expected) => same(expected, &sku),
                    // A line without a known id must have the SKU of a line that was sent.
                    None => lines.values().any(|expected| same(expected, &sku)),
                };
                comparison.note(agrees, |differs| &mut differs.sku);
            }
        }
        comparison
    }
}

/// Whether two of Walmart's texts mean the same. Walmart trims ids and changes their case; only the order number is
/// compared byte for byte.
fn same(expected: &str, shown: &str) -> bool {
    expected.trim().eq_ignore_ascii_case(shown.trim())
}

/// The result of comparing a row of the same number with the order that was sent.
#[derive(Clone, Copy, Debug, Default)]
struct OrderComparison {
    differs: Contradiction,
    /// Whether any field except the number is shown and agrees.
    agrees: bool,
}

impl OrderComparison {
    fn note(&mut self, agrees: bool, field: impl FnOnce(&mut Contradiction) -> &mut bool) {
        if agrees {
            self.agrees = true;
        } else {
            *field(&mut self.differs) = true;
        }
    }
}

/// Judges an answer to a look-up by number for a creation.
pub fn judge_create(expected: &ExpectedOrder, answer: &LookupAnswer) -> Evidence {
    let Some(read) = LookupEnvelope::read(&answer.body) else {
        return Evidence::Nothing(absence::unreadable(answer.http_status));
    };
    // An answer with a failed status or a not-found can only repeat the number of the question.
    let may_show =
        answer.http_status == 200 && read.status() != AnswerStatus::Failed && read.errors().not_found.is_none();
    let shown = if may_show { judge_rows(expected, read.orders()) } else { None };
    if is_planted(PlantedBug::EmptyObjectIsPresence) && read.orders().any(|order| !order.has_number()) {
        return Evidence::Present(PresenceProof { copies: 1 });
    }
    shown.unwrap_or_else(|| match absence::of_answer(answer.http_status, &read) {
        Ok(proof) => Evidence::Absent(proof),
        Err(reason) => Evidence::Nothing(reason),
    })
}

/// Judges the rows of an answer. Returns `None` when no row has the number.
///
/// A second order under the number does not disprove a row that agrees with the order that was sent. A row that shows
/// only the number could be either order.
pub(super) fn judge_rows<'a>(expected: &ExpectedOrder, rows: impl Iterator<Item = &'a OrderRow>) -> Option<Evidence> {
    let mut ours: Vec<&OrderRow> = Vec::new();
    let mut agrees = false;
    let mut almost = false;
    let mut differs = Contradiction::default();
    for row in rows {
        match row.number_match(&expected.number) {
            NumberMatch::Equal => {
                let comparison = expected.compare(row);
                if comparison.differs.is_any() {
                    differs = differs.and(comparison.differs);
                } else {
                    agrees |= comparison.agrees;
                    ours.push(row);
                }
            }
            NumberMatch::AlmostEqual => almost = true,
            NumberMatch::Other | NumberMatch::Missing => {}
        }
    }
    if !ours.is_empty() && (agrees || !differs.is_any()) {
        Some(Evidence::Present(PresenceProof { copies: count_orders(&ours) }))
    } else if differs.is_any() {
        Some(Evidence::Contradicted(differs))
    } else {
        almost.then_some(Evidence::Nothing(NoEvidence::NumberAlmostEqual))
    }
}
