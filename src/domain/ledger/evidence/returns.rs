//! Evidence about returns: refunded units of a marketplace return, and opened or cancelled returns of Multichannel orders.

use super::answer::{AnswerStatus, AnswerTotals, HeaderRow, status_of};
use super::json::{JsonPart, JsonScalar, object_fields, object_of, objects, only_objects};
use super::others::{Change, OtherChanges, PartChange, together};
use super::{AbsenceProof, Evidence, LookupAnswer, NoEvidence, PresenceProof, absence};
use crate::domain::ledger::{Entry, Fingerprint};
use crate::pb::{CancelMcsReturnRequest, CreateMcsReturnRequest, McsReturnItem, RefundReturnRequest};
use prost::Message;

#[derive(Debug, Default)]
struct ReturnsBody {
    returns: Option<JsonPart<ReturnRow>>,
    errors: Option<JsonPart<()>>,
    error: Option<JsonPart<()>>,
}

#[derive(Debug, Default)]
struct ReturnRow {
    return_order_id: Option<JsonScalar>,
    lines: Option<JsonPart<ReturnLineRow>>,
}

#[derive(Debug, Default)]
struct ReturnLineRow {
    number: Option<JsonScalar>,
    refunded: Option<JsonScalar>,
    refund_status: Option<JsonScalar>,
    statuses: Option<JsonPart<RefundStatusRow>>,
}

#[derive(Debug, Default)]
struct RefundStatusRow {
    refund_status: Option<JsonScalar>,
}

#[derive(Debug, Default)]
struct McsReturnsBody {
    status: Option<JsonScalar>,
    header: Option<JsonPart<HeaderRow>>,
    payload: Option<JsonPart<McsReturnRow>>,
    errors: Option<JsonPart<()>>,
    error: Option<JsonPart<()>>,
}

#[derive(Debug, Default)]
struct McsReturnRow {
    seller_return_order_id: Option<JsonScalar>,
    return_order_id: Option<JsonScalar>,
    seller_order_id: Option<JsonScalar>,
    status: Option<JsonScalar>,
    lines: Option<JsonPart<McsLineRow>>,
}

#[derive(Debug, Default)]
struct McsLineRow {
    reason: Option<JsonScalar>,
    item: Option<JsonPart<SkuRow>>,
    qty: Option<JsonPart<MeasureRow>>,
    units: Option<JsonPart<UnitsRow>>,
}

#[derive(Debug, Default)]
struct SkuRow {
    sku: Option<JsonScalar>,
}

#[derive(Debug, Default)]
struct MeasureRow {
    value: Option<JsonScalar>,
}

#[derive(Debug, Default)]
struct UnitsRow {
    status: Option<JsonScalar>,
}

object_fields! {
    ReturnsBody { "returnOrders" => returns, "errors" => errors, "error" => error }
    ReturnRow { "returnOrderId" => return_order_id, "returnOrderLines" => lines }
    ReturnLineRow {
        "returnOrderLineNumber" => number,
        "refundedQty" => refunded,
        "currentRefundStatus" => refund_status,
        "currentTrackingStatuses" => statuses
    }
    RefundStatusRow { "currentRefundStatus" => refund_status }
    McsReturnsBody {
        "status" => status,
        "header" => header,
        "payload" => payload,
        "errors" => errors,
        "error" => error
    }
    McsReturnRow {
        "sellerReturnOrderId" => seller_return_order_id,
        "returnOrderId" => return_order_id,
        "sellerOrderId" => seller_order_id,
        "status" => status,
        "returnOrderLines" => lines
    }
    McsLineRow {
        "returnReason" => reason,
        "itemDetail" => item,
        "qty" => qty,
        "lineQuantityInfo" => units
    }
    SkuRow { "sku" => sku }
    MeasureRow { "measurementValue" => value }
    UnitsRow { "status" => status }
}

fn is(shown: &Option<JsonScalar>, wanted: &str) -> bool {
    matches!(shown, Some(JsonScalar::Text(text)) if text == wanted)
}

fn text(shown: &Option<JsonScalar>) -> String {
    shown.as_ref().and_then(JsonScalar::shown).unwrap_or_default().into_owned()
}

/// The lines of a return before units of it are refunded.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ReturnSnapshot {
    /// All lines of the return, at least one.
    #[prost(message, repeated, tag = "1")]
    pub lines: Vec<ReturnSnapshotLine>,
}

/// One line of a [`ReturnSnapshot`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct ReturnSnapshotLine {
    /// Number of the line in the return.
    #[prost(int64, tag = "1")]
    pub number: i64,
    /// Units refunded so far.
    #[prost(double, tag = "2")]
    pub refunded: f64,
    /// Whether Walmart says that the refund has begun.
    #[prost(bool, tag = "3")]
    pub has_begun: bool,
}

impl ReturnSnapshot {
    /// Reads all lines of the return. `None` when one cannot be read.
    pub fn read(return_order: &str, answer: &LookupAnswer) -> Option<Self> {
        Some(Self { lines: lines_of(return_order, answer).ok()? })
    }

    /// What the lines showed about refunds, for an operator.
    pub fn figures(&self) -> Vec<String> {
        let begun =
            |line: &ReturnSnapshotLine| if line.has_begun { "a refund has begun" } else { "no refund has begun" };
        let line = |line: &ReturnSnapshotLine| {
            format!("line {}: {} units refunded, {}", line.number, line.refunded, begun(line))
        };
        self.lines.iter().map(line).collect()
    }

    /// The snapshot that the entry stores.
    pub fn of_entry(entry: &Entry) -> Option<Self> {
        Self::decode(entry.snapshot.as_slice()).ok().filter(|snapshot| !snapshot.lines.is_empty())
    }
}

fn lines_of(return_order: &str, answer: &LookupAnswer) -> Result<Vec<ReturnSnapshotLine>, NoEvidence> {
    match answer.http_status {
        200 => {}
        404 => return Err(NoEvidence::OrderNotShown),
        _ => return Err(NoEvidence::HttpStatus),
    }
    let body: ReturnsBody = object_of(&answer.body).ok_or(NoEvidence::Unreadable)?;
    if [&body.errors, &body.error].into_iter().any(|errors| objects(errors).next().is_some()) {
        return Err(NoEvidence::Errors);
    }
    let mut rows = objects(&body.returns).filter(|row| is(&row.return_order_id, return_order));
    let (Some(row), None) = (rows.next(), rows.next()) else { return Err(NoEvidence::OrderNotShown) };
    let lines = only_objects(&row.lines).ok_or(NoEvidence::UnitsNotShown)?;
    let lines = lines.into_iter().map(line).collect::<Option<Vec<_>>>().ok_or(NoEvidence::UnitsNotShown)?;
    if lines.is_empty() { Err(NoEvidence::UnitsNotShown) } else { Ok(lines) }
}

fn line(row: &ReturnLineRow) -> Option<ReturnSnapshotLine> {
    let number = row.number.as_ref()?.amount().filter(|number| number.fract() == 0.0 && *number < 1e15)?;
    let refunded = match &row.refunded {
        None | Some(JsonScalar::Null) => 0.0,
        Some(shown) => shown.amount()?,
    };
    let mut statuses = objects(&row.statuses).map(|status| &status.refund_status).chain([&row.refund_status]);
    let has_begun = statuses.any(|status| ["REFUND_INITIATED", "REFUND_ISSUED"].contains(&text(status).as_str()));
    Some(ReturnSnapshotLine { number: number as i64, refunded, has_begun })
}

/// What a refund of a return changes: the refunded units of its lines. A line without a number is the only one.
pub fn change_of_refunded_return(request: &RefundReturnRequest) -> Change {
    Change::of(request.refund_lines.iter().map(|line| {
        let number = line.return_order_line_number.map(|number| number.to_string()).unwrap_or_default();
        (number, line.quantity.as_ref().and_then(|quantity| quantity.measurement_value))
    }))
}

/// Judges an answer for refunded units of a return: the refunded units of every line have risen by what was asked or its
/// refund has begun since, or no line has changed. Without a snapshot nothing can be told, and nothing was sent either.
pub fn judge_refunded_return(
    request: &RefundReturnRequest,
    snapshot: Option<&ReturnSnapshot>,
    others: &OtherChanges,
    answer: &LookupAnswer,
) -> Evidence {
    judge_refunded(request, snapshot, others, answer).unwrap_or_else(Evidence::Nothing)
}

fn judge_refunded(
    request: &RefundReturnRequest,
    snapshot: Option<&ReturnSnapshot>,
    others: &OtherChanges,
    answer: &LookupAnswer,
) -> Result<Evidence, NoEvidence> {
    let now = lines_of(&request.return_order_id, answer)?;
    let before = &snapshot.ok_or(NoEvidence::NoSnapshot)?.lines;
    if request.refund_lines.is_empty() {
        return Err(NoEvidence::RequestUnreadable);
    }
    let mut changes = Vec::with_capacity(request.refund_lines.len());
    for wanted in &request.refund_lines {
        let units = wanted.quantity.as_ref().and_then(|quantity| quantity.measurement_value);
        let units = units.ok_or(NoEvidence::RequestUnreadable)?;
        let number = wanted.return_order_line_number.map(i64::from);
        let now = one(&now, number).ok_or(NoEvidence::UnitsNotShown)?;
        let before = one(before, number).ok_or(NoEvidence::NoSnapshot)?;
        let (risen, part) = (now.refunded - before.refunded, now.number.to_string());
        changes.push(match others.judge(&part, risen, units) {
            PartChange::Unchanged if risen == 0.0 && now.has_begun && !before.has_begun => {
                // That a refund has begun does not show whose it is.
                if others.touch(&part) { PartChange::Either } else { PartChange::Done }
            }
            PartChange::Unchanged if risen == 0.0 && now.has_begun != before.has_begun => PartChange::Unclear,
            change => change,
        });
    }
    Ok(if together(&changes)? {
        Evidence::Present(PresenceProof { copies: 1 })
    } else {
        Evidence::Absent(AbsenceProof::NothingRefunded)
    })
}

/// The line of this number; without a number the only line.
fn one(lines: &[ReturnSnapshotLine], number: Option<i64>) -> Option<&ReturnSnapshotLine> {
    let mut found = lines.iter().filter(|line| number.is_none_or(|number| line.number == number));
    found.next().filter(|_| found.next().is_none())
}

/// The returns of a Multichannel order before another is opened.
#[derive(Clone, PartialEq, prost::Message)]
pub struct McsReturnsSnapshot {
    /// Walmart's numbers of the returns.
    #[prost(string, repeated, tag = "1")]
    pub return_order_ids: Vec<String>,
    /// Set, so that a snapshot without returns is not empty.
    #[prost(bool, tag = "2")]
    pub is_taken: bool,
}

impl McsReturnsSnapshot {
    /// Reads all returns of the order. `None` when the list is not whole.
    pub fn read(answer: &LookupAnswer) -> Option<Self> {
        let ids =
            |body: &McsReturnsBody| objects(&body.payload).map(|row| text(&row.return_order_id)).collect::<Vec<_>>();
        let return_order_ids = match whole_list(answer) {
            Ok(body) => ids(&body),
            Err(_) if absence::is_not_found(answer) => Vec::new(),
            Err(_) => return None,
        };
        let is_readable = return_order_ids.iter().all(|id| !id.is_empty());
        is_readable.then_some(Self { return_order_ids, is_taken: true })
    }

    /// The snapshot that the entry stores.
    pub fn of_entry(entry: &Entry) -> Option<Self> {
        Self::decode(entry.snapshot.as_slice()).ok().filter(|snapshot| snapshot.is_taken)
    }
}

/// Reads a list that shows all of its rows.
fn whole_list(answer: &LookupAnswer) -> Result<McsReturnsBody, NoEvidence> {
    match answer.http_status {
        200 => {}
        404 => return Err(NoEvidence::GatewayNotFound),
        _ => return Err(NoEvidence::HttpStatus),
    }
    let body: McsReturnsBody = object_of(&answer.body).ok_or(NoEvidence::Unreadable)?;
    if [&body.errors, &body.error].into_iter().any(|errors| objects(errors).next().is_some()) {
        return Err(NoEvidence::Errors);
    }
    match status_of(&body.status) {
        AnswerStatus::Success => {}
        AnswerStatus::Partial => return Err(NoEvidence::PartialSuccess),
        AnswerStatus::Failed => return Err(NoEvidence::StatusFailed),
        AnswerStatus::Unknown => return Err(NoEvidence::StatusUnknown),
    }
    let rows = match &body.payload {
        None => return Err(NoEvidence::PayloadMissing),
        Some(JsonPart::Null) => return Err(NoEvidence::PayloadNull),
        Some(JsonPart::Scalar(_)) => return Err(NoEvidence::PayloadNotList),
        Some(JsonPart::Object(_) | JsonPart::List(_)) => {
            only_objects(&body.payload).ok_or(NoEvidence::RowsNotOrders)?
        }
    };
    let totals = AnswerTotals::of_header(&body.header);
    if !totals.are_readable() {
        return Err(NoEvidence::TotalsUnreadable);
    }
    if !totals.end_at(rows.len()) {
        return Err(NoEvidence::ListNotComplete);
    }
    Ok(body)
}

/// What an opened return changes: there is one more of the same lines.
pub fn change_of_opened_return(request: &CreateMcsReturnRequest) -> Change {
    let items = request.payload.as_ref().map(|payload| payload.order_items.as_slice()).unwrap_or_default();
    Change::of([(part_of_items(&wanted_items(items)), Some(1.0))])
}

/// Judges the list of an order's returns for an opened return: by the seller's id of it, or, where rows have no such id, by
/// a return that was not there before and has the same lines.
pub fn judge_opened_return(
    request: &CreateMcsReturnRequest,
    snapshot: Option<&McsReturnsSnapshot>,
    others: &OtherChanges,
    answer: &LookupAnswer,
) -> Evidence {
    judge_opened(request, snapshot, others, answer).unwrap_or_else(Evidence::Nothing)
}

fn judge_opened(
    request: &CreateMcsReturnRequest,
    snapshot: Option<&McsReturnsSnapshot>,
    others: &OtherChanges,
    answer: &LookupAnswer,
) -> Result<Evidence, NoEvidence> {
    let payload = request.payload.as_ref().ok_or(NoEvidence::RequestUnreadable)?;
    let body = match whole_list(answer) {
        Ok(body) => body,
        Err(_) if absence::is_not_found(answer) => return Ok(Evidence::Absent(AbsenceProof::EmptyList)),
        Err(why) => return Err(why),
    };
    if objects(&body.payload).any(|row| is(&row.seller_return_order_id, payload.seller_return_order_id())) {
        return Ok(Evidence::Present(PresenceProof { copies: 1 }));
    }
    // A row that does not show which return of which order it is may be any return, or none.
    let is_unknown =
        |row: &McsReturnRow| [&row.return_order_id, &row.seller_order_id].into_iter().any(|id| text(id).is_empty());
    if objects(&body.payload).any(is_unknown) {
        return Err(NoEvidence::NumberMissing);
    }
    let rows: Vec<&McsReturnRow> =
        objects(&body.payload).filter(|row| is(&row.seller_order_id, payload.seller_order_id())).collect();
    let is_new = |row: &&&McsReturnRow| {
        let id = text(&row.return_order_id);
        snapshot.is_none_or(|snapshot| !snapshot.return_order_ids.contains(&id))
    };
    let has_no_id = |row: &&&McsReturnRow| text(&row.seller_return_order_id).is_empty();
    let wanted = wanted_items(&payload.order_items);
    let alike = rows.iter().filter(has_no_id).filter(is_new).filter(|row| shown_items(row) == wanted).count();
    if alike > 0 && snapshot.is_none() {
        return Err(NoEvidence::LinesUnclear);
    }
    match others.judge(&part_of_items(&wanted), alike as f64, 1.0) {
        PartChange::Done => Ok(Evidence::Present(PresenceProof { copies: 1 })),
        PartChange::Unchanged => Ok(Evidence::Absent(AbsenceProof::EmptyList)),
        PartChange::Either => Err(NoEvidence::OtherCalls),
        PartChange::Unclear => Err(NoEvidence::LinesUnclear),
    }
}

/// The lines of a return: SKU, reason and units, in an order of their own.
type ReturnItems = Vec<(String, String, Option<u64>)>;

fn shown_items(row: &McsReturnRow) -> ReturnItems {
    let line = |line: &McsLineRow| {
        let sku = objects(&line.item).next().map(|item| text(&item.sku)).unwrap_or_default();
        let units = objects(&line.qty).next().and_then(|qty| qty.value.as_ref()?.amount());
        (sku, text(&line.reason), units.map(|units| units as u64))
    };
    let mut shown: ReturnItems = objects(&row.lines).map(line).collect();
    shown.sort();
    shown
}

fn wanted_items(items: &[McsReturnItem]) -> ReturnItems {
    let item = |item: &McsReturnItem| {
        let sku = item.item_detail.as_ref().and_then(|detail| detail.sku.clone()).unwrap_or_default();
        let units = item.qty.as_ref().and_then(|qty| qty.measurement_value);
        (sku, item.return_reason().to_owned(), units.map(|units| units as u64))
    };
    let mut wanted: ReturnItems = items.iter().map(item).collect();
    wanted.sort();
    wanted
}

/// The name of these lines among the parts of an order: never empty, and short however many lines there are.
fn part_of_items(items: &ReturnItems) -> String {
    Fingerprint::of_encoded(format!("{items:?}").as_bytes()).in_short()
}

/// Judges an answer for a return that was taken back. Lines that are neither initiated nor cancelled have moved on: the
/// cancellation was not carried out, and Walmart will refuse it.
pub fn judge_cancelled_return(request: &CancelMcsReturnRequest, answer: &LookupAnswer) -> Evidence {
    let judged = whole_list(answer).and_then(|body| {
        let mut rows = objects(&body.payload).filter(|row| is(&row.return_order_id, &request.return_order_id));
        let (Some(row), None) = (rows.next(), rows.next()) else { return Err(NoEvidence::OrderNotShown) };
        let units = objects(&row.lines).flat_map(|line| objects(&line.units)).map(|units| text(&units.status));
        let mut statuses: Vec<String> = units.collect();
        if statuses.is_empty() {
            statuses.push(text(&row.status));
        }
        let cancelled = statuses.iter().filter(|status| status.contains("CANCEL")).count();
        let initiated = statuses.iter().any(|status| status.ends_with("RETURN_INITIATED"));
        match (cancelled, initiated) {
            _ if statuses.iter().any(String::is_empty) => Err(NoEvidence::UnitsNotShown),
            (0, _) => Ok(Evidence::Absent(AbsenceProof::NothingCancelled)),
            (_, false) => Ok(Evidence::Present(PresenceProof { copies: 1 })),
            (_, true) => Err(NoEvidence::LinesUnclear),
        }
    });
    judged.unwrap_or_else(Evidence::Nothing)
}
