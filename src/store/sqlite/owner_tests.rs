//! One owner at a time.

use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::super::SqliteLedger;
use super::super::tests::{Place, begin, trouble, works};
use super::*;
use crate::domain::ledger::{Entry, EntryState};
use crate::ports::ledger::Ledger;
use crate::ports::store_error::StoreErrorKind;
use crate::store::StoreSettings;
use crate::testing::store::{create, settings};

/// Its first process, and what it was told that it ends for.
fn watched(place: &Place) -> (SqliteLedger, Arc<Mutex<Vec<String>>>) {
    let told = Arc::<Mutex<Vec<String>>>::default();
    let heard = told.clone();
    let on_fatal = Arc::new(move |why: &str| heard.lock().unwrap().push(why.to_owned()));
    (SqliteLedger::open(&place.path(), StoreSettings { on_fatal, ..settings() }).unwrap(), told)
}

#[tokio::test]
async fn a_process_whose_epoch_was_passed_writes_nothing_more() {
    let place = Place::new();
    let (ledger, told) = watched(&place);
    let entry = begin(&ledger, "A").await;
    let epoch = |connection: &Connection| -> i64 {
        connection.query_row("SELECT value FROM numbers WHERE name = 'epoch'", [], |row| row.get(0)).unwrap()
    };
    let other = place.other();
    assert_eq!(epoch(&other), 1);
    other.execute("UPDATE numbers SET value = value + 1 WHERE name = 'epoch'", []).unwrap();
    ledger.begin(vec![create("B", None)], false).await.unwrap_err();
    let end = Entry { state: EntryState::Succeeded, body: Bytes::new(), ..entry };
    ledger.save(vec![end], Vec::new()).await.unwrap_err();
    let told = told.lock().unwrap().clone();
    assert!(told[0].contains("was taken by another order-gateway") && told[0].lines().count() == 1, "{told:?}");
    let entries: i64 = other.query_row("SELECT count(*) FROM entries WHERE state = 1", [], |row| row.get(0)).unwrap();
    assert_eq!(entries, 1);
    ledger.close().await;
    let next = place.open();
    assert_eq!(epoch(&other), 3);
    next.close().await;
}

#[tokio::test]
async fn the_epoch_stays_while_one_process_opens_the_file_anew() {
    let place = Place::new();
    place.open().close().await;
    let other = place.other();
    other.execute_batch("PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE").unwrap();
    // It cannot be raised at the start; then it is with the first transaction.
    let (ledger, told) = watched(&place);
    assert_eq!(trouble(&ledger, "A").await, StoreErrorKind::Busy);
    drop(other);
    works(&ledger).await;
    begin(&ledger, "A").await;
    ledger.close().await;
    let epoch: i64 =
        place.other().query_row("SELECT value FROM numbers WHERE name = 'epoch'", [], |row| row.get(0)).unwrap();
    assert_eq!((epoch, told.lock().unwrap().len()), (2, 0));
}
