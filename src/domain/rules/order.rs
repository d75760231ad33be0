//! Checks of a CreateOrder request.

use super::parts::{LineIds, address, amount, contact, money, order_numbers, quantity, text};
use super::{FieldFaults, FieldPath, REQUIRED, check_request_id};
use crate::pb::{ChargeDetail, CreateOrderRequest, OrderItem};

/// Checks an order and returns all of its faults.
pub fn check_order(request: &CreateOrderRequest) -> Result<(), FieldFaults> {
    let mut faults = FieldFaults::default();
    check_request_id(&request.request_id, &mut faults);
    let at = FieldPath::Top("payload");
    let Some(order) = &request.payload else {
        faults.add(&at, REQUIRED);
        return faults.into_result();
    };
    text(order.order_channel_id.as_ref(), &at.field("order_channel_id"), &mut faults);
    order_numbers(order.seller_order_id.as_ref(), order.customer_order_no.as_ref(), &at, &mut faults);
    text(order.order_placed_time.as_ref(), &at.field("order_placed_time"), &mut faults);
    let customer = at.field("customer");
    match &order.customer {
        None => faults.add(&customer, REQUIRED),
        Some(one) => contact(one.contact.as_ref(), &customer.field("contact"), &mut faults),
    }
    let items = at.field("order_items");
    if order.order_items.is_empty() {
        faults.add(&items, "needs at least one line");
    }
    let mut ids = LineIds::default();
    for (i, item) in order.order_items.iter().enumerate() {
        let at = items.index(i);
        ids.check(item.seller_line_id.as_ref(), &at.field("seller_line_id"), &mut faults);
        line(item, &at, &mut faults);
    }
    faults.into_result()
}

fn line(item: &OrderItem, at: &FieldPath<'_>, faults: &mut FieldFaults) {
    text(item.fulfillment_type.as_ref(), &at.field("fulfillment_type"), faults);
    text(item.shipping_method.as_ref(), &at.field("shipping_method"), faults);
    let detail = at.field("item_detail");
    match &item.item_detail {
        None => faults.add(&detail, REQUIRED),
        Some(one) => text(one.sku.as_ref(), &detail.field("sku"), faults),
    }
    quantity(item.qty.as_ref(), &at.field("qty"), faults);
    let shipping = at.field("shipping_to");
    match &item.shipping_to {
        None => faults.add(&shipping, REQUIRED),
        Some(one) => {
            contact(one.contact.as_ref(), &shipping.field("contact"), faults);
            address(one.address.as_ref(), &shipping.field("address"), faults);
        }
    }
    let charges = at.field("charge_details");
    if item.charge_details.is_empty() {
        faults.add(&charges, "needs at least one charge");
    }
    for (i, one) in item.charge_details.iter().enumerate() {
        charge(one, &charges.index(i), faults);
    }
}

fn charge(charge: &ChargeDetail, at: &FieldPath<'_>, faults: &mut FieldFaults) {
    text(charge.charge_category.as_ref(), &at.field("charge_category"), faults);
    money(charge.charge_per_unit.as_ref(), &at.field("charge_per_unit"), faults);
    if let Some(tax) = charge.tax_details.as_ref().and_then(|details| details.tax_per_line.as_ref()) {
        amount(tax, &at.field("tax_details").field("tax_per_line"), faults);
    }
}
