//! The two feeds, cancel intents and order updates: the content of the logs, and the rules by which readers filter,
//! lease and settle events. Pure.

pub mod cursor;
pub mod filter;
mod found_intent;
mod intent_flag;
mod intent_key;
mod kept;
pub mod lease;
mod message;
mod name;
pub mod notification;
mod scope;
pub mod span;
pub mod subscription;

pub use self::cursor::{Cursor, LogId};
pub use self::filter::{EventFacts, EventFilter};
pub use self::found_intent::{FoundIntent, OrderFlags, lines_of_intent};
pub use self::intent_flag::IntentFlag;
pub use self::intent_key::intent_key;
pub(crate) use self::intent_key::{is_of_another_seller, with_intent_key};
pub(crate) use self::kept::order_update_of_kept;
pub use self::lease::Lease;
pub use self::message::FeedMessage;
pub use self::name::{ByFeed, FeedName};
pub use self::notification::WebhookNotification;
pub(crate) use self::notification::with_account;
pub use self::scope::AccountScope;
pub use self::span::span;
