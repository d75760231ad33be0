//! `GET .../orders-fulfillments/status` for callers.

use bytes::Bytes;
use http::Method;
use url::form_urlencoded;

use super::{AnswerError, OperationCodec, RestRequest, read_envelope, shown_as};
use crate::domain::ledger::evidence::{LookupAnswer, OrderShown, judge_search_by_number};
use crate::domain::reads::{FindOrder, SearchOrders};
use crate::pb::{self, HeaderAttributes};

impl OperationCodec for FindOrder {
    const PATH: &'static str = SearchOrders::PATH;
    shown_as!(GetOrderStatusResponse);

    fn build(request: &Self::Request, account: &HeaderAttributes) -> RestRequest {
        SearchOrders::build(request, account)
    }

    /// Proves absence by the same rules as the ledger's look-ups.
    fn read(status: u16, body: &[u8]) -> Result<Self::Answer, AnswerError> {
        let response = SearchOrders::read(status, body)?;
        match judge_search_by_number(&LookupAnswer { http_status: status, body: Bytes::copy_from_slice(body) }) {
            OrderShown::Order => Ok(response),
            OrderShown::Absent => Ok(pb::GetOrderStatusResponse { payload: Vec::new(), ..response }),
            OrderShown::Nothing => Err(AnswerError::Unreadable),
        }
    }
}

impl OperationCodec for SearchOrders {
    const PATH: &'static str = "/v3/fulfillment/orders-fulfillments/status";
    shown_as!(GetOrderStatusResponse);

    fn build(request: &Self::Request, _account: &HeaderAttributes) -> RestRequest {
        let number = |n: i32| if n == 0 { String::new() } else { n.to_string() };
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in [
            ("orderNumber", &request.order_number),
            ("orderChannelId", &request.order_channel_id),
            ("trackingNumber", &request.tracking_number),
            ("shipmentNumber", &request.shipment_number),
            ("fromOrderDate", &request.from_order_date),
            ("toOrderDate", &request.to_order_date),
            ("sortBy", &request.sort_by),
            ("sortOrder", &request.sort_order),
            ("limit", &number(request.limit)),
            ("offset", &number(request.offset)),
        ] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        let target = format!("{}?{}", Self::PATH, query.finish());
        RestRequest { method: Method::GET, target: target.into(), body: Bytes::new() }
    }

    /// Normalizes the payload: production answers with a list of orders, the sandbox with a single object.
    fn read(_status: u16, body: &[u8]) -> Result<Self::Answer, AnswerError> {
        let answer = read_envelope(body, &["OK", "SUCCESS", "PARTIAL_SUCCESS", "ACCEPTED"])?;
        if answer.status.is_empty() && answer.payload.is_empty() {
            return Err(AnswerError::Unreadable);
        }
        Ok(pb::GetOrderStatusResponse {
            status: if answer.status.is_empty() { "OK".to_owned() } else { answer.status },
            header: answer.header,
            payload: answer.payload,
            errors: answer.errors,
            ..Default::default()
        })
    }
}
