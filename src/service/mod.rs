//! The use cases: the promise of every RPC, in terms of the ports, without gRPC, HTTP or SQL.

mod absent;
mod accounts;
mod cancel_order;
mod client_accounts;
mod clock_watch;
mod create_order;
mod error;
pub mod feed;
mod feed_error;
mod ledger;
mod mutate;
mod operations;
mod order_status;
mod paging;
mod read;
mod seller_orders;
mod settings_state;
mod single_flight;
mod status;

pub use self::accounts::AccountDirectory;
pub use self::cancel_order::{BatchOutcome, CancelOrder, CancellationReply};
pub use self::client_accounts::ClientAccounts;
pub use self::clock_watch::{ClockView, ClockWatch};
pub use self::create_order::CreateOrder;
pub use self::error::{AccountError, ServiceError};
pub use self::ledger::{MutationSettings, Mutations, Resolver};
pub use self::mutate::{Mutate, MutationError, MutationReply};
pub(crate) use self::operations::check_page;
pub use self::operations::{ListOperations, OperationDetails, OperationPage, Operations};
pub use self::order_status::GetOrderStatus;
pub use self::read::CacheSettings;
pub(crate) use self::read::CoalescedRead;
pub use self::seller_orders::{LineCancellationReply, OrderChangeReply, SellerOrderChanges};
pub use self::settings_state::{RefusedSettings, SettingsState, SettingsView};
pub use self::status::{AccountState, GatewayStatus, StatusReply};
pub(crate) use self::status::{BoardRows, StatusBoard};
