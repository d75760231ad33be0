//! The order of an event: `payload.order`, or the payload itself.

use serde_json::{Map, Value};

use super::line;
use super::values::{ObjectPlace, first_object, objects, text};
use crate::domain::feed::IntentFlag;
use crate::pb;
use crate::service::feed::UnreadableBody;

type Object = Map<String, Value>;

/// An order and its payload. A field missing in the order is looked up in the payload.
pub(super) struct EventOrder<'a> {
    wrapped: ObjectPlace<'a>,
    payload: &'a Object,
}

/// Whether an object has the fields of an order.
fn is_order(object: &Object) -> bool {
    ["purchaseOrderId", "orderLines"].iter().any(|field| object.get(*field).is_some_and(|value| !value.is_null()))
}

/// Whether an object is an order, or has one in `order`.
pub(super) fn is_in(object: &Object) -> bool {
    is_order(object) || object.get("order").is_some_and(|order| !order.is_null())
}

impl<'a> EventOrder<'a> {
    /// Finds the order of a payload.
    pub(super) fn of(payload: &'a Object) -> Self {
        Self { wrapped: ObjectPlace::in_place(payload.get("order")), payload }
    }

    /// Whether the order is wrapped, as in ORDER_UPDATES.
    pub(super) fn is_wrapped(&self) -> bool {
        self.wrapped.one().is_some_and(is_order)
    }

    /// The strongest intent flag of the lines, the order and the payload.
    pub(super) fn flag(&self) -> IntentFlag {
        // With several orders the event is an intent if any order is one, and then counts as unreadable.
        let mut orders = vec![self.payload];
        objects(self.payload.get("order"), &mut |order| orders.push(order));
        let mut flag = IntentFlag::Unset;
        for order in orders {
            flag = flag.max(line::flag_on(order));
            lines(order, &mut |line| flag = flag.max(line::flag(line)));
        }
        flag
    }

    /// Accepts the order of an event whose name is an intent, with any payload.
    ///
    /// # Errors The payload has several orders.
    pub(super) fn lenient(self) -> Result<Self, UnreadableBody> {
        if matches!(self.wrapped, ObjectPlace::Several) {
            return Err(UnreadableBody::new("the intent has several orders"));
        }
        Ok(self)
    }

    /// Accepts the order of an event recognised as an intent by its content.
    ///
    /// # Errors The payload has no order, or several.
    pub(super) fn strict(self) -> Result<Self, UnreadableBody> {
        match self.wrapped {
            ObjectPlace::Nothing | ObjectPlace::Other if !is_order(self.payload) => {
                Err(UnreadableBody::new("the order of the intent is no object"))
            }
            _ => self.lenient(),
        }
    }

    /// Converts the intent to a message. `partner` is the seller named beside the order, used when the order names
    /// none.
    pub(super) fn intent(&self, partner: &str) -> pb::CancelIntent {
        let places = || self.wrapped.one().into_iter().chain([self.payload]);
        let own = |field: &str| places().find_map(|place| place.get(field).and_then(text));
        let shipping = |field: &str| {
            let there = |place: &Object| first_object(place.get("shippingInfo"))?.get(field).and_then(text);
            places().find_map(there)
        };
        let node = |place: &Object| match place.get("shipNode")? {
            node @ (Value::Object(_) | Value::Array(_)) => first_object(Some(node))?.get("type").and_then(text),
            named => text(named),
        };
        let method = shipping("methodCode");
        pb::CancelIntent {
            partner_id: own("partnerId").unwrap_or_else(|| partner.to_owned()),
            purchase_order_id: own("purchaseOrderId").unwrap_or_default(),
            customer_order_id: own("customerOrderId").unwrap_or_default(),
            order_date: own("orderDate").unwrap_or_default(),
            estimated_delivery_date: own("estimatedDeliveryDate")
                .or_else(|| shipping("estimatedDeliveryDate"))
                .unwrap_or_default(),
            estimated_ship_date: own("estimatedShipDate").or_else(|| shipping("estimatedShipDate")).unwrap_or_default(),
            order_lines: self.intent_lines(method.as_deref()),
            ship_node_type: own("shipNodeType").or_else(|| places().find_map(node)).unwrap_or_default(),
        }
    }

    /// The lines with an intent flag; all lines when none has a flag.
    fn intent_lines(&self, shipping_method: Option<&str>) -> Vec<pb::CancelIntentLine> {
        let mut all = Vec::new();
        for place in self.wrapped.one().into_iter().chain([self.payload]) {
            if all.is_empty() {
                lines(place, &mut |line| all.push(line));
            }
        }
        if all.iter().any(|line| line::flag(line) == IntentFlag::Set) {
            all.retain(|line| line::flag(line) == IntentFlag::Set);
        }
        let read = all.into_iter().map(|one| line::read(one, shipping_method));
        // Skip empty lines: a body has room for a hundred thousand of them.
        read.filter(|line| *line != pb::CancelIntentLine::default()).collect()
    }
}

/// Calls `each` with the lines: `orderLines[]`, `orderLines.orderLine[]`, or a single object in place of either list.
fn lines<'a>(order: &'a Object, each: &mut impl FnMut(&'a Object)) {
    let list = order.get("orderLines").filter(|lines| !lines.is_null()).or_else(|| order.get("orderLine"));
    objects(list, &mut |one| match one.get("orderLine") {
        Some(inner @ (Value::Object(_) | Value::Array(_))) => objects(Some(inner), each),
        _ => each(one),
    });
}
