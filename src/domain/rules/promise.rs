//! Checks of a FetchDeliveryPromise request.

use super::parts::{address, quantity, text};
use super::{FieldFaults, FieldPath, REQUIRED};
use crate::pb::{FetchDeliveryPromiseRequest, Offer};

/// Walmart's limit of one selection.
const MAX_OFFERS: usize = 30;

/// Checks a promise request and returns all of its faults.
pub fn check_promise(request: &FetchDeliveryPromiseRequest) -> Result<(), FieldFaults> {
    let mut faults = FieldFaults::default();
    let at = FieldPath::Top("payload");
    let Some(payload) = &request.payload else {
        faults.add(&at, REQUIRED);
        return faults.into_result();
    };
    let selections = at.field("offer_selections");
    if payload.offer_selections.is_empty() {
        faults.add(&selections, "needs at least one selection");
    }
    for (i, selection) in payload.offer_selections.iter().enumerate() {
        let at = selections.index(i);
        let offers = at.field("offers");
        if selection.offers.is_empty() {
            faults.add(&offers, "needs at least one offer");
        }
        if selection.offers.len() > MAX_OFFERS {
            faults.add(&offers, "has more than 30 offers");
        }
        for (j, one) in selection.offers.iter().enumerate() {
            offer(one, &offers.index(j), &mut faults);
        }
    }
    let destinations = at.field("destinations");
    if payload.destinations.is_empty() {
        faults.add(&destinations, "needs at least one destination");
    }
    for (i, destination) in payload.destinations.iter().enumerate() {
        let at = destinations.index(i);
        text(destination.fulfillment_type.as_ref(), &at.field("fulfillment_type"), &mut faults);
        address(destination.address.as_ref(), &at.field("address"), &mut faults);
    }
    faults.into_result()
}

fn offer(offer: &Offer, at: &FieldPath<'_>, faults: &mut FieldFaults) {
    text(offer.sku.as_ref(), &at.field("sku"), faults);
    text(offer.line_id.as_ref(), &at.field("line_id"), faults);
    text(offer.sales_unit.as_ref(), &at.field("sales_unit"), faults);
    quantity(offer.requested_quantity.as_ref(), &at.field("requested_quantity"), faults);
    text(offer.shipping_method.as_ref(), &at.field("shipping_method"), faults);
    let available = offer.available_quantity.as_ref().and_then(|q| q.measurement_value);
    if available.is_some_and(|n| !n.is_finite()) {
        faults.add(&at.field("available_quantity").field("measurement_value"), "must be a finite number");
    }
}
