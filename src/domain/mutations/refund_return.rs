//! RefundReturn: money for units of a return, never sent twice by the gateway itself.

use std::sync::Arc;

use prost::Message;

use super::ship_order_lines::joined;
use super::{AcceptedAnswer, LookupProbe, Mutation};
use crate::domain::ledger::evidence::{
    Change, Evidence, LookupAnswer, NoEvidence, OtherChanges, ReturnSnapshot, change_of_refunded_return,
    judge_refunded_return,
};
use crate::domain::ledger::machine::ResendPolicy;
use crate::domain::ledger::{Entry, MutationKind};
use crate::domain::operation::{Operation, WalmartCall};
use crate::domain::personal::PersonalTexts;
use crate::domain::rules::{FieldFaults, check_return_refund};
use crate::pb::{RefundLine, RefundReturnRequest};

/// Refunds units of a return.
#[derive(Debug)]
pub struct RefundReturn;

impl WalmartCall for RefundReturn {
    const OPERATION: Operation = Operation::ReturnRefund;
    type Request = RefundReturnRequest;
    type Answer = AcceptedAnswer;
}

/// The lines in the order of their numbers: two calls of the same lines are the same call.
fn sorted(request: &RefundReturnRequest) -> Vec<RefundLine> {
    let mut lines = request.refund_lines.clone();
    lines.sort_by_key(|line| line.return_order_line_number);
    lines
}

impl Mutation for RefundReturn {
    const KIND: MutationKind = MutationKind::ReturnRefund;
    const BY_ORDER_NUMBER: bool = false;
    const NEEDS_ORDER: bool = false;
    const IS_AUDITED: bool = false;
    const NEEDS_SNAPSHOT: bool = true;

    fn check(request: &RefundReturnRequest) -> Result<(), FieldFaults> {
        check_return_refund(request)
    }

    fn order_number(request: &RefundReturnRequest) -> &str {
        &request.return_order_id
    }

    fn request_id(request: &RefundReturnRequest) -> &str {
        &request.request_id
    }

    fn payload(request: &RefundReturnRequest) -> Vec<u8> {
        let RefundReturnRequest { return_order_id, customer_order_id, .. } = request.clone();
        let refund_lines = sorted(request);
        let compared = RefundReturnRequest { return_order_id, customer_order_id, refund_lines, ..Default::default() };
        compared.encode_to_vec()
    }

    /// The return and the set of its lines with their quantities.
    fn content_key(request: &RefundReturnRequest) -> Option<Vec<u8>> {
        let lines = sorted(request).into_iter().map(|line| {
            let units = line.quantity.as_ref().and_then(|quantity| quantity.measurement_value);
            format!("{:?} {:?}", line.return_order_line_number, units)
        });
        let lines: Vec<String> = lines.collect();
        let texts = std::iter::once(request.return_order_id.as_str()).chain(lines.iter().map(String::as_str));
        Some(joined(texts))
    }

    fn batches(request: Arc<RefundReturnRequest>) -> Vec<Arc<RefundReturnRequest>> {
        vec![request]
    }

    fn snapshot_probe(request: &RefundReturnRequest) -> Option<LookupProbe> {
        Some(LookupProbe::Return(request.return_order_id.clone()))
    }

    fn snapshot(batch: &RefundReturnRequest, answer: &LookupAnswer) -> Vec<u8> {
        let snapshot = ReturnSnapshot::read(&batch.return_order_id, answer);
        snapshot.map(|snapshot| snapshot.encode_to_vec()).unwrap_or_default()
    }

    fn figures(entry: &Entry) -> Vec<String> {
        ReturnSnapshot::of_entry(entry).map(|snapshot| snapshot.figures()).unwrap_or_default()
    }

    fn probe(entry: &Entry) -> LookupProbe {
        LookupProbe::Return(entry.order_number.to_string())
    }

    fn change(entry: &Entry) -> Option<Change> {
        RefundReturnRequest::decode(entry.body.clone()).ok().as_ref().map(change_of_refunded_return)
    }

    fn judge(entry: &Entry, others: &OtherChanges, answer: &LookupAnswer) -> Evidence {
        match RefundReturnRequest::decode(entry.body.clone()) {
            Ok(request) => judge_refunded_return(&request, ReturnSnapshot::of_entry(entry).as_ref(), others, answer),
            Err(_) => Evidence::Nothing(NoEvidence::RequestUnreadable),
        }
    }

    fn resend() -> ResendPolicy {
        ResendPolicy::Never
    }

    /// The request names lines and units only.
    fn personal(_: &RefundReturnRequest) -> PersonalTexts {
        PersonalTexts::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pb::Quantity;

    fn request(lines: &[(i32, f64)]) -> RefundReturnRequest {
        let line = |(number, units): &(i32, f64)| RefundLine {
            return_order_line_number: Some(*number),
            quantity: Some(Quantity { unit_of_measure: Some("EACH".into()), measurement_value: Some(*units) }),
        };
        let refund_lines = lines.iter().map(line).collect();
        RefundReturnRequest { return_order_id: "1".into(), refund_lines, ..Default::default() }
    }

    #[test]
    fn lines_and_quantities_are_the_key_in_any_order() {
        let key = |lines: &[(i32, f64)]| RefundReturn::content_key(&request(lines)).unwrap();
        let payload = |lines: &[(i32, f64)]| RefundReturn::payload(&request(lines));
        assert_eq!(key(&[(1, 1.0), (2, 3.0)]), key(&[(2, 3.0), (1, 1.0)]));
        assert_eq!(payload(&[(1, 1.0), (2, 3.0)]), payload(&[(2, 3.0), (1, 1.0)]));
        assert_ne!(key(&[(1, 1.0)]), key(&[(1, 2.0)]));
        assert_ne!(key(&[(1, 1.0)]), key(&[(2, 1.0)]));
    }
}
