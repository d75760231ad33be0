//! Evidence about cancelled, shipped and refunded lines of a seller's order: the state of the lines, compared with a
//! snapshot from before the first attempt.

use prost::Message;

use super::others::{Change, OtherChanges, PartChange, together};
use super::seller_order::{SeenLine, cents, lines_of};
use super::{AbsenceProof, Evidence, LookupAnswer, NoEvidence, PresenceProof};
use crate::domain::ledger::Entry;
use crate::pb::{
    CancelOrderLinesRequest, LineStatus, LineStatuses, OrderCancellationLine, OrderRefundLine, OrderShipmentLine,
    RefundOrderLinesRequest, ShipOrderLinesRequest,
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

/// What the changes of all lines prove.
fn all_of(
    changes: impl Iterator<Item = Result<PartChange, NoEvidence>>,
    absent: AbsenceProof,
) -> Result<Evidence, NoEvidence> {
    let changes = changes.collect::<Result<Vec<_>, _>>()?;
    let is_done = together(&changes)?;
    Ok(if is_done { Evidence::Present(PresenceProof { copies: 1 }) } else { Evidence::Absent(absent) })
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

fn lines_to_cancel(batch: &CancelOrderLinesRequest) -> &[OrderCancellationLine] {
    let cancellation = batch.order_cancellation.as_ref().and_then(|cancellation| cancellation.order_lines.as_ref());
    cancellation.map(|lines| lines.order_line.as_slice()).unwrap_or_default()
}

fn units_to_cancel(line: &OrderCancellationLine) -> Option<f64> {
    statuses(line.order_line_statuses.as_ref()).iter().map(units).sum()
}

/// What a batch of cancelled lines changes: the cancelled units of its lines.
pub fn change_of_cancelled_lines(batch: &CancelOrderLinesRequest) -> Change {
    Change::of(lines_to_cancel(batch).iter().map(|line| (line.line_number().to_owned(), units_to_cancel(line))))
}

/// Judges an answer for a batch of cancelled lines: the cancelled units of every line have risen by what was asked, or no
/// line's have. Without a snapshot only lines cancelled wholly or not at all can be told.
pub fn judge_cancelled_lines(
    batch: &CancelOrderLinesRequest,
    snapshot: Option<&SellerSnapshot>,
    others: &OtherChanges,
    answer: &LookupAnswer,
) -> Evidence {
    evidence(lines_of(&batch.purchase_order_id, answer).and_then(|seen| {
        let change = |line: &OrderCancellationLine| {
            let number = line.line_number();
            let now = one(&seen, number).ok_or(NoEvidence::UnitsNotShown)?;
            let wanted = units_to_cancel(line).ok_or(NoEvidence::RequestUnreadable)?;
            let before = snapshot.and_then(|snapshot| snapshot.line(number));
            Ok(match before.map(|before| now.cancelled() - before.cancelled) {
                Some(risen) => others.judge(number, risen, wanted),
                None if now.cancelled() == 0.0 => PartChange::Unchanged,
                None if now.cancelled() == now.all_units() && wanted == now.all_units() => {
                    others.judge(number, wanted, wanted)
                }
                None => PartChange::Unclear,
            })
        };
        all_of(lines_to_cancel(batch).iter().map(change), AbsenceProof::NothingCancelled)
    }))
}

fn lines_to_ship(request: &ShipOrderLinesRequest) -> &[OrderShipmentLine] {
    let shipment = request.order_shipment.as_ref().and_then(|shipment| shipment.order_lines.as_ref());
    shipment.map(|lines| lines.order_line.as_slice()).unwrap_or_default()
}

/// The name of a parcel of a line among the parts of an order.
fn parcel_part(line: &str, tracking: &str) -> String {
    format!("{line}\u{0}{tracking}")
}

/// What a shipment changes: the units of its parcels, of each line.
pub fn change_of_shipped_lines(request: &ShipOrderLinesRequest) -> Change {
    Change::of(lines_to_ship(request).iter().flat_map(|line| {
        statuses(line.order_line_statuses.as_ref()).iter().map(|status| {
            let tracking = status.tracking_info.as_ref().map(|tracking| tracking.tracking_number()).unwrap_or_default();
            (parcel_part(line.line_number(), tracking), units(status))
        })
    }))
}

/// Judges an answer for shipped lines: the parcels of every line show in it, or none does and enough units are open.
pub fn judge_shipped_lines(
    request: &ShipOrderLinesRequest,
    snapshot: Option<&SellerSnapshot>,
    others: &OtherChanges,
    answer: &LookupAnswer,
) -> Evidence {
    evidence(lines_of(&request.purchase_order_id, answer).and_then(|seen| {
        let change = |line: &OrderShipmentLine| {
            let now = one(&seen, line.line_number()).ok_or(NoEvidence::UnitsNotShown)?;
            let before = snapshot.and_then(|snapshot| snapshot.line(line.line_number()));
            let parcels = statuses(line.order_line_statuses.as_ref()).iter().map(|status| {
                let number = status.tracking_info.as_ref().map(|tracking| tracking.tracking_number())?;
                let risen = now.in_parcel(number) - before.map_or(0.0, |before| before.in_parcel(number));
                let wanted = units(status)?;
                Some((wanted, others.judge(&parcel_part(line.line_number(), number), risen, wanted)))
            });
            let parcels: Option<Vec<(f64, PartChange)>> = parcels.collect();
            let parcels = parcels.ok_or(NoEvidence::RequestUnreadable)?;
            let wanted: f64 = parcels.iter().map(|(wanted, _)| wanted).sum();
            let changes: Vec<PartChange> = parcels.iter().map(|(_, change)| *change).collect();
            Ok(match together(&changes) {
                Ok(true) => PartChange::Done,
                Ok(false) if now.open() >= wanted => PartChange::Unchanged,
                Err(NoEvidence::OtherCalls) => PartChange::Either,
                Ok(false) | Err(_) => PartChange::Unclear,
            })
        };
        all_of(lines_to_ship(request).iter().map(change), AbsenceProof::NothingShipped)
    }))
}

fn lines_to_refund(request: &RefundOrderLinesRequest) -> &[OrderRefundLine] {
    let refund = request.order_refund.as_ref().and_then(|refund| refund.order_lines.as_ref());
    refund.map(|lines| lines.order_line.as_slice()).unwrap_or_default()
}

/// The cents to refund for a line; 0 for a line refunded in full, of which Walmart computes the amount.
fn cents_to_refund(line: &OrderRefundLine) -> Option<i64> {
    let refunds = line.refunds.as_ref().map(|refunds| refunds.refund.as_slice()).unwrap_or_default();
    let charges = refunds.iter().filter_map(|refund| refund.refund_charges.as_ref());
    let charges = charges.flat_map(|charges| &charges.refund_charge).filter_map(|charge| charge.charge.as_ref());
    let amounts = charges.map(|charge| charge.charge_amount.as_ref().and_then(|amount| cents(amount.amount())));
    Some(amounts.sum::<Option<i64>>()?.saturating_neg())
}

/// What a refund changes: the refunded cents of its lines.
pub fn change_of_refunded_lines(request: &RefundOrderLinesRequest) -> Change {
    Change::of(lines_to_refund(request).iter().map(|line| {
        let cents = if line.is_full_refund() { None } else { cents_to_refund(line) };
        (line.line_number().to_owned(), cents.map(|cents| cents as f64))
    }))
}

/// Judges an answer for refunded lines of `purchase_order`. Without a snapshot nothing can be told, and nothing was sent
/// either.
pub fn judge_refunded_lines(
    purchase_order: &str,
    request: &RefundOrderLinesRequest,
    snapshot: Option<&SellerSnapshot>,
    others: &OtherChanges,
    answer: &LookupAnswer,
) -> Evidence {
    evidence(lines_of(purchase_order, answer).and_then(|seen| {
        let change = |line: &OrderRefundLine| {
            let now = one(&seen, line.line_number()).ok_or(NoEvidence::UnitsNotShown)?;
            let before = snapshot.and_then(|snapshot| snapshot.line(line.line_number()));
            refund_of(line, before.ok_or(NoEvidence::NoSnapshot)?, now, others)
        };
        all_of(lines_to_refund(request).iter().map(change), AbsenceProof::NothingRefunded)
    }))
}

fn refund_of(
    line: &OrderRefundLine,
    before: &SellerSnapshotLine,
    now: &SeenLine,
    others: &OtherChanges,
) -> Result<PartChange, NoEvidence> {
    let number = line.line_number();
    // What shows that a refund was made does not always show by how much, or whose it is.
    let by_sign = if others.touch(number) { PartChange::Either } else { PartChange::Done };
    let refunds = line.refunds.as_ref().map(|refunds| refunds.refund.as_slice()).unwrap_or_default();
    let new_id = |id: &str| !id.is_empty() && now.refund_ids.iter().any(|seen| seen == id) && !has(before, id);
    let is_told_by_id = !refunds.is_empty() && refunds.iter().all(|refund| new_id(refund.refund_id()));
    if is_told_by_id && by_sign == PartChange::Done {
        return Ok(PartChange::Done);
    }
    let new_return = now.return_order_id != before.return_order_id;
    if line.is_full_refund() && (now.in_refund() > before.in_refund || new_return) {
        return Ok(by_sign);
    }
    // One object instead of the earlier refunds and this one: the sum of all of them is not shown.
    if now.shows_one_refund && before.refunded_cents != 0 {
        return Ok(PartChange::Unclear);
    }
    let wanted = cents_to_refund(line).ok_or(NoEvidence::RequestUnreadable)?;
    let risen = now.refunded_cents.saturating_sub(before.refunded_cents);
    let is_as_before = now.in_refund() == before.in_refund && !new_return;
    Ok(match others.judge(number, risen as f64, wanted as f64) {
        PartChange::Unchanged if is_as_before => PartChange::Unchanged,
        // Walmart computes the amount of a full refund, which may be any.
        _ if line.is_full_refund() && others.touch(number) => PartChange::Either,
        change @ (PartChange::Done | PartChange::Either) if !line.is_full_refund() => change,
        _ => PartChange::Unclear,
    })
}

fn has(before: &SellerSnapshotLine, id: &str) -> bool {
    before.refund_ids.iter().any(|known| known == id)
}
