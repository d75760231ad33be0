//! The outside of the use cases, as traits and values.

pub mod call;
pub mod clock;
pub mod clock_record;
pub mod event_log;
pub mod ledger;
pub mod overview;
pub mod random;
pub mod replicas;
pub mod store_error;
pub mod subscriptions;
pub mod token_keys;
pub mod upstream;
