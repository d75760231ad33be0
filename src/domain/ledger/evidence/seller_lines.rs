//! Evidence about cancelled, shipped and refunded lines of a seller's order: the state of the lines, compared with a
//! snapshot from before the first attempt.

use prost::Message;

use super::seller_order::{SeenLine, cents, lines_of};
use super::{AbsenceProof, Evidence, LookupAnswer, NoEvidence, PresenceProof};
use crate::domain::ledger::Entry;
use crate::pb::{
    CancelOrderLinesRequest, LineStatus, LineStatuses, OrderRefundLine, RefundOrderLinesRequest, ShipOrderLinesRequest,
};

/// The lines of a seller's order before a mutation is sent. Lines that cannot be read are left out. An entry stores the
/// snapshot encoded; a snapshot without lines is never made.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SellerSnapshot {
    /// The lines of the mutation.
    #[prost(message, repeated, tag = "1")]
    pub lines: Vec<SellerSnapshotLine>,
}

/// One line of a [`SellerSnapshot`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct SellerSnapshotLine {
    /// Number of the line.
    #[prost(string, tag = "1")]
    pub line_number: String,
    /// Units cancelled so far.
    #[prost(double, tag = "2")]
    pub cancelled: f64,
    /// Units in the state `Refund`.
    #[prost(double, tag = "3")]
    pub in_refund: f64,
    /// The sum of all refunds so far, in whole cents.
    #[prost(int64, tag = "4")]
    pub refunded_cents: i64,
    /// Ids of the refunds so far.
    #[prost(string, repeated, tag = "5")]
    pub refund_ids: Vec<String>,
    /// Number of the line's return.
    #[prost(string, tag = "6")]
    pub return_order_id: String,
    /// Units by tracking number.
    #[prost(message, repeated, tag = "7")]
    pub parcels: Vec<SnapshotParcel>,
}

/// The units of a parcel.
#[derive(Clone, PartialEq, prost::Message)]
pub struct SnapshotParcel {
    /// The number by which the carrier knows the parcel.
    #[prost(string, tag = "1")]
    pub tracking_number: String,
    /// Units shipped in the parcel.
    #[prost(double, tag = "2")]
    pub units: f64,
}

impl SellerSnapshot {
    /// Reads the lines of these numbers from an answer to a look-up. `None` when no line can be read.
    pub fn read<'l>(
        purchase_order: &str,
        numbers: impl Iterator<Item = &'l str>,
        answer: &LookupAnswer,
    ) -> Option<Self> {
        let seen = lines_of(purchase_order, answer).ok()?;
        let lines: Vec<_> = numbers.filter_map(|number| one(&seen, number)).map(snapshot_line).collect();
        (!lines.is_empty()).then_some(Self { lines })
    }

    /// What the lines showed about refunds, for an operator.
    pub fn figures(&self) -> Vec<String> {
        let line = |line: &SellerSnapshotLine| {
            let (whole, cents) = (line.refunded_cents / 100, line.refunded_cents % 100);
            let mut text = format!("line {}: {whole}.{cents:02} refunded", line.line_number);
            if line.in_refund > 0.0 {
                text.push_str(&format!(", {} units in Refund", line.in_refund));
            }
            if !line.return_order_id.is_empty() {
                text.push_str(&format!(", return {}", line.return_order_id));
            }
            text
        };
        self.lines.iter().map(line).collect()
    }

    /// The snapshot that the entry stores. Bytes without lines hold only personal texts of an order that was read.
    pub fn of_entry(entry: &Entry) -> Option<Self> {
        Self::decode(entry.snapshot.as_slice()).ok().filter(|snapshot| !snapshot.lines.is_empty())
    }

    fn line(&self, number: &str) -> Option<&SellerSnapshotLine> {
        self.lines.iter().find(|line| line.line_number == number)
    }
}

impl SellerSnapshotLine {
    fn in_parcel(&self, tracking: &str) -> f64 {
        self.parcels.iter().filter(|parcel| parcel.tracking_number == tracking).map(|parcel| parcel.units).sum()
    }
}

fn snapshot_line(line: &SeenLine) -> SellerSnapshotLine {
    let parcels = line.parcels().into_iter();
    SellerSnapshotLine {
        line_number: line.number.clone(),
        cancelled: line.cancelled(),
        in_refund: line.in_refund(),
        refunded_cents: line.refunded_cents,
        refund_ids: line.refund_ids.clone(),
        return_order_id: line.return_order_id.clone(),
        parcels: parcels.map(|(number, units)| SnapshotParcel { tracking_number: number, units }).collect(),
    }
}

/// The only line of this number.
fn one<'s>(seen: &'s [SeenLine], number: &str) -> Option<&'s SeenLine> {
    let mut found = seen.iter().filter(|line| line.number == number);
    found.next().filter(|_| found.next().is_none())
}

/// What a look-up says of one line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineChange {
    /// The line has changed as the mutation changes it.
    Done,
    /// The line is as before.
    Unchanged,
    /// The line has changed in another way, or cannot be judged.
    Unclear,
}

/// All lines must agree: Walmart carries out a request as a whole.
fn all_of(
    changes: impl Iterator<Item = Result<LineChange, NoEvidence>>,
    absent: AbsenceProof,
) -> Result<Evidence, NoEvidence> {
    let changes = changes.collect::<Result<Vec<_>, _>>()?;
    let all = |change| !changes.is_empty() && changes.iter().all(|one| *one == change);
    if all(LineChange::Done) {
        Ok(Evidence::Present(PresenceProof { copies: 1 }))
    } else if all(LineChange::Unchanged) {
        Ok(Evidence::Absent(absent))
    } else {
        Err(NoEvidence::LinesUnclear)
    }
}

fn evidence(judged: Result<Evidence, NoEvidence>) -> Evidence {
    judged.unwrap_or_else(Evidence::Nothing)
}

fn statuses(statuses: Option<&LineStatuses>) -> &[LineStatus] {
    statuses.map(|statuses| statuses.order_line_status.as_slice()).unwrap_or_default()
}

fn units(status: &LineStatus) -> Option<f64> {
    status.status_quantity.as_ref()?.amount().trim().parse().ok().filter(|units: &f64| units.is_finite())
}

/// Judges an answer for a batch of cancelled lines: the cancelled units of every line have risen by what was asked, or no
/// line's have. Without a snapshot only lines cancelled wholly or not at all can be told.
pub fn judge_cancelled_lines(
    batch: &CancelOrderLinesRequest,
    snapshot: Option<&SellerSnapshot>,
    answer: &LookupAnswer,
) -> Evidence {
    evidence(lines_of(&batch.purchase_order_id, answer).and_then(|seen| {
        let change = |line: &crate::pb::OrderCancellationLine| {
            let now = one(&seen, line.line_number()).ok_or(NoEvidence::UnitsNotShown)?;
            let wanted = statuses(line.order_line_statuses.as_ref()).iter().map(units).sum::<Option<f64>>();
            let wanted = wanted.ok_or(NoEvidence::RequestUnreadable)?;
            let before = snapshot.and_then(|snapshot| snapshot.line(line.line_number()));
            Ok(match before.map(|before| now.cancelled() - before.cancelled) {
                Some(0.0) => LineChange::Unchanged,
                Some(risen) if risen == wanted => LineChange::Done,
                None if now.cancelled() == 0.0 => LineChange::Unchanged,
                None if now.cancelled() == now.all_units() && wanted == now.all_units() => LineChange::Done,
                Some(_) | None => LineChange::Unclear,
            })
        };
        let cancellation = batch.order_cancellation.as_ref().and_then(|cancellation| cancellation.order_lines.as_ref());
        all_of(cancellation.into_iter().flat_map(|lines| &lines.order_line).map(change), AbsenceProof::NothingCancelled)
    }))
}

/// Judges an answer for shipped lines: the parcels of every line show in it, or none does and enough units are open.
pub fn judge_shipped_lines(
    request: &ShipOrderLinesRequest,
    snapshot: Option<&SellerSnapshot>,
    answer: &LookupAnswer,
) -> Evidence {
    evidence(lines_of(&request.purchase_order_id, answer).and_then(|seen| {
        let change = |line: &crate::pb::OrderShipmentLine| {
            let now = one(&seen, line.line_number()).ok_or(NoEvidence::UnitsNotShown)?;
            let before = snapshot.and_then(|snapshot| snapshot.line(line.line_number()));
            let parcels = statuses(line.order_line_statuses.as_ref()).iter().map(|status| {
                let number = status.tracking_info.as_ref().map(|tracking| tracking.tracking_number())?;
                let risen = now.in_parcel(number) - before.map_or(0.0, |before| before.in_parcel(number));
                Some((units(status)?, risen))
            });
            let parcels: Option<Vec<(f64, f64)>> = parcels.collect();
            let parcels = parcels.ok_or(NoEvidence::RequestUnreadable)?;
            let wanted: f64 = parcels.iter().map(|(wanted, _)| wanted).sum();
            Ok(if parcels.iter().all(|(wanted, risen)| risen == wanted) {
                LineChange::Done
            } else if parcels.iter().all(|(_, risen)| *risen == 0.0) && now.open() >= wanted {
                LineChange::Unchanged
            } else {
                LineChange::Unclear
            })
        };
        let shipment = request.order_shipment.as_ref().and_then(|shipment| shipment.order_lines.as_ref());
        all_of(shipment.into_iter().flat_map(|lines| &lines.order_line).map(change), AbsenceProof::NothingShipped)
    }))
}

/// Judges an answer for refunded lines of `purchase_order`. Without a snapshot nothing can be told, and nothing was sent
/// either.
pub fn judge_refunded_lines(
    purchase_order: &str,
    request: &RefundOrderLinesRequest,
    snapshot: Option<&SellerSnapshot>,
    answer: &LookupAnswer,
) -> Evidence {
    evidence(lines_of(purchase_order, answer).and_then(|seen| {
        let change = |line: &OrderRefundLine| {
            let now = one(&seen, line.line_number()).ok_or(NoEvidence::UnitsNotShown)?;
            let before = snapshot.and_then(|snapshot| snapshot.line(line.line_number()));
            refund_of(line, before.ok_or(NoEvidence::NoSnapshot)?, now)
        };
        let refund = request.order_refund.as_ref().and_then(|refund| refund.order_lines.as_ref());
        all_of(refund.into_iter().flat_map(|lines| &lines.order_line).map(change), AbsenceProof::NothingRefunded)
    }))
}

fn refund_of(line: &OrderRefundLine, before: &SellerSnapshotLine, now: &SeenLine) -> Result<LineChange, NoEvidence> {
    let refunds = line.refunds.as_ref().map(|refunds| refunds.refund.as_slice()).unwrap_or_default();
    let new_id = |id: &str| !id.is_empty() && now.refund_ids.iter().any(|seen| seen == id) && !has(before, id);
    if !refunds.is_empty() && refunds.iter().all(|refund| new_id(refund.refund_id())) {
        return Ok(LineChange::Done);
    }
    let new_return = now.return_order_id != before.return_order_id;
    if line.is_full_refund() && (now.in_refund() > before.in_refund || new_return) {
        return Ok(LineChange::Done);
    }
    // One object instead of the earlier refunds and this one: the sum of all of them is not shown.
    if now.shows_one_refund && before.refunded_cents != 0 {
        return Ok(LineChange::Unclear);
    }
    let charges = refunds.iter().filter_map(|refund| refund.refund_charges.as_ref());
    let charges = charges.flat_map(|charges| &charges.refund_charge).filter_map(|charge| charge.charge.as_ref());
    let amounts = charges.map(|charge| charge.charge_amount.as_ref().and_then(|amount| cents(amount.amount())));
    let wanted = amounts.sum::<Option<i64>>().ok_or(NoEvidence::RequestUnreadable)?.saturating_neg();
    let risen = now.refunded_cents.saturating_sub(before.refunded_cents);
    let is_as_before = risen == 0 && now.in_refund() == before.in_refund && !new_return;
    Ok(if is_as_before {
        LineChange::Unchanged
    } else if !line.is_full_refund() && risen == wanted {
        LineChange::Done
    } else {
        LineChange::Unclear
    })
}

fn has(before: &SellerSnapshotLine, id: &str) -> bool {
    before.refund_ids.iter().any(|known| known == id)
}
