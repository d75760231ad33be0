//! The requests of changes.

use order_gateway::pb;

use super::plan::{ChangeKind, ChangeStory};

/// 2026-11-01, in milliseconds since 1970.
const SHIPPED_AT: f64 = 1_793_491_200_000.0;

/// The request of a change.
pub(crate) enum Request {
    CancelLines(pb::CancelOrderLinesRequest),
    Ship(pb::ShipOrderLinesRequest),
    Refund(pb::RefundOrderLinesRequest),
    RefundReturn(pb::RefundReturnRequest),
    OpenReturn(pb::CreateMcsReturnRequest),
    CancelReturn(pb::CancelMcsReturnRequest),
    Subscribe(pb::CreateWebhookSubscriptionRequest),
}

/// The object of a change, as Walmart's side knows it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Object {
    /// Number of the order or return, or the kind of event.
    pub number: String,
    /// The customer's order, of returns.
    pub customer_order: String,
}

/// One unit of each line, or 25 cents.
pub(crate) fn change(story: &ChangeStory, kind: ChangeKind, object: &Object) -> Request {
    let account = story.account.to_owned();
    let request_id = story.request_id.clone().unwrap_or_default();
    let Object { number, customer_order } = object.clone();
    let lines = 1..=story.lines;
    match kind {
        ChangeKind::CancelLines => Request::CancelLines(pb::CancelOrderLinesRequest {
            account,
            request_id,
            purchase_order_id: number,
            order_cancellation: Some(pb::OrderCancellation {
                order_lines: Some(pb::OrderCancellationLines { order_line: lines.map(cancelled).collect() }),
            }),
        }),
        ChangeKind::Ship => Request::Ship(pb::ShipOrderLinesRequest {
            account,
            request_id,
            purchase_order_id: number,
            order_shipment: Some(pb::OrderShipment {
                order_lines: Some(pb::OrderShipmentLines {
                    order_line: lines.map(|line| shipped(line, format!("1Z{}", story.n))).collect(),
                }),
                ..Default::default()
            }),
        }),
        ChangeKind::Refund => Request::Refund(pb::RefundOrderLinesRequest {
            account,
            request_id,
            purchase_order_id: number,
            order_refund: Some(pb::OrderRefund {
                order_lines: Some(pb::OrderRefundLines { order_line: lines.map(refunded).collect() }),
                ..Default::default()
            }),
        }),
        ChangeKind::RefundReturn => Request::RefundReturn(pb::RefundReturnRequest {
            account,
            request_id,
            return_order_id: number,
            customer_order_id: Some(customer_order),
            refund_lines: vec![pb::RefundLine { return_order_line_number: Some(1), quantity: Some(one("EACH")) }],
        }),
        ChangeKind::OpenReturn => Request::OpenReturn(pb::CreateMcsReturnRequest {
            header: None,
            payload: Some(pb::McsReturn {
                seller_return_order_id: Some(number.clone()),
                seller_order_id: Some(number),
                order_items: vec![pb::McsReturnItem {
                    return_reason: Some("DAMAGED".into()),
                    item_detail: Some(pb::ItemDetail { sku: Some("MUG-RED-12".into()), ..Default::default() }),
                    qty: Some(one("EA")),
                }],
            }),
            account,
            request_id,
        }),
        ChangeKind::CancelReturn => Request::CancelReturn(pb::CancelMcsReturnRequest {
            header: None,
            payload: Some(pb::McsReturnCancellation::default()),
            account,
            request_id,
            return_order_id: number,
        }),
        ChangeKind::Subscribe => Request::Subscribe(pb::CreateWebhookSubscriptionRequest {
            account,
            request_id,
            events: vec![pb::WebhookSubscription {
                event_type: Some(number),
                event_version: Some("V1".into()),
                resource_name: Some("ORDER".into()),
                event_url: Some("http://127.0.0.1:9/never-posted".into()),
                ..Default::default()
            }],
        }),
    }
}

fn one(unit: &str) -> pb::Quantity {
    pb::Quantity { unit_of_measure: Some(unit.into()), measurement_value: Some(1.0) }
}

fn statuses(status: pb::LineStatus) -> Option<pb::LineStatuses> {
    let one = pb::LineQuantity { unit_of_measurement: Some("EACH".into()), amount: Some("1".into()) };
    let status = pb::LineStatus { status_quantity: Some(one), ..status };
    Some(pb::LineStatuses { order_line_status: vec![status] })
}

fn cancelled(line: u32) -> pb::OrderCancellationLine {
    let status =
        pb::LineStatus { cancellation_reason: Some("SELLER_CANCEL_OUT_OF_STOCK".into()), ..Default::default() };
    pb::OrderCancellationLine { line_number: Some(line.to_string()), order_line_statuses: statuses(status) }
}

fn shipped(line: u32, tracking: String) -> pb::OrderShipmentLine {
    let parcel = pb::TrackingInfo {
        ship_date_time: Some(SHIPPED_AT),
        carrier_name: Some(pb::CarrierName { carrier: Some("UPS".into()), ..Default::default() }),
        method_code: Some("Standard".into()),
        tracking_number: Some(tracking),
        ..Default::default()
    };
    let status = pb::LineStatus { tracking_info: Some(parcel), ..Default::default() };
    pb::OrderShipmentLine {
        line_number: Some(line.to_string()),
        order_line_statuses: statuses(status),
        ..Default::default()
    }
}

fn refunded(line: u32) -> pb::OrderRefundLine {
    let charge = pb::Charge {
        charge_type: Some("PRODUCT".into()),
        charge_name: Some("ItemPrice".into()),
        charge_amount: Some(pb::ChargeAmount { currency: Some("USD".into()), amount: Some(-0.25) }),
        ..Default::default()
    };
    let charge = pb::RefundCharge { refund_reason: Some("DamagedItem".into()), charge: Some(charge) };
    let charges = Some(pb::RefundCharges { refund_charge: vec![charge] });
    let refund = pb::Refund { refund_charges: charges, ..Default::default() };
    pb::OrderRefundLine {
        line_number: Some(line.to_string()),
        is_full_refund: Some(false),
        refunds: Some(pb::Refunds { refund: vec![refund] }),
    }
}
