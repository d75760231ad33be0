//! RefundOrderLines: money, never sent twice by the gateway itself.

use std::sync::Arc;

use prost::Message;

use super::{AcceptedAnswer, LookupProbe, Mutation};
use crate::domain::ledger::evidence::{
    Change, Evidence, LookupAnswer, NoEvidence, OtherChanges, SellerSnapshot, cents, change_of_refunded_lines,
    judge_refunded_lines,
};
use crate::domain::ledger::machine::ResendPolicy;
use crate::domain::ledger::{Entry, MutationKind};
use crate::domain::operation::{Operation, WalmartCall};
use crate::domain::personal::PersonalTexts;
use crate::domain::rules::{FieldFaults, check_refund};
use crate::pb::{ChargeAmount, OrderRefund, OrderRefundLine, Refund, RefundOrderLinesRequest};

/// Refunds lines of an order of the seller's own fulfillment.
#[derive(Debug)]
pub struct RefundOrderLines;

impl WalmartCall for RefundOrderLines {
    const OPERATION: Operation = Operation::Refund;
    type Request = RefundOrderLinesRequest;
    type Answer = AcceptedAnswer;
}

impl RefundOrderLines {
    /// The lines of the request.
    pub fn lines(request: &RefundOrderLinesRequest) -> &[OrderRefundLine] {
        let lines = request.order_refund.as_ref().and_then(|refund| refund.order_lines.as_ref());
        lines.map(|lines| lines.order_line.as_slice()).unwrap_or_default()
    }

    /// The purchase order, which stands beside the refund or in it.
    pub fn purchase_order(request: &RefundOrderLinesRequest) -> &str {
        if !request.purchase_order_id.is_empty() {
            return &request.purchase_order_id;
        }
        request.order_refund.as_ref().map(|refund| refund.purchase_order_id()).unwrap_or_default()
    }

    /// The refund in a form in which comments, and other ways to write an amount, make no difference.
    fn compared(request: &RefundOrderLinesRequest) -> RefundOrderLinesRequest {
        let whole = |amount: &mut ChargeAmount| amount.amount = amount.amount.map(|n| cents(n).map_or(n, |c| c as f64));
        let refund = |refund: &Refund| {
            let mut refund = Refund { refund_comments: None, ..refund.clone() };
            for charge in refund.refund_charges.iter_mut().flat_map(|charges| &mut charges.refund_charge) {
                let Some(charge) = &mut charge.charge else { continue };
                charge.charge_amount.iter_mut().for_each(whole);
                charge.tax.iter_mut().filter_map(|tax| tax.tax_amount.as_mut()).for_each(whole);
            }
            refund
        };
        let mut order_refund = request.order_refund.clone().unwrap_or_default();
        for line in order_refund.order_lines.iter_mut().flat_map(|lines| &mut lines.order_line) {
            line.is_full_refund = Some(line.is_full_refund());
            if let Some(refunds) = &mut line.refunds {
                refunds.refund = refunds.refund.iter().map(refund).collect();
            }
        }
        let purchase_order_id = Some(Self::purchase_order(request).to_owned());
        let order_refund = Some(OrderRefund { purchase_order_id, ..order_refund });
        RefundOrderLinesRequest { order_refund, ..Default::default() }
    }
}

impl Mutation for RefundOrderLines {
    const KIND: MutationKind = MutationKind::Refund;
    const BY_ORDER_NUMBER: bool = false;
    const NEEDS_ORDER: bool = false;
    const IS_AUDITED: bool = false;
    const NEEDS_SNAPSHOT: bool = true;

    fn check(request: &RefundOrderLinesRequest) -> Result<(), FieldFaults> {
        check_refund(request)
    }

    fn order_number(request: &RefundOrderLinesRequest) -> &str {
        Self::purchase_order(request)
    }

    fn request_id(request: &RefundOrderLinesRequest) -> &str {
        &request.request_id
    }

    fn payload(request: &RefundOrderLinesRequest) -> Vec<u8> {
        Self::compared(request).encode_to_vec()
    }

    fn content_key(request: &RefundOrderLinesRequest) -> Option<Vec<u8>> {
        Some(Self::payload(request))
    }

    fn batches(request: Arc<RefundOrderLinesRequest>) -> Vec<Arc<RefundOrderLinesRequest>> {
        vec![request]
    }

    fn snapshot_probe(request: &RefundOrderLinesRequest) -> Option<LookupProbe> {
        Some(LookupProbe::SellerOrder(Self::purchase_order(request).to_owned()))
    }

    fn snapshot(batch: &RefundOrderLinesRequest, answer: &LookupAnswer) -> Vec<u8> {
        let numbers = Self::lines(batch).iter().map(|line| line.line_number());
        let snapshot = SellerSnapshot::read(Self::purchase_order(batch), numbers, answer);
        // One line that cannot be read would leave its refund undecided.
        let complete = snapshot.filter(|snapshot| snapshot.lines.len() == Self::lines(batch).len());
        complete.map(|snapshot| snapshot.encode_to_vec()).unwrap_or_default()
    }

    fn figures(entry: &Entry) -> Vec<String> {
        SellerSnapshot::of_entry(entry).map(|snapshot| snapshot.figures()).unwrap_or_default()
    }

    fn probe(entry: &Entry) -> LookupProbe {
        LookupProbe::SellerOrder(entry.order_number.to_string())
    }

    fn change(entry: &Entry) -> Option<Change> {
        RefundOrderLinesRequest::decode(entry.body.clone()).ok().as_ref().map(change_of_refunded_lines)
    }

    fn judge(entry: &Entry, others: &OtherChanges, answer: &LookupAnswer) -> Evidence {
        match RefundOrderLinesRequest::decode(entry.body.clone()) {
            Ok(request) => {
                let snapshot = SellerSnapshot::of_entry(entry);
                judge_refunded_lines(Self::purchase_order(&request), &request, snapshot.as_ref(), others, answer)
            }
            Err(_) => Evidence::Nothing(NoEvidence::RequestUnreadable),
        }
    }

    /// A doubled partial refund within the allowance is accepted by Walmart and cannot be undone.
    fn resend() -> ResendPolicy {
        ResendPolicy::Never
    }

    /// The request names lines, reasons and amounts only.
    fn personal(_: &RefundOrderLinesRequest) -> PersonalTexts {
        PersonalTexts::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn request(amount: f64, comment: &str) -> RefundOrderLinesRequest {
        let charge = json!({"refundReason": "DamagedItem", "charge": {"chargeType": "PRODUCT", "chargeName": "ItemPrice",
            "chargeAmount": {"currency": "USD", "amount": amount}}});
        let refund = json!({"refundComments": comment, "refundCharges": {"refundCharge": [charge]}});
        let line = json!({"lineNumber": "1", "refunds": {"refund": [refund]}});
        of(json!({"orderLines": {"orderLine": [line]}}))
    }

    fn of(order_refund: Value) -> RefundOrderLinesRequest {
        RefundOrderLinesRequest {
            purchase_order_id: "1".into(),
            order_refund: Some(serde_json::from_value(order_refund).unwrap()),
            ..Default::default()
        }
    }

    #[test]
    fn the_content_is_the_key_without_comments_and_in_cents() {
        let key = |request: &RefundOrderLinesRequest| RefundOrderLines::content_key(request).unwrap();
        let one = request(-4.25, "chipped rim");
        assert_eq!(key(&one), key(&request(-4.250_000_000_1, "")));
        assert_ne!(key(&one), key(&request(-4.26, "chipped rim")));
        let mut inside = one.clone();
        inside.order_refund.as_mut().unwrap().purchase_order_id = Some("1".into());
        inside.purchase_order_id = String::new();
        assert_eq!(key(&one), key(&inside), "the purchase order may stand in either place");
        let mut explicit = one.clone();
        explicit.order_refund.as_mut().unwrap().order_lines.as_mut().unwrap().order_line[0].is_full_refund =
            Some(false);
        assert_eq!(key(&one), key(&explicit));
        let with_id = RefundOrderLinesRequest { request_id: "x".into(), account: "demo".into(), ..one.clone() };
        assert_eq!(key(&one), key(&with_id));
        let other = RefundOrderLinesRequest { purchase_order_id: "2".into(), ..one.clone() };
        assert_ne!(key(&one), key(&other));
    }
}
