//! Entries and settings for tests of the stores.

use std::sync::Arc;

use uuid::Uuid;

use super::Settings;
use crate::domain::account::AccountId;
use crate::domain::ledger::{Entry, Fingerprint, Kind, NewEntry, State};
use crate::domain::timestamp::Timestamp;
use crate::ports::clock::Clock;
use crate::ports::ledger::Begun;
use crate::telemetry::metrics::Metrics;

pub(super) fn settings() -> Settings {
    Settings {
        clock: Clock::system(),
        metrics: Metrics::new([]).store.clone(),
        on_fatal: Arc::new(|why| panic!("{why}")),
    }
}

pub(super) fn acme() -> AccountId {
    AccountId::new("acme").unwrap()
}

pub(super) fn other_account() -> AccountId {
    AccountId::new("other").unwrap()
}

/// Seconds after some day.
pub(super) fn time(seconds: u64) -> Timestamp {
    Timestamp(1_800_000_000_000 + seconds * 1000)
}

/// A creation that is sent next.
pub(super) fn create(order_number: &str, request_id: Option<&str>) -> NewEntry {
    NewEntry {
        account: acme(),
        kind: Kind::Create,
        order_number: order_number.into(),
        request_id: request_id.map(str::to_owned),
        batch: 0,
        batches: 1,
        fingerprint: Fingerprint([1; 33]),
        state: State::Sending,
        created: time(0),
        not_after: time(900),
        correlation_id: Uuid::from_u128(1),
        body: b"body".to_vec(),
        snapshot: Vec::new(),
    }
}

/// A cancellation of so many requests: the first is sent next, the others wait.
pub(super) fn cancel(order_number: &str, request_id: &str, batches: u32) -> Vec<NewEntry> {
    let one = |batch| NewEntry {
        kind: Kind::Cancel,
        batch,
        batches,
        fingerprint: Fingerprint([2; 33]),
        state: if batch == 0 { State::Sending } else { State::Recorded },
        correlation_id: Uuid::from_u128(100 + u128::from(batch)),
        snapshot: b"before".to_vec(),
        ..create(order_number, Some(request_id))
    };
    (0..batches).map(one).collect()
}

/// What was made.
pub(super) fn made(begun: Begun) -> Vec<Entry> {
    match begun {
        Begun::New(entries) => entries,
        other => panic!("{other:?}"),
    }
}
