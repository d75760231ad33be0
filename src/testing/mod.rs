//! What the unit tests of several modules share: fakes of the ports, stores that fail on demand, and sample data.

pub(crate) mod feed;
pub(crate) mod feed_store;
pub(crate) mod layers;
pub(crate) mod ledger;
pub(crate) mod logs;
pub(crate) mod postgres;
mod postgres_tests;
pub(crate) mod restart;
pub(crate) mod store;
pub(crate) mod upstream;
pub(crate) mod walmart;
