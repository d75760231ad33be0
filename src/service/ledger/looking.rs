//! How Walmart is asked about an entry, and what its orders say about it.

use std::time::Duration;

use prost::Message as _;

use crate::domain::ledger::sighting::{self, Sighting, Snapshot};
use crate::domain::ledger::{Entry, Kind};
use crate::domain::timestamp::Timestamp;
use crate::pb::{CancelOrderRequest, CreateOrderRequest, GetOrderStatusRequest, OrderStatus};

/// Orders dated earlier before their creation are not searched for by date.
const LONGEST_AGO: Duration = Duration::from_secs(7 * 24 * 60 * 60);

pub(super) fn of_number(order_number: &str) -> GetOrderStatusRequest {
    GetOrderStatusRequest { order_number: order_number.to_owned(), ..Default::default() }
}

pub(super) fn sight(entry: &Entry, orders: &[OrderStatus]) -> Sighting {
    match entry.kind {
        Kind::Create => sighting::of_creation(&entry.order_number, orders),
        Kind::Cancel => {
            let batch = CancelOrderRequest::decode(entry.body.clone()).ok().and_then(|request| request.payload);
            let snapshot = (!entry.snapshot.is_empty()).then(|| Snapshot::decode(entry.snapshot.as_slice()).ok());
            batch.map_or(Sighting::Unclear, |batch| {
                sighting::of_cancellation(&batch, snapshot.flatten().as_ref(), orders)
            })
        }
    }
}

/// When Walmart may take an order to have been made, if a search by date can be trusted to show it: not one that is
/// dated long before its creation, nor one that is cancelled, of which nothing is known here.
pub(super) fn ordered(entry: &Entry) -> Option<Timestamp> {
    if entry.kind != Kind::Create {
        return None;
    }
    let payload = CreateOrderRequest::decode(entry.body.clone()).ok()?.payload?;
    let placed: jiff::Timestamp = payload.order_placed_time?.parse().ok()?;
    let placed = Timestamp(u64::try_from(placed.as_millisecond()).ok()?);
    let first = placed.min(entry.created);
    (entry.created.since(first) <= LONGEST_AGO).then_some(first)
}

/// The UTC day of a moment, as Walmart writes days.
pub(super) fn day(time: Timestamp) -> String {
    let millis = i64::try_from(time.0).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
    time.to_zoned(jiff::tz::TimeZone::UTC).date().to_string()
}
