//! The order number, which identifies an order.

use crate::pb::{Cancellation, Order};

/// The order number of a checked order.
pub(crate) fn of_order(order: &Order) -> &str {
    either(order.seller_order_id.as_ref(), order.customer_order_no.as_ref())
}

/// The order number of a checked cancellation.
pub fn of_cancellation(cancellation: &Cancellation) -> &str {
    either(cancellation.seller_order_id.as_ref(), cancellation.customer_order_no.as_ref())
}

/// Takes either field. In a checked request the two are equal where the two are given.
fn either<'a>(one: Option<&'a String>, other: Option<&'a String>) -> &'a str {
    [one, other].into_iter().flatten().find(|number| !number.is_empty()).map_or("", String::as_str)
}
