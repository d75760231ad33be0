//! Orders that the seller fulfills: Walmart's Orders API as a state machine.
//!
//! Every unit of a line is in one state: created, acknowledged, cancelled, or in a parcel (shipped, 72 hours later
//! delivered); units in a parcel may be refunded. Repeated changes are carried out again when units or the allowance
//! permit, as at Walmart, which has no idempotency.

mod book;
mod calls;
mod charges;
mod list;
mod seeds;
mod shown;

pub(crate) use self::book::{SellerBook, SellerLine, SellerOrder};
pub(crate) use self::calls::{acknowledge, cancel, get, purchase_order, real_call, refund, ship};
pub(crate) use self::list::{list, query_value};
pub(crate) use self::seeds::{SellerOrderWish, simulate};

/// The account of simulated orders, which belong to every account.
pub(crate) const EVERYBODY: &str = "";
