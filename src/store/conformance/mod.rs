//! What every ledger does, by the words of the port. Each check runs on each store.

mod beginning;
mod feed;
mod in_hand;
mod reading;
mod rotating;
mod saving;

use std::time::Duration;

use tempfile::TempDir;
use uuid::Uuid;

use self::beginning::*;
use self::in_hand::*;
use self::reading::*;
use self::rotating::Rotating;
use self::saving::*;
use super::memory::MemoryLedger;
use super::postgres::tests::open as open_postgres;
use super::sqlite::SqliteLedger;
use crate::domain::account::AccountId;
use crate::domain::effect::Effect;
use crate::domain::ledger::{
    AlertKind, AuditAlert, Entry, EntryState, EvidenceKind, Fingerprint, LaterRefusal, LookupRecord, MutationKind,
    NewEntry, OperationId, UnknownSince,
};
use crate::domain::moment::{BootId, Moment};
use crate::domain::timestamp::Timestamp;
use crate::ports::ledger::{BeginConflict, BeginOutcome, EntryCount, EntryQuery, Ledger, PlannedAudit, SaveResult};
use crate::testing::postgres::new_schema;
use crate::testing::store::{acme, cancel, create, made, moment, other_account, settings, time};

/// Runs each check on every store.
macro_rules! checks {
    ($($check:ident)*) => {
        mod memory {
            $(#[tokio::test]
            async fn $check() {
                super::$check(super::MemoryLedger::new()).await;
            })*
        }
        mod sqlite {
            $(#[tokio::test]
            async fn $check() {
                let folder = super::TempDir::new().unwrap();
                let ledger = super::SqliteLedger::open(&folder.path().join("db"), super::settings()).unwrap();
                super::$check(ledger.clone()).await;
                ledger.close().await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $check() {
                let store = super::open_postgres(&super::new_schema()).await;
                super::$check(store.clone()).await;
                store.close().await;
            })*
        }
    };
}

/// Runs each check on three processes of one database, every call at another.
macro_rules! checks_of_several {
    ($($check:ident)*) => {
        mod three_on_postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $check() {
                let schema = super::new_schema();
                let mut stores = Vec::new();
                for _ in 0..3 {
                    stores.push(super::open_postgres(&schema).await);
                }
                super::$check(super::Rotating::new(stores.clone())).await;
                for store in stores {
                    store.close().await;
                }
            })*
        }
    };
}

checks! {
    what_is_made_is_kept_as_given
    an_outcome_that_is_owed_is_told_once
    an_outcome_may_become_owed_after_it_was_written
    an_outcome_that_was_heard_is_owed_no_more
    batches_are_made_together_with_rising_ids
    a_request_id_stands_for_its_account_and_kind
    a_request_id_is_freed_when_all_of_it_was_not_sent
    a_request_partly_sent_keeps_its_id
    an_order_number_is_held_until_its_state_lets_go
    an_order_number_stands_for_its_account_and_for_creations
    the_request_id_is_looked_at_before_the_order_number
    many_begins_of_one_order_number_make_one
    an_open_cancellation_is_joined_only_when_asked
    a_cancellation_is_joined_while_one_of_it_is_open
    saving_writes_what_may_change_and_nothing_else
    a_stale_fence_writes_nothing
    several_are_saved_all_or_none
    a_final_entry_is_never_overwritten
    one_of_two_savers_wins
    what_is_in_hand_is_sent_or_waits_for_its_turn
    due_is_what_is_in_nobodys_hand
    which_ended_tells_final_and_gone
    changes_of_an_object_are_those_with_an_effect_or_perhaps_one
    list_filters_and_pages
    counts_are_right_after_everything
    audits_come_when_due_and_end
    an_alert_is_kept_once
    trim_drops_old_final_entries_oldest_first
    trim_keeps_a_call_together
    a_trimmed_success_holds_its_number_for_good
    ids_are_never_used_twice
    a_write_happens_though_nobody_waits
}

// Without what is said of the calls of one process: its order of writes, and what it has in hand.
checks_of_several! {
    what_is_made_is_kept_as_given
    an_outcome_that_is_owed_is_told_once
    an_outcome_may_become_owed_after_it_was_written
    an_outcome_that_was_heard_is_owed_no_more
    batches_are_made_together_with_rising_ids
    a_request_id_stands_for_its_account_and_kind
    a_request_id_is_freed_when_all_of_it_was_not_sent
    a_request_partly_sent_keeps_its_id
    an_order_number_is_held_until_its_state_lets_go
    an_order_number_stands_for_its_account_and_for_creations
    the_request_id_is_looked_at_before_the_order_number
    many_begins_of_one_order_number_make_one
    an_open_cancellation_is_joined_only_when_asked
    a_cancellation_is_joined_while_one_of_it_is_open
    saving_writes_what_may_change_and_nothing_else
    a_stale_fence_writes_nothing
    several_are_saved_all_or_none
    a_final_entry_is_never_overwritten
    one_of_two_savers_wins
    due_is_what_is_in_nobodys_hand
    which_ended_tells_final_and_gone
    list_filters_and_pages
    counts_are_right_after_everything
    audits_come_when_due_and_end
    an_alert_is_kept_once
    trim_drops_old_final_entries_oldest_first
    trim_keeps_a_call_together
    a_trimmed_success_holds_its_number_for_good
    ids_are_never_used_twice
}

async fn begin(ledger: &impl Ledger, new: NewEntry) -> Entry {
    made(ledger.begin(vec![new], false).await.unwrap()).remove(0)
}

async fn save(ledger: &impl Ledger, entry: Entry) -> Entry {
    match ledger.save(vec![entry], Vec::new()).await.unwrap() {
        SaveResult::Done(mut entries) => entries.remove(0),
        SaveResult::Stale => panic!("stale"),
    }
}

/// The entry in another state, as of this time.
async fn to(ledger: &impl Ledger, entry: &Entry, state: EntryState, updated: Timestamp) -> Entry {
    save(ledger, ended(entry, state, updated)).await
}

fn ended(entry: &Entry, state: EntryState, updated: Timestamp) -> Entry {
    let (body, snapshot) =
        if state.is_open() { (entry.body.clone(), entry.snapshot.clone()) } else { Default::default() };
    Entry { state, updated, body, snapshot, ..entry.clone() }
}

fn existing(begun: BeginOutcome) -> (BeginConflict, Vec<OperationId>) {
    match begun {
        BeginOutcome::Existing { by, entries } => (by, entries.iter().map(|entry| entry.id).collect()),
        other => panic!("{other:?}"),
    }
}
