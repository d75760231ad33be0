//! Requests of callers who change seller orders and returns.

use order_gateway::pb;

use crate::changes::{ChangeKind, SKU};
use crate::plan::{ACCOUNTS, EPOCH, Story};

/// Rows of a page, few enough for several pages.
const PAGE: i32 = 7;
/// The SKU of delivered Multichannel orders.
const DELIVERED_SKU: &str = "MUG-RED-12";

/// The request of a change.
pub(crate) enum Request {
    CancelLines(pb::CancelOrderLinesRequest),
    Ship(pb::ShipOrderLinesRequest),
    Refund(pb::RefundOrderLinesRequest),
    RefundReturn(pb::RefundReturnRequest),
    OpenReturn(pb::CreateMcsReturnRequest),
    CancelReturn(pb::CancelMcsReturnRequest),
}

/// The request of the change at this position of a story. `number` is that of the object that is changed, `customer_order` the
/// one that its return belongs to.
pub(crate) fn change(story: &Story, position: usize, number: &str, customer_order: &str) -> Request {
    let change = &story.changes[position];
    let account = ACCOUNTS[story.account].to_owned();
    let request_id = change.request_id.clone().unwrap_or_default();
    let number = number.to_owned();
    match &change.kind {
        ChangeKind::CancelLines { lines, units } => Request::CancelLines(pb::CancelOrderLinesRequest {
            account,
            request_id,
            purchase_order_id: number,
            order_cancellation: Some(cancellation(*lines, *units)),
        }),
        ChangeKind::Ship { parcels } => Request::Ship(pb::ShipOrderLinesRequest {
            account,
            request_id,
            purchase_order_id: number,
            order_shipment: Some(shipment(parcels)),
        }),
        ChangeKind::Refund { lines, cents } => Request::Refund(pb::RefundOrderLinesRequest {
            account,
            request_id,
            purchase_order_id: number,
            order_refund: Some(refund(*lines, *cents)),
        }),
        ChangeKind::RefundReturn { units } => Request::RefundReturn(pb::RefundReturnRequest {
            account,
            request_id,
            return_order_id: number,
            customer_order_id: Some(customer_order.to_owned()),
            refund_lines: vec![pb::RefundLine {
                return_order_line_number: Some(1),
                quantity: Some(quantity("EACH", *units)),
            }],
        }),
        ChangeKind::OpenReturn { seller_id, units } => Request::OpenReturn(pb::CreateMcsReturnRequest {
            header: None,
            payload: Some(pb::McsReturn {
                seller_return_order_id: Some(seller_id.clone()),
                seller_order_id: Some(number),
                order_items: vec![pb::McsReturnItem {
                    return_reason: Some("DAMAGED".into()),
                    item_detail: Some(pb::ItemDetail { sku: Some(DELIVERED_SKU.into()), ..Default::default() }),
                    qty: Some(quantity("EA", *units)),
                }],
            }),
            account,
            request_id,
        }),
        ChangeKind::CancelReturn { .. } => Request::CancelReturn(pb::CancelMcsReturnRequest {
            header: None,
            payload: Some(pb::McsReturnCancellation::default()),
            account,
            request_id,
            return_order_id: number,
        }),
    }
}

/// A page of the seller orders of the simulation.
pub(crate) fn orders(account: usize, cursor: &str) -> pb::ListOrdersRequest {
    let account = ACCOUNTS[account].to_owned();
    if cursor.is_empty() {
        pb::ListOrdersRequest { account, sku: SKU.into(), limit: PAGE, ..Default::default() }
    } else {
        pb::ListOrdersRequest { account, next_cursor: cursor.into(), ..Default::default() }
    }
}

/// A page of the returns of marketplace orders.
pub(crate) fn returns(account: usize, cursor: &str) -> pb::ListReturnsRequest {
    let account = ACCOUNTS[account].to_owned();
    if cursor.is_empty() {
        pb::ListReturnsRequest { account, limit: PAGE, ..Default::default() }
    } else {
        pb::ListReturnsRequest { account, next_cursor: cursor.into(), ..Default::default() }
    }
}

fn quantity(unit: &str, units: u64) -> pb::Quantity {
    pb::Quantity { unit_of_measure: Some(unit.into()), measurement_value: Some(units as f64) }
}

fn statuses(status: Vec<pb::LineStatus>) -> Option<pb::LineStatuses> {
    Some(pb::LineStatuses { order_line_status: status })
}

fn units(amount: u64) -> Option<pb::LineQuantity> {
    Some(pb::LineQuantity { unit_of_measurement: Some("EACH".into()), amount: Some(amount.to_string()) })
}

fn cancellation(lines: u32, amount: u64) -> pb::OrderCancellation {
    let status = pb::LineStatus {
        cancellation_reason: Some("SELLER_CANCEL_OUT_OF_STOCK".into()),
        status_quantity: units(amount),
        ..Default::default()
    };
    let line = |number: u32| pb::OrderCancellationLine {
        line_number: Some(number.to_string()),
        order_line_statuses: statuses(vec![status.clone()]),
    };
    let order_line = (1..=lines).map(line).collect();
    pb::OrderCancellation { order_lines: Some(pb::OrderCancellationLines { order_line }) }
}

fn shipment(parcels: &[(String, u64)]) -> pb::OrderShipment {
    let parcel = |(tracking, amount): &(String, u64)| pb::LineStatus {
        status: Some("Shipped".into()),
        status_quantity: units(*amount),
        tracking_info: Some(pb::TrackingInfo {
            ship_date_time: Some(EPOCH as f64),
            carrier_name: Some(pb::CarrierName { carrier: Some("UPS".into()), ..Default::default() }),
            method_code: Some("Standard".into()),
            tracking_number: Some(tracking.clone()),
            ..Default::default()
        }),
        ..Default::default()
    };
    let line = pb::OrderShipmentLine {
        line_number: Some("1".into()),
        order_line_statuses: statuses(parcels.iter().map(parcel).collect()),
        ..Default::default()
    };
    pb::OrderShipment { order_lines: Some(pb::OrderShipmentLines { order_line: vec![line] }), ..Default::default() }
}

fn refund(lines: u32, cents: Option<u64>) -> pb::OrderRefund {
    let refunds = |cents: u64| pb::Refunds {
        refund: vec![pb::Refund {
            refund_charges: Some(pb::RefundCharges {
                refund_charge: vec![pb::RefundCharge {
                    refund_reason: Some("DamagedItem".into()),
                    charge: Some(pb::Charge {
                        charge_type: Some("PRODUCT".into()),
                        charge_name: Some("ItemPrice".into()),
                        charge_amount: Some(pb::ChargeAmount {
                            currency: Some("USD".into()),
                            amount: Some(cents as f64 / -100.0),
                        }),
                        ..Default::default()
                    }),
                }],
            }),
            ..Default::default()
        }],
    };
    let line = |number: u32| pb::OrderRefundLine {
        line_number: Some(number.to_string()),
        is_full_refund: Some(cents.is_none()),
        refunds: cents.map(refunds),
    };
    let order_line = (1..=lines).map(line).collect();
    pb::OrderRefund { order_lines: Some(pb::OrderRefundLines { order_line }), ..Default::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::{Change, Object};

    #[test]
    fn requests_have_what_the_story_says() {
        let kind = ChangeKind::CancelLines { lines: 2, units: 3 };
        let changes = vec![Change { kind, request_id: Some("one".into()), clashes: false }];
        let story = Story { account: 1, object: Object::Return, changes, ..Story::default() };
        let Request::CancelLines(request) = change(&story, 0, "1900", "") else { panic!("another request") };
        assert_eq!((&*request.account, &*request.request_id, &*request.purchase_order_id), ("other", "one", "1900"));
        let lines = request.order_cancellation.unwrap().order_lines.unwrap().order_line;
        let amount = |line: &pb::OrderCancellationLine| {
            let statuses = line.order_line_statuses.as_ref().unwrap();
            statuses.order_line_status[0].status_quantity.as_ref().unwrap().amount().to_owned()
        };
        assert_eq!(lines.iter().map(amount).collect::<Vec<_>>(), ["3", "3"]);
        assert_eq!(orders(0, "?a").sku, "", "a cursor excludes every filter");
    }
}
