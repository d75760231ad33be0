//! A seller's order as a look-up shows it: the units, parcels and refunds of every line, read strictly.

use serde::de::MapAccess;

use super::json::{JsonPart, JsonScalar, ObjectFields, object_fields, object_of, objects, once, only_objects};
use super::{LookupAnswer, NoEvidence};

/// The answer, with the order in `order` or bare.
#[derive(Debug, Default)]
struct SellerOrderBody {
    order: Option<JsonPart<SellerOrderRow>>,
    errors: Option<JsonPart<()>>,
    error: Option<JsonPart<()>>,
    bare: SellerOrderRow,
}

#[derive(Debug, Default)]
struct SellerOrderRow {
    purchase_order_id: Option<JsonScalar>,
    order_lines: Option<JsonPart<LinesRow>>,
}

#[derive(Debug, Default)]
struct LinesRow {
    order_line: Option<JsonPart<SellerLineRow>>,
}

#[derive(Debug, Default)]
struct SellerLineRow {
    line_number: Option<JsonScalar>,
    statuses: Option<JsonPart<StatusesRow>>,
    refund: Option<JsonPart<RefundRow>>,
    refunds: Option<JsonPart<RefundsRow>>,
    return_order_id: Option<JsonScalar>,
}

#[derive(Debug, Default)]
struct StatusesRow {
    order_line_status: Option<JsonPart<StatusRow>>,
}

#[derive(Debug, Default)]
struct StatusRow {
    status: Option<JsonScalar>,
    quantity: Option<JsonPart<AmountRow>>,
    tracking: Option<JsonPart<TrackingRow>>,
}

#[derive(Debug, Default)]
struct TrackingRow {
    tracking_number: Option<JsonScalar>,
}

#[derive(Debug, Default)]
struct RefundsRow {
    refund: Option<JsonPart<RefundRow>>,
}

#[derive(Debug, Default)]
struct RefundRow {
    refund_id: Option<JsonScalar>,
    charges: Option<JsonPart<RefundChargesRow>>,
}

#[derive(Debug, Default)]
struct RefundChargesRow {
    refund_charge: Option<JsonPart<RefundChargeRow>>,
}

#[derive(Debug, Default)]
struct RefundChargeRow {
    charge: Option<JsonPart<ChargeRow>>,
}

#[derive(Debug, Default)]
struct ChargeRow {
    amount: Option<JsonPart<AmountRow>>,
}

/// A quantity or an amount of money.
#[derive(Debug, Default)]
struct AmountRow {
    amount: Option<JsonScalar>,
}

object_fields! {
    SellerOrderRow { "purchaseOrderId" => purchase_order_id, "orderLines" => order_lines }
    LinesRow { "orderLine" => order_line }
    SellerLineRow {
        "lineNumber" => line_number,
        "orderLineStatuses" => statuses,
        "refund" => refund,
        "refunds" => refunds,
        "returnOrderId" => return_order_id
    }
    StatusesRow { "orderLineStatus" => order_line_status }
    StatusRow { "status" => status, "statusQuantity" => quantity, "trackingInfo" => tracking }
    TrackingRow { "trackingNumber" => tracking_number }
    RefundsRow { "refund" => refund }
    RefundRow { "refundId" => refund_id, "refundCharges" => charges }
    RefundChargesRow { "refundCharge" => refund_charge }
    RefundChargeRow { "charge" => charge }
    ChargeRow { "chargeAmount" => amount }
    AmountRow { "amount" => amount }
}

impl ObjectFields for SellerOrderBody {
    fn read<'de, A: MapAccess<'de>>(&mut self, key: &str, object: &mut A) -> Result<bool, A::Error> {
        match key {
            "order" => once(&mut self.order, object),
            "errors" => once(&mut self.errors, object),
            "error" => once(&mut self.error, object),
            _ => self.bare.read(key, object),
        }
    }
}

/// A line of a seller's order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct SeenLine {
    pub(super) number: String,
    /// Units by state, with the tracking number of a parcel.
    states: Vec<SeenUnits>,
    /// The sum of all refunds, in whole cents, not negative.
    pub(super) refunded_cents: i64,
    /// Whether the line shows one refund where there may have been several.
    pub(super) shows_one_refund: bool,
    pub(super) refund_ids: Vec<String>,
    pub(super) return_order_id: String,
}

#[derive(Clone, Debug, PartialEq)]
struct SeenUnits {
    status: String,
    units: f64,
    tracking: String,
}

impl SeenLine {
    fn units(&self, states: &[&str]) -> f64 {
        let of_state = |seen: &&SeenUnits| states.iter().any(|state| seen.status.eq_ignore_ascii_case(state));
        self.states.iter().filter(of_state).map(|seen| seen.units).sum()
    }

    pub(super) fn all_units(&self) -> f64 {
        self.states.iter().map(|seen| seen.units).sum()
    }

    pub(super) fn cancelled(&self) -> f64 {
        self.units(&["Cancelled", "Canceled"])
    }

    /// Units that can still be shipped or cancelled.
    pub(super) fn open(&self) -> f64 {
        self.units(&["Created", "Acknowledged"])
    }

    pub(super) fn in_refund(&self) -> f64 {
        self.units(&["Refund"])
    }

    /// Units in a parcel of this number.
    pub(super) fn in_parcel(&self, tracking: &str) -> f64 {
        let shipped = ["Shipped", "Delivered"];
        let of_parcel = |seen: &&SeenUnits| {
            seen.tracking == tracking && shipped.iter().any(|state| seen.status.eq_ignore_ascii_case(state))
        };
        self.states.iter().filter(of_parcel).map(|seen| seen.units).sum()
    }

    /// The parcels of the line, with their units.
    pub(super) fn parcels(&self) -> Vec<(String, f64)> {
        let mut parcels: Vec<(String, f64)> = Vec::new();
        for SeenUnits { tracking, .. } in &self.states {
            if !tracking.is_empty() && !parcels.iter().any(|(known, _)| known == tracking) {
                parcels.push((tracking.clone(), self.in_parcel(tracking)));
            }
        }
        parcels
    }

    fn of(row: &SellerLineRow) -> Option<Self> {
        let mut line = Self { number: row.line_number.as_ref()?.shown()?.into_owned(), ..Self::default() };
        let [statuses] = only_objects(&row.statuses)?[..] else { return None };
        for status in only_objects(&statuses.order_line_status)? {
            let units = objects(&status.quantity).next()?.amount.as_ref()?.amount()?;
            let tracking = objects(&status.tracking).find_map(|tracking| tracking.tracking_number.as_ref());
            line.states.push(SeenUnits {
                status: status.status.as_ref()?.shown()?.into_owned(),
                units,
                tracking: tracking.and_then(JsonScalar::shown).unwrap_or_default().into_owned(),
            });
        }
        if line.states.is_empty() {
            return None;
        }
        let mut listed = Vec::new();
        for refunds in only_objects(&row.refunds)? {
            listed.extend(only_objects(&refunds.refund)?);
        }
        line.shows_one_refund = listed.is_empty() && matches!(row.refund, Some(JsonPart::Object(_)));
        let mut seen_ids = Vec::new();
        for refund in objects(&row.refund).chain(listed) {
            let id = refund.refund_id.as_ref().and_then(JsonScalar::shown).unwrap_or_default().into_owned();
            // The same refund may stand in both places.
            if !id.is_empty() && seen_ids.contains(&id) {
                continue;
            }
            let charges = objects(&refund.charges).flat_map(|charges| objects(&charges.refund_charge));
            for charge in charges.flat_map(|charge| objects(&charge.charge)) {
                let amount = objects(&charge.amount).next()?.amount.as_ref()?;
                line.refunded_cents = line.refunded_cents.checked_add(cents_of(amount)?.checked_abs()?)?;
            }
            if !id.is_empty() {
                seen_ids.push(id);
            }
        }
        line.refund_ids = seen_ids;
        line.return_order_id =
            row.return_order_id.as_ref().and_then(JsonScalar::shown).unwrap_or_default().into_owned();
        Some(line)
    }
}

/// The lines of the order with this number. Lines that cannot be read are left out, and count as not shown.
pub(super) fn lines_of(purchase_order: &str, answer: &LookupAnswer) -> Result<Vec<SeenLine>, NoEvidence> {
    match answer.http_status {
        200 => {}
        404 => return Err(NoEvidence::OrderNotShown),
        _ => return Err(NoEvidence::HttpStatus),
    }
    let body: SellerOrderBody = object_of(&answer.body).ok_or(NoEvidence::Unreadable)?;
    if [&body.errors, &body.error].into_iter().any(|errors| objects(errors).next().is_some()) {
        return Err(NoEvidence::Errors);
    }
    let mut wrapped = objects(&body.order);
    let order = wrapped.next().unwrap_or(&body.bare);
    if wrapped.next().is_some() {
        return Err(NoEvidence::OrderNotShown);
    }
    match &order.purchase_order_id {
        Some(JsonScalar::Text(shown)) if shown == purchase_order => {}
        Some(other) if other.shown().is_some() => return Err(NoEvidence::NumberOther),
        _ => return Err(NoEvidence::NumberMissing),
    }
    let rows = objects(&order.order_lines).flat_map(|lines| objects(&lines.order_line));
    Ok(rows.filter_map(SeenLine::of).collect())
}

/// An amount in whole cents; `None` for an amount with parts of a cent.
pub fn cents(amount: f64) -> Option<i64> {
    let cents = (amount * 100.0).round();
    let exact = amount.is_finite() && (amount * 100.0 - cents).abs() < 1e-4 && cents.abs() < 1e15;
    exact.then_some(cents as i64)
}

fn cents_of(amount: &JsonScalar) -> Option<i64> {
    let amount = match amount {
        JsonScalar::Number(number) => number.as_f64()?,
        JsonScalar::Text(text) => text.trim().parse().ok()?,
        JsonScalar::Null | JsonScalar::Other => return None,
    };
    cents(amount)
}
