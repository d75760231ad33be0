//! The feed of intents to cancel: what stands in the log, and how its readers choose, borrow and settle. Pure.

pub mod cursor;
pub mod filter;
pub mod lease;
pub mod notification;
pub mod span;
pub mod subscription;

pub use self::cursor::{Cursor, LogId};
pub use self::filter::{Facts, Filter};
pub use self::lease::Lease;
pub use self::notification::{Notification, with_account};
pub use self::span::span;
