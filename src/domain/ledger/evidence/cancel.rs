//! Evidence about a cancellation: the cancelled units, compared with a snapshot from before the first attempt.

use super::answer::LookupEnvelope;
use super::json::JsonPart;
use super::order::{NumberMatch, OrderRow};
use super::others::{Change, OtherChanges};
use super::units::{LineScope, LineUnits, line_id};
use super::{AbsenceProof, Evidence, LookupAnswer, NoEvidence, PresenceProof, absence};
use crate::domain::order_number;
use crate::pb::{CancelItem, Cancellation};

/// The cancelled units of every line before a cancellation is sent. Unreadable lines are left out. An entry stores the
/// snapshot encoded, where empty bytes mean no snapshot; a snapshot without lines is never made.
#[derive(Clone, PartialEq, prost::Message)]
pub struct CancelSnapshot {
    /// The lines of the cancellation, or a single line without id for all lines of the order together.
    #[prost(message, repeated, tag = "1")]
    pub lines: Vec<SnapshotLine>,
}

/// One line of a [`CancelSnapshot`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct SnapshotLine {
    /// The caller's id of the line; empty for the sum of all lines.
    #[prost(string, tag = "1")]
    pub seller_line_id: String,
    /// Units cancelled so far, over all orders of the number.
    #[prost(double, tag = "2")]
    pub cancelled: f64,
}

impl CancelSnapshot {
    /// Reads the cancelled units of the lines in `batch` from an answer to a look-up by number. Returns `None` when no
    /// line can be read.
    pub fn read(batch: &Cancellation, answer: &LookupAnswer) -> Option<Self> {
        let read = LookupEnvelope::read(&answer.body)?;
        let orders = orders_of(batch, answer.http_status, &read).ok()?;
        let lines = match LineScope::of(batch, &orders).ok()? {
            LineScope::ByLine => batch.order_items.iter().filter_map(|item| snapshot_line(item, &orders)).collect(),
            LineScope::WholeOrder => {
                let cancelled = LineUnits::of_order(batch, &orders)?.cancelled;
                vec![SnapshotLine { seller_line_id: String::new(), cancelled }]
            }
        };
        Self::new(lines)
    }

    pub(in crate::domain::ledger) fn new(lines: Vec<SnapshotLine>) -> Option<Self> {
        (!lines.is_empty()).then_some(Self { lines })
    }

    /// The cancelled units of a line. For a cancellation of a single line, the sum of all lines is accepted.
    fn of_line(&self, item: &CancelItem, batch: &Cancellation) -> Option<f64> {
        let sum = || self.cancelled("").filter(|_| batch.order_items.len() == 1);
        self.cancelled(line_id(item)).or_else(sum)
    }

    /// The cancelled units of all lines of the order, which are the lines of the cancellation.
    fn of_order(&self, batch: &Cancellation) -> Option<f64> {
        let lines = || batch.order_items.iter().map(|item| self.cancelled(line_id(item))).sum();
        self.cancelled("").or_else(lines)
    }

    pub(in crate::domain::ledger) fn cancelled(&self, line_id: &str) -> Option<f64> {
        self.lines.iter().find(|line| line.seller_line_id == line_id).map(|line| line.cancelled)
    }
}

fn snapshot_line(item: &CancelItem, orders: &[&OrderRow]) -> Option<SnapshotLine> {
    let cancelled = LineUnits::of_line(item, orders)?.cancelled;
    Some(SnapshotLine { seller_line_id: line_id(item).to_owned(), cancelled })
}

/// What a cancellation changes: the cancelled units of its lines.
pub fn change_of_cancel(batch: &Cancellation) -> Change {
    Change::of(batch.order_items.iter().map(|item| (line_id(item).trim().to_owned(), super::units::wanted(item))))
}

/// Judges an answer to a look-up by number for the cancellation of one upstream request. `snapshot` was taken before
/// the first attempt.
///
/// Walmart cancels as many of the lines as possible: one cancelled line is proof of presence, and absence needs all
/// lines unchanged. The units of several orders with the same number are added, because Walmart cancels in one of the
/// orders without naming the order. An answer without line ids is judged by the sums of all lines if the cancellation
/// names as many lines as every order has.
///
/// Lines cancelled wholly are as the caller wants them, whoever cancelled them. Units of a line that other calls may have
/// cancelled prove nothing.
pub fn judge_cancel(
    batch: &Cancellation,
    snapshot: Option<&CancelSnapshot>,
    others: &OtherChanges,
    answer: &LookupAnswer,
) -> Evidence {
    let Some(read) = LookupEnvelope::read(&answer.body) else {
        return Evidence::Nothing(absence::unreadable(answer.http_status));
    };
    let judged = orders_of(batch, answer.http_status, &read).and_then(|orders| match LineScope::of(batch, &orders)? {
        LineScope::ByLine => judge_lines(batch, snapshot, others, &orders),
        LineScope::WholeOrder => {
            let wanted = LineUnits::wanted(batch).ok_or(NoEvidence::UnitsNotShown)?;
            let now = LineUnits::of_order(batch, &orders).ok_or(NoEvidence::UnitsNotShown)?;
            compare(now, wanted, snapshot.and_then(|snapshot| snapshot.of_order(batch)), others.most(""))
        }
    });
    match judged {
        Ok(true) => Evidence::Present(PresenceProof { copies: 1 }),
        Ok(false) => Evidence::Absent(AbsenceProof::NothingCancelled),
        Err(reason) => Evidence::Nothing(reason),
    }
}

/// The orders of the number. Fails when the answer is incomplete or shows no such order.
fn orders_of<'a>(
    batch: &Cancellation,
    http_status: u16,
    answer: &'a LookupEnvelope,
) -> Result<Vec<&'a OrderRow>, NoEvidence> {
    // A missing order shows neither presence nor absence of its cancellation.
    let not_shown = || absence::of_answer(http_status, answer).err().unwrap_or(NoEvidence::OrderNotShown);
    if answer.errors().not_found.is_some() {
        return Err(not_shown());
    }
    absence::complete(http_status, answer)?;
    let number = order_number::of_cancellation(batch);
    let of_number = |kind| answer.orders().filter(move |order| order.number_match(number) == kind);
    let orders: Vec<&OrderRow> = of_number(NumberMatch::Equal).collect();
    if orders.is_empty() {
        let almost = of_number(NumberMatch::AlmostEqual).next().is_some();
        return Err(if almost { NoEvidence::NumberAlmostEqual } else { not_shown() });
    }
    if matches!(&answer.payload, Some(JsonPart::List(rows)) if rows.iter().any(Option::is_none)) {
        return Err(NoEvidence::RowsNotOrders);
    }
    let totals = answer.totals();
    if !totals.are_readable() {
        Err(NoEvidence::TotalsUnreadable)
    } else if !totals.end_at(answer.orders().count()) {
        Err(NoEvidence::ListNotComplete)
    } else {
        Ok(orders)
    }
}

fn judge_lines(
    batch: &Cancellation,
    snapshot: Option<&CancelSnapshot>,
    others: &OtherChanges,
    orders: &[&OrderRow],
) -> Result<bool, NoEvidence> {
    let judge = |item: &CancelItem| {
        let wanted = super::units::wanted(item).ok_or(NoEvidence::UnitsNotShown)?;
        let now = LineUnits::of_line(item, orders).ok_or(NoEvidence::UnitsNotShown)?;
        let before = snapshot.and_then(|snapshot| snapshot.of_line(item, batch));
        compare(now, wanted, before, others.most(line_id(item).trim()))
    };
    let lines: Vec<Result<bool, NoEvidence>> = batch.order_items.iter().map(judge).collect();
    if lines.contains(&Ok(true)) {
        return Ok(true);
    }
    lines.into_iter().try_fold(false, |_, line| line)
}

/// Whether the units were cancelled as asked (true), or no unit since the snapshot (false). Other calls may have cancelled
/// as many as `by_others`.
fn compare(now: LineUnits, wanted: f64, before: Option<f64>, by_others: f64) -> Result<bool, NoEvidence> {
    let may_be_of_others = before.is_some_and(|before| now.cancelled - before <= by_others);
    let (unchanged, done) = match before {
        Some(before) => {
            let risen = now.cancelled - before;
            // Once no unit is open, the units not cancelled have shipped, and a smaller rise is complete.
            (risen == 0.0, risen > 0.0 && (risen >= wanted || now.open == 0.0))
        }
        None => (now.cancelled == 0.0, now.cancelled == now.all),
    };
    match (unchanged, done) {
        (true, _) => Ok(false),
        (_, true) if may_be_of_others && now.cancelled < now.all => Err(NoEvidence::OtherCalls),
        (_, true) => Ok(true),
        _ => Err(NoEvidence::UnitsUnclear),
    }
}
