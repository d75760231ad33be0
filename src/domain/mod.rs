//! Pure values and rules, without I/O and without a clock. The module uses no part of this crate except the generated
//! messages.

pub mod account;
pub mod account_table;
pub mod clock_check;
pub mod effect;
pub mod feed;
pub mod hex;
pub mod ledger;
pub mod moment;
pub mod mutations;
pub mod operation;
pub mod order_number;
pub mod personal;
pub mod reads;
pub mod rules;
pub mod timestamp;
pub mod webhooks;
