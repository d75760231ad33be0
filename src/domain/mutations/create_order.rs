//! CreateOrder: exactly one order for every order number.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;

use super::{AcceptedAnswer, LookupProbe, Mutation};
use crate::domain::ledger::evidence::{
    Evidence, ExpectedOrder, LookupAnswer, NoEvidence, OtherChanges, SearchPage, judge_create,
};
use crate::domain::ledger::{Entry, MutationKind};
use crate::domain::operation::{Operation, WalmartCall};
use crate::domain::order_number;
use crate::domain::personal::PersonalTexts;
use crate::domain::rules::{FieldFaults, check_order};
use crate::domain::timestamp::Timestamp;
use crate::pb::CreateOrderRequest;

/// Longest time between an order's date and its creation for which a search by date is trusted.
const LONGEST_AGO: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Creates an order at Walmart.
#[derive(Debug)]
pub struct CreateOrder;

impl WalmartCall for CreateOrder {
    const OPERATION: Operation = Operation::Create;
    type Request = CreateOrderRequest;
    type Answer = AcceptedAnswer;
}

impl Mutation for CreateOrder {
    const KIND: MutationKind = MutationKind::Create;
    const BY_ORDER_NUMBER: bool = true;
    const NEEDS_ORDER: bool = false;
    const IS_AUDITED: bool = true;

    fn check(request: &CreateOrderRequest) -> Result<(), FieldFaults> {
        check_order(request)
    }

    fn order_number(request: &CreateOrderRequest) -> &str {
        request.payload.as_ref().map(order_number::of_order).unwrap_or_default()
    }

    fn request_id(request: &CreateOrderRequest) -> &str {
        &request.request_id
    }

    fn payload(request: &CreateOrderRequest) -> Vec<u8> {
        request.payload.as_ref().map(Message::encode_to_vec).unwrap_or_default()
    }

    fn batches(request: Arc<CreateOrderRequest>) -> Vec<Arc<CreateOrderRequest>> {
        vec![request]
    }

    fn body(batch: &CreateOrderRequest, payload: &[u8]) -> Bytes {
        encoded(batch, payload)
    }

    fn probe(entry: &Entry) -> LookupProbe {
        LookupProbe::OrderByNumber(entry.order_number.to_string())
    }

    fn judge(entry: &Entry, _: &OtherChanges, answer: &LookupAnswer) -> Evidence {
        match expected(entry) {
            Some(expected) => judge_create(&expected, answer),
            None => Evidence::Nothing(NoEvidence::RequestUnreadable),
        }
    }

    /// Excludes orders dated long before their creation.
    fn searchable_from(entry: &Entry) -> Option<Timestamp> {
        let payload = CreateOrderRequest::decode(entry.body.clone()).ok()?.payload?;
        let placed: jiff::Timestamp = payload.order_placed_time?.parse().ok()?;
        let placed = Timestamp(u64::try_from(placed.as_millisecond()).ok()?);
        let first = placed.min(entry.created);
        (entry.created.since(first) <= LONGEST_AGO).then_some(first)
    }

    fn judge_page(entry: &Entry, page: &SearchPage) -> Option<Evidence> {
        page.judge(&expected(entry)?)
    }

    fn is_looked_up_first() -> bool {
        true
    }

    fn personal(request: &CreateOrderRequest) -> PersonalTexts {
        PersonalTexts::of(&request.payload)
    }
}

/// The order that Walmart should show for the entry.
fn expected(entry: &Entry) -> Option<ExpectedOrder> {
    ExpectedOrder::of_request(&CreateOrderRequest::decode(entry.body.clone()).ok()?, entry.created)
}

/// Encodes the request around a payload that was already encoded for its fingerprint. Encoding the payload again would
/// cost a fortieth of a call's work. The tags are those of the message's descriptor, which a test compares.
fn encoded(request: &CreateOrderRequest, payload: &[u8]) -> Bytes {
    let CreateOrderRequest { header, payload: _, account, request_id } = request;
    let header_len = header.as_ref().map_or(0, Message::encoded_len);
    let mut body = Vec::with_capacity(header_len + payload.len() + account.len() + request_id.len() + 16);
    // A tag is the field number with the wire type for length-delimited values.
    let tag = |number: u8| (number << 3) | 2;
    // Encoding fails only for a buffer that cannot grow.
    if let Some(header) = header {
        body.push(tag(1));
        let _ = header.encode_length_delimited(&mut body);
    }
    for (number, bytes) in [(2, payload), (3, account.as_bytes()), (4, request_id.as_bytes())] {
        if number == 2 || !bytes.is_empty() {
            body.push(tag(number));
            let _ = prost::encode_length_delimiter(bytes.len(), &mut body);
            body.extend_from_slice(bytes);
        }
    }
    body.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_creation_is_kept_as_it_came() {
        let payload = serde_json::from_str::<serde_json::Value>(include_str!("../../../examples/create.json")).unwrap();
        let payload: crate::pb::Order = serde_json::from_value(payload["payload"].clone()).unwrap();
        let header = Some(crate::pb::Header { header_attributes: Some(Default::default()) });
        let request =
            CreateOrderRequest { header, payload: Some(payload), account: "demo".into(), request_id: "one".into() };
        for request in [request.clone(), CreateOrderRequest { header: None, request_id: String::new(), ..request }] {
            let payload = request.payload.as_ref().unwrap().encode_to_vec();
            assert_eq!(encoded(&request, &payload), request.encode_to_vec());
        }
    }
}
