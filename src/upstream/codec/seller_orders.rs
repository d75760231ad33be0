//! The Orders API: `GET /v3/orders` and `/v3/orders/{purchaseOrderId}`, and the changes of an order below it.

use bytes::Bytes;
use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::form_urlencoded;

use super::{AnswerError, LookUpCodec, OperationCodec, RestRequest, get, has_errors, in_path, json, shown_as};
use crate::domain::ledger::evidence::LookupAnswer;
use crate::domain::mutations::{AcceptedAnswer, CancelOrderLines, RefundOrderLines, ShipOrderLines, ShownObject};
use crate::domain::reads::{AcknowledgeOrder, CorrectTracking, GetSellerOrder, ListSellerOrders, LookUpSellerOrder};
use crate::pb::{self, HeaderAttributes, LineStatuses, OrderList, SellerOrder};
use crate::planted_bug::{PlantedBug, is_planted};
use crate::wire::error::{self, ErrorBody};
use crate::wire::{lenient, watch};

impl OperationCodec for ListSellerOrders {
    const PATH: &'static str = "/v3/orders";
    shown_as!(ListOrdersResponse);

    fn build(request: &Self::Request, _account: &HeaderAttributes) -> RestRequest {
        let path = Self::PATH;
        if !request.next_cursor.is_empty() {
            return get(with_cursor(path, &request.next_cursor));
        }
        let limit = if request.limit == 0 { String::new() } else { request.limit.to_string() };
        let flag = |set: bool| if set { "true" } else { "" };
        get(super::with_query(
            path,
            &[
                ("sku", &request.sku),
                ("customerOrderId", &request.customer_order_id),
                ("purchaseOrderId", &request.purchase_order_id),
                ("status", &request.status),
                ("createdStartDate", &request.created_start_date),
                ("createdEndDate", &request.created_end_date),
                ("fromExpectedShipDate", &request.from_expected_ship_date),
                ("toExpectedShipDate", &request.to_expected_ship_date),
                ("lastModifiedStartDate", &request.last_modified_start_date),
                ("lastModifiedEndDate", &request.last_modified_end_date),
                ("limit", &limit),
                ("productInfo", flag(request.product_info)),
                ("replacementInfo", flag(request.replacement_info)),
                ("shipNodeType", &request.ship_node_type),
                ("shippingProgramType", &request.shipping_program_type),
                ("orderType", &request.order_type),
            ],
        ))
    }

    /// A page with errors and without orders is a refusal.
    fn read(_status: u16, body: &[u8]) -> Result<Self::Answer, AnswerError> {
        let answer: ListBody = watch::from_slice(body).unwrap_or_default();
        let Some(mut list) = answer.list else { return Err(has_errors(body)) };
        if !list.errors.is_empty() {
            let errors = errors_of_list(body);
            if list.elements.is_none() {
                return Err(AnswerError::Failed(errors));
            }
            list.errors = errors.errors;
        }
        if list.elements.is_none() && list.meta.is_none() {
            return Err(AnswerError::Unreadable);
        }
        Ok(pb::ListOrdersResponse { list: Some(list), ..Default::default() })
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ListBody {
    #[serde(deserialize_with = "lenient::object")]
    list: Option<OrderList>,
}

/// The errors within `list`, in all known forms.
fn errors_of_list(body: &[u8]) -> ErrorBody {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    error::read(body["list"].to_string().as_bytes())
}

impl OperationCodec for GetSellerOrder {
    const PATH: &'static str = "/v3/orders/{purchaseOrderId}";
    shown_as!(GetOrderResponse);

    fn build(request: &Self::Request, _account: &HeaderAttributes) -> RestRequest {
        let path = in_path(Self::PATH, &request.purchase_order_id);
        let flag = |set: bool| if set { "true" } else { "" };
        let query = [("productInfo", flag(request.product_info)), ("replacementInfo", flag(request.replacement_info))];
        get(super::with_query(&path, &query))
    }

    fn read(_status: u16, body: &[u8]) -> Result<Self::Answer, AnswerError> {
        let order = read_order(body).ok_or_else(|| has_errors(body))?;
        Ok(pb::GetOrderResponse { order: Some(order), ..Default::default() })
    }
}

impl OperationCodec for LookUpSellerOrder {
    const PATH: &'static str = GetSellerOrder::PATH;

    fn build(request: &Self::Request, account: &HeaderAttributes) -> RestRequest {
        GetSellerOrder::build(request, account)
    }

    fn is_answer(status: u16, body: &[u8]) -> bool {
        LookUpCodec::is_answer(status, body)
    }

    fn read(status: u16, body: &[u8]) -> Result<LookupAnswer, AnswerError> {
        Ok(LookUpCodec::read(status, body))
    }
}

impl OperationCodec for AcknowledgeOrder {
    const PATH: &'static str = "/v3/orders/{purchaseOrderId}/acknowledge";
    shown_as!(AcknowledgeOrderResponse);

    /// Sends no body; the content type must be there all the same.
    fn build(request: &Self::Request, _account: &HeaderAttributes) -> RestRequest {
        let target = in_path(Self::PATH, &request.purchase_order_id);
        RestRequest { method: Method::POST, target: target.into(), body: Bytes::new() }
    }

    fn read(_status: u16, body: &[u8]) -> Result<Self::Answer, AnswerError> {
        let order = read_order(body).ok_or_else(|| has_errors(body))?;
        Ok(pb::AcknowledgeOrderResponse { order: Some(order), ..Default::default() })
    }
}

impl OperationCodec for CorrectTracking {
    const PATH: &'static str = ShipOrderLines::PATH;
    shown_as!(ShipOrderLinesResponse);

    fn build(request: &Self::Request, _account: &HeaderAttributes) -> RestRequest {
        shipment(request)
    }

    fn read(_status: u16, body: &[u8]) -> Result<Self::Answer, AnswerError> {
        let order = read_order(body).ok_or_else(|| has_errors(body))?;
        Ok(pb::ShipOrderLinesResponse { order: Some(order), ..Default::default() })
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CancellationBody {
    order_cancellation: pb::OrderCancellation,
}

impl OperationCodec for CancelOrderLines {
    const PATH: &'static str = "/v3/orders/{purchaseOrderId}/cancel";
    shown_as!(CancelOrderLinesResponse);

    fn build(request: &Self::Request, _account: &HeaderAttributes) -> RestRequest {
        let mut order_cancellation = request.order_cancellation.clone().unwrap_or_default();
        for line in order_cancellation.order_lines.iter_mut().flat_map(|lines| &mut lines.order_line) {
            fill(&mut line.order_line_statuses, "Cancelled");
        }
        let target = in_path(Self::PATH, &request.purchase_order_id);
        json(Method::POST, target, &CancellationBody { order_cancellation })
    }

    fn read(_status: u16, body: &[u8]) -> Result<Self::Answer, AnswerError> {
        accepted(body)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShipmentBody {
    order_shipment: pb::OrderShipment,
}

impl OperationCodec for ShipOrderLines {
    const PATH: &'static str = "/v3/orders/{purchaseOrderId}/shipping";
    shown_as!(ShipOrderLinesResponse);

    fn build(request: &Self::Request, _account: &HeaderAttributes) -> RestRequest {
        shipment(request)
    }

    fn read(_status: u16, body: &[u8]) -> Result<Self::Answer, AnswerError> {
        accepted(body)
    }
}

fn shipment(request: &pb::ShipOrderLinesRequest) -> RestRequest {
    let mut order_shipment = request.order_shipment.clone().unwrap_or_default();
    for line in order_shipment.order_lines.iter_mut().flat_map(|lines| &mut lines.order_line) {
        fill(&mut line.order_line_statuses, "Shipped");
    }
    let target = in_path(ShipOrderLines::PATH, &request.purchase_order_id);
    json(Method::POST, target, &ShipmentBody { order_shipment })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RefundBody {
    order_refund: pb::OrderRefund,
}

impl OperationCodec for RefundOrderLines {
    const PATH: &'static str = "/v3/orders/{purchaseOrderId}/refund";
    shown_as!(RefundOrderLinesResponse);

    /// The body always carries the purchase order.
    fn build(request: &Self::Request, _account: &HeaderAttributes) -> RestRequest {
        let purchase_order = Self::purchase_order(request);
        let mut order_refund = request.order_refund.clone().unwrap_or_default();
        order_refund.purchase_order_id = Some(purchase_order.to_owned());
        json(Method::POST, in_path(Self::PATH, purchase_order), &RefundBody { order_refund })
    }

    fn read(_status: u16, body: &[u8]) -> Result<Self::Answer, AnswerError> {
        accepted(body)
    }
}

/// Fills state and unit where the caller left them out.
fn fill(statuses: &mut Option<LineStatuses>, state: &str) {
    for status in statuses.iter_mut().flat_map(|statuses| &mut statuses.order_line_status) {
        status.status.get_or_insert_with(|| state.to_owned());
        if let Some(quantity) = &mut status.status_quantity {
            quantity.unit_of_measurement.get_or_insert_with(|| "EACH".to_owned());
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct OrderBody {
    #[serde(deserialize_with = "lenient::object")]
    order: Option<SellerOrder>,
}

/// Reads an order with the wrapper `order` or without. An order shows its number.
fn read_order(body: &[u8]) -> Option<SellerOrder> {
    let wrapped: OrderBody = watch::from_slice(body).unwrap_or_default();
    let order = wrapped.order.or_else(|| {
        watch::forget();
        watch::from_slice(body).ok()
    })?;
    (!order.purchase_order_id.is_empty()).then_some(order)
}

/// Reads the answer to a change: the order. A JSON object that neither shows an order nor has errors accepts the change
/// too; anything else says nothing.
fn accepted(body: &[u8]) -> Result<AcceptedAnswer, AnswerError> {
    let status = "ACCEPTED".to_owned();
    if let Some(order) = read_order(body) {
        let shown = ShownObject::SellerOrder(Box::new(order));
        return Ok(AcceptedAnswer { status, shown, ..AcceptedAnswer::default() });
    }
    match (has_errors(body), serde_json::from_slice::<Value>(body)) {
        (AnswerError::Unreadable, Ok(Value::Object(object))) if !object.is_empty() => {
            Ok(AcceptedAnswer { status, ..AcceptedAnswer::default() })
        }
        (error, _) => Err(error),
    }
}

/// Appends Walmart's cursor, which is a query string, byte for byte. The characters `<` and `>` cannot stand in a URL at
/// all; they alone are escaped.
pub(super) fn with_cursor(path: &str, cursor: &str) -> String {
    if is_planted(PlantedBug::CursorReencoded) {
        let parameters = form_urlencoded::parse(cursor.trim_start_matches('?').as_bytes());
        return format!("{path}?{}", form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish());
    }
    format!("{path}{}", cursor.replace('<', "%3C").replace('>', "%3E"))
}
