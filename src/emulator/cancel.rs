//! Cancels lines of an order within 60 minutes. Shipped lines stay unchanged; a request without any cancellable line is
//! refused.

use std::collections::HashSet;

use serde_json::Value;

use super::answer::{FieldFault, WalmartAnswer, complaint};
use super::calls::{CallEffect, CallResult, EmulatedCall};
use super::form::{Form, order_number, order_numbers_differ};
use super::ids;
use super::world::{CancelRefused, World};

/// Lines that a request may name. Source: seed 002.
const MAX_LINES: usize = 100;
const CODE: &str = "INVALID_MCS_REQUEST";

/// Answers a cancel request.
pub(crate) fn cancel(world: &mut World, context: &EmulatedCall<'_>, body: &Value) -> CallResult {
    let payload = &body["payload"];
    let wanted = match read(payload) {
        Ok(wanted) => wanted,
        Err(complaints) => return CallResult::refused(WalmartAnswer::fail(400, CODE, &complaints)),
    };
    let number = order_number(payload);
    match world.cancel(context.account, number, &wanted, context.now) {
        Ok(_) => {
            let request_id = if context.sandbox {
                number.to_owned()
            } else {
                ids::uuid(context.seed, &["cancel", context.account, context.correlation_id, &payload.to_string()])
            };
            CallResult { answer: context.accepted(body, &request_id), effect: CallEffect::Cancelled }
        }
        Err(CancelRefused::UnknownOrder) => CallResult::refused(WalmartAnswer::not_in_wsaas()),
        Err(why) => CallResult::refused(WalmartAnswer::fail(400, CODE, &[refusal(&why)])),
    }
}

fn read(payload: &Value) -> Result<Vec<(String, u64)>, Vec<FieldFault>> {
    let mut form = Form::default();
    if order_number(payload).is_empty() {
        form.complain("sellerOrderId", "sellerOrderId or customerOrderNo is required");
    } else if order_numbers_differ(payload) {
        form.complain("sellerOrderId", "sellerOrderId and customerOrderNo must be the same");
    }
    let items = form.items(payload, "payload", "orderItems");
    if items.len() > MAX_LINES {
        form.complain("payload.orderItems", format!("payload.orderItems must be at most {MAX_LINES}"));
        return form.finish().map(|()| Vec::new());
    }
    let mut ids = HashSet::new();
    let mut wanted = Vec::new();
    for (i, item) in items.iter().enumerate() {
        let path = format!("payload.orderItems[{i}]");
        let id = form.text(item, &path, "sellerLineId");
        if !id.is_empty() && !ids.insert(id) {
            form.complain(format!("{path}.sellerLineId"), format!("{path}.sellerLineId occurs twice"));
        }
        wanted.push((id.to_owned(), form.units(item, &path, "qty")));
    }
    form.finish().map(|()| wanted)
}

fn refusal(why: &CancelRefused) -> FieldFault {
    match why {
        CancelRefused::UnknownOrder => complaint("sellerOrderId", "requested order not found"),
        CancelRefused::UnknownLine(id) => complaint("sellerLineId", format!("line {id} is not part of the order")),
        CancelRefused::MoreThanOrdered(id) => {
            complaint("qty", format!("line {id}: the quantity is higher than the ordered quantity"))
        }
        CancelRefused::WindowPassed => complaint(
            "sellerOrderId",
            "the order cannot be cancelled: the cancellation window of 60 minutes has passed",
        ),
        CancelRefused::NothingOpen => {
            complaint("orderItems", "the lines cannot be cancelled: already shipped or already cancelled")
        }
    }
}
