//! The use cases: the promise of every RPC, in terms of the ports, without gRPC, HTTP or SQL.

mod absent;
mod accounts;
mod cancel_order;
mod client_accounts;
mod clock_watch;
mod create_order;
mod error;
pub mod feed;
mod flights;
mod ledger;
mod mutate;
mod operations;
mod order_status;
mod paging;
mod read;
mod status;

pub use self::accounts::{AccountError, Directory};
pub use self::cancel_order::{BatchOutcome, CancelOrder, Cancelled};
pub use self::client_accounts::ClientAccounts;
pub use self::clock_watch::{ClockView, ClockWatch};
pub use self::create_order::CreateOrder;
pub use self::error::ServiceError;
pub use self::ledger::{MutationSettings, Mutations, Resolver};
pub use self::mutate::{Mutate, Mutated, NotMutated};
pub use self::operations::{ListOperations, OperationView, Operations, Page, check_page};
pub use self::order_status::GetOrderStatus;
pub use self::read::{CacheSettings, Read};
pub use self::status::{AccountState, Board, GatewayStatus, Rows, Told};

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
pub(crate) mod testing_feed;
#[cfg(test)]
pub(crate) mod testing_feed_store;
#[cfg(test)]
pub(crate) mod testing_ledger;
