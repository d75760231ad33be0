//! How subscriptions are made, changed and deleted, and what trimming does to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;

use super::trimming::events_before;
use super::*;
use crate::domain::feed::AccountScope;
use crate::domain::feed::subscription::{
    ConsumerWindow, FreshEvent, FreshEvents, LeaseGrant, SettleOutcome, SettleVerdict, Subscription, SubscriptionHead,
    VoidedRows,
};
use crate::ports::subscriptions::{CreateOutcome, NewSubscription, RemoveOutcome};
use crate::testing::store::moment;

/// Makes one that does not exist.
async fn make(store: &OneFeed<impl Store>, name: &str, holds: bool, at: u64) -> SubscriptionHead {
    match store.make(name, store.config(holds), at, time(1)).await.unwrap() {
        CreateOutcome::New(head) => head,
        other => panic!("{other:?}"),
    }
}

/// Lends all up to this position that may be lent.
async fn lend(store: &OneFeed<impl Store>, name: &str, upto: u64) -> Vec<LeaseGrant> {
    let lend = move |subscription: &mut Subscription| {
        let after = subscription.head().scanned;
        let room = ConsumerWindow { consumer: "consumer".into(), events: 100, bytes: 1 << 20, empty: true };
        let fresh = |seq: u64| FreshEvent { seq, key: seq.to_string().into(), size: 10, received: time(seq) };
        let events = (after + 1..=upto).map(fresh).collect();
        subscription.lend(moment(20), &[room], &FreshEvents { after, upto, events })
    };
    store.change(name, lend).await.unwrap().unwrap()
}

async fn settle(store: &OneFeed<impl Store>, name: &str, loan: &LeaseGrant, verdict: SettleVerdict) {
    let verdicts = [(loan.lease, verdict)];
    let settle = move |subscription: &mut Subscription| subscription.settle(moment(21), &verdicts, &mut || 0.5);
    let outcome = store.change(name, settle).await.unwrap().unwrap();
    assert!(matches!(outcome[..], [SettleOutcome::Applied(_)]), "{outcome:?}");
}

/// Borrows the first three; parks the second and acknowledges the others.
async fn park_the_second(store: &OneFeed<impl Store>, name: &str) {
    let loans = lend(store, name, 3).await;
    assert_eq!(loans.len(), 3);
    settle(store, name, &loans[0], SettleVerdict::Ack).await;
    settle(store, name, &loans[1], SettleVerdict::Park { reason: "why".into() }).await;
    settle(store, name, &loans[2], SettleVerdict::Ack).await;
}

async fn head(store: &OneFeed<impl Store>, name: &str) -> SubscriptionHead {
    store.change(name, |subscription| subscription.head().clone()).await.unwrap().unwrap()
}

async fn parked(store: &OneFeed<impl Store>, name: &str) -> Vec<u64> {
    let rows = store.change(name, |subscription| subscription.parked_after(0, 100)).await.unwrap().unwrap();
    rows.iter().map(|row| row.seq).collect()
}

pub(super) async fn a_subscription_is_made_once(store: OneFeed<impl Store>) {
    let made = make(&store, "a", true, 7).await;
    assert_eq!((&*made.name, &made.config, made.floor, made.scanned), ("a", &store.config(true), 7, 7));
    assert_eq!((made.generation, made.created), (1, time(1)));
    let again = store.make("a", store.config(false), 9, time(2)).await.unwrap();
    assert_eq!(again, CreateOutcome::Existing(made.clone()));
    assert_eq!(head(&store, "a").await, made);
    let many = join_all((0..20).map(|_| store.make("b", store.config(false), 0, time(2)))).await;
    let new: Vec<_> = many.into_iter().filter(|made| matches!(made, Ok(CreateOutcome::New(_)))).collect();
    assert_eq!(new.len(), 1);
}

pub(super) async fn no_generation_is_used_twice(store: OneFeed<impl Store>) {
    let mut used = vec![make(&store, "a", true, 0).await.generation];
    for _ in 0..3 {
        store.change("a", |subscription| subscription.seek(0, time(2))).await.unwrap();
        used.push(head(&store, "a").await.generation);
        used.push(make(&store, "b", true, 0).await.generation);
        // A change that moves nothing uses none.
        assert_eq!(store.change("b", |subscription| subscription.redrive(None)).await.unwrap(), Some(0));
        assert_eq!(store.remove("b", None).await.unwrap(), RemoveOutcome::Gone);
    }
    assert!(used.is_sorted_by(|one, next| one < next), "{used:?}");
    assert_eq!(used, Vec::from_iter(1..8));
}

pub(super) async fn names_are_paged(store: OneFeed<impl Store>) {
    assert_eq!(store.names("", 9).await.unwrap(), []);
    for name in ["c", "a", "d", "b", "B"] {
        make(&store, name, false, 0).await;
    }
    let names = async |after, limit| {
        let heads = store.names(after, limit).await.unwrap();
        Vec::from_iter(heads.into_iter().map(|head| head.name))
    };
    assert_eq!(names("", 9).await, ["B", "a", "b", "c", "d"]);
    assert_eq!(names("", 2).await, ["B", "a"]);
    assert_eq!(names("a", 2).await, ["b", "c"]);
    assert_eq!(names("bb", 9).await, ["c", "d"]);
    assert!(names("d", 9).await.is_empty());
    assert_eq!(store.names("b", 1).await.unwrap(), [head(&store, "c").await]);
}

pub(super) async fn what_is_changed_is_there_for_the_next(store: OneFeed<impl Store>) {
    make(&store, "a", true, 0).await;
    make(&store, "b", true, 0).await;
    park_the_second(&store, "a").await;
    assert_eq!((head(&store, "a").await.floor, parked(&store, "a").await), (3, vec![2]));
    // Heads are read as they were written.
    assert_eq!(store.names("", 1).await.unwrap(), [head(&store, "a").await]);
    // The other is as it was.
    assert_eq!((head(&store, "b").await.floor, parked(&store, "b").await), (0, vec![]));
    let redriven = store.change("a", |subscription| subscription.redrive(None)).await.unwrap();
    assert_eq!((redriven, parked(&store, "a").await), (Some(1), vec![]));
    store.change("a", |subscription| subscription.seek(1, time(30))).await.unwrap();
    let moved = head(&store, "a").await;
    assert_eq!((moved.generation, moved.floor, moved.updated), (3, 1, time(30)));
    assert_eq!(store.names("", 1).await.unwrap(), [moved]);
    assert_eq!(lend(&store, "a", 3).await.len(), 2);
}

pub(super) async fn a_change_is_asked_of_what_exists_only(store: OneFeed<impl Store>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = || {
        let asked = asked.clone();
        move |_: &mut Subscription| asked.fetch_add(1, Ordering::SeqCst)
    };
    assert_eq!(store.change("a", count()).await.unwrap(), None);
    assert_eq!(asked.load(Ordering::SeqCst), 0);
    make(&store, "a", true, 0).await;
    let before = head(&store, "a").await;
    assert_eq!(store.change("a", count()).await.unwrap(), Some(0));
    assert_eq!(head(&store, "a").await, before);
    assert_eq!(store.change("A", count()).await.unwrap(), None);
}

pub(super) async fn changes_come_one_after_the_other(store: OneFeed<impl Store>) {
    make(&store, "a", true, 0).await;
    let changes = (0..50).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            let seek = |subscription: &mut Subscription| {
                subscription.seek(0, time(2));
                subscription.head().generation
            };
            store.change("a", seek).await.unwrap().unwrap()
        })
    });
    let changes: Vec<_> = changes.collect();
    let mut seen = Vec::new();
    for change in changes {
        seen.push(change.await.unwrap());
    }
    seen.sort_unstable();
    assert_eq!(seen, Vec::from_iter(2..=51));
}

pub(super) async fn a_change_happens_though_nobody_waits(store: OneFeed<impl Store>) {
    make(&store, "a", true, 0).await;
    let mut change = Box::pin(store.change("a", |subscription| subscription.seek(5, time(2))));
    // Handed over with the first poll.
    let _ = futures_util::poll!(change.as_mut());
    drop(change);
    assert_eq!(head(&store, "a").await.floor, 5);
}

pub(super) async fn a_name_made_again_is_another_subscription(store: OneFeed<impl Store>) {
    assert_eq!(store.remove("a", None).await.unwrap(), RemoveOutcome::Missing);
    let first = make(&store, "a", true, 0).await;
    park_the_second(&store, "a").await;
    let [id, version] = [first.id, first.version];
    for wrong in [(id, version + 1), (id, version.wrapping_sub(1)), (id + 1, version)] {
        assert_eq!(store.remove("a", Some(wrong)).await.unwrap(), RemoveOutcome::Differs);
    }
    assert_eq!(parked(&store, "a").await, [2]);
    let version = (id, head(&store, "a").await.version);
    assert_eq!(store.remove("a", Some(version)).await.unwrap(), RemoveOutcome::Gone);
    assert_eq!(store.remove("a", Some(version)).await.unwrap(), RemoveOutcome::Missing);
    assert_eq!(store.names("", 9).await.unwrap(), []);
    assert_eq!(store.change("a", |_| ()).await.unwrap(), None);
    let second = make(&store, "a", true, 0).await;
    assert_ne!(second.id, first.id);
    assert_eq!((head(&store, "a").await, parked(&store, "a").await), (second, vec![]));
    assert_eq!(store.remove("a", None).await.unwrap(), RemoveOutcome::Gone);
}

/// All is past its time that nobody holds, and nothing else.
const FREE: u64 = 99;

fn free() -> TrimTimes {
    TrimTimes { held: time(0), ..events_before(FREE) }
}

pub(super) async fn what_is_held_stays_until_it_is_settled(store: OneFeed<impl Store>) {
    fill(&store, 9).await;
    make(&store, "holds", true, 0).await;
    make(&store, "ahead", true, 9).await;
    assert_eq!(store.trim_log(free(), 100).await.unwrap(), FeedTrimOutcome::default());
    let loans = lend(&store, "holds", 9).await;
    settle(&store, "holds", &loans[0], SettleVerdict::Ack).await;
    settle(&store, "holds", &loans[2], SettleVerdict::Ack).await;
    // The second is out.
    assert_eq!(
        store.trim_log(free(), 100).await.unwrap(),
        FeedTrimOutcome { events: 1, rows: 1, ..FeedTrimOutcome::default() }
    );
    settle(&store, "holds", &loans[1], SettleVerdict::Park { reason: String::new() }).await;
    for loan in &loans[3..6] {
        settle(&store, "holds", loan, SettleVerdict::Ack).await;
    }
    // The second is parked, and kept as what is not settled is.
    assert_eq!(head(&store, "holds").await.floor, 6);
    assert_eq!(store.trim_log(free(), 100).await.unwrap(), FeedTrimOutcome::default());
    assert_eq!(parked(&store, "holds").await, [2]);
    // Given out again, it is needed still.
    store.change("holds", |subscription| subscription.redrive(None)).await.unwrap();
    assert_eq!(store.trim_log(free(), 100).await.unwrap(), FeedTrimOutcome::default());
    let again = lend(&store, "holds", 9).await;
    assert_eq!(again.iter().map(|loan| loan.lease.seq).collect::<Vec<_>>(), [2]);
    settle(&store, "holds", &again[0], SettleVerdict::Ack).await;
    assert_eq!(store.trim_log(free(), 100).await.unwrap().events, 5);
    assert_eq!(seqs(&store, 0).await, [7, 8, 9]);
    assert_eq!(store.remove("holds", None).await.unwrap(), RemoveOutcome::Gone);
    assert_eq!(store.trim_log(free(), 100).await.unwrap().events, 2);
}

pub(super) async fn what_is_held_goes_by_its_own_time_and_is_told(store: OneFeed<impl Store>) {
    fill(&store, 9).await;
    make(&store, "behind", true, 0).await;
    make(&store, "just there", true, 5).await;
    let times = |held| TrimTimes { held: time(held), ..free() };
    let gone = store.trim_log(times(4), 100).await.unwrap();
    assert_eq!(gone, FeedTrimOutcome { events: 3, rows: 3, lost: vec!["behind".into()], ..FeedTrimOutcome::default() });
    assert_eq!(seqs(&store, 0).await.first(), Some(&4));
    let has_lost = async |name| {
        let first = store.bounds().await.unwrap().first;
        store.change(name, move |subscription| subscription.has_lost(first)).await.unwrap().unwrap()
    };
    assert_eq!((has_lost("behind").await, has_lost("just there").await), (true, false));
    assert_eq!(head(&store, "behind").await.floor, 0);
    // It is told once; others are told when it comes to them.
    assert_eq!(
        store.trim_log(times(6), 100).await.unwrap(),
        FeedTrimOutcome { events: 2, rows: 2, ..FeedTrimOutcome::default() }
    );
    assert!(!has_lost("just there").await);
    let gone = store.trim_log(times(8), 1).await.unwrap();
    assert_eq!((gone.events, gone.lost), (1, vec!["just there".to_owned()]));
    // Once it goes on elsewhere, it may lose again.
    store.change("behind", |subscription| subscription.seek(6, time(30))).await.unwrap();
    let gone = store.trim_log(times(9), 100).await.unwrap();
    assert_eq!((gone.events, gone.lost), (2, vec!["behind".to_owned()]));
}

pub(super) async fn what_does_not_hold_loses_and_is_told(store: OneFeed<impl Store>) {
    fill(&store, 9).await;
    make(&store, "b does not hold", false, 0).await;
    make(&store, "a neither", false, 3).await;
    make(&store, "reads to the end", true, 9).await;
    let gone = store.trim_log(events_before(4), 100).await.unwrap();
    assert_eq!(gone.lost, ["b does not hold"]);
    let gone = store.trim_log(free(), 100).await.unwrap();
    assert_eq!((gone.events, gone.lost), (5, vec!["a neither".to_owned()]));
}

pub(super) async fn parked_rows_go_with_their_events(store: OneFeed<impl Store>) {
    fill(&store, 9).await;
    for (name, holds) in [("holds", true), ("does not", false)] {
        make(&store, name, holds, 0).await;
        park_the_second(&store, name).await;
    }
    // The one that does not hold keeps nothing, and the other keeps it for both.
    let gone = store.trim_log(free(), 100).await.unwrap();
    assert_eq!((gone.events, gone.parked), (1, 0));
    assert_eq!((parked(&store, "holds").await, parked(&store, "does not").await), (vec![2], vec![2]));
    let gone = store.trim_log(events_before(4), 100).await.unwrap();
    assert_eq!(gone, FeedTrimOutcome { events: 2, rows: 2, parked: 2, ..FeedTrimOutcome::default() });
    for name in ["holds", "does not"] {
        assert!(parked(&store, name).await.is_empty());
        assert_eq!(head(&store, name).await.floor, 3);
        let redriven = store.change(name, |subscription| subscription.redrive(None)).await.unwrap();
        assert_eq!(redriven, Some(0));
    }
}

pub(super) async fn a_subscription_holds_its_own_log_only(store: OneFeed<impl Store>) {
    fill(&store, 5).await;
    let config = SubscriptionConfig { feed: store.other_feed(), ..store.config(true) };
    store.make("of the other", config.clone(), 0, time(1)).await.unwrap();
    assert_eq!(head(&store, "of the other").await.config, config);
    for number in 1..=3 {
        append(&store, store.other(&format!("o{number}"), time(number))).await;
    }
    let theirs = FeedLog::new(store.store.clone(), store.other_feed());
    let gone = store.trim_log(free(), 100).await.unwrap();
    assert_eq!((gone.events, gone.lost), (4, vec![]));
    assert_eq!(theirs.bounds().await.unwrap().first, 1);
    // By its own time it loses what is in its log.
    let gone = store.trim_log(events_before(FREE), 100).await.unwrap();
    assert_eq!((gone.events, gone.lost), (0, vec!["of the other".to_owned()]));
    assert_eq!(theirs.bounds().await.unwrap().first, 3);
}

pub(super) async fn an_outline_counts_what_the_rows_say(store: OneFeed<impl Store>) {
    assert_eq!(store.outline("a").await.unwrap(), None);
    make(&store, "a", true, 0).await;
    make(&store, "b", true, 0).await;
    let same = async || {
        let outline = store.outline("a").await.unwrap().unwrap();
        let counted = store.change("a", |subscription| subscription.outline()).await.unwrap().unwrap();
        assert_eq!(outline, counted);
        (outline.unsettled, outline.outstanding, outline.parked, outline.oldest)
    };
    assert_eq!(same().await, (0, 0, 0, None));
    park_the_second(&store, "a").await;
    assert_eq!(same().await, (0, 0, 1, None));
    let loans = lend(&store, "a", 6).await;
    assert_eq!(same().await, (3, 3, 1, Some(time(4))));
    settle(&store, "a", &loans[0], SettleVerdict::Ack).await;
    settle(&store, "a", &loans[1], SettleVerdict::Retry { delay: None, reason: String::new() }).await;
    assert_eq!(same().await, (2, 1, 1, Some(time(5))));
    assert_eq!(store.outline("b").await.unwrap().unwrap().unsettled, 0);
}

pub(super) async fn accounts_are_kept_as_they_were_set(store: OneFeed<impl Store>) {
    assert_eq!(make(&store, "a", true, 0).await.scope, Some(AccountScope::All));
    park_the_second(&store, "a").await;
    lend(&store, "a", 5).await;
    for scope in
        [AccountScope::only([&acme(), &other_account()]), AccountScope::only([&acme()]), AccountScope::only([])]
    {
        let set = scope.clone();
        store.change("a", move |subscription| subscription.set_scope(set.clone(), [])).await.unwrap();
        assert_eq!(store.names("", 1).await.unwrap()[0].scope, Some(scope));
    }
    let voided = store.change("a", |subscription| subscription.set_scope(AccountScope::All, [1, 2, 4])).await.unwrap();
    assert_eq!(voided, Some(VoidedRows { leased: 1, parked: 1, pending: 0 }), "the first is settled");
    let outline = store.outline("a").await.unwrap().unwrap();
    assert_eq!((outline.parked, outline.outstanding, outline.head.floor), (0, 1, 4));
}

pub(super) async fn a_client_has_as_many_as_it_may_also_when_all_come_at_once(store: OneFeed<impl Store>) {
    let make = |client: &str, number: u64, most_of_client: u64| {
        let config = SubscriptionConfig { client: client.to_owned(), ..store.config(false) };
        let new = new_subscription(&format!("{client}-{number}"), config, 0, time(2));
        store.store.make(NewSubscription { most_of_client, ..new })
    };
    let count = |made: Vec<Result<CreateOutcome, StoreError>>| {
        made.iter().filter(|made| matches!(made, Ok(CreateOutcome::New(_)))).count()
    };
    assert_eq!(count(join_all((0..20).map(|number| make("oms", number, 3))).await), 3);
    assert_eq!(make("oms", 99, 3).await.unwrap(), CreateOutcome::TooMany);
    assert!(matches!(make("oms", 0, 3).await.unwrap(), CreateOutcome::Existing(_)), "it is there already");
    assert_eq!(count(join_all((0..20).map(|number| make("other", number, 5))).await), 5);
    assert_eq!(store.remove("oms-1", None).await.unwrap(), RemoveOutcome::Gone);
    assert_eq!(count(join_all((50..60).map(|number| make("oms", number, 3))).await), 1);
    assert_eq!(count(join_all((0..20).map(|number| make("", number, 3))).await), 20, "nobody's");
}
