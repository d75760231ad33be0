//! CreateMcsReturn and CancelMcsReturn: returns of Multichannel orders.

use std::sync::Arc;

use prost::Message;

use super::{AcceptedAnswer, LookupProbe, Mutation};
use crate::domain::ledger::evidence::{
    Change, Evidence, LookupAnswer, McsReturnsSnapshot, NoEvidence, OtherChanges, change_of_opened_return,
    judge_cancelled_return, judge_opened_return,
};
use crate::domain::ledger::{Entry, MutationKind};
use crate::domain::operation::{Operation, WalmartCall};
use crate::domain::personal::PersonalTexts;
use crate::domain::rules::{FieldFaults, check_mcs_return, check_mcs_return_cancellation};
use crate::pb::{CancelMcsReturnRequest, CreateMcsReturnRequest};

/// Opens a return of a Multichannel order: at most one for the seller's own id of it.
#[derive(Debug)]
pub struct CreateMcsReturn;

/// Takes a return of a Multichannel order back.
#[derive(Debug)]
pub struct CancelMcsReturn;

impl WalmartCall for CreateMcsReturn {
    const OPERATION: Operation = Operation::McsReturnCreate;
    type Request = CreateMcsReturnRequest;
    type Answer = AcceptedAnswer;
}

impl WalmartCall for CancelMcsReturn {
    const OPERATION: Operation = Operation::McsReturnCancel;
    type Request = CancelMcsReturnRequest;
    type Answer = AcceptedAnswer;
}

impl Mutation for CreateMcsReturn {
    const KIND: MutationKind = MutationKind::McsReturnCreate;
    const BY_ORDER_NUMBER: bool = false;
    const NEEDS_ORDER: bool = false;
    const IS_AUDITED: bool = false;

    fn check(request: &CreateMcsReturnRequest) -> Result<(), FieldFaults> {
        check_mcs_return(request)
    }

    fn order_number(request: &CreateMcsReturnRequest) -> &str {
        request.payload.as_ref().map(|payload| payload.seller_order_id()).unwrap_or_default()
    }

    fn request_id(request: &CreateMcsReturnRequest) -> &str {
        &request.request_id
    }

    fn payload(request: &CreateMcsReturnRequest) -> Vec<u8> {
        request.payload.as_ref().map(Message::encode_to_vec).unwrap_or_default()
    }

    fn content_key(request: &CreateMcsReturnRequest) -> Option<Vec<u8>> {
        let id = request.payload.as_ref().map(|payload| payload.seller_return_order_id()).unwrap_or_default();
        Some(id.as_bytes().to_vec())
    }

    fn batches(request: Arc<CreateMcsReturnRequest>) -> Vec<Arc<CreateMcsReturnRequest>> {
        vec![request]
    }

    fn snapshot_probe(request: &CreateMcsReturnRequest) -> Option<LookupProbe> {
        Some(LookupProbe::McsReturnsOfOrder(Self::order_number(request).to_owned()))
    }

    fn snapshot(_: &CreateMcsReturnRequest, answer: &LookupAnswer) -> Vec<u8> {
        McsReturnsSnapshot::read(answer).map(|snapshot| snapshot.encode_to_vec()).unwrap_or_default()
    }

    fn probe(entry: &Entry) -> LookupProbe {
        LookupProbe::McsReturnsOfOrder(entry.order_number.to_string())
    }

    fn change(entry: &Entry) -> Option<Change> {
        CreateMcsReturnRequest::decode(entry.body.clone()).ok().as_ref().map(change_of_opened_return)
    }

    fn judge(entry: &Entry, others: &OtherChanges, answer: &LookupAnswer) -> Evidence {
        match CreateMcsReturnRequest::decode(entry.body.clone()) {
            Ok(request) => judge_opened_return(&request, McsReturnsSnapshot::of_entry(entry).as_ref(), others, answer),
            Err(_) => Evidence::Nothing(NoEvidence::RequestUnreadable),
        }
    }

    /// The request names items and reasons only.
    fn personal(_: &CreateMcsReturnRequest) -> PersonalTexts {
        PersonalTexts::default()
    }
}

impl Mutation for CancelMcsReturn {
    const KIND: MutationKind = MutationKind::McsReturnCancel;
    const BY_ORDER_NUMBER: bool = false;
    const NEEDS_ORDER: bool = false;
    const IS_AUDITED: bool = false;

    fn check(request: &CancelMcsReturnRequest) -> Result<(), FieldFaults> {
        check_mcs_return_cancellation(request)
    }

    fn order_number(request: &CancelMcsReturnRequest) -> &str {
        &request.return_order_id
    }

    fn request_id(request: &CancelMcsReturnRequest) -> &str {
        &request.request_id
    }

    fn payload(request: &CancelMcsReturnRequest) -> Vec<u8> {
        request.return_order_id.clone().into_bytes()
    }

    fn batches(request: Arc<CancelMcsReturnRequest>) -> Vec<Arc<CancelMcsReturnRequest>> {
        vec![request]
    }

    fn probe(entry: &Entry) -> LookupProbe {
        LookupProbe::McsReturn(entry.order_number.to_string())
    }

    fn judge(entry: &Entry, _: &OtherChanges, answer: &LookupAnswer) -> Evidence {
        match CancelMcsReturnRequest::decode(entry.body.clone()) {
            Ok(request) => judge_cancelled_return(&request, answer),
            Err(_) => Evidence::Nothing(NoEvidence::RequestUnreadable),
        }
    }

    /// The request names the return only.
    fn personal(_: &CancelMcsReturnRequest) -> PersonalTexts {
        PersonalTexts::default()
    }
}
