//! CancelOrder: any number of lines, in upstream requests of at most a hundred.

use std::sync::Arc;

use prost::Message;

use super::{AcceptedAnswer, LookupProbe, Mutation};
use crate::domain::ledger::evidence::{
    CancelSnapshot, Change, Evidence, LookupAnswer, NoEvidence, OtherChanges, change_of_cancel, judge_cancel,
};
use crate::domain::ledger::{Entry, MutationKind};
use crate::domain::operation::{Operation, WalmartCall};
use crate::domain::order_number;
use crate::domain::personal::PersonalTexts;
use crate::domain::rules::{FieldFaults, check_cancellation};
use crate::pb::{CancelItem, CancelOrderRequest, Cancellation};

/// Walmart's limit of lines in one request.
pub const MAX_LINES: usize = 100;

/// Cancels lines of an order.
#[derive(Debug)]
pub struct CancelOrder;

impl WalmartCall for CancelOrder {
    const OPERATION: Operation = Operation::Cancel;
    type Request = CancelOrderRequest;
    type Answer = AcceptedAnswer;
}

impl Mutation for CancelOrder {
    const KIND: MutationKind = MutationKind::Cancel;
    const BY_ORDER_NUMBER: bool = false;
    const NEEDS_ORDER: bool = true;
    /// No cancellation is audited, because the ledger keeps nothing to compare with after the end.
    const IS_AUDITED: bool = false;

    fn check(request: &CancelOrderRequest) -> Result<(), FieldFaults> {
        check_cancellation(request)
    }

    fn order_number(request: &CancelOrderRequest) -> &str {
        request.payload.as_ref().map(order_number::of_cancellation).unwrap_or_default()
    }

    fn request_id(request: &CancelOrderRequest) -> &str {
        &request.request_id
    }

    fn payload(request: &CancelOrderRequest) -> Vec<u8> {
        request.payload.as_ref().map(Message::encode_to_vec).unwrap_or_default()
    }

    fn batches(request: Arc<CancelOrderRequest>) -> Vec<Arc<CancelOrderRequest>> {
        let CancelOrderRequest { header, payload, .. } = Arc::unwrap_or_clone(request);
        let Some(payload) = payload else { return Vec::new() };
        let batch = |lines: &[CancelItem]| {
            let payload = Cancellation { order_items: lines.to_vec(), ..without_items(&payload) };
            Arc::new(CancelOrderRequest { header: header.clone(), payload: Some(payload), ..Default::default() })
        };
        payload.order_items.chunks(MAX_LINES).map(batch).collect()
    }

    fn snapshot_probe(request: &CancelOrderRequest) -> Option<LookupProbe> {
        Some(LookupProbe::OrderByNumber(Self::order_number(request).to_owned()))
    }

    fn snapshot(batch: &CancelOrderRequest, answer: &LookupAnswer) -> Vec<u8> {
        let snapshot = batch.payload.as_ref().and_then(|payload| CancelSnapshot::read(payload, answer));
        snapshot.map(|snapshot| snapshot.encode_to_vec()).unwrap_or_default()
    }

    fn probe(entry: &Entry) -> LookupProbe {
        LookupProbe::OrderByNumber(entry.order_number.to_string())
    }

    fn change(entry: &Entry) -> Option<Change> {
        CancelOrderRequest::decode(entry.body.clone()).ok()?.payload.as_ref().map(change_of_cancel)
    }

    fn judge(entry: &Entry, others: &OtherChanges, answer: &LookupAnswer) -> Evidence {
        let batch = CancelOrderRequest::decode(entry.body.clone()).ok().and_then(|request| request.payload);
        let Some(batch) = batch else { return Evidence::Nothing(NoEvidence::RequestUnreadable) };
        // A snapshot always has lines. Bytes without lines hold only the personal texts of an order that was read.
        let snapshot =
            CancelSnapshot::decode(entry.snapshot.as_slice()).ok().filter(|snapshot| !snapshot.lines.is_empty());
        judge_cancel(&batch, snapshot.as_ref(), others, answer)
    }

    fn personal(request: &CancelOrderRequest) -> PersonalTexts {
        PersonalTexts::of(&request.payload)
    }
}

fn without_items(payload: &Cancellation) -> Cancellation {
    Cancellation {
        customer_order_no: payload.customer_order_no.clone(),
        seller_order_id: payload.seller_order_id.clone(),
        seller_id: payload.seller_id.clone(),
        order_items: Vec::new(),
    }
}
