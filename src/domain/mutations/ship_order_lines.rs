//! ShipOrderLines: exactly one shipment for every parcel, known by its tracking number.

use std::collections::BTreeSet;
use std::sync::Arc;

use prost::Message;

use super::{AcceptedAnswer, LookupProbe, Mutation};
use crate::domain::ledger::evidence::{
    Change, Evidence, LookupAnswer, NoEvidence, OtherChanges, SellerSnapshot, change_of_shipped_lines,
    judge_shipped_lines,
};
use crate::domain::ledger::{Entry, MutationKind};
use crate::domain::operation::{Operation, WalmartCall};
use crate::domain::personal::PersonalTexts;
use crate::domain::rules::{FieldFaults, check_shipment};
use crate::pb::{OrderShipmentLine, ShipOrderLinesRequest};
use crate::planted_bug::{PlantedBug, is_planted};

/// The mode of a request that corrects a tracking number and ships nothing.
const CORRECTION: &str = "PARTIAL_UPDATE";

/// Whether the request corrects a tracking number, which may be repeated and needs no entry in the ledger.
pub fn is_correction(request: &ShipOrderLinesRequest) -> bool {
    request.order_shipment.as_ref().is_some_and(|shipment| shipment.process_mode() == CORRECTION)
}

/// Tells Walmart of shipped units, which charges the customer.
#[derive(Debug)]
pub struct ShipOrderLines;

impl WalmartCall for ShipOrderLines {
    const OPERATION: Operation = Operation::Ship;
    type Request = ShipOrderLinesRequest;
    type Answer = AcceptedAnswer;
}

impl ShipOrderLines {
    /// The lines of the request.
    pub fn lines(request: &ShipOrderLinesRequest) -> &[OrderShipmentLine] {
        let lines = request.order_shipment.as_ref().and_then(|shipment| shipment.order_lines.as_ref());
        lines.map(|lines| lines.order_line.as_slice()).unwrap_or_default()
    }

    /// The tracking numbers of a line, one for each parcel.
    pub fn tracking_numbers(line: &OrderShipmentLine) -> impl Iterator<Item = &str> {
        let statuses = line.order_line_statuses.iter().flat_map(|statuses| &statuses.order_line_status);
        statuses.filter_map(|status| status.tracking_info.as_ref()).map(|tracking| tracking.tracking_number())
    }
}

impl Mutation for ShipOrderLines {
    const KIND: MutationKind = MutationKind::Ship;
    const BY_ORDER_NUMBER: bool = false;
    const NEEDS_ORDER: bool = false;
    const IS_AUDITED: bool = false;

    fn check(request: &ShipOrderLinesRequest) -> Result<(), FieldFaults> {
        check_shipment(request)
    }

    fn order_number(request: &ShipOrderLinesRequest) -> &str {
        &request.purchase_order_id
    }

    fn request_id(request: &ShipOrderLinesRequest) -> &str {
        &request.request_id
    }

    fn payload(request: &ShipOrderLinesRequest) -> Vec<u8> {
        let ShipOrderLinesRequest { purchase_order_id, order_shipment, .. } = request.clone();
        ShipOrderLinesRequest { purchase_order_id, order_shipment, ..Default::default() }.encode_to_vec()
    }

    /// The purchase order and the set of lines with their tracking numbers. The same parcels with another amount, carrier
    /// or date are other content under the same key.
    fn content_key(request: &ShipOrderLinesRequest) -> Option<Vec<u8>> {
        let shown = |number| if is_planted(PlantedBug::TrackingNumberNotInKey) { "" } else { number };
        let parcels = Self::lines(request)
            .iter()
            .flat_map(|line| Self::tracking_numbers(line).map(|number| (line.line_number(), shown(number))));
        let parcels: BTreeSet<(&str, &str)> = parcels.collect();
        let texts = parcels.iter().flat_map(|(line, number)| [*line, *number]);
        Some(joined(std::iter::once(request.purchase_order_id.as_str()).chain(texts)))
    }

    fn batches(request: Arc<ShipOrderLinesRequest>) -> Vec<Arc<ShipOrderLinesRequest>> {
        vec![request]
    }

    fn snapshot_probe(request: &ShipOrderLinesRequest) -> Option<LookupProbe> {
        Some(LookupProbe::SellerOrder(request.purchase_order_id.clone()))
    }

    fn snapshot(batch: &ShipOrderLinesRequest, answer: &LookupAnswer) -> Vec<u8> {
        let numbers = Self::lines(batch).iter().map(|line| line.line_number());
        SellerSnapshot::read(&batch.purchase_order_id, numbers, answer).map(|s| s.encode_to_vec()).unwrap_or_default()
    }

    fn probe(entry: &Entry) -> LookupProbe {
        LookupProbe::SellerOrder(entry.order_number.to_string())
    }

    fn change(entry: &Entry) -> Option<Change> {
        ShipOrderLinesRequest::decode(entry.body.clone()).ok().as_ref().map(change_of_shipped_lines)
    }

    fn judge(entry: &Entry, others: &OtherChanges, answer: &LookupAnswer) -> Evidence {
        match ShipOrderLinesRequest::decode(entry.body.clone()) {
            Ok(request) => judge_shipped_lines(&request, SellerSnapshot::of_entry(entry).as_ref(), others, answer),
            Err(_) => Evidence::Nothing(NoEvidence::RequestUnreadable),
        }
    }

    fn personal(request: &ShipOrderLinesRequest) -> PersonalTexts {
        PersonalTexts::of(&request.order_shipment)
    }
}

/// The texts one after the other, each behind its length.
pub(super) fn joined<'t>(texts: impl IntoIterator<Item = &'t str>) -> Vec<u8> {
    let mut joined = Vec::new();
    for text in texts {
        joined.extend((text.len() as u64).to_be_bytes());
        joined.extend(text.as_bytes());
    }
    joined
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(lines: &[(&str, &[&str])]) -> ShipOrderLinesRequest {
        let line = |(number, parcels): &(&str, &[&str])| {
            let status = |tracking: &&str| json!({"trackingInfo": {"trackingNumber": tracking}});
            let statuses: Vec<_> = parcels.iter().map(status).collect();
            json!({"lineNumber": number, "orderLineStatuses": {"orderLineStatus": statuses}})
        };
        let lines: Vec<_> = lines.iter().map(line).collect();
        let shipment = json!({"orderLines": {"orderLine": lines}});
        ShipOrderLinesRequest {
            purchase_order_id: "1".into(),
            order_shipment: Some(serde_json::from_value(shipment).unwrap()),
            ..Default::default()
        }
    }

    #[test]
    fn parcels_are_the_key_in_any_order() {
        let key = |lines: &[(&str, &[&str])]| ShipOrderLines::content_key(&request(lines)).unwrap();
        let one = key(&[("1", &["A", "B"]), ("2", &["A"])]);
        assert_eq!(one, key(&[("2", &["A"]), ("1", &["B", "A"])]));
        assert_ne!(one, key(&[("1", &["A", "B"])]));
        assert_ne!(one, key(&[("1", &["A"]), ("2", &["A", "B"])]));
        assert_ne!(key(&[("1", &["A"])]), key(&[("1A", &[""])]));
        let other = ShipOrderLinesRequest { purchase_order_id: "2".into(), ..request(&[("1", &["A"])]) };
        assert_ne!(ShipOrderLines::content_key(&other).unwrap(), key(&[("1", &["A"])]));
    }
}
