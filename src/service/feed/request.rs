//! The requests of the two feeds. The two services have messages of their own with the same fields; every message is
//! borrowed as one of these structs, together with the feed of its service.

use crate::domain::feed::{FeedMessage, FeedName};
use crate::pb;

/// A request for a stream to a reader that keeps its own position.
#[derive(Clone, Copy, Debug)]
pub struct WatchRequest<'a> {
    pub(super) feed: FeedName,
    pub(super) account: &'a str,
    pub(super) start: Option<&'a pb::Position>,
    pub(super) filter: Option<&'a pb::Filter>,
    pub(super) limit: u64,
    pub(super) include_raw: bool,
    pub(super) heartbeat_interval: Option<&'a prost_types::Duration>,
}

/// A request for the stream of one consumer of a subscription.
#[derive(Clone, Copy, Debug)]
pub struct SubscribeRequest<'a> {
    pub(super) feed: FeedName,
    pub(super) subscription: &'a str,
    pub(super) consumer_id: &'a str,
    pub(super) max_outstanding_events: Option<u32>,
    pub(super) max_outstanding_bytes: Option<u64>,
    pub(super) heartbeat_interval: Option<&'a prost_types::Duration>,
    pub(super) reclaim: bool,
    pub(super) release_on_disconnect: bool,
    pub(super) create_if_missing: Option<&'a pb::Subscription>,
    pub(super) include_raw: bool,
    pub(super) auto_extend: bool,
    pub(super) auto_extend_limit: Option<&'a prost_types::Duration>,
}

/// A request with verdicts on deliveries.
#[derive(Clone, Copy, Debug)]
pub struct SettleRequest<'a> {
    pub(super) feed: FeedName,
    pub(super) subscription: &'a str,
    pub(super) verdicts: &'a [pb::Verdict],
}

/// A request for a page of events.
#[derive(Clone, Copy, Debug)]
pub struct ListRequest<'a> {
    pub(super) feed: FeedName,
    pub(super) account: &'a str,
    pub(super) filter: Option<&'a pb::Filter>,
    pub(super) start: Option<&'a pb::Position>,
    pub(super) page_size: i32,
    pub(super) page_token: &'a str,
    pub(super) include_raw: bool,
}

/// A request for one event.
#[derive(Clone, Copy, Debug)]
pub struct GetRequest<'a> {
    pub(super) feed: FeedName,
    pub(super) key: Option<EventKey<'a>>,
    pub(super) account: &'a str,
    pub(super) include_raw: bool,
}

/// The key of a requested event.
#[derive(Clone, Copy, Debug)]
pub(super) enum EventKey<'a> {
    Seq(u64),
    Cursor(&'a str),
    EventId(&'a str),
}

/// A request answered with events.
pub trait AnsweredWith {
    /// The message type of the events.
    type Message: FeedMessage;
}

/// Borrows the messages of the two services as one of the structs above.
macro_rules! borrowed {
    ($view:ident from $intents:ident, $updates:ident: |$it:ident| $fields:tt) => {
        borrowed!(@one $view $intents CancelIntents $it $fields);
        borrowed!(@one $view $updates OrderUpdates $it $fields);
    };
    (@one $view:ident $message:ident $feed:ident $it:ident { $($field:ident: $value:expr),+ $(,)? }) => {
        impl<'a> From<&'a pb::$message> for $view<'a> {
            fn from($it: &'a pb::$message) -> Self {
                Self { feed: FeedName::$feed, $($field: $value),+ }
            }
        }
    };
}

borrowed!(WatchRequest from WatchCancelIntentsRequest, WatchOrderUpdatesRequest: |it| {
    account: &it.account,
    start: it.start.as_ref(),
    filter: it.filter.as_ref(),
    limit: it.limit,
    include_raw: it.include_raw,
    heartbeat_interval: it.heartbeat_interval.as_ref(),
});

borrowed!(SubscribeRequest from SubscribeCancelIntentsRequest, SubscribeOrderUpdatesRequest: |it| {
    subscription: &it.subscription,
    consumer_id: &it.consumer_id,
    max_outstanding_events: it.max_outstanding_events,
    max_outstanding_bytes: it.max_outstanding_bytes,
    heartbeat_interval: it.heartbeat_interval.as_ref(),
    reclaim: it.reclaim,
    release_on_disconnect: it.release_on_disconnect,
    create_if_missing: it.create_if_missing.as_ref(),
    include_raw: it.include_raw,
    auto_extend: it.auto_extend,
    auto_extend_limit: it.auto_extend_limit.as_ref(),
});

borrowed!(SettleRequest from SettleCancelIntentsRequest, SettleOrderUpdatesRequest: |it| {
    subscription: &it.subscription,
    verdicts: &it.verdicts,
});

borrowed!(ListRequest from ListCancelIntentsRequest, ListOrderUpdatesRequest: |it| {
    account: &it.account,
    filter: it.filter.as_ref(),
    start: it.start.as_ref(),
    page_size: it.page_size,
    page_token: &it.page_token,
    include_raw: it.include_raw,
});

borrowed!(GetRequest from GetCancelIntentRequest, GetOrderUpdateRequest: |it| {
    key: it.key.as_ref().map(EventKey::from),
    account: &it.account,
    include_raw: it.include_raw,
});

macro_rules! keys {
    ($($key:path),+) => {
        $(impl<'a> From<&'a $key> for EventKey<'a> {
            fn from(key: &'a $key) -> Self {
                use $key as Key;
                match key {
                    Key::Seq(seq) => Self::Seq(*seq),
                    Key::Cursor(cursor) => Self::Cursor(cursor),
                    Key::EventId(id) => Self::EventId(id),
                }
            }
        })+
    };
}

keys!(pb::get_cancel_intent_request::Key, pb::get_order_update_request::Key);

macro_rules! answered_with {
    ($($request:ident with $message:ident),+ $(,)?) => {
        $(impl AnsweredWith for pb::$request {
            type Message = pb::$message;
        })+
    };
}

answered_with! {
    ListCancelIntentsRequest with Event,
    GetCancelIntentRequest with Event,
    ListOrderUpdatesRequest with OrderUpdate,
    GetOrderUpdateRequest with OrderUpdate,
}
