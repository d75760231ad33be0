//! CancelOrderLines: any number of lines of a purchase order, in upstream requests of at most a hundred.

use std::sync::Arc;

use prost::Message;

use super::{AcceptedAnswer, LookupProbe, MAX_LINES, Mutation};
use crate::domain::ledger::evidence::{
    Change, Evidence, LookupAnswer, NoEvidence, OtherChanges, SellerSnapshot, change_of_cancelled_lines,
    judge_cancelled_lines,
};
use crate::domain::ledger::{Entry, MutationKind};
use crate::domain::operation::{Operation, WalmartCall};
use crate::domain::personal::PersonalTexts;
use crate::domain::rules::{FieldFaults, check_line_cancellation};
use crate::pb::{CancelOrderLinesRequest, OrderCancellation, OrderCancellationLine, OrderCancellationLines};

/// Cancels lines of an order of the seller's own fulfillment.
#[derive(Debug)]
pub struct CancelOrderLines;

impl WalmartCall for CancelOrderLines {
    const OPERATION: Operation = Operation::CancelLines;
    type Request = CancelOrderLinesRequest;
    type Answer = AcceptedAnswer;
}

impl CancelOrderLines {
    /// The lines of the request.
    pub fn lines(request: &CancelOrderLinesRequest) -> &[OrderCancellationLine] {
        let lines = request.order_cancellation.as_ref().and_then(|cancellation| cancellation.order_lines.as_ref());
        lines.map(|lines| lines.order_line.as_slice()).unwrap_or_default()
    }
}

impl Mutation for CancelOrderLines {
    const KIND: MutationKind = MutationKind::CancelLines;
    const BY_ORDER_NUMBER: bool = false;
    const NEEDS_ORDER: bool = false;
    const IS_AUDITED: bool = false;

    fn check(request: &CancelOrderLinesRequest) -> Result<(), FieldFaults> {
        check_line_cancellation(request)
    }

    fn order_number(request: &CancelOrderLinesRequest) -> &str {
        &request.purchase_order_id
    }

    fn request_id(request: &CancelOrderLinesRequest) -> &str {
        &request.request_id
    }

    fn payload(request: &CancelOrderLinesRequest) -> Vec<u8> {
        let CancelOrderLinesRequest { purchase_order_id, order_cancellation, .. } = request.clone();
        CancelOrderLinesRequest { purchase_order_id, order_cancellation, ..Default::default() }.encode_to_vec()
    }

    fn batches(request: Arc<CancelOrderLinesRequest>) -> Vec<Arc<CancelOrderLinesRequest>> {
        let batch = |lines: &[OrderCancellationLine]| {
            let order_lines = Some(OrderCancellationLines { order_line: lines.to_vec() });
            Arc::new(CancelOrderLinesRequest {
                purchase_order_id: request.purchase_order_id.clone(),
                order_cancellation: Some(OrderCancellation { order_lines }),
                ..Default::default()
            })
        };
        Self::lines(&request).chunks(MAX_LINES).map(batch).collect()
    }

    fn snapshot_probe(request: &CancelOrderLinesRequest) -> Option<LookupProbe> {
        Some(LookupProbe::SellerOrder(request.purchase_order_id.clone()))
    }

    fn snapshot(batch: &CancelOrderLinesRequest, answer: &LookupAnswer) -> Vec<u8> {
        let numbers = Self::lines(batch).iter().map(|line| line.line_number());
        SellerSnapshot::read(&batch.purchase_order_id, numbers, answer).map(|s| s.encode_to_vec()).unwrap_or_default()
    }

    fn probe(entry: &Entry) -> LookupProbe {
        LookupProbe::SellerOrder(entry.order_number.to_string())
    }

    fn change(entry: &Entry) -> Option<Change> {
        CancelOrderLinesRequest::decode(entry.body.clone()).ok().as_ref().map(change_of_cancelled_lines)
    }

    fn judge(entry: &Entry, others: &OtherChanges, answer: &LookupAnswer) -> Evidence {
        match CancelOrderLinesRequest::decode(entry.body.clone()) {
            Ok(batch) => judge_cancelled_lines(&batch, SellerSnapshot::of_entry(entry).as_ref(), others, answer),
            Err(_) => Evidence::Nothing(NoEvidence::RequestUnreadable),
        }
    }

    /// The request names lines and reasons only.
    fn personal(_: &CancelOrderLinesRequest) -> PersonalTexts {
        PersonalTexts::default()
    }
}
