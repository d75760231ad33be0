//! Checks of the message parts that several requests share.

use std::collections::HashSet;

use foldhash::fast::RandomState;

use super::{FieldFaults, FieldPath, REQUIRED};
use crate::pb::{Address, Contact, Money, Quantity};

/// Longest `request_id` in characters.
const MAX_REQUEST_ID: usize = 128;

/// Checks the caller's id of a mutation: absent, or 1 to 128 visible ASCII characters.
pub(crate) fn check_request_id(request_id: &str, faults: &mut FieldFaults) {
    if !request_id.is_empty() && !is_request_id(request_id) {
        faults.add(&FieldPath::Top("request_id"), "must be 1 to 128 visible ASCII characters");
    }
}

/// Whether a text is short and plain enough to be repeated in an answer.
pub(crate) fn is_request_id(text: &str) -> bool {
    (1..=MAX_REQUEST_ID).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

pub(super) fn text(value: Option<&String>, at: &FieldPath<'_>, faults: &mut FieldFaults) {
    if value.is_none_or(String::is_empty) {
        faults.add(at, REQUIRED);
    }
}

/// Requires at least one of the two fields for the order number, and equal values where the two are given.
pub(super) fn order_numbers<'a>(
    seller_order_id: Option<&'a String>,
    customer_order_no: Option<&'a String>,
    payload: &FieldPath<'_>,
    faults: &mut FieldFaults,
) {
    let given = |number: Option<&'a String>| number.filter(|n| !n.is_empty());
    match (given(seller_order_id), given(customer_order_no)) {
        (None, None) => {
            faults.add(&payload.field("customer_order_no"), "is required, or seller_order_id");
        }
        (Some(seller), Some(customer)) if seller != customer => {
            faults.add(&payload.field("customer_order_no"), "must equal seller_order_id");
        }
        _ => {}
    }
}

pub(super) fn quantity(value: Option<&Quantity>, at: &FieldPath<'_>, faults: &mut FieldFaults) {
    if let Some(value) = value {
        text(value.unit_of_measure.as_ref(), &at.field("unit_of_measure"), faults);
    }
    units(value, at, faults);
}

/// Requires a number of units, whatever their unit.
pub(super) fn units(value: Option<&Quantity>, at: &FieldPath<'_>, faults: &mut FieldFaults) {
    let Some(value) = value else { return faults.add(at, REQUIRED) };
    let at = at.field("measurement_value");
    match value.measurement_value {
        None => faults.add(&at, REQUIRED),
        Some(n) if !n.is_finite() || n.fract() != 0.0 || n < 1.0 => {
            faults.add(&at, "must be a whole number, at least 1");
        }
        Some(_) => {}
    }
}

pub(super) fn money(value: Option<&Money>, at: &FieldPath<'_>, faults: &mut FieldFaults) {
    let Some(value) = value else { return faults.add(at, REQUIRED) };
    amount(value, at, faults);
    if value.currency_amount.is_none() {
        faults.add(&at.field("currency_amount"), REQUIRED);
    }
    text(value.currency_unit.as_ref(), &at.field("currency_unit"), faults);
}

/// Checks an optional amount: a value must be finite, because JSON has no other numbers, and not negative.
pub(super) fn amount(value: &Money, at: &FieldPath<'_>, faults: &mut FieldFaults) {
    if value.currency_amount.is_some_and(|n| !n.is_finite() || n < 0.0) {
        faults.add(&at.field("currency_amount"), "must be a finite number, not negative");
    }
}

/// Requires first name, last name and telephone number. The e-mail address is optional.
pub(super) fn contact(value: Option<&Contact>, at: &FieldPath<'_>, faults: &mut FieldFaults) {
    let Some(value) = value else { return faults.add(at, REQUIRED) };
    let name_at = at.field("name");
    match &value.name {
        None => faults.add(&name_at, REQUIRED),
        Some(name) => {
            text(name.first_name.as_ref(), &name_at.field("first_name"), faults);
            text(name.last_name.as_ref(), &name_at.field("last_name"), faults);
        }
    }
    text(value.phone.as_ref(), &at.field("phone"), faults);
}

/// Requires street, city, state, country and postal code, in either of Walmart's two families of keys.
pub(super) fn address(value: Option<&Address>, at: &FieldPath<'_>, faults: &mut FieldFaults) {
    let Some(value) = value else { return faults.add(at, REQUIRED) };
    let mut either = |name: &'static str, one: &Option<String>, other: &Option<String>| {
        let given = |value: &Option<String>| value.as_ref().is_some_and(|v| !v.is_empty());
        if !given(one) && !given(other) {
            faults.add(&at.field(name), REQUIRED);
        }
    };
    either("line1", &value.line1, &value.address_line_one);
    either("city", &value.city, &None);
    either("state", &value.state, &value.state_code);
    either("country", &value.country, &value.country_code);
    either("zip", &value.zip, &value.postal_code);
}

/// Checks line ids: every line has an id, and no id occurs twice.
#[derive(Default)]
pub(super) struct LineIds<'a>(HashSet<&'a str, RandomState>);

impl<'a> LineIds<'a> {
    pub(super) fn check(&mut self, id: Option<&'a String>, at: &FieldPath<'_>, faults: &mut FieldFaults) {
        text(id, at, faults);
        if id.is_some_and(|id| !id.is_empty() && !self.0.insert(id)) {
            faults.add(at, "must be unique in the request");
        }
    }
}
