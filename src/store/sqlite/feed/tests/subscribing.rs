//! What only subscriptions in a file do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::super::super::feed_cache::FeedCache;
use super::super::super::open;
use super::super::subscriptions::change;
use super::*;
use crate::domain::feed::subscription::{
    ConsumerWindow, EventRow, FreshEvent, FreshEvents, HeldLeases, LeaseGrant, RowState, SettleOutcome, SettleVerdict,
};
use crate::domain::feed::{AccountScope, Lease};
use crate::domain::moment::{BootId, Moment, SteadyTime};
use crate::ports::clock::Clock;
use crate::store::StoreSettings;
use crate::store::sqlite::tests::Place;
use crate::testing::store::{moment, new_subscription, settings, subscription_config, time};

async fn make(store: &SqliteLedger, name: &str) -> SubscriptionHead {
    match store.make(new_subscription(name, subscription_config(true), 0, time(1))).await.unwrap() {
        CreateOutcome::New(head) => head,
        other => panic!("{other:?}"),
    }
}

/// Lends events up to this position; those of one key are three apart.
fn lend(one: &mut Subscription, upto: u64, now: Moment) -> Vec<LeaseGrant> {
    let after = one.head().scanned;
    let room = ConsumerWindow { consumer: "consumer".into(), events: 100, bytes: 1 << 20, empty: true };
    let fresh = |seq: u64| FreshEvent { seq, key: (seq % 3).to_string().into(), size: 10, received: time(seq) };
    let events = (after + 1..=upto).map(fresh).collect();
    one.lend(now, &[room], &FreshEvents { after, upto, events })
}

fn settle(one: &mut Subscription, loan: &LeaseGrant, verdict: SettleVerdict) {
    let outcomes = one.settle(moment(20), &[(loan.lease, verdict)], &mut || 0.5);
    assert!(matches!(outcomes[..], [SettleOutcome::Applied(_)]), "{outcomes:?}");
}

/// Rows in every state there is.
fn every_state(one: &mut Subscription) {
    let park = || SettleVerdict::Park { reason: "why".into() };
    for loan in lend(one, 3, moment(20)) {
        settle(one, &loan, park());
    }
    // Parked again, after it was given out again.
    one.redrive(Some(&[1, 2]));
    let again = lend(one, 3, moment(20));
    settle(one, &again[0], park());
    let retry = SettleVerdict::Retry { delay: Some(Duration::from_secs(9)), reason: String::new() };
    settle(one, &again[1], retry);
    one.redrive(Some(&[1]));
    let fresh = lend(one, 9, moment(20));
    let seqs: Vec<_> = fresh.iter().map(|loan| loan.lease.seq).collect();
    assert_eq!(seqs, [1, 6], "the fifth waits behind the second, the seventh behind the first");
    settle(one, &fresh[1], SettleVerdict::Ack);
    let fresh = lend(one, 9, moment(20));
    settle(one, &fresh[0], SettleVerdict::Release);
}

/// What comes of all that may be said now, and who gets what later.
fn goes_on(one: &mut Subscription) -> (Vec<SettleOutcome>, Vec<LeaseGrant>) {
    let mut said = Vec::new();
    for (seq, attempt) in (1..=9).flat_map(|seq| [(seq, 1), (seq, 2)]) {
        let lease = Lease { generation: 1, seq, attempt };
        let retry = SettleVerdict::Retry { delay: None, reason: String::new() };
        said.extend(
            [SettleVerdict::Release, retry, SettleVerdict::Park { reason: String::new() }].map(|word| (lease, word)),
        );
    }
    let outcomes = one.settle(moment(20), &said, &mut || 0.5);
    (outcomes, lend(one, 12, moment(99)))
}

/// All that can be asked of one.
type Shown = (SubscriptionHead, [u64; 3], Option<Timestamp>, Option<SteadyTime>, HeldLeases, Vec<EventRow>);

fn shown(one: &mut Subscription) -> Shown {
    (
        one.head().clone(),
        [one.outstanding(), one.parked(), one.unsettled()],
        one.oldest_unsettled(),
        one.next_time(),
        one.held("consumer"),
        one.parked_after(0, 100),
    )
}

fn rows(place: &Place) -> i64 {
    place.other().query_row("SELECT count(*) FROM subscription_rows", [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn a_subscription_is_the_same_in_another_process() {
    let place = Place::new();
    let store = place.open();
    make(&store, "a").await;
    store.change("a", every_state).await.unwrap().unwrap();
    let before = store.change("a", shown).await.unwrap().unwrap();
    let mut states: Vec<i64> = Vec::new();
    {
        let db = place.other();
        let mut found = db.prepare("SELECT DISTINCT state FROM subscription_rows").unwrap();
        states.extend(found.query_map([], |row| row.get::<_, i64>(0)).unwrap().map(Result::unwrap));
    }
    states.sort_unstable();
    assert_eq!(states, [0, 1, 2, 3, 4], "every state is written");
    // One that was killed now, and one that is closed.
    let killed = place.killed();
    let after = killed.open();
    assert_eq!(after.change("a", shown).await.unwrap().unwrap(), before);
    let there = after.change("a", goes_on).await.unwrap().unwrap();
    after.close().await;
    store.close().await;
    let store = place.open();
    assert_eq!(store.change("a", shown).await.unwrap().unwrap(), before);
    // As one goes on that never left its process.
    let never_left = Subscription::new(1, 1, "a".into(), subscription_config(true), 0, time(1));
    let mut never_left = never_left.with_scope(AccountScope::All);
    every_state(&mut never_left);
    assert_eq!(shown(&mut never_left), before);
    assert_eq!(goes_on(&mut never_left), there);
    assert!(there.0.contains(&SettleOutcome::AlreadyApplied) && there.1.len() > 2, "{there:?}");
    store.close().await;
}

/// As a process opens it on this boot, when its clocks say this.
fn on_boot(place: &Place, boot: u8, now: Moment) -> SqliteLedger {
    let (clock, _) = Clock::stepping(now.wall.into(), BootId([boot; 16]), now.steady);
    SqliteLedger::open(&place.path(), StoreSettings { clock, ..settings() }).unwrap()
}

/// Ends of loans and of pauses, by the steady clock.
fn ends(place: &Place) -> Vec<(i64, Option<u64>)> {
    let db = place.other();
    let mut found =
        db.prepare("SELECT state, steady FROM subscription_rows WHERE state IN (1, 2) ORDER BY seq").unwrap();
    let ends = found.query_map([], |row| Ok((row.get(0)?, row.get::<_, Option<i64>>(1)?)));
    ends.unwrap().map(Result::unwrap).map(|(state, steady)| (state, steady.map(|it| it.try_into().unwrap()))).collect()
}

/// A loan that begins again does so when the store comes to it: some time after it was opened, by a clock that runs.
fn assert_ends(place: &Place, expected: [(i64, Option<u64>); 2]) {
    let found = ends(place);
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for ((state, end), (expected_state, expected_end)) in found.iter().zip(&expected) {
        let late = end.unwrap().checked_sub(expected_end.unwrap());
        assert!(state == expected_state && late.is_some_and(|late| late < 5_000), "{found:?} {expected:?}");
    }
}

#[tokio::test]
async fn loans_go_on_over_a_restart_and_begin_again_after_another_boot() {
    let place = Place::new();
    let store = on_boot(&place, 1, moment(0));
    make(&store, "a").await;
    let pause = SettleVerdict::Retry { delay: Some(Duration::from_secs(60)), reason: String::new() };
    let borrow = move |one: &mut Subscription| {
        let loans = lend(one, 2, moment(20));
        settle(one, &loans[1], pause.clone());
    };
    store.change("a", borrow).await.unwrap();
    store.close().await;
    let there = [(1, Some(moment(50).steady.0)), (2, Some(moment(80).steady.0))];
    assert_ends(&place, there);

    // The same boot, an hour after by the wall clock only.
    let store = on_boot(&place, 1, Moment { wall: time(3_600), ..moment(30) });
    assert_eq!(store.change("a", |one| one.next_time()).await.unwrap(), Some(Some(moment(50).steady)));
    store.close().await;
    assert_ends(&place, there);

    // Another one, ten seconds before the pause is over.
    let store = on_boot(&place, 2, Moment { wall: time(70), steady: SteadyTime(5_000) });
    assert_eq!(store.change("a", |one| one.next_time()).await.unwrap(), Some(Some(SteadyTime(15_000))));
    assert_ends(&place, [(1, Some(35_000)), (2, Some(15_000))]);
    // Once for each boot.
    store.close().await;
    let store = on_boot(&place, 2, Moment { wall: time(80), steady: SteadyTime(15_000) });
    store.change("a", |one| one.next_time()).await.unwrap();
    assert_ends(&place, [(1, Some(35_000)), (2, Some(15_000))]);
    store.close().await;

    // A wall clock that is far behind makes no pause longer than a day.
    let store = on_boot(&place, 3, Moment { wall: Timestamp(0), steady: SteadyTime(1_000) });
    store.change("a", |one| one.next_time()).await.unwrap();
    assert_ends(&place, [(1, Some(31_000)), (2, Some(86_401_000))]);
    store.close().await;
}

#[tokio::test]
async fn loans_of_an_earlier_version_begin_again() {
    let place = Place::new();
    let store = on_boot(&place, 1, moment(0));
    make(&store, "a").await;
    store.change("a", |one| lend(one, 1, moment(20)).len()).await.unwrap();
    store.close().await;
    place.other().execute_batch("UPDATE subscription_rows SET steady = NULL; DELETE FROM lease_boot").unwrap();
    let store = on_boot(&place, 1, moment(40));
    let next = store.change("a", |one| one.next_time()).await.unwrap().flatten().unwrap();
    assert!((moment(70).steady..moment(80).steady).contains(&next), "{next:?}");
    store.close().await;
}

#[tokio::test]
async fn a_change_that_is_rolled_back_was_never_made() {
    let place = Place::new();
    let store = place.open();
    make(&store, "a").await;
    store.change("a", every_state).await.unwrap();
    let before = store.change("a", shown).await.unwrap().unwrap();
    let fails = store.write::<(), _>(|tx| {
        change(tx, "a", &mut |one| one.seek(7, time(30)))?;
        let seen = change(tx, "a", &mut |one| one.head().generation)?;
        assert_eq!(seen, Some(2));
        Err(rusqlite::Error::InvalidQuery)
    });
    fails.await.unwrap_err();
    assert_eq!(store.change("a", shown).await.unwrap().unwrap(), before);
    assert!(rows(&place) > 0);
    store.close().await;
}

#[tokio::test]
async fn a_change_is_made_again_when_another_of_its_group_failed() {
    let place = Place::new();
    let store = place.open();
    make(&store, "a").await;
    // The writer is held until both are there. They come when it is, or it could take one of them without the other.
    let (go, held) = std::sync::mpsc::channel::<()>();
    let (begun, holds) = tokio::sync::oneshot::channel::<()>();
    let mut both = Some((begun, held));
    let hold = store
        .write(move |_| Ok(both.take().is_some_and(|(begun, held)| begun.send(()).is_ok() && held.recv().is_ok())));
    let calls = Arc::new(AtomicUsize::new(0));
    let seen = calls.clone();
    let changes = async {
        holds.await.unwrap();
        // In the lane of the one that fails, and before it.
        let change = store.write(move |tx| {
            change(tx, "a", &mut |one| {
                seen.fetch_add(1, Ordering::SeqCst);
                one.seek(7, time(30));
                one.head().generation
            })
        });
        let fails = store.write::<(), _>(|_| Err(rusqlite::Error::InvalidQuery));
        let release = async { go.send(()).unwrap() };
        tokio::join!(change, fails, release)
    };
    let (_, (changed, failed, ())) = tokio::join!(hold, changes);
    failed.unwrap_err();
    assert_eq!((changed.unwrap(), calls.load(Ordering::SeqCst)), (Some(2), 2));
    assert_eq!(store.change("a", |one| one.head().generation).await.unwrap(), Some(2));
    store.close().await;
}

#[tokio::test]
async fn a_change_of_nothing_costs_no_sync() {
    let place = Place::new();
    let store = place.open();
    make(&store, "a").await;
    store.change("a", every_state).await.unwrap();
    let wal = || std::fs::metadata(place.beside("db-wal")).unwrap().len();
    let before = wal();
    store.change("a", shown).await.unwrap();
    assert!(matches!(
        store.make(new_subscription("a", subscription_config(false), 0, time(9))).await.unwrap(),
        CreateOutcome::Existing(_)
    ));
    assert_eq!(wal(), before);
    store.change("a", |one| one.seek(0, time(2))).await.unwrap();
    assert!(wal() > before);
    store.close().await;
}

#[tokio::test]
async fn no_row_stays_after_a_seek_or_a_deletion() {
    let place = Place::new();
    let store = place.open();
    for name in ["a", "b", "c"] {
        make(&store, name).await;
        store.change(name, every_state).await.unwrap();
    }
    let each = rows(&place) / 3;
    assert!(each > 0);
    assert_eq!(store.remove("a", None).await.unwrap(), RemoveOutcome::Gone);
    assert_eq!(rows(&place), 2 * each);
    store.change("b", |one| one.seek(0, time(2))).await.unwrap();
    assert_eq!(rows(&place), each);
    let kept = store.change("c", shown).await.unwrap().unwrap();
    store.close().await;
    let store = place.open();
    assert_eq!(store.change("c", shown).await.unwrap().unwrap(), kept);
    store.close().await;
}

#[tokio::test]
async fn an_id_is_never_used_again() {
    let place = Place::new();
    let mut last = 0;
    for _ in 0..3 {
        let store = place.open();
        let head = make(&store, "a").await;
        assert!(head.id > last);
        last = head.id;
        store.remove("a", None).await.unwrap();
        store.close().await;
    }
}

#[tokio::test]
async fn more_than_are_remembered_keep_their_places() {
    let place = Place::new();
    let store = place.open();
    let names: Vec<String> = (0..70).map(|number| number.to_string()).collect();
    for name in &names {
        make(&store, name).await;
    }
    for round in 1..=3 {
        for name in &names {
            store.change(name, move |one| one.seek(round, time(round))).await.unwrap();
        }
    }
    // Each was made, and moved three times, one after the other.
    for (name, generation) in names.iter().zip(3 * 70 + 1..) {
        let head = store.change(name, |one| one.head().clone()).await.unwrap().unwrap();
        assert_eq!((head.floor, head.generation), (3, generation));
    }
    store.close().await;
}

#[test]
fn what_is_remembered_is_bounded_by_number_and_by_rows() {
    let mut memory = FeedCache::read(&open::writer(&Place::new().path()).unwrap()).unwrap();
    let one = |number: u64, rows: u64| {
        let head =
            Subscription::new(number, 1, number.to_string(), subscription_config(true), rows, time(1)).head().clone();
        let row = |seq| EventRow {
            seq,
            key: "".into(),
            size: 1,
            received: time(1),
            attempt: 1,
            failures: 0,
            redriven: false,
            said: None,
            state: RowState::Acked,
        };
        Subscription::load(head, (1..=rows).map(row).collect())
    };
    let mut remembered = |all: std::ops::Range<u64>, rows| {
        all.clone().for_each(|number| memory.keep(one(number, rows)));
        all.filter(|number| memory.take(&number.to_string()).is_some()).collect::<Vec<_>>()
    };
    assert_eq!(remembered(0..5000, 0), Vec::from_iter(904..5000));
    // Each has as many acknowledged rows as are remembered.
    assert_eq!(remembered(0..50, 10_000), Vec::from_iter(10..50));
    assert_eq!(remembered(0..64, 0), Vec::from_iter(0..64));
}
