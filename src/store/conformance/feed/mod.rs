//! What every feed does, by the words of its two ports. Each check runs on each store.

mod appending;
mod reading;
mod subscribing;
mod trimming;

use tempfile::TempDir;

use self::appending::*;
use self::reading::*;
use self::subscribing::*;
use self::trimming::*;
use crate::domain::feed::LogId;
use crate::domain::feed::notification::Arrival;
use crate::domain::timestamp::Timestamp;
use crate::ports::event_log::{Appended, EventLog, StoredEvent, TrimTimes, Trimmed};
use crate::ports::random::Random;
use crate::store::memory_feed::MemoryFeed;
use crate::store::sqlite::SqliteLedger;
use crate::store::testing::{acme, arrival, intent, other, other_account, settings, time, unreadable};

/// Runs each check on every store.
macro_rules! checks {
    ($($check:ident)*) => {
        mod memory {
            $(#[tokio::test]
            async fn $check() {
                super::$check(super::MemoryFeed::new(super::LogId(1))).await;
            })*
        }
        mod sqlite {
            $(#[tokio::test]
            async fn $check() {
                let folder = super::TempDir::new().unwrap();
                let store = super::SqliteLedger::open(&folder.path().join("db"), super::settings()).unwrap();
                super::$check(store.clone()).await;
                store.close().await;
            })*
        }
    };
}

checks! {
    what_is_appended_is_kept_as_given
    a_delivery_is_stored_once
    one_id_with_two_bodies_is_a_conflict
    an_id_is_of_its_account_and_of_any_type
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
    quarantine_is_paged_and_filtered
    trimming_takes_the_front_and_leaves_the_last
    trimming_goes_in_steps
    ids_stay_longer_than_events
    other_rows_go_by_their_time
    a_subscription_is_made_once
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
async fn append(log: &impl EventLog, arrival: Arrival) -> u64 {
    match log.append(arrival).await.unwrap() {
        Appended::Stored { seq: Some(seq) } => seq,
        other => panic!("{other:?}"),
    }
}

/// Stores so many intents, a second apart, with their numbers as ids.
async fn fill(log: &impl EventLog, events: u64) {
    for number in 1..=events {
        assert_eq!(append(log, intent(&number.to_string(), time(number))).await, number);
    }
}

fn event(seq: u64, arrival: &Arrival, raw: bool) -> StoredEvent {
    let crate::domain::feed::notification::Content::Event { message, .. } = &arrival.content else { panic!() };
    let raw = if raw { arrival.raw.clone() } else { bytes::Bytes::new() };
    StoredEvent { seq, received: arrival.received, message: message.clone(), raw }
}

/// Positions of all that is read after this one.
async fn seqs(log: &impl EventLog, after: u64) -> Vec<u64> {
    let events = log.read(after, usize::MAX, usize::MAX, false).await.unwrap();
    events.iter().map(|event| event.seq).collect()
}
