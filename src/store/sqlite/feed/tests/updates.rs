//! The log of order updates in a file: what an earlier version left, renamed accounts, and another process.

use super::super::super::{migrations, open};
use super::*;
use crate::domain::account::SellerId;
use crate::domain::feed::{order_update_of_kept, with_account};
use crate::ports::event_log::FeedLog;
use crate::store::StoreSettings;
use crate::store::sqlite::tests::Place;
use crate::testing::store::{acme, intent, settings, time, update};

fn updates(store: &SqliteLedger) -> FeedLog<SqliteLedger> {
    FeedLog::new(store.clone(), FeedName::OrderUpdates)
}

async fn append(store: &SqliteLedger, arrival: WebhookDelivery) -> u64 {
    match store.append(arrival).await.unwrap() {
        AppendOutcome::Stored { seq: Some(seq) } => seq,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_an_earlier_version_kept_apart_moves_into_the_log() {
    let place = Place::new();
    let mut old = place.other();
    migrations::run_to(&mut old, open::APPLICATION, 0, 7).unwrap();
    old.execute_batch("INSERT INTO accounts (id, name) VALUES (1, 'acme'), (2, 'other')").unwrap();
    // As the version before stored them: with other deliveries in between.
    let arrivals = ["a", "b", "c"].map(|id| update(id, time(5)));
    for (id, account, arrival) in [(2, 1, &arrivals[0]), (5, 2, &arrivals[1]), (6, 1, &arrivals[2])] {
        let (key, hash) = (crate::store::keys::delivery(arrival), &arrival.body_hash[..16]);
        let received = i64::try_from(arrival.received.0).unwrap();
        old.execute(
            "INSERT INTO deliveries (id, account, received, key, body) VALUES (?1, ?2, ?3, ?4, ?5)",
            rusqlite::params![id, account, received, key, hash],
        )
        .unwrap();
        old.execute(
            "INSERT INTO others (id, received, account, event_type, body) VALUES (?1, ?2, ?3, 'PO_CREATED', ?4)",
            rusqlite::params![id, received, account, &arrival.raw[..]],
        )
        .unwrap();
    }
    drop(old);

    let store = place.open();
    let log = updates(&store);
    assert_eq!(*log.head().borrow(), 3);
    let moved = log.read(0, 9, usize::MAX, true).await.unwrap();
    let accounts = ["acme", "other", "acme"];
    for ((seq, stored), (arrival, account)) in (1..).zip(&moved).zip(arrivals.iter().zip(accounts)) {
        let message = order_update_of_kept(account.into(), arrival.received, "PO_CREATED".into(), &arrival.raw);
        assert_eq!((stored.seq, stored.received, &stored.raw), (seq, arrival.received, &arrival.raw));
        assert_eq!(stored.message, message);
    }
    assert_eq!((moved.len(), log.before(time(5)).await.unwrap(), log.before(time(6)).await.unwrap()), (3, 0, 3));
    // They are found and known again, and the log goes on.
    assert_eq!(log.find(&acme(), "c", false).await.unwrap().map(|event| event.seq), Some(3));
    assert_eq!(store.append(arrivals[0].clone()).await.unwrap(), AppendOutcome::Duplicate);
    assert_eq!(append(&store, update("d", time(7))).await, 4);
    store.close().await;
}

#[tokio::test]
async fn both_logs_go_on_in_another_process() {
    let place = Place::new();
    let store = place.open();
    append(&store, intent("i", time(1))).await;
    append(&store, update("u", time(1))).await;
    append(&store, update("v", time(1))).await;
    let bounds = updates(&store).bounds().await.unwrap();
    let killed = place.killed();
    store.close().await;
    for place in [place, killed] {
        let store = place.open();
        assert_eq!(updates(&store).bounds().await.unwrap(), bounds);
        assert_eq!((*updates(&store).head().borrow(), *store.head(FeedName::CancelIntents).borrow()), (2, 1));
        assert_eq!(append(&store, update("w", time(2))).await, 3);
        assert_eq!(append(&store, intent("j", time(2))).await, 2);
        store.close().await;
    }
}

#[tokio::test]
async fn updates_of_a_renamed_account_have_its_name_of_now() {
    let place = Place::new();
    let open = |account: &str| {
        let accounts = vec![(AccountId::new(account).unwrap(), SellerId::new("1"))];
        SqliteLedger::open(&place.path(), StoreSettings { accounts, ..settings() }).unwrap()
    };
    let store = open("acme");
    append(&store, update("one", time(1))).await;
    store.close().await;
    let store = open("beta");
    let beta = AccountId::new("beta").unwrap();
    append(&store, WebhookDelivery { account: beta.clone(), ..update("two", time(2)) }).await;
    let stored = updates(&store).read(0, 9, usize::MAX, false).await.unwrap();
    assert_eq!([&stored[0].message, &stored[1].message], [&with_account(b"message one", &beta), &"message two".into()]);
    assert_eq!(updates(&store).find(&beta, "one", false).await.unwrap().map(|event| event.seq), Some(1));
    store.close().await;
}

#[tokio::test]
async fn a_time_is_found_in_what_an_earlier_version_stored() {
    let place = Place::new();
    let mut old = place.other();
    migrations::run_to(&mut old, open::APPLICATION, 0, 14).unwrap();
    old.execute_batch("INSERT INTO accounts (id, name) VALUES (1, 'acme')").unwrap();
    // One of the first span was received after those behind it.
    let received = |seq: i64| time(if seq == 100 { 50 } else { 10 }).0;
    for seq in 1..1030_i64 {
        let values = rusqlite::params![seq, received(seq) as i64];
        old.execute("INSERT INTO updates (seq, received, account, message) VALUES (?1, ?2, 1, x'')", values).unwrap();
        old.execute("INSERT INTO update_bodies (seq, body) VALUES (?1, x'')", [seq]).unwrap();
    }
    drop(old);
    let store = place.open();
    let log = updates(&store);
    let found = async |second| log.before(time(second)).await.unwrap();
    assert_eq!((found(10).await, found(11).await, found(50).await, found(51).await), (0, 99, 99, 1029));
    // The second span, which was not finished then, is finished now.
    for seq in 1030..2050 {
        assert_eq!(append(&store, update(&seq.to_string(), time(if seq == 2000 { 60 } else { 20 }))).await, seq);
    }
    assert_eq!((found(20).await, found(51).await, found(61).await), (99, 1999, 2049));
    store.close().await;
}
