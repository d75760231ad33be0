use std::sync::Arc;
use std::time::Duration;

use prost_types::FieldMask;

use super::*;
use crate::ports::call::{CallRecord, Caller, VisibleAccounts};
use crate::testing::feed::*;

fn error<T>(result: Result<T, ServiceError>) -> FeedError {
    match result.err() {
        Some(ServiceError::Feed(error)) => error,
        other => panic!("{other:?}"),
    }
}

fn is_not_allowed<T>(result: Result<T, ServiceError>) -> bool {
    matches!(result.err(), Some(ServiceError::Account(AccountError::NotAllowed)))
}

fn of_accounts(name: &str, accounts: &[&str]) -> pb::Subscription {
    let accounts = accounts.iter().map(|name| (*name).to_owned()).collect();
    pb::Subscription { filter: Some(pb::Filter { accounts, ..Default::default() }), ..plain(name) }
}

fn changing(subscription: pb::Subscription, mask: &[&str]) -> pb::UpdateSubscriptionRequest {
    let update_mask = Some(FieldMask { paths: mask.iter().map(|path| (*path).to_owned()).collect() });
    pb::UpdateSubscriptionRequest { subscription: Some(subscription), update_mask }
}

fn deleting(name: &str, etag: &str) -> pb::DeleteSubscriptionRequest {
    pb::DeleteSubscriptionRequest { name: name.into(), etag: etag.into() }
}

fn seconds(seconds: u64) -> Option<prost_types::Duration> {
    span(Duration::from_secs(seconds))
}

#[tokio::test(start_paused = true)]
async fn a_new_one_has_the_documented_defaults() {
    let feed = feed();
    feed.post_many(7).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let made = feed.create(plain("oms")).await;
    let time = timestamp(crate::domain::timestamp::Timestamp(START + 5_000));
    let expected = pb::Subscription {
        feed: pb::Feed::CancelIntents.into(),
        filter: Some(pb::Filter::default()),
        mode: pb::SubscriptionMode::KeyOrdered.into(),
        lease_duration: seconds(30),
        max_attempts: Some(20),
        backoff: Some(pb::Backoff { min: seconds(1), max: seconds(300) }),
        hold_retention: Some(true),
        paused: Some(false),
        etag: made.etag.clone(),
        generation: 1,
        floor: "c0ffee00.0".into(),
        backlog: 7,
        state: pb::SubscriptionState::Active.into(),
        accounts: vec!["*".into()],
        create_time: time,
        update_time: time,
        ..plain("oms")
    };
    assert_eq!(made, expected);
    assert!(!made.etag.is_empty());
    assert_eq!(feed.shown("oms").await, expected);
    assert_eq!(feed.create(pb::Subscription { start: latest(), ..plain("late") }).await.floor, "c0ffee00.7");
}

#[tokio::test(start_paused = true)]
async fn making_the_same_again_is_no_error_and_another_is() {
    let feed = feed();
    feed.post_many(20).await;
    let filter = |orders: &[&str]| pb::Filter {
        purchase_order_ids: orders.iter().map(|order| (*order).to_owned()).collect(),
        ..Default::default()
    };
    let asked = pb::Subscription { filter: Some(filter(&["A", "B"])), start: after(4), ..plain("oms") };
    let made = feed.create(asked.clone()).await;
    assert_eq!(feed.create(asked.clone()).await, made);
    let same = pb::Subscription { filter: Some(filter(&["B", "A"])), max_attempts: Some(20), ..asked.clone() };
    assert_eq!(feed.create(same).await, made, "said otherwise");
    // Where it began is no part of what it is, and may be gone from the log by now.
    feed.trim_to(10).await;
    let shown = feed.shown("oms").await;
    assert_eq!(feed.create(asked.clone()).await, shown);
    let mut reader = asking("oms", "one");
    reader.create_if_missing = Some(pb::Subscription { name: String::new(), ..asked.clone() });
    let lost = error(feed.feed.subscribe(&reader, &anyone()).await);
    assert_eq!(lost, FeedError::EventsExpired { first: 10, lost_from: 5 }, "of the subscription, not of the request");
    for other in [
        pb::Subscription { filter: Some(filter(&["A"])), ..asked.clone() },
        pb::Subscription { mode: pb::SubscriptionMode::Unordered.into(), ..asked.clone() },
        pb::Subscription { lease_duration: seconds(31), ..asked.clone() },
        pb::Subscription { paused: Some(true), ..asked.clone() },
    ] {
        let differs = error(feed.feed.create(Some(&other), &anyone()).await);
        assert_eq!(differs, FeedError::SubscriptionDiffers { etag: made.etag.clone() });
    }
}

#[tokio::test(start_paused = true)]
async fn a_bad_one_is_refused_with_all_its_faults() {
    let feed = feed();
    let refused = async |asked: Option<pb::Subscription>| faults(feed.feed.create(asked.as_ref(), &anyone()).await);
    assert_eq!(refused(None).await, ("Invalid".into(), vec!["subscription".into()]));
    assert_eq!(refused(Some(plain("a b"))).await, ("Invalid".into(), vec!["subscription.name".into()]));
    let bad = pb::Subscription { lease_duration: seconds(4), max_attempts: Some(1001), ..plain("oms") };
    let fields = vec!["subscription.lease_duration".into(), "subscription.max_attempts".into()];
    assert_eq!(refused(Some(bad)).await, ("Bounds".into(), fields));
    let filter = pb::Filter { shard: Some(pb::Shard { index: 1, count: 0 }), ..Default::default() };
    let bad = pb::Subscription { filter: Some(filter), ..plain("oms") };
    assert_eq!(refused(Some(bad)).await, ("Filter".into(), vec!["subscription.filter.shard.count".into()]));
    let bad = pb::Subscription { start: Some(pb::Position::default()), ..plain("oms") };
    assert_eq!(refused(Some(bad)).await, ("Invalid".into(), vec!["subscription.start".into()]));
    let unknown = feed.feed.create(Some(&of_accounts("oms", &["nobody"])), &anyone()).await;
    assert!(matches!(unknown, Err(ServiceError::Account(AccountError::NotFound))));
    assert_eq!(error(feed.feed.show("oms", &anyone()).await), FeedError::SubscriptionNotFound { name: "oms".into() });
}

#[tokio::test(start_paused = true)]
async fn one_that_is_missing_is_made_by_the_way() {
    let feed = feed();
    feed.post_many(3).await;
    let mut request = asking("oms", "one");
    assert_eq!(
        error(feed.feed.subscribe(&request, &anyone()).await),
        FeedError::SubscriptionNotFound { name: "oms".into() }
    );
    request.create_if_missing = Some(pb::Subscription { start: after(2), lease_duration: seconds(9), ..plain("oms") });
    let (mut stream, opened) = feed.subscribing(request.clone()).await;
    assert_eq!((opened.position.as_str(), opened.lease_duration), ("c0ffee00.2", seconds(9)));
    assert_eq!(seqs(&[delivery(&mut stream).await]), [3]);
    // What is there stays; only what is said must agree.
    request.create_if_missing = Some(pb::Subscription::default());
    feed.subscribing(request.clone()).await;
    request.create_if_missing = Some(pb::Subscription { lease_duration: seconds(9), ..Default::default() });
    feed.subscribing(request.clone()).await;
    for other in [
        pb::Subscription { lease_duration: seconds(10), ..Default::default() },
        pb::Subscription { max_attempts: Some(0), ..Default::default() },
        pb::Subscription { mode: pb::SubscriptionMode::Exclusive.into(), ..Default::default() },
    ] {
        request.create_if_missing = Some(other);
        let etag = feed.shown("oms").await.etag;
        assert_eq!(error(feed.feed.subscribe(&request, &anyone()).await), FeedError::SubscriptionDiffers { etag });
    }
    request.create_if_missing = Some(plain("other"));
    let refused = faults(feed.feed.subscribe(&request, &anyone()).await);
    assert_eq!(refused, ("Invalid".into(), vec!["create_if_missing.name".into()]));
}

#[tokio::test(start_paused = true)]
async fn an_update_changes_what_its_mask_says() {
    let feed = feed();
    let made = feed.create(pb::Subscription { max_attempts: Some(3), ..plain("oms") }).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let asked = pb::Subscription { lease_duration: seconds(60), paused: Some(true), ..plain("oms") };
    let update =
        async |request| feed.feed.update(&request, &anyone()).await.map(|changed| changed.subscription.unwrap());
    let changed = update(changing(asked.clone(), &["lease_duration", "max_attempts"])).await.unwrap();
    assert_eq!((changed.lease_duration, changed.max_attempts), (seconds(60), Some(20)), "unset means the default");
    assert_eq!((changed.paused, changed.generation), (Some(false), 1));
    assert_eq!(changed.create_time, made.create_time);
    assert_ne!((&changed.etag, &changed.update_time), (&made.etag, &made.update_time));
    let all = update(changing(asked.clone(), &[])).await.unwrap();
    assert_eq!((all.paused, all.lease_duration), (Some(true), seconds(60)));
    let fields = |name: &str| vec![name.to_owned()];
    assert_eq!(faults(update(changing(asked.clone(), &["mode"])).await).1, fields("update_mask.paths[0]"));
    let other_mode = pb::Subscription { mode: pb::SubscriptionMode::Unordered.into(), ..plain("oms") };
    assert_eq!(faults(update(changing(other_mode, &[])).await).1, fields("subscription.mode"));
    let moved = pb::Subscription { start: earliest(), ..plain("oms") };
    assert_eq!(faults(update(changing(moved, &[])).await).1, fields("subscription.start"));
    assert_eq!(faults(update(pb::UpdateSubscriptionRequest::default()).await).1, fields("subscription"));
    assert_eq!(faults(update(changing(plain(""), &[])).await).1, fields("subscription.name"));
    let missing = error(update(changing(plain("none"), &[])).await);
    assert_eq!(missing, FeedError::SubscriptionNotFound { name: "none".into() });
    // An old etag is refused, and nothing changes.
    let stale = pb::Subscription { etag: made.etag, paused: Some(false), ..plain("oms") };
    let differs = error(update(changing(stale, &[])).await);
    assert_eq!(differs, FeedError::SubscriptionDiffers { etag: all.etag.clone() });
    assert_eq!(feed.shown("oms").await, all);
    let fresh = pb::Subscription { etag: all.etag, paused: Some(false), ..plain("oms") };
    assert_eq!(update(changing(fresh, &[])).await.unwrap().paused, Some(false));
}

#[tokio::test(start_paused = true)]
async fn an_update_that_changes_nothing_disturbs_nobody() {
    let feed = feed();
    let made = feed.create(plain("oms")).await;
    let mut stream = feed.consumer("oms", "one").await;
    let same = changing(pb::Subscription { max_attempts: Some(20), ..plain("oms") }, &["max_attempts"]);
    assert_eq!(feed.feed.update(&same, &anyone()).await.unwrap().subscription.unwrap(), made);
    feed.post_many(1).await;
    delivery(&mut stream).await;
}

#[tokio::test(start_paused = true)]
async fn a_new_filter_holds_for_what_was_not_looked_at() {
    let feed = feed();
    let of_order = |order: &str| {
        let filter = pb::Filter { purchase_order_ids: vec![order.to_owned()], ..Default::default() };
        pb::Subscription { filter: Some(filter), ..plain("oms") }
    };
    feed.post("acme", "A").await;
    feed.create(of_order("A")).await;
    let mut stream = feed.consumer("oms", "one").await;
    delivery(&mut stream).await;
    feed.feed.update(&changing(of_order("C"), &["filter"]), &anyone()).await.unwrap();
    end(&mut stream).await;
    feed.post("acme", "B").await;
    feed.post("other", "C").await;
    let (mut stream, opened) = feed.subscribing(asking("oms", "one")).await;
    assert_eq!(opened.held_leases, ["g1.s1.a1"], "leases stay");
    assert_eq!(seqs(&[delivery(&mut stream).await]), [3]);
}

#[tokio::test(start_paused = true)]
async fn deleting_may_be_bound_to_an_etag() {
    let feed = feed();
    let made = feed.create(plain("oms")).await;
    let delete = async |etag: &str| feed.feed.delete(&deleting("oms", etag), &anyone()).await;
    let changed = changing(pb::Subscription { paused: Some(true), ..plain("oms") }, &[]);
    let changed = feed.feed.update(&changed, &anyone()).await.unwrap().subscription.unwrap();
    for etag in [made.etag.as_str(), "nonsense"] {
        assert_eq!(error(delete(etag).await), FeedError::SubscriptionDiffers { etag: changed.etag.clone() });
    }
    delete(&changed.etag).await.unwrap();
    assert_eq!(error(delete("").await), FeedError::SubscriptionNotFound { name: "oms".into() });
    let again = feed.create(plain("oms")).await;
    assert!(![made.etag, changed.etag].contains(&again.etag), "another one");
    delete("").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn pages_list_all_that_may_be_used_and_end() {
    let feed = feed();
    for name in ["a", "b", "c", "d", "e", "f", "g"] {
        let account = if ["c", "g"].contains(&name) { "acme" } else { "other" };
        feed.create(of_accounts(name, &[account])).await;
    }
    feed.create(plain("all")).await;
    let list = async |size: i32, call: &CallContext| {
        let (mut names, mut token) = (Vec::new(), String::new());
        loop {
            let request = pb::ListSubscriptionsRequest { page_size: size, page_token: token };
            let page = feed.feed.list_subscriptions(&request, call).await.unwrap();
            let on_page: Vec<_> = page.subscriptions.into_iter().map(|one| one.name).collect();
            assert!(size == 0 || on_page.len() <= size as usize);
            names.extend(on_page);
            token = page.next_page_token;
            if token.is_empty() {
                return names.join(" ");
            }
            assert_eq!(Some(&token), names.last(), "tells no name that may not be seen");
        }
    };
    for size in [0, 1, 2, 3, 8, 1000] {
        assert_eq!(list(size, &anyone()).await, "a all b c d e f g", "{size}");
        assert_eq!(list(size, &limited(&[0])).await, "c g", "{size}");
        assert_eq!(list(size, &limited(&[1])).await, "a b d e f", "{size}");
        assert_eq!(list(size, &limited(&[])).await, "", "{size}");
    }
    for page_size in [-1, 1001] {
        let request = pb::ListSubscriptionsRequest { page_size, ..Default::default() };
        let refused = faults(feed.feed.list_subscriptions(&request, &anyone()).await);
        assert_eq!(refused, ("Invalid".into(), vec!["page_size".into()]));
    }
}

#[tokio::test(start_paused = true)]
async fn one_made_by_a_limited_caller_has_its_accounts_only() {
    let feed = feed();
    for account in ["acme", "other", "acme", "other"] {
        feed.post(account, "").await;
    }
    let acme = limited(&[0]);
    let made = feed.feed.create(Some(&plain("mine")), &acme).await.unwrap();
    assert_eq!((made.filter.unwrap().accounts.len(), made.accounts), (0, vec!["acme".to_owned()]));
    feed.feed.create(Some(&plain("mine")), &acme).await.unwrap();
    let mut request = asking("by-the-way", "one");
    request.create_if_missing = Some(pb::Subscription::default());
    for name in ["mine", "by-the-way"] {
        request.subscription = name.into();
        let mut stream = feed.feed.subscribe(&request, &acme).await.unwrap();
        stream.next().await.unwrap().unwrap();
        assert_eq!(seqs(&deliveries(&mut stream, 2).await), [1, 3]);
        idle(&mut stream).await;
    }
    // A filter without accounts is narrowed too.
    let all = changing(pb::Subscription { filter: Some(pb::Filter::default()), ..plain("mine") }, &["filter"]);
    assert_eq!(feed.feed.update(&all, &acme).await.unwrap().subscription.unwrap().accounts, ["acme"]);
    let theirs = changing(of_accounts("mine", &["other"]), &["filter"]);
    assert!(is_not_allowed(feed.feed.update(&theirs, &acme).await));
    assert!(is_not_allowed(feed.feed.create(Some(&of_accounts("new", &["acme", "other"])), &acme).await));
    assert!(is_not_allowed(feed.feed.create(Some(&plain("new")), &limited(&[])).await));
    // One of all accounts does not agree with one's own of the same name.
    let all = feed.feed.create(Some(&plain("mine")), &anyone()).await;
    assert!(matches!(error(all), FeedError::SubscriptionDiffers { .. }));
}

#[tokio::test(start_paused = true)]
async fn nobody_uses_a_subscription_of_others() {
    let feed = feed();
    feed.post("other", "A").await;
    feed.create(of_accounts("theirs", &["other"])).await;
    feed.create(of_accounts("shared", &["acme", "other"])).await;
    feed.create(plain("all")).await;
    let acme = limited(&[0]);
    for (name, generation) in ["theirs", "shared", "all"].into_iter().zip(1..) {
        let seek = pb::SeekSubscriptionRequest { name: name.into(), position: latest() };
        let parked = pb::ListParkedCancelIntentsRequest { subscription: name.into(), ..Default::default() };
        let redrive = pb::RedriveCancelIntentsRequest { subscription: name.into(), all: true, ..Default::default() };
        let mut subscribe = asking(name, "one");
        assert!(is_not_allowed(feed.feed.subscribe(&subscribe, &acme).await));
        subscribe.create_if_missing = Some(pb::Subscription::default());
        assert!(is_not_allowed(feed.feed.subscribe(&subscribe, &acme).await));
        assert!(is_not_allowed(feed.feed.show(name, &acme).await));
        assert!(is_not_allowed(feed.feed.create(Some(&plain(name)), &acme).await));
        let pause = changing(pb::Subscription { paused: Some(true), ..plain(name) }, &[]);
        assert!(is_not_allowed(feed.feed.update(&pause, &acme).await));
        assert!(is_not_allowed(feed.feed.delete(&deleting(name, ""), &acme).await));
        assert!(is_not_allowed(feed.feed.seek(&seek, &acme).await));
        assert!(is_not_allowed(feed.feed.parked(&parked, &acme).await));
        assert!(is_not_allowed(feed.feed.redrive(&redrive, &acme).await));
        let shown = feed.shown(name).await;
        assert_eq!((shown.paused, shown.generation, shown.outstanding), (Some(false), generation, 0));
    }
    let overview = feed.feed.overview(100, &acme).await.unwrap();
    assert!(overview.subscriptions.is_empty());
    feed.feed.show("shared", &limited(&[0, 1])).await.unwrap();
}

/// A client of this name, which sees all.
fn client(name: &str) -> CallContext {
    let caller = Caller { name: name.into(), accounts: VisibleAccounts::All, services: None };
    CallContext { facts: CallRecord::of(Arc::new(caller)), ..anyone() }
}

#[tokio::test(start_paused = true)]
async fn a_client_has_so_many_subscriptions_and_no_more() {
    let feed = feed();
    let make = async |client: &CallContext, number: u32| {
        feed.feed.create(Some(&plain(&format!("{}-{number}", client.caller().name))), client).await
    };
    let (one, other) = (client("one"), client("other"));
    for number in 0..20 {
        assert_eq!(make(&one, number).await.unwrap().client, "one");
    }
    let too_many = |made: Result<pb::Subscription, ServiceError>| {
        matches!(made, Err(ServiceError::Feed(FeedError::TooManySubscriptions)))
    };
    assert!(too_many(make(&one, 20).await));
    assert!(make(&one, 0).await.is_ok(), "it is there already");
    assert!(make(&other, 0).await.is_ok());
    let consumer = pb::SubscribeCancelIntentsRequest { create_if_missing: Some(plain("")), ..asking("new", "c") };
    let refused = feed.feed.subscribe(&consumer, &one).await.err();
    assert!(matches!(refused, Some(ServiceError::Feed(FeedError::TooManySubscriptions))));
    let request = pb::DeleteSubscriptionRequest { name: "one-7".into(), ..Default::default() };
    feed.feed.delete(&request, &other).await.unwrap();
    assert!(make(&one, 20).await.is_ok() && too_many(make(&one, 21).await));
    // Whoever changes it, it stays its maker's; and nobody says whose it is.
    let changed = pb::Subscription { client: "nobody".into(), paused: Some(true), ..plain("one-1") };
    let request = pb::UpdateSubscriptionRequest { subscription: Some(changed), update_mask: None };
    assert_eq!(feed.feed.update(&request, &other).await.unwrap().subscription.unwrap().client, "one");
    // Without clients there is nobody whose share it could be.
    for number in 0..30 {
        assert_eq!(feed.create(plain(&format!("open-{number}"))).await.client, "");
    }
}
