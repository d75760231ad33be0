//! What every feed does, by the words of its two ports. Each check runs on each store.

mod appending;
mod finding;
mod quarantining;
mod reading;
mod subscribing;
mod trimming;

use std::ops::Deref;

use tempfile::TempDir;

use self::appending::*;
use self::finding::*;
use self::quarantining::*;
use self::reading::*;
use self::subscribing::*;
use self::trimming::*;
use crate::domain::account::AccountId;
use crate::domain::feed::notification::WebhookDelivery;
use crate::domain::feed::subscription::{Subscription, SubscriptionConfig, SubscriptionCounts, SubscriptionHead};
use crate::domain::feed::{FeedName, LogId};
use crate::domain::timestamp::Timestamp;
use crate::ports::event_log::{
    AppendOutcome, EventLog, FeedLog, QuarantinedDelivery, RereadOutcome, StoredEvent, TrimTimes,
};
use crate::ports::random::Random;
use crate::ports::store_error::StoreError;
use crate::ports::subscriptions::{CreateOutcome, RemoveOutcome, SubscriptionStore};
use crate::store::memory_feed::MemoryFeed;
use crate::store::sqlite::SqliteLedger;
use crate::testing::store::{
    acme, arrival, event_of, new_subscription, other_account, settings, subscription_config, time, unreadable,
};

/// Runs each check on both feeds of every store.
macro_rules! checks {
    ($($check:ident)*) => {
        mod memory {
            $(#[tokio::test]
            async fn $check() {
                for feed in super::FeedName::ALL {
                    super::$check(super::OneFeed::new(super::MemoryFeed::new(super::LogId(1)), feed)).await;
                }
            })*
        }
        mod sqlite {
            $(#[tokio::test]
            async fn $check() {
                for feed in super::FeedName::ALL {
                    let folder = super::TempDir::new().unwrap();
                    let store = super::SqliteLedger::open(&folder.path().join("db"), super::settings()).unwrap();
                    super::$check(super::OneFeed::new(store.clone(), feed)).await;
                    store.close().await;
                }
            })*
        }
    };
}

trait Store: EventLog + SubscriptionStore {}

impl<S: EventLog + SubscriptionStore> Store for S {}

/// A store, as the checks of one of its feeds see it.
#[derive(Clone)]
struct OneFeed<S> {
    store: S,
    log: FeedLog<S>,
}

impl<S> Deref for OneFeed<S> {
    type Target = FeedLog<S>;

    fn deref(&self) -> &FeedLog<S> {
        &self.log
    }
}

/// What went of one feed, and of what both have.
#[derive(Debug, Default, PartialEq)]
struct FeedTrimOutcome {
    events: usize,
    rows: usize,
    lost: Vec<String>,
    parked: usize,
    quarantined: usize,
}

impl<S: Store> OneFeed<S> {
    fn new(store: S, feed: FeedName) -> Self {
        Self { log: FeedLog::new(store.clone(), feed), store }
    }

    /// An event of this feed, whose message and body tell its id.
    fn event(&self, event_id: &str, received: Timestamp) -> WebhookDelivery {
        event_of(self.feed(), event_id, received)
    }

    /// An event of the other feed.
    fn other(&self, event_id: &str, received: Timestamp) -> WebhookDelivery {
        event_of(self.other_feed(), event_id, received)
    }

    fn other_feed(&self) -> FeedName {
        match self.feed() {
            FeedName::CancelIntents => FeedName::OrderUpdates,
            FeedName::OrderUpdates => FeedName::CancelIntents,
        }
    }

    fn config(&self, hold_retention: bool) -> SubscriptionConfig {
        SubscriptionConfig { feed: self.feed(), ..subscription_config(hold_retention) }
    }

    async fn append(&self, arrival: WebhookDelivery) -> Result<AppendOutcome, StoreError> {
        self.store.append(arrival).await
    }

    async fn reread(&self, id: u64, arrival: WebhookDelivery) -> Result<RereadOutcome, StoreError> {
        self.store.reread(id, arrival).await
    }

    async fn quarantined(
        &self,
        accounts: &[AccountId],
        after: u64,
        limit: usize,
        raw: bool,
    ) -> Result<Vec<QuarantinedDelivery>, StoreError> {
        self.store.quarantined(accounts, after, limit, raw).await
    }

    async fn trim_log(&self, times: TrimTimes, limit: usize) -> Result<FeedTrimOutcome, StoreError> {
        let all = self.store.trim_log(times, limit).await?;
        let crate::ports::event_log::TrimOutcome { events, rows, lost, parked, quarantined } = all;
        Ok(FeedTrimOutcome { events: *events.of(self.feed()), rows, lost, parked, quarantined })
    }

    async fn make(
        &self,
        name: &str,
        config: SubscriptionConfig,
        at: u64,
        now: Timestamp,
    ) -> Result<CreateOutcome, StoreError> {
        self.store.make(new_subscription(name, config, at, now)).await
    }

    async fn change<T, F>(&self, name: &str, change: F) -> Result<Option<T>, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&mut Subscription) -> T + Send + 'static,
    {
        self.store.change(name, change).await
    }

    async fn outline(&self, name: &str) -> Result<Option<SubscriptionCounts>, StoreError> {
        self.store.outline(name).await
    }

    async fn names(&self, after: &str, limit: usize) -> Result<Vec<SubscriptionHead>, StoreError> {
        self.store.names(after, limit).await
    }

    async fn remove(&self, name: &str, only: Option<(u64, u64)>) -> Result<RemoveOutcome, StoreError> {
        self.store.remove(name, only).await
    }
}

checks! {
    each_feed_has_a_log_of_its_own
    a_subscription_holds_its_own_log_only
    what_is_appended_is_kept_as_given
    a_delivery_is_stored_once
    one_id_with_two_bodies_is_a_conflict
    an_id_is_of_its_account_and_of_its_kind
    an_unreadable_body_is_kept_once
    many_deliveries_of_one_id_are_one
    positions_have_no_gaps_whoever_appends
    a_later_append_has_a_later_position
    the_head_is_never_ahead_of_what_can_be_read
    an_append_happens_though_nobody_waits
    an_empty_log_has_nothing
    reading_ends_where_it_was_asked_to
    picking_gives_what_is_there_in_order
    finding_is_by_account_and_id
    a_time_is_found_also_where_the_clock_went_back
    a_found_intent_is_stored_once
    lines_of_webhooks_are_not_found_and_webhooks_always_come
    lines_are_known_as_long_as_ids
    quarantine_is_paged_and_filtered
    a_conflict_is_in_quarantine_once
    what_is_read_again_goes_where_it_belongs
    a_conflict_that_is_read_again_stays_one
    what_is_no_longer_there_is_not_read_again
    a_body_that_comes_again_and_can_be_read_leaves_quarantine
    quarantine_is_kept_as_long_as_what_is_held
    trimming_takes_the_front_and_leaves_the_last
    trimming_goes_in_steps
    ids_stay_longer_than_events
    an_event_that_stays_does_not_keep_the_ids_behind_it
    other_rows_go_by_their_time
    a_subscription_is_made_once
    an_outline_counts_what_the_rows_say
    accounts_are_kept_as_they_were_set
    a_client_has_as_many_as_it_may_also_when_all_come_at_once
    no_generation_is_used_twice
    names_are_paged
    what_is_changed_is_there_for_the_next
    a_change_is_asked_of_what_exists_only
    changes_come_one_after_the_other
    a_change_happens_though_nobody_waits
    a_name_made_again_is_another_subscription
    what_is_held_stays_until_it_is_settled
    what_is_held_goes_by_its_own_time_and_is_told
    what_does_not_hold_loses_and_is_told
    parked_rows_go_with_their_events
}

/// Stores it; tells its position.
async fn append(log: &OneFeed<impl Store>, arrival: WebhookDelivery) -> u64 {
    match log.append(arrival).await.unwrap() {
        AppendOutcome::Stored { seq: Some(seq) } => seq,
        other => panic!("{other:?}"),
    }
}

/// Stores so many events, a second apart, with their numbers as ids.
async fn fill(log: &OneFeed<impl Store>, events: u64) {
    for number in 1..=events {
        assert_eq!(append(log, log.event(&number.to_string(), time(number))).await, number);
    }
}

fn event(seq: u64, arrival: &WebhookDelivery, raw: bool) -> StoredEvent {
    let crate::domain::feed::notification::DeliveryContent::Event { message, .. } = &arrival.content else { panic!() };
    let raw = if raw { arrival.raw.clone() } else { bytes::Bytes::new() };
    StoredEvent { seq, received: arrival.received, message: message.clone(), raw }
}

/// Positions of all that is read after this one.
async fn seqs(log: &OneFeed<impl Store>, after: u64) -> Vec<u64> {
    let events = log.read(after, usize::MAX, usize::MAX, false).await.unwrap();
    events.iter().map(|event| event.seq).collect()
}

/// The event as one of another kind, with another body.
fn of_kind(event: WebhookDelivery, event_type: &str, sub_event_type: &str) -> WebhookDelivery {
    use crate::domain::feed::notification::DeliveryContent;
    let DeliveryContent::Event { feed, event_id, message, .. } = event.content else { panic!() };
    let body = format!("{event_id} {event_type} {sub_event_type}");
    let (event_type, sub_event_type) = (event_type.into(), sub_event_type.into());
    arrival(&body, DeliveryContent::Event { feed, event_id, event_type, sub_event_type, message }, event.received)
}
